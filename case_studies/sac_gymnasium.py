"""Does one fit of small SAC sweeps on several Gymnasium tasks predict runs at UTDs beyond both ends of the sweeps?

Data: all sweeps case_studies/data/sac_*.parquet, each made from the plan of the same name, and the runs of the plans
*_heldout*.toml, which no fit sees. One fit pools the tasks on normalised returns; sac_return_scale.csv gives each
task's scale: 0 is the mean return of its untrained agents, 1000 the highest return that four in five of its
configurations reached, so that a threshold is about as hard on every task. On Reacher-v5, 0 is the return of an arm
that stands still, -10.4 on the starts of its evaluations: untrained arms that move get less, -16 on average, and
thresholds in between would be reached without having learnt. The plans *_recommended_*.toml are at settings that fits
of the sweeps recommended, which saw shorter runs on Reacher-v5, or for Reacher-v5 itself three of its UTDs, or for
HalfCheetah-v5 its own sweep alone. Its networks are four times as wide as the others'. Run time: some minutes on two
cores. Expected: predictions for every held-out plan, printed before its runs are read, then coverage and error of each,
and a picture of the predicted env steps over UTD with the held-out runs on top.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import bayescale as bs
from held_out import draw, predict_then_look, state

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """What the study reads, asks and writes."""

    sweeps: tuple[Path, ...] = tuple(sorted(path for path in DATA.glob("sac_*.parquet") if "heldout" not in path.stem))
    held_out: tuple[Path, ...] = tuple(sorted(DATA.glob("sac_*_heldout*.parquet")))
    return_scale: Path = DATA / "sac_return_scale.csv"
    # Normalised. Nearer to 0 chance is above them: on Hopper-v5 a quarter of the runs cross 400 within 600 env steps.
    thresholds: tuple[float, ...] = (700.0, 850.0, 1000.0)
    shown: float = 700.0  # the threshold of the picture
    chains: int = 4
    draws: int = 1000
    warmup: int = 1000


def main(config: Config, picture: Path | None) -> None:
    """Fits all tasks, predicts the held-out runs, and then looks."""
    # Within a task all critics are of one size, which is then no axis of the fit.
    fitted = bs.time_to_threshold(
        bs.read_curves(config.sweeps).drop(columns="model_size"), config.thresholds, config.return_scale
    )
    posterior = bs.fit(
        fitted,
        chains=config.chains,
        draws=config.draws,
        warmup=config.warmup,
        require_convergence=picture is not None,
    )
    print(state(posterior))

    seen = predict_then_look(posterior, config.held_out, config.return_scale)
    if picture is not None:
        draw(posterior, seen, config.shown).savefig(picture, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, two thresholds, no picture")
    if parser.parse_args().smoke:
        main(Config(thresholds=(700.0, 1000.0), chains=1, draws=20, warmup=30), None)
    else:
        main(Config(), Path(__file__).with_name("sac_gymnasium.svg"))
