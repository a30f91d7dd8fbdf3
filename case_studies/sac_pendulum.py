"""How should SAC be run on Pendulum-v1, and does the answer hold at a UTD that was never swept?

Data: case_studies/data/sac_pendulum.parquet, made with `bayescale sweep case_studies/data/sac_pendulum.toml`, and runs
at twice its highest UTD, made with sac_pendulum_heldout.toml, which no fit sees. Run time: a minute on two cores.
Expected: a frontier that falls with UTD, a recommended setting with its 90% credible interval, the picture of the
README, and a prediction for the held-out runs that is printed before they are read, with its scores after.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import predict_then_look

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Config:
    """What the study reads, asks and writes."""

    curves: Path = HERE / "data" / "sac_pendulum.parquet"
    held_out: Path = HERE / "data" / "sac_pendulum_heldout.parquet"
    thresholds: tuple[float, ...] = (-1000.0, -800.0, -600.0, -400.0, -200.0)
    env_id: str = "Pendulum-v1"
    warmup: int = 500
    draws: int = 1000
    picture: Path = HERE / "pendulum_frontier.svg"


def main(config: Config, smoke: bool) -> None:
    """Fits, chooses, draws, predicts, and then looks."""
    crossings = bs.time_to_threshold(bs.read_curves(config.curves), thresholds=config.thresholds)
    posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
    fronts = [bs.frontier(posterior, config.env_id, threshold) for threshold in config.thresholds[1::2]]
    print(fronts[-1].table().iloc[::4].round(4).to_string(index=False))
    choice = bs.allocate(posterior, config.env_id, threshold=config.thresholds[-1])
    print(choice.to_json())
    axes = bs.plot_frontier(fronts)
    figure = axes.get_figure(root=True)
    if not smoke and figure is not None:
        figure.savefig(config.picture, bbox_inches="tight")

    predict_then_look(posterior, [config.held_out])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, no picture")
    smoke = parser.parse_args().smoke
    main(Config(warmup=100, draws=100) if smoke else Config(), smoke)
