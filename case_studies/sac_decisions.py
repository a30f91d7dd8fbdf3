"""Does it pay to choose with BayeScale? Settings chosen from small sweeps in four ways, then trained with new seeds.

Data: the sweeps case_studies/data/sac_*.parquet of four Gymnasium tasks with small networks. From them alone, for a
normalised return of 1000 (see sac_gymnasium.py) and two prices of an env step, one at which data is dear and one at
which compute is, a setting is chosen by
  BayeScale           `bs.allocate` after one fit of all tasks: the least expected cost of a median run
  published pipeline  Rybkin et al. (ICML 2025): its B* and eta*, and the UTD at which its law of data is cheapest
  best of the grid    the swept configuration whose own runs cost least on average, of those that all got there
  usual settings      UTD 1, batch size 256, learning rate 3e-4, as SAC for larger networks is often run; no sweep
`--choose` writes them to data/decisions.csv, with what each method expects to pay and what the fit predicts of runs
there; `--train DIR` then runs each with twelve new seeds, in an hour on two cores, and writes data/decisions.parquet.
Without either, what they cost is read and printed, in seconds: by choice, and over all tasks, the mean over seeds over
that of BayeScale's choice, with 90% intervals from bootstraps of the seeds (a run that does not get there counts with
its whole length); then how well the fit predicted these runs. Expected: the usual settings cost 3.7 and 4.6 times as
much, the published pipeline 1.08 (0.96 to 1.21) and 2.09 (1.86 to 2.38), since it looks for the least data whatever
the price, and the best of the grid, which was lucky, 1.19 (1.06 to 1.35) and 1.05 (0.93 to 1.20).
"""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.comparators.published import PublishedFit, fit_published
from bayescale.decisions.candidates import flops_per_step
from bayescale.laws import flops
from held_out import CONFIG, state

DATA = Path(__file__).parent / "data"
CHOICES, RUNS = DATA / "decisions.csv", DATA / "decisions.parquet"
OURS, PUBLISHED, GRID, USUAL = "BayeScale", "published pipeline", "best of the grid", "usual settings"


@dataclass(frozen=True)
class Config:
    """What is read and asked, and how the choices are trained."""

    sweeps: tuple[str, ...] = ("sac_hopper", "sac_inverted_double_pendulum", "sac_pendulum", "sac_reacher")
    return_scale: Path = DATA / "sac_return_scale.csv"
    thresholds: tuple[float, ...] = (700.0, 850.0, 1000.0)  # the last is the return to reach
    # Flops that an env step is worth. One update of the smallest batches takes some 5e6 here.
    prices: tuple[tuple[str, bs.Prices], ...] = (
        ("data is dear", bs.Prices(flop=1.0, env_step=4e9)),
        ("compute is dear", bs.Prices(flop=1.0, env_step=1e7)),
    )
    chains: int = 4
    draws: int = 1000
    warmup: int = 500
    seeds: tuple[int, ...] = tuple(range(100, 112))
    longest: float = 3.0  # length of the runs, in predicted median times
    resamples: int = 4000


def choose(config: Config) -> pd.DataFrame:
    """What each method chooses for each task and price, what it expects to pay, and how long to train it."""
    curves = bs.read_curves([DATA / f"{name}.parquet" for name in config.sweeps])
    crossings = bs.time_to_threshold(curves, config.thresholds, config.return_scale)
    posterior = bs.fit(
        crossings,
        chains=config.chains,
        draws=config.draws,
        warmup=config.warmup,
        require_convergence=config.chains > 1,
    )
    print(state(posterior))
    published = fit_published(curves, thresholds=config.thresholds, return_scale=config.return_scale)
    rows = []
    for env_id in posterior.tasks:
        for dear, prices in config.prices:
            ours = bs.allocate(posterior, env_id, threshold=config.thresholds[-1], prices=prices)
            chosen = {
                OURS: (ours.utd, ours.batch_size, ours.learning_rate, ours.budget["mean"]),
                PUBLISHED: published_choice(published, env_id, prices, ours.model_size),
                GRID: grid_choice(posterior.of_task(env_id), prices),
                USUAL: (1.0, 256, 3e-4, np.nan),
            }
            rows += [(env_id, dear, method, *setting, ours.model_size) for method, setting in chosen.items()]
    names = ["env_id", "prices", "method", *CONFIG[1:], "expected_cost", "model_size"]
    table = pd.DataFrame(rows, columns=names).astype({"batch_size": int})
    table["learning_rate"] = [float(f"{rate:.3g}") for rate in table["learning_rate"]]
    table = posterior.predict(table, thresholds=config.thresholds[-1:])
    every = table["evaluation_interval"]
    table["env_steps"] = (np.ceil(config.longest * table["law_q50"] / every) * every).astype(int)
    return table.drop(columns=["law_q05", "law_q50", "law_q95", "p_reach", "extrapolated"])


def published_choice(
    published: PublishedFit, env_id: str, prices: bs.Prices, size: int
) -> tuple[float, float, float, float]:
    """UTD, batch size, learning rate and cost where the published law of data is cheapest, within the swept UTDs."""
    utd = np.geomspace(published.configs["utd"].min(), published.configs["utd"].max(), 33)
    task = published.env_ids.index(env_id)
    rules = (published.batch_size, published.learning_rate)
    batch, rate = (np.exp(rule.estimate(task, np.log(utd))) for rule in rules)
    steps = np.exp(published.log_env_steps(env_id, utd)[0, :, -1])
    cost = prices.cost(np.asarray(flops(size, batch, utd, steps)), steps)
    best = cost.argmin()
    return utd[best], batch[best].round(), rate[best], cost[best]


