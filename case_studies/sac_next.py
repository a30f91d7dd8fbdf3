"""Are the runs that `bs.next_experiments` buys worth more than runs bought at random? Replays of finished sweeps.

Data: the sweeps case_studies/data/sac_*.parquet of four Gymnasium tasks with small networks, each by itself. A replay
knows four of its runs, of configurations picked at random. Two times it buys more, for what four runs of the median
configuration cost: those that `next_experiments` names, random ones, or the cheapest; what they show is the next seed
of their configuration in the sweep. With what it knows, `allocate` chooses a setting for a normalised return of 1000 at
1e7 flops for an env step, a price at which both data and compute count. A fit of the whole sweep then says what that
setting is expected to cost over the least that any setting is. Run time: ten minutes on two cores. Expected: that
regret of every replay, and means over replays with standard errors: 0.374 (0.070) of what was known at first, and after
two rounds 0.026 (0.008), 0.054 (0.010) with random runs and 0.028 (0.007) with the cheapest. These are no fair rival:
how long the sweeps train at each UTD was chosen by how fast it learns, so that cheap runs lie near the best setting.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.decisions.allocation import ALLOCATION_DRAWS
from bayescale.decisions.candidates import flops_per_step, swept_settings
from bayescale.posterior.predictive import runs
from held_out import SETTINGS

DATA = Path(__file__).parent / "data"
RUN = [*SETTINGS, "seed"]
PRICES = bs.Prices(flop=1.0, env_step=1e7)


@dataclass(frozen=True)
class Config:
    """The sweeps, what is decided, and how much is bought."""

    sweeps: tuple[str, ...] = ("sac_hopper", "sac_inverted_double_pendulum", "sac_pendulum", "sac_reacher")
    return_scale: Path = DATA / "sac_return_scale.csv"
    thresholds: tuple[float, ...] = (700.0, 850.0, 1000.0)  # the last is to be reached
    prices: bs.Prices = PRICES
    known: int = 4  # runs at the start
    worth: int = 4  # median runs that a round's budget pays for
    rounds: int = 2
    replays: int = 5  # of each sweep
    ways: tuple[str, ...] = ("next", "random", "cheapest")
    chains: int = 2
    draws: int = 500
    warmup: int = 500


@dataclass(frozen=True)
class Store:
    """A finished sweep: what a run of each configuration costs, and what each run showed."""

    configs: pd.DataFrame  # SETTINGS, env_steps and cost
    crossings: pd.DataFrame

    def left(self, bought: pd.DataFrame) -> pd.DataFrame:
        """The runs that nobody has bought yet: RUN, env_steps and cost, each configuration's seeds in order."""
        every = self.crossings[RUN].drop_duplicates().merge(self.configs, on=SETTINGS)
        both = every.merge(bought[RUN], on=RUN, how="left", indicator="in")
        return both[both["in"] == "left_only"].drop(columns="in").sort_values(RUN, ignore_index=True)


Buy = Callable[[Config, bs.Posterior, pd.DataFrame, float, np.random.Generator], pd.DataFrame]


def buy_next(
    config: Config, posterior: bs.Posterior, left: pd.DataFrame, budget: float, rng: np.random.Generator
) -> pd.DataFrame:
    """What `next_experiments` names, as far as there are seeds of it."""
    plan = bs.next_experiments(
        posterior,
        left[[*SETTINGS, "env_steps"]].drop_duplicates(),
        budget=budget,
        n=len(left),
        threshold=config.thresholds[-1],
        prices=config.prices,
        seed=int(rng.integers(2**31)),
    )
    wanted, there = (table.assign(again=table.groupby(SETTINGS).cumcount()) for table in (plan[SETTINGS], left))
    return wanted.merge(there, on=[*SETTINGS, "again"])


