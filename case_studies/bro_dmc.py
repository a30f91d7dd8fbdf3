"""Do small sweeps of BRO on DeepMind Control predict UTDs beyond their ends, and a wider network? Does BRO beat SAC?

Data: the sweeps case_studies/data/bro_cartpole_balance.parquet, the same with a wider critic, ..._wide.parquet, and
bro_cartpole_swingup.parquet, each made from the plan of the same name; and runs which no fit sees: ..._heldout.parquet
of each task at half the lowest and twice the highest UTD, bro_cartpole_balance_heldout_width.parquet with a critic
wider still. against_bro.parquet holds SAC on cartpole-balance, at the batch size and seeds of those at UTD 8. One fit
has both tasks, whose returns both run from 0 to 1000. Env steps are decisions, each of 8 steps of the simulator. Run
time: some minutes on two cores. Expected: predictions for the held-out runs, printed before they are read, then how the
runs turned out, coverage and errors; the median curves of BRO and SAC; a picture of the predicted decisions over UTD
with the held-out runs on top.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import bayescale as bs
from held_out import draw, predict_then_look, state

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """What the study reads, asks and writes."""

    sweeps: tuple[Path, ...] = tuple(sorted(path for path in DATA.glob("bro_*.parquet") if "heldout" not in path.stem))
    held_out: tuple[Path, ...] = tuple(sorted(DATA.glob("bro_*_heldout*.parquet")))
    at_high_utd: tuple[Path, Path] = (DATA / "bro_cartpole_balance_heldout.parquet", DATA / "against_bro.parquet")
    thresholds: tuple[float, ...] = tuple(range(350, 601, 25))
    shown: float = 400.0  # the threshold of the picture
    chains: int = 4
    draws: int = 1000
    warmup: int = 1000


def main(config: Config, picture: Path | None) -> None:
    """Fits, predicts the held-out runs, looks, and sets BRO beside SAC."""
    posterior = bs.fit(
        bs.time_to_threshold(bs.read_curves(config.sweeps), config.thresholds),
        chains=config.chains,
        draws=config.draws,
        warmup=config.warmup,
        require_convergence=picture is not None,
    )
    print(state(posterior))
    seen = predict_then_look(posterior, config.held_out)
    print("\nmedian return over seeds at UTD 8:")
    print(medians(*config.at_high_utd).round(0).to_string())
    if picture is not None:
        draw(posterior, seen, config.shown).savefig(picture, bbox_inches="tight")


def medians(bro: Path, sac: Path) -> pd.DataFrame:
    """Median returns by env steps, a column per algorithm and learning rate, at the one UTD of SAC's runs."""
    curves = bs.read_curves([bro, sac])
    alike = curves[curves["utd"].isin(curves.loc[curves["algorithm"] == "SAC", "utd"])]
    return alike.pivot_table("episode_return", "env_steps", ["algorithm", "learning_rate"], aggfunc="median")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, two thresholds, no picture")
    if parser.parse_args().smoke:
        main(Config(thresholds=(400.0, 500.0), chains=1, draws=20, warmup=30), None)
    else:
        main(Config(), Path(__file__).with_name("bro_dmc.svg"))
