"""Do fits of published sweeps predict critic sizes and UTDs that are left out, within and beyond the swept range?

Data: a folder with width_sweep.parquet and utd_sweep.parquet. These are learning-curve tables of Simba and SimbaV2 (Lee
et al., 2025) on DeepMind Control, evaluated every 50,000 or 100,000 env steps; they do not ship with the project. Some
seeds of the UTD sweep were run two or three times under one number. Such repeats count as separate runs, in the order
of the file.

Run time: some minutes on two cores.

Expected result: for each algorithm and split, a line with the convergence of the fit and the scores on the runs that
were left out.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs
from held_out import SETTINGS, coverage_by_probability

RUN = ["suite", "algorithm", *SETTINGS, "seed"]


@dataclass(frozen=True)
class Split:
    """A table, and the value of an axis whose runs are left out of the fit."""

    table: str
    axis: str
    value: float


@dataclass(frozen=True)
class Config:
    """Thresholds in units of the return, algorithms, splits and length of the chains."""

    thresholds: tuple[float, ...] = tuple(np.linspace(300, 800, 6))
    algorithms: tuple[str, ...] = ("simba", "simbaV2")
    splits: tuple[Split, ...] = (
        Split("width_sweep", "model_size", 36_028_618),
        Split("width_sweep", "model_size", 604_362),
        Split("width_sweep", "model_size", 2_322_634),
        Split("utd_sweep", "utd", 8),
        Split("utd_sweep", "utd", 1),
    )
    chains: int = 4
    draws: int = 1000
    warmup: int = 500


def main(config: Config, data: Path) -> None:
    """Fit each split, predict the runs that the split leaves out, and score the predictions."""
    for algorithm in config.algorithms:
        for split in config.splits:
            curves = read(data / f"{split.table}.parquet", algorithm, split.axis)
            crossings = bs.time_to_threshold(curves, thresholds=config.thresholds)
            unseen = crossings[split.axis] == split.value
            posterior = bs.fit(
                crossings[~unseen],
                chains=config.chains,
                draws=config.draws,
                warmup=config.warmup,
                require_convergence=False,
                most_draws=4 * config.draws,
            )
            predicted = posterior.predict(crossings.loc[unseen, SETTINGS].drop_duplicates())
            scores = bs.score(predicted, crossings=crossings[unseen])
            worst = posterior.diagnostics()
            print(
                f"{algorithm}, {split.axis} {split.value:g} of {split.table}: {posterior.status.name}, "
                f"R-hat {worst.r_hat.max():.3f}, bulk ESS {worst.ess_bulk.min():.0f}; "
                + ", ".join(f"{name} {value:.3f}" for name, value in scores._asdict().items())
                + f"; {coverage_by_probability(posterior, crossings[unseen])}",
                flush=True,
            )


def read(path: Path, algorithm: str, axis: str) -> pd.DataFrame:
    """Read an algorithm's runs on the tasks of DeepMind Control on which the axis varies."""
    table = pd.read_parquet(path).drop_duplicates()
    table = table[(table["suite"] == "dmc") & (table["algorithm"] == algorithm)]
    table = table[table.groupby("env_id")[axis].transform("nunique") > 1]
    repeat = table.groupby([*RUN, "env_steps"]).cumcount()
    return bs.read_curves(table.assign(seed=10 * table["seed"] + repeat))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--smoke", action="store_true", help="one algorithm, two thresholds, few draws")
    given = parser.parse_args()
    short = Config(thresholds=(400.0, 700.0), algorithms=("simbaV2",), chains=1, draws=30, warmup=50)
    main(short if given.smoke else Config(), given.data)
