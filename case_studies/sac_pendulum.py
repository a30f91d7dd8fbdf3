"""How should SAC be run on Pendulum-v1?

Data: case_studies/data/sac_pendulum.parquet, made with `bayescale sweep case_studies/data/sac_pendulum.toml`.
Run time: about a minute on two cores. Expected: a frontier that falls with UTD, a recommended setting with its 90%
credible interval, and the picture of the README.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Config:
    """What the study reads, asks and writes."""

    curves: Path = HERE / "data" / "sac_pendulum.parquet"
    thresholds: tuple[float, ...] = (-1000.0, -800.0, -600.0, -400.0, -200.0)
    env_id: str = "Pendulum-v1"
    draws: int = 1000
    picture: Path = HERE / "pendulum_frontier.svg"


def main(config: Config, smoke: bool) -> None:
    """Fits, predicts, chooses and draws."""
    crossings = bs.time_to_threshold(bs.read_curves(config.curves), thresholds=config.thresholds)
    posterior = bs.fit(crossings, draws=config.draws, require_convergence=not smoke)
    fronts = [bs.frontier(posterior, config.env_id, threshold) for threshold in config.thresholds[1::2]]
    print(fronts[-1].table().iloc[::4].round(4).to_string(index=False))
    choice = bs.allocate(posterior, config.env_id, threshold=config.thresholds[-1])
    print(choice.to_json())
    axes = bs.plot_frontier(fronts)
    figure = axes.get_figure(root=True)
    if not smoke and figure is not None:
        figure.savefig(config.picture, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, no picture")
    smoke = parser.parse_args().smoke
    main(Config(draws=100) if smoke else Config(), smoke)
