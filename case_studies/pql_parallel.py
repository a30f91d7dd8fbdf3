"""Does training scale as predictably with few updates per env step on many environments as with many updates on one?

Data: two sweeps of PQL in case_studies/data, each made from the plan of the same name. The runs of the plans
*_heldout.toml, at half the lowest and twice the highest UTD, are held out. The sweep pql_pendulum trains on 64
environments of Pendulum-v1 at UTD 0.02 to 0.08; half of its runs use a learning rate that turned out too low. The sweep
pql_playground trains on 1,024 environments of CartpoleSwingup of MuJoCo Playground at UTD 0.004 to 0.016, with networks
and physics on a GPU. The returns of pql_playground rise slowly from 80 to 200 and then fast; its thresholds lie above
200.

Run time: a minute on two cores.

Expected result for each sweep: the setting to choose; predictions for the held-out runs, printed before they are read;
the env steps of these runs, coverage and errors.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import convergence, predict_then_score

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """Thresholds by the name of the sweep, and length of the chains."""

    thresholds: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("pql_pendulum", (-1000.0, -800.0, -600.0, -400.0, -200.0)),
        ("pql_playground", (250.0, 350.0, 450.0, 550.0, 650.0, 750.0)),
    )
    warmup: int = 500
    draws: int = 1000


def main(config: Config, smoke: bool) -> None:
    """Fit each sweep, choose a setting, predict the held-out runs and score the predictions."""
    for name, thresholds in config.thresholds:
        crossings = bs.time_to_threshold(bs.read_curves(DATA / f"{name}.parquet"), thresholds=thresholds)
        posterior = bs.fit(crossings, warmup=config.warmup, draws=config.draws, require_convergence=not smoke)
        print(f"\n{name}: {convergence(posterior)}")
        print(bs.allocate(posterior, env_id=posterior.tasks[0], threshold=thresholds[-1]).to_json())
        predict_then_score(posterior, [DATA / f"{name}_heldout.parquet"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, converged or not")
    smoke = parser.parse_args().smoke
    main(Config(warmup=100, draws=100) if smoke else Config(), smoke)
