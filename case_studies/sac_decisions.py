"""Are settings that BayeScale chooses from small sweeps cheaper to train than settings chosen in other ways?

Data: the sweeps case_studies/data/sac_*.parquet of four Gymnasium tasks with small networks. Four methods choose a
setting for a normalised return of 1000 (see sac_gymnasium.py), at a price of an env step at which data is dear and at
one at which compute is dear:
  BayeScale           `bs.allocate` after one fit of all tasks: the least expected cost of a median run
  published pipeline  Rybkin et al. (ICML 2025): its B* and eta* at the UTD where its law of data is cheapest
  best of the grid    the swept configuration with the least mean cost, among those whose runs all reached the return
  usual settings      UTD 1, batch size 256, learning rate 3e-4, as SAC with larger networks is often run; no sweep
`--choose` writes the settings to data/decisions.csv, with the cost that each method expects and the run lengths that
the fit predicts. `--train DIR` trains each setting with twelve new seeds and writes data/decisions.parquet.

Run time: seconds; an hour on two cores with --train.

Expected result: the cost of each choice, and its ratio to the cost of BayeScale's choice as a geometric mean over
tasks, with 90% intervals from bootstraps of the seeds. A right-censored run counts with its whole length. The usual
settings cost 3.7 times (data is dear) and 4.6 times (compute is dear) as much as BayeScale's choice. The published
pipeline costs 1.08 (0.96 to 1.21) and 2.09 (1.86 to 2.38) times as much, because it looks for the least data at any
price. The best of the grid, which seed noise favoured, costs 1.19 (1.06 to 1.35) and 1.05 (0.93 to 1.20) times as much.
Last come the scores of the predicted run lengths.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.comparators import PublishedFit
from bayescale.decisions.candidates import flops_per_step
from bayescale.laws import flops
from bayescale.runners import Plan, RunConfig, load_plan, run_sweep
from held_out import CONFIG, convergence

DATA = Path(__file__).parent / "data"
CHOICES, RUNS = DATA / "decisions.csv", DATA / "decisions.parquet"
OURS, PUBLISHED, GRID, USUAL = "BayeScale", "published pipeline", "best of the grid", "usual settings"


@dataclass(frozen=True)
class Config:
    """Sweeps, thresholds, prices, length of the chains, and how the choices are trained."""

    sweeps: tuple[str, ...] = ("sac_hopper", "sac_inverted_double_pendulum", "sac_pendulum", "sac_reacher")
    return_scale: Path = DATA / "sac_return_scale.csv"
    thresholds: tuple[float, ...] = (700.0, 850.0, 1000.0)  # the choices are made for the last one
    # Prices of an env step, in flops. One update at the smallest batch size takes about 5e6 flops.
    prices: tuple[tuple[str, bs.Prices], ...] = (
        ("data is dear", bs.Prices(flop=1.0, env_step=4e9)),
        ("compute is dear", bs.Prices(flop=1.0, env_step=1e7)),
    )
    chains: int = 4
    draws: int = 1000
    warmup: int = 500
    seeds: tuple[int, ...] = tuple(range(100, 112))
    run_length: float = 3.0  # env steps of a run, in predicted medians of the run length
    resamples: int = 4000


def choose(config: Config) -> pd.DataFrame:
    """Return each method's choice for each task and price, with its expected cost and the env steps to train."""
    curves = bs.read_curves([DATA / f"{name}.parquet" for name in config.sweeps])
    crossings = bs.time_to_threshold(curves, thresholds=config.thresholds, return_scale=config.return_scale)
    posterior = bs.fit(
        crossings,
        chains=config.chains,
        draws=config.draws,
        warmup=config.warmup,
        require_convergence=config.chains > 1,
    )
    print(convergence(posterior))
    published = bs.fit_published(curves, thresholds=config.thresholds, return_scale=config.return_scale)
    rows = []
    for env_id in posterior.tasks:
        for price_name, prices in config.prices:
            ours = bs.allocate(posterior, env_id=env_id, threshold=config.thresholds[-1], prices=prices)
            chosen = {
                OURS: (ours.utd, ours.batch_size, ours.learning_rate, ours.budget["mean"]),
                PUBLISHED: published_choice(published, env_id, prices, ours.model_size),
                GRID: grid_choice(posterior.of_task(env_id), prices),
                USUAL: (1.0, 256, 3e-4, np.nan),
            }
            rows += [(env_id, price_name, method, *setting, ours.model_size) for method, setting in chosen.items()]
    names = ["env_id", "prices", "method", *CONFIG[1:], "expected_cost", "model_size"]
    table = pd.DataFrame(rows, columns=names).astype({"batch_size": int})
    table["learning_rate"] = [float(f"{rate:.3g}") for rate in table["learning_rate"]]
    table = posterior.predict(table, thresholds=config.thresholds[-1:])
    interval = table["evaluation_interval"]
    table["env_steps"] = (np.ceil(config.run_length * table["law_q50"] / interval) * interval).astype(int)
    return table.drop(columns=["law_q05", "law_q50", "law_q95", "p_reach", "extrapolated", "extrapolation"])


