"""Does one fit of small SAC sweeps on several Gymnasium tasks predict runs at UTDs beyond both ends of the sweeps?

Data: the sweeps case_studies/data/sac_*.parquet, each made from the plan of the same name. The runs of the plans
*_heldout*.toml are held out. One fit pools the tasks on normalised returns. In sac_return_scale.csv, 0 is the mean
return of a task's untrained agents and 1000 the highest return that four in five of the task's configurations reached,
so that a threshold is about equally hard on every task. On Reacher-v5, 0 is instead the return of an arm that stands
still, -10.4 on the start states of its evaluations. Untrained arms move and get -16 on average, so they would reach
thresholds between -16 and -10.4 without learning. The plans *_recommended_*.toml hold settings that earlier fits
recommended. These fits saw shorter runs on Reacher-v5; the fit for Reacher-v5 itself saw three of its UTDs, and the fit
for HalfCheetah-v5 saw the sweep of HalfCheetah-v5 alone. The networks of HalfCheetah-v5 are four times as wide as the
others.

Run time: some minutes on two cores.

Expected result: predictions for every held-out plan, printed before its runs are read; then their coverage and errors;
and a picture of the predicted env steps over UTD with the held-out runs on top.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import convergence, draw, predict_then_score

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """Input files, thresholds and length of the chains."""

    sweeps: tuple[Path, ...] = tuple(sorted(path for path in DATA.glob("sac_*.parquet") if "heldout" not in path.stem))
    held_out: tuple[Path, ...] = tuple(sorted(DATA.glob("sac_*_heldout*.parquet")))
    return_scale: Path = DATA / "sac_return_scale.csv"
    # Normalised returns. Lower thresholds are reached by chance: on Hopper-v5, a quarter of the runs cross 400 within
    # 600 env steps.
    thresholds: tuple[float, ...] = (700.0, 850.0, 1000.0)
    shown: float = 700.0  # threshold of the picture
    chains: int = 4
    draws: int = 1000
    warmup: int = 1000


def main(config: Config, picture: Path | None) -> None:
    """Fit all tasks, predict the held-out runs and score the predictions."""
    # All critics of a task have one size, so the fit leaves model size out.
    fitted = bs.time_to_threshold(
        bs.read_curves(config.sweeps).drop(columns="model_size"),
        thresholds=config.thresholds,
        return_scale=config.return_scale,
    )
    posterior = bs.fit(
        fitted,
        chains=config.chains,
        draws=config.draws,
        warmup=config.warmup,
        require_convergence=picture is not None,
    )
    print(convergence(posterior))

    crossings = predict_then_score(posterior, config.held_out, config.return_scale)
    if picture is not None:
        draw(posterior, crossings, config.shown).savefig(picture, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, two thresholds, no picture")
    if parser.parse_args().smoke:
        main(Config(thresholds=(700.0, 1000.0), chains=1, draws=20, warmup=30), None)
    else:
        main(Config(), Path(__file__).with_name("sac_gymnasium.svg"))
