"""Does a sweep of SAC on Pendulum-v1 show which setting to run, and foretell runs at UTDs that it does not hold?

Data: case_studies/data/pendulum_trade_off.parquet, made with `bayescale sweep` from the plan beside it: 240 runs at
UTD 1 to 32, batch sizes 16 to 512 and learning rates 4e-4 to 3.2e-2. All runs have one length. The runs of
pendulum_trade_off_heldout.toml and pendulum_recommended_utd_*.toml, at UTDs below, between and above the swept ones,
are held out; their forecasts in forecasts/ are older than these runs.

Run time: two minutes on two cores.

Expected result: data fall with UTD, compute rises beyond UTD 2 to 8, and the cheapest UTD lies inside the sweep at two
prices of an env step. The predictions for the held-out runs are printed before these runs are read, their scores
afterwards. Then the picture of the README, with the runs on it.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import predict_then_score

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Config:
    """Input files, thresholds, prices of an env step in flops, length of the chains and output file."""

    curves: Path = HERE / "data" / "pendulum_trade_off.parquet"
    held_out: tuple[Path, ...] = (
        HERE / "data" / "pendulum_trade_off_heldout.parquet",
        HERE / "data" / "pendulum_recommended.parquet",
    )
    thresholds: tuple[float, ...] = (-1000.0, -800.0, -600.0, -400.0, -300.0)
    drawn: tuple[float, ...] = (-800.0, -300.0)
    prices: tuple[float, ...] = (1e7, 1e8)
    env_id: str = "Pendulum-v1"
    warmup: int = 500
    draws: int = 1000
    picture: Path = HERE / "pendulum_frontier.svg"


def main(config: Config, smoke: bool) -> None:
    """Fit the sweep, choose a setting at each price, predict and score the held-out runs, draw the frontier."""
    crossings = bs.time_to_threshold(bs.read_curves(config.curves), thresholds=config.thresholds)
    posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
    for price in config.prices:
        prices = bs.Prices(env_step=price)
        front = bs.frontier(posterior, env_id=config.env_id, threshold=config.thresholds[-1], prices=prices)
        print(f"\nreturn {config.thresholds[-1]:g}, an env step priced {price:g} flops")
        print(front.table().iloc[::4].drop(columns="extrapolation").round(4).to_string(index=False))
        print(bs.allocate(posterior, env_id=config.env_id, threshold=config.thresholds[-1], prices=prices).to_json())
    held_out = predict_then_score(posterior, config.held_out)
    fronts = [
        bs.frontier(posterior, env_id=config.env_id, threshold=threshold, prices=bs.Prices(env_step=config.prices[-1]))
        for threshold in config.drawn
    ]
    axes = bs.plot_frontier(fronts, observed=crossings, held_out=held_out)
    figure = axes.get_figure(root=True)
    if not smoke and figure is not None:
        figure.savefig(config.picture, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, no picture")
    smoke = parser.parse_args().smoke
    main(Config(warmup=100, draws=100) if smoke else Config(), smoke)