def grid_choice(crossings: pd.DataFrame, prices: bs.Prices) -> tuple[float, float, float, float]:
    """UTD, batch size, learning rate and mean cost of the swept configuration whose runs cost least."""
    top = crossings[crossings["threshold"] == crossings["threshold"].max()]
    top = top.assign(cost=cost_of_runs(top, prices))
    of_config = top.groupby(CONFIG[1:]).agg(cost=("cost", "mean"), censored=("censored", "any")).reset_index()
    best = of_config[~of_config["censored"]].nsmallest(1, "cost")
    return best["utd"].item(), best["batch_size"].item(), best["learning_rate"].item(), best["cost"].item()


def cost_of_runs(crossings: pd.DataFrame, prices: bs.Prices) -> np.ndarray:
    """What each run cost until it got there; of one that did not, the whole of it."""
    steps = crossings["env_steps_upper"].where(~crossings["censored"], crossings["env_steps_lower"]).to_numpy(float)
    return prices.cost(flops_per_step(crossings) * steps, steps)


def train(config: Config, choices: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The learning curves of the choices, by new seeds and otherwise as the task's sweep."""
    from bayescale.runners.sweeps.plan import Plan, load_plan
    from bayescale.runners.sweeps.sweep import run_sweep

    swept = [load_plan(DATA / f"{name}.toml").runs[0] for name in config.sweeps]
    alike = {run.env_id: replace(run, stop_return=math.inf) for run in swept}
    names = [*CONFIG, "env_steps"]
    settings = [dict(zip(names, row, strict=True)) for row in choices[names].drop_duplicates().itertuples(index=False)]
    runs = [replace(alike[setting["env_id"]], **setting, seed=seed) for setting in settings for seed in config.seeds]
    return bs.read_curves(run_sweep(Plan(tuple(runs)), folder, resume=folder.exists()))


def main(config: Config, choices: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Prints what the choices were expected to cost and what they did."""
    crossings = bs.time_to_threshold(curves, config.thresholds[-1:], config.return_scale)
    each, over_all = what_they_cost(config, choices, crossings)
    print(each.to_string(index=False, float_format="{:.3g}".format))
    print(f"\nover all tasks\n{over_all.to_string(index=False, float_format='{:.2f}'.format)}")
    scores = {}
    for method, rows in choices.drop_duplicates(["method", *CONFIG]).groupby("method", sort=False):
        scores[method] = bs.score(rows, crossings=crossings.merge(rows[CONFIG]))._asdict()
    print(f"\npredictions of the env steps of these runs\n{pd.DataFrame(scores).T.round(3).to_string()}")


def what_they_cost(config: Config, choices: pd.DataFrame, crossings: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By choice, and by price and method over all tasks: costs over those of BayeScale's choices, 90% intervals too."""
    runs = [crossings.merge(choices.loc[[i], CONFIG]) for i in choices.index]
    prices = [dict(config.prices)[name] for name in choices["prices"]]
    cost = np.stack([cost_of_runs(*each) for each in zip(runs, prices, strict=True)])  # choice, seed
    seeds = np.random.default_rng(0).integers(cost.shape[1], size=(*cost.shape, config.resamples))
    again = np.take_along_axis(cost[:, :, None], seeds, axis=1).mean(axis=1)
    log_mean = np.log(np.column_stack([cost.mean(axis=1), again]))  # the first column is the estimate
    is_ours = choices["method"] == OURS
    ours = is_ours.groupby([choices["env_id"], choices["prices"]]).transform("idxmax")  # that answers the same question
    log_ratio = log_mean - log_mean[ours]
    each = choices[["env_id", "prices", "method", *CONFIG[1:], "expected_cost"]].assign(
        median_cost=np.median(cost, axis=1),
        cost=cost.mean(axis=1),
        runs=cost.shape[1],
        censored=[int(of["censored"].sum()) for of in runs],
        **ratios(log_ratio),
    )
    groups = each.groupby(["prices", "method"], sort=False)
    number = groups.ngroup().to_numpy()
    over_all = groups[["runs", "censored"]].sum().reset_index()
    return each, over_all.assign(
        **ratios(np.stack([log_ratio[number == k].mean(axis=0) for k in range(groups.ngroups)]))
    )


def ratios(log_ratio: np.ndarray) -> dict[str, np.ndarray]:
    """The estimate and its interval from the logs of an estimate and its bootstraps."""
    low, high = np.quantile(log_ratio[:, 1:], (0.05, 0.95), axis=1)
    return {"over_ours": np.exp(log_ratio[:, 0]), "q05": np.exp(low), "q95": np.exp(high)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true", help="choose anew, and write the choices")
    parser.add_argument("--train", type=Path, metavar="DIR", help="train the choices, with runs kept in DIR")
    parser.add_argument("--smoke", action="store_true", help="choose by few draws and write nothing")
    given = parser.parse_args()
    if given.smoke:
        print(choose(Config(chains=1, draws=20, warmup=30)).to_string())
    if given.choose:
        choose(Config()).to_csv(CHOICES, index=False)
    chosen = pd.read_csv(CHOICES, converters={"utd": float, "learning_rate": float})  # to the last digit
    if given.train:
        bs.write_curves(train(Config(), chosen, given.train), RUNS)
    main(Config(), chosen, bs.read_curves(RUNS))
