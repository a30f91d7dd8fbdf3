"""Do few gradient updates per env step, on many environments at once, scale as predictably as many on one?

Data: two sweeps of PQL, each made from the plan of the same name in case_studies/data, and runs at half the lowest and
twice the highest UTD, made with the plans *_heldout.toml, which no fit sees. pql_pendulum: 64 environments of
Pendulum-v1, UTD 0.02 to 0.08, a small sweep of which half the runs use a rate that turned out too low.
pql_playground: 1,024 environments of MuJoCo Playground's CartpoleSwingup, UTD 0.004 to 0.016, networks and physics on a
GPU; its returns rise slowly from 80 to 200 and then fast, and the thresholds lie above that. Run time: a minute on two
cores. Expected, of each: the setting to choose, predictions for the held-out runs, printed before they are read, how
the runs turned out, coverage and errors.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import predict_then_look, state

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """What the study reads and asks."""

    thresholds: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("pql_pendulum", (-1000.0, -800.0, -600.0, -400.0, -200.0)),
        ("pql_playground", (250.0, 350.0, 450.0, 550.0, 650.0, 750.0)),
    )  # by the name of the sweep
    warmup: int = 500
    draws: int = 1000


def main(config: Config, smoke: bool) -> None:
    """Of each sweep: fits, chooses, predicts the held-out runs, and then looks."""
    for name, thresholds in config.thresholds:
        crossings = bs.time_to_threshold(bs.read_curves(DATA / f"{name}.parquet"), thresholds=thresholds)
        posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
        print(f"\n{name}: {state(posterior)}")
        print(bs.allocate(posterior, posterior.tasks[0], threshold=thresholds[-1]).to_json())
        predict_then_look(posterior, [DATA / f"{name}_heldout.parquet"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, converged or not")
    smoke = parser.parse_args().smoke
    main(Config(warmup=100, draws=100) if smoke else Config(), smoke)