def published_choice(
    published: PublishedFit, env_id: str, prices: bs.Prices, size: int
) -> tuple[float, float, float, float]:
    """Return UTD, batch size, learning rate and cost at the cheapest swept UTD by the published law of data."""
    utd = np.geomspace(published.configs["utd"].min(), published.configs["utd"].max(), 33)
    task = published.env_ids.index(env_id)
    rules = (published.batch_size, published.learning_rate)
    batch, rate = (np.exp(rule.estimate(task, np.log(utd))) for rule in rules)
    steps = np.exp(published.log_env_steps(env_id, utd)[0, :, -1])
    cost = prices.cost(np.asarray(flops(size, batch, utd, steps)), steps)
    best = cost.argmin()
    return utd[best], batch[best].round(), rate[best], cost[best]


def grid_choice(crossings: pd.DataFrame, prices: bs.Prices) -> tuple[float, float, float, float]:
    """Return UTD, batch size, learning rate and mean cost of the cheapest uncensored configuration of the sweep."""
    top = crossings[crossings["threshold"] == crossings["threshold"].max()]
    top = top.assign(cost=cost_of_runs(top, prices))
    of_config = top.groupby(CONFIG[1:]).agg(cost=("cost", "mean"), censored=("censored", "any")).reset_index()
    best = of_config[~of_config["censored"]].nsmallest(1, "cost")
    return best["utd"].item(), best["batch_size"].item(), best["learning_rate"].item(), best["cost"].item()


def cost_of_runs(crossings: pd.DataFrame, prices: bs.Prices) -> np.ndarray:
    """Return each run's cost until it reached the threshold; a right-censored run costs its whole length."""
    steps = last_seen(crossings).to_numpy(float)
    return prices.cost(flops_per_step(crossings) * steps, steps)


def last_seen(crossings: pd.DataFrame) -> "pd.Series[Any]":
    """Return the env steps at which each run reached the threshold, or its whole length if it did not."""
    return crossings["env_steps_upper"].where(~crossings["censored"], crossings["env_steps_lower"])


