"""Does a sweep of SAC to a high UTD show which setting to run, and foretell runs at UTDs that it does not hold?

Data: case_studies/data/pendulum_trade_off.parquet, double_pendulum_trade_off.parquet and hopper_trade_off.parquet, made
with `bayescale sweep` from the plans beside them: 240 runs each, on Pendulum-v1 at UTD 1 to 32 and on
InvertedDoublePendulum-v5 and Hopper-v5 at UTD 0.5 to 16, at batch sizes 16 to 512 and learning rates on both sides of
the best. The runs of the other plans of these names, at UTDs below, between and above the swept ones, are held out;
their forecasts in forecasts/ are older than these runs.

Run time: two minutes on two cores for each task.

Expected result: data fall with UTD, compute rises, and the cheapest UTD lies inside the sweep at two prices of an env
step. The predictions for the held-out runs are printed before these runs are read, their scores afterwards. Then a
picture, with the runs on it.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import predict_then_score

HERE = Path(__file__).parent
DATA = HERE / "data"


@dataclass(frozen=True)
class Study:
    """A sweep, the runs that it does not hold, and what is asked.

    Attributes:
        env_id: the task.
        curves: the fitted runs.
        held_out: tables of runs that the fit does not see.
        thresholds: returns.
        drawn: returns whose frontiers are drawn; settings are chosen for the last one.
        prices: prices of an env step in flops; the last one is drawn.
        picture: output file.
    """

    env_id: str
    curves: Path
    held_out: tuple[Path, ...]
    thresholds: tuple[float, ...]
    drawn: tuple[float, ...]
    prices: tuple[float, ...]
    picture: Path


@dataclass(frozen=True)
class Config:
    """Length of the chains."""

    warmup: int = 500
    draws: int = 1000


STUDIES = {
    "pendulum": Study(
        env_id="Pendulum-v1",
        curves=DATA / "pendulum_trade_off.parquet",
        held_out=(DATA / "pendulum_trade_off_heldout.parquet", DATA / "pendulum_recommended.parquet"),
        thresholds=(-1000.0, -800.0, -600.0, -400.0, -300.0),
        drawn=(-800.0, -300.0),
        prices=(1e7, 1e8),
        picture=HERE / "pendulum_frontier.svg",
    ),
    "double_pendulum": Study(
        env_id="InvertedDoublePendulum-v5",
        curves=DATA / "double_pendulum_trade_off.parquet",
        held_out=(
            DATA / "double_pendulum_trade_off_heldout.parquet",
            DATA / "double_pendulum_recommended.parquet",
        ),
        thresholds=(150.0, 200.0, 300.0, 450.0, 1000.0),
        drawn=(150.0, 300.0),
        prices=(1e7, 3e7),
        picture=HERE / "double_pendulum_frontier.svg",
    ),
    "hopper": Study(
        env_id="Hopper-v5",
        curves=DATA / "hopper_trade_off.parquet",
        held_out=(DATA / "hopper_trade_off_heldout.parquet", DATA / "hopper_recommended.parquet"),
        thresholds=(100.0, 125.0, 150.0, 175.0, 200.0),
        drawn=(125.0, 200.0),
        prices=(1e7, 3e7),
        picture=HERE / "hopper_frontier.svg",
    ),
}


def main(study: Study, config: Config, smoke: bool) -> None:
    """Fit the sweep, choose a setting at each price, predict and score the held-out runs, draw the frontier."""
    crossings = bs.time_to_threshold(bs.read_curves(study.curves), thresholds=study.thresholds)
    posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
    for price in study.prices:
        prices = bs.Prices(env_step=price)
        front = bs.frontier(posterior, env_id=study.env_id, threshold=study.drawn[-1], prices=prices)
        print(f"\nreturn {study.drawn[-1]:g}, an env step priced {price:g} flops")
        print(front.table().iloc[::4].drop(columns="extrapolation").round(4).to_string(index=False))
        print(bs.allocate(posterior, env_id=study.env_id, threshold=study.drawn[-1], prices=prices).to_json())
    held_out = predict_then_score(posterior, study.held_out)
    fronts = [
        bs.frontier(posterior, env_id=study.env_id, threshold=threshold, prices=bs.Prices(env_step=study.prices[-1]))
        for threshold in study.drawn
    ]
    axes = bs.plot_frontier(fronts, observed=crossings, held_out=held_out)
    figure = axes.get_figure(root=True)
    if not smoke and figure is not None:
        figure.savefig(study.picture, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(STUDIES)}; default: all")
    parser.add_argument("--smoke", action="store_true", help="few draws, no picture")
    given = parser.parse_args()
    for name in given.studies or STUDIES:
        main(STUDIES[name], Config(warmup=100, draws=100) if given.smoke else Config(), given.smoke)
