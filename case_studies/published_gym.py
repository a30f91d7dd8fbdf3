"""Does a fit of the published Gym sweep predict runs that it never saw?

Data: a folder with sweep.parquet, second_stage.parquet and return_scale.csv. These are learning-curve tables of the SAC
runs of Rybkin et al. (ICML 2025) on four MuJoCo tasks; they do not ship with the project.

Run time: minutes on two cores.

Expected result: a file of predictions for configurations that the fit has not seen, then the scores on the runs of
these configurations. The configurations are the second stage of the paper, or the UTD that --leave-out-utd names.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bayescale as bs
from held_out import CONFIG, convergence


@dataclass(frozen=True)
class Config:
    """Thresholds of the paper in normalised returns, the UTD left out of the fit if any, and draws per chain."""

    thresholds: tuple[float, ...] = tuple(1000 - np.geomspace(700, 200, 10))
    leave_out_utd: float | None = None
    draws: int = 1000


def main(config: Config, data: Path, out: Path, smoke: bool) -> None:
    """Fit the sweep, write predictions for unseen configurations and print their scores."""
    curves = bs.read_curves(data / "sweep.parquet")
    left_out = curves["utd"] == config.leave_out_utd
    scale = data / "return_scale.csv"
    fitted = bs.time_to_threshold(curves[~left_out], thresholds=config.thresholds, return_scale=scale)
    posterior = bs.fit(fitted, draws=config.draws, require_convergence=not smoke)
    unseen = curves[left_out] if left_out.any() else bs.read_curves(data / "second_stage.parquet")
    predicted = posterior.predict(unseen[CONFIG].drop_duplicates())
    predicted.to_csv(out, index=False)
    print(f"{convergence(posterior)}; wrote {out}")
    crossings = bs.time_to_threshold(unseen, thresholds=config.thresholds, return_scale=scale)
    print(bs.score(predicted, crossings=crossings))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"))
    parser.add_argument("--leave-out-utd", type=float)
    parser.add_argument("--smoke", action="store_true", help="few draws, converged or not")
    given = parser.parse_args()
    draws = 50 if given.smoke else Config.draws
    main(Config(leave_out_utd=given.leave_out_utd, draws=draws), given.data, given.out, given.smoke)