def train(config: Config, choices: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Train the choices with new seeds and the other settings of the task's sweep; return their learning curves."""
    swept = [load_plan(DATA / f"{name}.toml").runs[0] for name in config.sweeps]
    templates = [replace(run, stop_return=math.inf) for run in swept]
    return train_like(templates, choices, config.seeds, folder)


def train_like(
    templates: Sequence[RunConfig], choices: pd.DataFrame, seeds: Sequence[int], folder: Path
) -> pd.DataFrame:
    """Train chosen settings and return their learning curves.

    Args:
        templates: one run per task, which gives all settings that the choices do not have.
        choices: columns env_id, utd, batch_size, learning_rate and env_steps; equal rows are trained once.
        seeds: each setting is trained with these.
        folder: keeps the runs; a second call goes on with those of the first.
    """
    of_task = {run.env_id: run for run in templates}
    names = [*CONFIG, "env_steps"]
    settings = [dict(zip(names, row, strict=True)) for row in choices[names].drop_duplicates().itertuples(index=False)]
    runs = [replace(of_task[setting["env_id"]], **setting, seed=seed) for setting in settings for seed in seeds]
    return bs.read_curves(run_sweep(Plan(tuple(runs)), folder, resume=folder.exists()))


def main(config: Config, choices: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Print the expected and the observed costs of the choices and the scores of their predictions."""
    crossings = bs.time_to_threshold(curves, thresholds=config.thresholds[-1:], return_scale=config.return_scale)
    each, over_all = compare_costs(config, choices, crossings)
    print(each.to_string(index=False, float_format="{:.3g}".format))
    print(f"\nover all tasks\n{over_all.to_string(index=False, float_format='{:.2f}'.format)}")
    scores = {}
    for method, rows in choices.drop_duplicates(["method", *CONFIG]).groupby("method", sort=False):
        scores[method] = bs.score(rows, crossings=crossings.merge(rows[CONFIG]))._asdict()
    print(f"\npredictions of the env steps of these runs\n{pd.DataFrame(scores).T.round(3).to_string()}")


def compare_costs(config: Config, choices: pd.DataFrame, crossings: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return cost ratios to BayeScale's choice with 90% intervals, for each choice and over all tasks."""
    runs = [crossings.merge(choices.loc[[i], CONFIG]) for i in choices.index]
    prices = [dict(config.prices)[name] for name in choices["prices"]]
    cost = np.stack([cost_of_runs(*each) for each in zip(runs, prices, strict=True)])  # choice, seed
    log_mean = log_mean_costs(cost, config.resamples)
    is_ours = choices["method"] == OURS
    # Row of BayeScale's choice for the same task and prices.
    ours = is_ours.groupby([choices["env_id"], choices["prices"]]).transform("idxmax")
    log_ratio = log_mean - log_mean[ours]
    each = choices[["env_id", "prices", "method", *CONFIG[1:], "expected_cost"]].assign(
        median_cost=np.median(cost, axis=1),
        cost=cost.mean(axis=1),
        runs=cost.shape[1],
        censored=[int(table["censored"].sum()) for table in runs],
        **ratios(log_ratio),
    )
    groups = each.groupby(["prices", "method"], sort=False)
    number = groups.ngroup().to_numpy()
    over_all = groups[["runs", "censored"]].sum().reset_index()
    return each, over_all.assign(
        **ratios(np.stack([log_ratio[number == k].mean(axis=0) for k in range(groups.ngroups)]))
    )


def log_mean_costs(cost: np.ndarray, resamples: int) -> np.ndarray:
    """Return the log of the mean cost over the seeds, the last axis: the estimate, then bootstraps of the seeds."""
    seeds = np.random.default_rng(0).integers(cost.shape[-1], size=(*cost.shape, resamples))
    bootstraps = np.take_along_axis(cost[..., None], seeds, axis=-2).mean(axis=-2)
    return np.asarray(np.log(np.concatenate([cost.mean(axis=-1, keepdims=True), bootstraps], axis=-1)))


def ratios(log_ratio: np.ndarray) -> dict[str, np.ndarray]:
    """Return ratios and 90% intervals from log ratios: the estimate in the first column, bootstraps in the others."""
    low, high = np.quantile(log_ratio[:, 1:], (0.05, 0.95), axis=1)
    return {"over_ours": np.exp(log_ratio[:, 0]), "q05": np.exp(low), "q95": np.exp(high)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true", help="choose anew and write the choices")
    parser.add_argument("--train", type=Path, metavar="DIR", help="train the choices; DIR keeps the runs")
    parser.add_argument("--smoke", action="store_true", help="choose from few draws and write nothing")
    given = parser.parse_args()
    if given.smoke:
        print(choose(Config(chains=1, draws=20, warmup=30)).to_string())
    if given.choose:
        choose(Config()).to_csv(CHOICES, index=False)
    # Python's float reads every digit, so that the choices match the trained runs exactly.
    chosen = pd.read_csv(CHOICES, converters={"utd": float, "learning_rate": float})
    if given.train:
        bs.write_curves(train(Config(), chosen, given.train), RUNS)
    main(Config(), chosen, bs.read_curves(RUNS))
