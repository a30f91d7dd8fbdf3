"""Is the chance of failure calibrated where runs diverge, and are the times of the other runs?

Data: simulated sweeps of 32 runs on one task, UTD x learning rate, two seeds a setting. Runs diverge along an edge of
stability, hard or soft, that lies anywhere in the grid or beyond it: none to more than half of the runs of a sweep.

Each sweep is fitted twice by one short chain: as it is, and as a control that ignores failures and takes diverged runs
for runs that were stopped early. The edge has not the form of the model's logit, so this is no exact calibration.

Run time: about ten minutes of two cores; with --smoke one.

Expected result: the predicted chance of failure agrees with the true mean in every bin, and the control's does not. The
90% intervals of the times of runs that do not fail hold 85 to 95% of them. The setting of least expected cost fails at
most as often as stated.
"""

import argparse
import itertools
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import expit

import bayescale as bs
from bayescale.decisions.utility import expected_cost
from bayescale.inference.sampling import sample_each
from bayescale.models import JointModel
from bayescale.posterior import predictive

SETTINGS = ["env_id", "utd", "batch_size", "learning_rate"]
BINS = (0.0, 0.02, 0.1, 0.3, 0.7, 1.0)


@dataclass(frozen=True)
class Config:
    """Simulated sweeps and length of the chains."""

    sweeps: int = 200
    together: int = 50  # sweeps that are fitted side by side
    draws: int = 300
    seeds: int = 2
    thresholds: tuple[float, ...] = (300.0, 600.0)
    env_steps: tuple[float, ...] = (4e4, 9e4)
    noise: float = 0.2
    every: int = 2000
    horizon: float = 4e5
    env_step_price: float = 4e9


def settings(utds: Float[np.ndarray, " utd"], rates: Float[np.ndarray, " rate"]) -> pd.DataFrame:
    """Return every UTD with every learning rate."""
    return pd.DataFrame(itertools.product(["Simulated-v0"], utds, [256], rates), columns=SETTINGS)


UTDS, RATES = np.array([0.5, 1.0, 2.0, 4.0]), np.array([1e-4, 3e-4, 1e-3, 3e-3])
SWEPT = settings(UTDS, RATES)
BETWEEN = settings(np.sqrt(UTDS[1:] * UTDS[:-1]), np.sqrt(RATES[1:] * RATES[:-1]))
BEYOND = settings(2 * UTDS[-1:], RATES)
AT = pd.concat([SWEPT, BETWEEN, BEYOND], ignore_index=True)
WHERE = np.repeat(["swept", "between", "beyond"], [len(SWEPT), len(BETWEEN), len(BEYOND)])


def true_chances(rng: np.random.Generator) -> Float[np.ndarray, " setting"]:
    """Return the chance of failure at each setting of `AT`."""
    logs = np.log(AT[["utd", "learning_rate"]].to_numpy()) - np.log([1.4, 5e-4])
    steepness = rng.choice([20.0, rng.uniform(1.0, 3.0)])
    edge = logs @ rng.uniform([0.0, 0.3], [1.2, 1.2]) - rng.uniform(0.2, 3.5)
    return np.asarray(0.003 + 0.997 * expit(steepness * edge))


def law(rng: np.random.Generator, config: Config) -> bs.KnownLaw:
    """Return a law whose optimum and gain from UTD differ from sweep to sweep."""
    return bs.KnownLaw(
        env_steps=config.env_steps,
        utd_ref=1.4,
        min_share=rng.uniform(0.2, 0.6),
        learning_rate=5e-4 * np.exp(rng.normal(0.0, 0.5)),
        learning_rate_curvature=rng.uniform(0.05, 0.3),
    )


def simulated(
    rng: np.random.Generator, config: Config
) -> tuple[pd.DataFrame, pd.DataFrame, Float[np.ndarray, " setting"]]:
    """Return the crossings of a sweep, the true run lengths of a fresh run at each setting of `AT`, and its chances."""
    chance, location = true_chances(rng), law(rng, config).location(AT)

    def runs(rows: slice, seeds: int) -> pd.DataFrame:
        return bs.simulate_runs(
            AT[rows].assign(seeds=seeds, algorithm="SAC"),
            thresholds=config.thresholds,
            location=location[rows],
            scale=config.noise,
            rng=rng,
            p_reach=1 - chance[rows, None],
            correlation=0.8,
        )

    sweep = bs.crossings_of(
        runs(slice(len(SWEPT)), config.seeds), every=config.every, horizon=config.horizon, diverged=True
    )
    return sweep, runs(slice(None), 1), chance