def buy_random(
    _: Config, __: bs.Posterior, left: pd.DataFrame, budget: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Runs in random order, as long as the budget holds each."""
    return _within(left.loc[rng.permutation(len(left))], budget)


def buy_cheapest(
    _: Config, __: bs.Posterior, left: pd.DataFrame, budget: float, rng: np.random.Generator
) -> pd.DataFrame:
    """The most runs that the budget holds; of equal cost in random order."""
    return _within(left.loc[rng.permutation(len(left))].sort_values("cost", kind="stable"), budget)


def _within(offered: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Those that the budget's rest holds, one after the other."""
    chosen, rest = [], budget
    for i, cost in offered["cost"].items():
        if cost <= rest:
            chosen.append(i)
            rest -= cost
    return offered.loc[chosen]


WAYS: dict[str, Buy] = {"next": buy_next, "random": buy_random, "cheapest": buy_cheapest}


def main(config: Config) -> None:
    """Replays every sweep, and prints the regret of each choice."""
    print("sweep, replay, what is bought, regret at first and after each round, runs known in the end")
    rows = [row for sweep in config.sweeps for row in replays(config, DATA / f"{sweep}.parquet")]
    table = pd.DataFrame(rows)
    after = [name for name in table if str(name).startswith("after")]
    print(table.groupby("bought", sort=False)[after].agg(["mean", "sem"]).round(4).to_string())
    both = table.merge(table[table["bought"] == "next"], on=["sweep", "replay"], suffixes=("", " of next"))
    more = pd.DataFrame({name: both[name] - both[f"{name} of next"] for name in after})
    print("more than of next, replay by replay")
    print(more.groupby(both["bought"], sort=False).agg(["mean", "sem"]).drop("next").round(4).to_string())


def replays(config: Config, sweep: Path) -> list[dict[str, object]]:
    """The regrets of the replays of a sweep, each printed when it is known."""
    curves = bs.read_curves(sweep)
    crossings = bs.time_to_threshold(curves, config.thresholds, config.return_scale)
    configs = curves.groupby(SETTINGS)["env_steps"].max().reset_index()
    steps = configs["env_steps"].to_numpy(float)
    store = Store(configs.assign(cost=config.prices.cost(flops_per_step(configs) * steps, steps)), crossings)
    budget = float(config.worth * store.configs["cost"].median())
    whole = fitted(config, crossings)
    rows = []
    for replay in range(config.replays):
        picked = store.configs.sample(config.known, random_state=replay)[SETTINGS]
        known = store.left(store.crossings[:0]).merge(picked).drop_duplicates(SETTINGS)
        first = fitted(config, store.crossings.merge(known[RUN]))
        for way in config.ways:
            rng = np.random.default_rng(replay)
            bought, posterior = known, first
            row: dict[str, object] = {"sweep": sweep.stem, "replay": replay, "bought": way}
            row["after 0"] = regret(config, whole, posterior)
            for count in range(1, config.rounds + 1):
                bought = pd.concat([bought, WAYS[way](config, posterior, store.left(bought), budget, rng)])
                posterior = fitted(config, store.crossings.merge(bought[RUN]))
                row[f"after {count}"] = regret(config, whole, posterior)
            row["runs"] = len(bought)
            rows.append(row)
            print(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()), flush=True)
    return rows


def fitted(config: Config, crossings: pd.DataFrame) -> bs.Posterior:
    """A fit of some runs; of few of them it need not have converged."""
    return bs.fit(crossings, chains=config.chains, draws=config.draws, warmup=config.warmup, require_convergence=False)


def regret(config: Config, whole: bs.Posterior, posterior: bs.Posterior) -> float:
    """By the fit of the whole sweep, the expected cost of what `posterior` would choose over the least, minus 1."""
    (task,) = whole.tasks
    choice = bs.allocate(posterior, task, threshold=config.thresholds[-1], prices=config.prices)
    chosen = pd.DataFrame([{name: getattr(choice, name) for name in SETTINGS}])
    settings = pd.concat([chosen, swept_settings(whole, task)])
    steps = np.exp(runs(whole.model, whole.flat_draws(ALLOCATION_DRAWS), settings).location[:, :, -1])
    cost = config.prices.cost(flops_per_step(settings) * steps, steps).mean(axis=0)
    return float(cost[0] / cost.min() - 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smoke", action="store_true", help="one round of one replay, two ways, one threshold, few draws"
    )
    short = Config(
        sweeps=("sac_pendulum",),
        thresholds=(1000.0,),
        rounds=1,
        replays=1,
        ways=("next", "cheapest"),
        chains=1,
        draws=30,
        warmup=30,
    )
    main(short if parser.parse_args().smoke else Config())
