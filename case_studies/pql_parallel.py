"""Do few gradient updates per env step, on many environments at once, scale as predictably as many on one?

Data: case_studies/data/pql_pendulum.parquet, PQL on 64 environments of Pendulum-v1 at UTD 0.02 to 0.08, made with
`bayescale sweep case_studies/data/pql_pendulum.toml`, and runs at half the lowest and twice the highest UTD, made with
pql_pendulum_heldout.toml, which no fit sees. Run time: half a minute on two cores. Expected: predictions for the
held-out runs, printed before they are read; how the runs turned out; coverage and errors. A small sweep, 36 runs of
which half use a rate that turned out too low: the bands are wide.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import predict_then_look

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """What the study reads and asks."""

    curves: Path = DATA / "pql_pendulum.parquet"
    held_out: Path = DATA / "pql_pendulum_heldout.parquet"
    thresholds: tuple[float, ...] = (-1000.0, -800.0, -600.0, -400.0, -200.0)
    warmup: int = 500
    draws: int = 1000


def main(config: Config, smoke: bool) -> None:
    """Fits, chooses, predicts the held-out runs, and then looks."""
    crossings = bs.time_to_threshold(bs.read_curves(config.curves), thresholds=config.thresholds)
    posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
    choice = bs.allocate(posterior, posterior.tasks[0], threshold=config.thresholds[-1])
    print(choice.to_json())
    predict_then_look(posterior, [config.held_out])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, converged or not")
    smoke = parser.parse_args().smoke
    main(Config(warmup=100, draws=100) if smoke else Config(), smoke)
