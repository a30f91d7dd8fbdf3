"""Does a small sweep find good settings of SAC on Pendulum-v1, and predict runs at a UTD that was never swept?

Data: case_studies/data/sac_pendulum.parquet, made with `bayescale sweep case_studies/data/sac_pendulum.toml`. The runs
of sac_pendulum_heldout.toml, at twice the highest UTD of the sweep, are held out.

Run time: a minute on two cores.

Expected result: a frontier that falls with UTD, a recommended setting with its 90% credible interval, and a prediction
for the held-out runs. The prediction is printed before these runs are read, its scores afterwards. Then the picture of
the README, with the runs on it.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import predict_then_score

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Config:
    """Input files, thresholds, length of the chains and output file."""

    curves: Path = HERE / "data" / "sac_pendulum.parquet"
    held_out: Path = HERE / "data" / "sac_pendulum_heldout.parquet"
    thresholds: tuple[float, ...] = (-1000.0, -800.0, -600.0, -400.0, -200.0)
    env_id: str = "Pendulum-v1"
    warmup: int = 500
    draws: int = 1000
    picture: Path = HERE / "pendulum_frontier.svg"


def main(config: Config, smoke: bool) -> None:
    """Fit the sweep, choose a setting, draw the frontier, predict the held-out runs and score the predictions."""
    crossings = bs.time_to_threshold(bs.read_curves(config.curves), thresholds=config.thresholds)
    posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
    fronts = [
        bs.frontier(posterior, env_id=config.env_id, threshold=threshold) for threshold in config.thresholds[1::2]
    ]
    print(fronts[-1].table().iloc[::4].drop(columns="extrapolation").round(4).to_string(index=False))
    choice = bs.allocate(posterior, env_id=config.env_id, threshold=config.thresholds[-1])
    print(choice.to_json())
    predict_then_score(posterior, [config.held_out])
    held_out = bs.time_to_threshold(bs.read_curves(config.held_out), thresholds=config.thresholds)
    axes = bs.plot_frontier(fronts, observed=crossings, held_out=held_out)
    figure = axes.get_figure(root=True)
    if not smoke and figure is not None:
        figure.savefig(config.picture, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, no picture")
    smoke = parser.parse_args().smoke
    main(Config(warmup=100, draws=100) if smoke else Config(), smoke)
