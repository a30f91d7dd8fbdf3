"""Is the chance to reach a return calibrated where runs diverge, and do run lengths stay calibrated beside it?

Data: simulated sweeps of UTD x learning rate on two tasks. Runs diverge with a chance that rises with UTD and learning
rate, along a hard or a soft edge; from none to more than half of the runs do.

Run time: minutes on two cores; seconds of each sweep are printed.

Expected result: the Brier score of the chance of failure of new runs, the mean chance and the share of failures in bins
of the chance, and the coverage of run lengths; then the same of a control that takes diverged runs as cut short. The
control's bins must not agree.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

import bayescale as bs
from bayescale.inference.sampling import sample_each
from bayescale.models import JointModel
from bayescale.posterior.predictive import run_lengths

SETTINGS = ["env_id", "utd", "batch_size", "learning_rate"]


@dataclass(frozen=True)
class Config:
    """Simulated sweeps: their number, the swept values, seeds and thresholds, and how they are recorded and fitted."""

    sweeps: int = 200
    tasks: int = 2
    utds: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    seeds: int = 2
    thresholds: tuple[float, ...] = (300.0, 600.0)
    evaluations: int = 40
    draws: int = 300
    warmup: int = 300
    batch: int = 20  # sweeps that are fitted side by side


@dataclass(frozen=True)
class Truth:
    """The law of one simulated sweep at some settings.

    Attributes:
        location: log env steps of the median run, by setting and threshold.
        scale: seed noise.
        p_fail: chance that a run diverges before it reaches the threshold, likewise.
    """

    location: np.ndarray
    scale: float
    p_fail: np.ndarray


def truths(settings: pd.DataFrame, thresholds: tuple[float, ...], rng: np.random.Generator) -> Truth:
    """Draw a law, a pace of each task and an edge of stability, and return their values at the settings."""
    law = bs.KnownLaw(
        env_steps=tuple(2e4 * np.exp(0.7 * np.arange(len(thresholds)))),
        min_share=rng.uniform(0.3, 0.7),
        alpha=rng.uniform(0.5, 1.0),
        learning_rate=rng.uniform(2e-4, 8e-4),
        learning_rate_curvature=rng.uniform(0.05, 0.3),
    )
    names, task = np.unique(settings["env_id"], return_inverse=True)
    pace = 0.5 * rng.standard_normal(len(names))[task]
    logs = np.log(settings[["utd", "learning_rate"]].to_numpy(float)) - np.log([1.4, 5e-4])
    slope = rng.choice([20.0, rng.uniform(1.0, 3.0)])  # a hard or a soft edge
    direction = rng.uniform([0.0, 0.3], [1.2, 1.2])
    edge = rng.uniform(0.2, 3.5) + 0.3 * rng.standard_normal(len(names))[task]
    logit = slope * (logs @ direction - edge)
    p_fail = 0.003 + 0.997 * expit(logit[:, None] + 0.5 * np.arange(len(thresholds)))
    return Truth(law.location(settings) + pace[:, None], rng.uniform(0.15, 0.35), p_fail)


def simulated(
    settings: pd.DataFrame, truth: Truth, thresholds: tuple[float, ...], rng: np.random.Generator
) -> pd.DataFrame:
    """Return the true run lengths of a sweep."""
    return bs.simulate_runs(
        settings,
        thresholds=thresholds,
        location=truth.location,
        scale=truth.scale,
        rng=rng,
        p_reach=1 - truth.p_fail,
        correlation=0.8,
    )


def assess(
    tables: list[pd.DataFrame],
    truth: list[Truth],
    at: pd.DataFrame,
    *,
    draws: int,
    warmup: int,
    chains: int = 1,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Fit each table and predict new runs of its truth.

    Args:
        tables: crossings of sweeps that have the same settings.
        truth: the law of each sweep at `at`.
        at: settings to predict, one row each.
        draws: draws of each chain.
        warmup: iterations of adaptation of each chain.
        chains: chains of each table.
        rng: source of new runs and of the sampler's seed.

    Returns:
        One row per table, setting and threshold, with the predicted and the true chance of failure and `inside`, the
        chance that a new run lies inside its 90% interval; the draws of all parameters as one array with the axes
        table, chain, draw and number; and the share of divergent draws of each table.
    """
    model = JointModel.for_crossings(tables[0])
    observed = [one for one in model.observe_each(tables) for _ in range(chains)]
    fits = sample_each(model, observed, seed=int(rng.integers(2**31)), draws=draws, warmup=warmup)
    rows = []
    for i, law in enumerate(truth):
        own = slice(i * chains, (i + 1) * chains)
        merged = {name: values[own].reshape(-1, *values.shape[2:]) for name, values in fits.parameters.items()}
        predicted = run_lengths(model, merged, at)
        z = rng.standard_normal((200, 1, 1))
        steps = law.location + law.scale * z
        below = np.stack([predicted.reached_by(one).mean(axis=0) for one in steps])
        never = predicted.p_reach.mean(axis=0) + (1 - predicted.p_reach.mean(axis=0)) * rng.random(below.shape)
        inside_if_reached = (abs(below - 0.5) <= 0.45).mean(axis=0)
        inside_if_failed = (abs(never - 0.5) <= 0.45).mean(axis=0)
        inside = (1 - law.p_fail) * inside_if_reached + law.p_fail * inside_if_failed
        for k in range(law.p_fail.shape[1]):
            chance = 1 - predicted.p_reach[:, :, k].mean(axis=0)
            held = {"inside": inside[:, k], "inside_if_reached": inside_if_reached[:, k]}
            rows += [at[SETTINGS].assign(sweep=i, threshold=k, predicted=chance, true=law.p_fail[:, k], **held)]
    numbers = [values.reshape(len(tables), chains, draws, -1) for values in fits.parameters.values()]
    diverged = fits.diverging.reshape(len(tables), -1).mean(axis=1)
    return pd.concat(rows, ignore_index=True), np.concatenate(numbers, axis=-1), diverged