def stopped_early(sweep: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Return the crossings in which diverged runs are right-censored at their first evaluation."""
    lost = (sweep["status"] == "diverged") & sweep["censored"]
    return sweep.assign(env_steps_lower=sweep["env_steps_lower"].where(~lost, config.every)).drop(columns="status")


def assessed(config: Config, *, ignore_failures: bool) -> pd.DataFrame:
    """Return one row per sweep, setting and threshold: true and predicted chance of failure, and a fresh run's fate."""
    rng = np.random.default_rng(0)
    truths = [simulated(rng, config) for _ in range(config.sweeps)]
    sweeps = [stopped_early(sweep, config) if ignore_failures else sweep for sweep, _, _ in truths]
    model = JointModel.for_crossings(sweeps[0])
    observations = model.observe_each(sweeps)
    step_cost = config.env_step_price + 10 * 1e5 * AT["batch_size"].to_numpy(float) * AT["utd"].to_numpy(float)
    rows = []
    for first in range(0, config.sweeps, config.together):
        fitted = sample_each(model, observations[first : first + config.together], seed=first, draws=config.draws)
        for i in range(len(fitted.diverging)):
            _, fresh, chance = truths[first + i]
            draws = model.add_task(
                {name: values[i] for name, values in fitted.parameters.items()}, jax.random.PRNGKey(i)
            )
            lengths = predictive.run_lengths(model, draws, AT)
            interval = np.asarray(predictive.mixture_quantiles(lengths, np.array([0.05, 0.95])))
            cost = expected_cost(np.exp(lengths.location), step_cost=step_cost[:, None], p_reach=lengths.p_reach).mean(
                axis=0
            )
            length = fresh["true_env_steps"].to_numpy().reshape(interval.shape[:2])
            chosen = np.zeros(interval.shape[:2], bool)
            chosen[cost[: len(SWEPT)].argmin(axis=0), np.arange(len(config.thresholds))] = True
            rows.append(
                pd.DataFrame(
                    {
                        "where": np.repeat(WHERE, len(config.thresholds)),
                        "true": np.repeat(chance, len(config.thresholds)),
                        "predicted": 1 - lengths.p_reach.mean(axis=0).ravel(),
                        "failed": np.isinf(length).ravel(),
                        "inside": ((length >= interval[..., 0]) & (length <= interval[..., 1])).ravel(),
                        "chosen": chosen.ravel(),
                        "diverging": fitted.diverging[i].mean(),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def told(table: pd.DataFrame) -> str:
    """Return the Brier scores, the reliability and the coverage of the fits in a table of `assessed`, in words."""
    bins = pd.cut(table["predicted"], BINS, include_lowest=True)
    reliability = table.groupby(bins, observed=True).agg(
        predicted=("predicted", "mean"), true=("true", "mean"), rows=("true", "size")
    )
    brier = ((table["predicted"] - table["failed"]) ** 2).mean()
    best = ((table["true"] - table["failed"]) ** 2).mean()
    reached = table[~table["failed"]]
    stated, true = table.loc[table["chosen"], ["predicted", "true"]].mean()
    return "\n".join(
        [
            f"Brier score of a fresh run's failure {brier:.3f}, that of the true chance {best:.3f}",
            reliability.round(3).to_string(),
            "share inside the 90% interval, of all fresh runs: "
            + ", ".join(f"{where} {own['inside'].mean():.2f}" for where, own in table.groupby("where", sort=False)),
            "and of those that did not fail: "
            + ", ".join(f"{where} {own['inside'].mean():.2f}" for where, own in reached.groupby("where", sort=False)),
            f"chance of failure at the cheapest setting: {stated:.3f} stated, {true:.3f} true",
            f"largest share of diverging draws in a fit: {table['diverging'].max():.3f}",
        ]
    )


def main() -> None:
    """Print the figures with the failures and with the failures ignored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="four sweeps and short chains")
    config = Config(sweeps=4, together=4, draws=30) if parser.parse_args().smoke else Config()
    for ignore, name in ((False, "failures fitted"), (True, "control, failures ignored")):
        print(f"{name}, {config.sweeps} sweeps\n{told(assessed(config, ignore_failures=ignore))}\n", flush=True)


if __name__ == "__main__":
    main()