def reliability(assessed: pd.DataFrame) -> pd.DataFrame:
    """Return the mean predicted and the true chance of failure in bins of the predicted one."""
    bins = pd.cut(assessed["predicted"], [0, 0.02, 0.1, 0.3, 0.7, 0.9, 1], include_lowest=True)
    by_bin = assessed.groupby(bins, observed=True)
    return by_bin.agg(cells=("true", "size"), predicted=("predicted", "mean"), failed=("true", "mean"))


def brier(assessed: pd.DataFrame) -> float:
    """Return the expected Brier score of the chance of failure of new runs."""
    p, true = assessed["predicted"], assessed["true"]
    return float((true * (1 - p) ** 2 + (1 - true) * p**2).mean())


def sweep_settings(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the swept settings, and those of new runs: the swept ones, between them, and beyond them."""
    names = [f"Simulated-v{i}" for i in range(config.tasks)]

    def grid(utds: np.ndarray, rates: np.ndarray) -> pd.DataFrame:
        return pd.MultiIndex.from_product([names, utds, [256], rates], names=SETTINGS).to_frame(index=False)

    utds, rates = np.array(config.utds), np.array(config.rates)
    between = grid(np.sqrt(utds[1:] * utds[:-1]), np.sqrt(rates[1:] * rates[:-1]))
    beyond = grid(utds[-1:] * 2, rates)
    swept = grid(utds, rates)
    at = pd.concat([swept.assign(where="swept"), between.assign(where="between"), beyond.assign(where="beyond")])
    return swept.assign(seeds=config.seeds), at.reset_index(drop=True)


def main(config: Config) -> None:
    """Simulate, fit and print the scores of the model, then of the control."""
    swept, at = sweep_settings(config)
    rng = np.random.default_rng(0)
    found, control, shares = [], [], []
    started = time.perf_counter()
    for first in range(0, config.sweeps, config.batch):
        every = pd.concat([swept, at], ignore_index=True)
        drawn = [truths(every, config.thresholds, rng) for _ in range(min(config.batch, config.sweeps - first))]
        here = [Truth(one.location[: len(swept)], one.scale, one.p_fail[: len(swept)]) for one in drawn]
        there = [Truth(one.location[len(swept) :], one.scale, one.p_fail[len(swept) :]) for one in drawn]
        tables = []
        for one in here:
            runs = simulated(swept, one, config.thresholds, rng)
            horizon = float(4 * np.exp(one.location.max()))
            every_steps = max(int(horizon / config.evaluations), 1)
            tables.append(bs.crossings_of(runs, every=every_steps, horizon=horizon, diverged=True))
        shares += [float((table["status"] == "diverged").mean()) for table in tables]
        cut_short = [table.assign(status="stopped early") for table in tables]
        # One call fits both, because compiling takes most of the time of a few sweeps.
        both = assess(tables + cut_short, there + there, at, draws=config.draws, warmup=config.warmup, rng=rng)[0]
        found.append(both[both["sweep"] < len(tables)])
        control.append(both[both["sweep"] >= len(tables)])
        print(f"{first + len(tables)} of {config.sweeps} sweeps, {time.perf_counter() - started:.0f} s", flush=True)
    where = np.tile(at["where"], len(config.thresholds))
    print(f"{np.mean(shares):.0%} of the runs diverged, by sweep {min(shares):.0%} to {max(shares):.0%}")
    for name, parts in (("model", found), ("control: diverged runs as cut short", control)):
        table = pd.concat(parts, ignore_index=True)
        table = table.assign(where=np.tile(where, len(table) // len(where)))
        best = brier(table.assign(predicted=table["true"]))
        print(f"\n{name}: Brier score {brier(table):.3f}; of the true chance {best:.3f}")
        scores = {
            place: {
                "Brier score": brier(own),
                "mean chance": own["predicted"].mean(),
                "failed": own["true"].mean(),
                "inside 90%": own["inside"].mean(),
                "inside 90% where over half of the runs reach": own.query("true < 0.5")["inside"].mean(),
            }
            for place, own in table.groupby("where")
        }
        print(pd.DataFrame(scores).T.round(3).to_string())
        print(reliability(table).round(3).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few sweeps and draws")
    parser.add_argument("--sweeps", type=int, default=Config.sweeps)
    given = parser.parse_args()
    small = Config(sweeps=8, batch=8, draws=100, warmup=100, tasks=1, utds=(0.5, 1.0, 2.0))
    main(small if given.smoke else Config(sweeps=given.sweeps))
