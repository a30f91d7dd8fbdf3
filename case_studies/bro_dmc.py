"""Do small sweeps of BRO on DeepMind Control predict UTDs beyond their ends, and a wider network? Does BRO beat SAC?

Data: three sweeps in case_studies/data, each made from the plan of the same name: bro_cartpole_balance.parquet,
bro_cartpole_balance_wide.parquet with a wider critic, and bro_cartpole_swingup.parquet. The held-out runs are
*_heldout.parquet of each task, at half the lowest and twice the highest UTD, and
bro_cartpole_balance_heldout_width.parquet, with a critic wider still. against_bro.parquet and
against_bro_swingup.parquet hold SAC on both tasks, at the batch size and seeds of the runs at UTD 8. One fit holds both
tasks; the returns of both lie between 0 and 1000. An env step is a decision, which lasts 8 steps of the simulator.

Run time: some minutes on two cores.

Expected result: predictions for the held-out runs, printed before they are read; the env steps of these runs, coverage
and errors; the median curves of BRO and SAC; and a picture of the predicted decisions over UTD with the held-out runs
on top.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import bayescale as bs
from held_out import convergence, draw, predict_then_score

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """Input files, thresholds and length of the chains."""

    sweeps: tuple[Path, ...] = tuple(sorted(path for path in DATA.glob("bro_*.parquet") if "heldout" not in path.stem))
    held_out: tuple[Path, ...] = tuple(sorted(DATA.glob("bro_*_heldout*.parquet")))
    sac: tuple[Path, ...] = tuple(sorted(DATA.glob("against_bro*.parquet")))
    thresholds: tuple[float, ...] = tuple(range(350, 601, 25))
    shown: float = 400.0  # threshold of the picture
    chains: int = 4
    draws: int = 1000
    warmup: int = 1000


def main(config: Config, picture: Path | None) -> None:
    """Fit the sweeps, predict the held-out runs, score the predictions and compare BRO with SAC."""
    posterior = bs.fit(
        bs.time_to_threshold(bs.read_curves(config.sweeps), thresholds=config.thresholds),
        chains=config.chains,
        draws=config.draws,
        warmup=config.warmup,
        require_convergence=picture is not None,
    )
    print(convergence(posterior))
    crossings = predict_then_score(posterior, config.held_out)
    print("\nmedian return over seeds at UTD 8:")
    for env_id, table in medians(config.held_out, config.sac):
        print(f"{env_id}\n{table.round(0).to_string()}")
    if picture is not None:
        draw(posterior, crossings, config.shown).savefig(picture, bbox_inches="tight")


def medians(bro: Sequence[Path], sac: Sequence[Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each task and its median returns at the UTD of SAC's runs, by env steps, algorithm and learning rate."""
    peers = bs.read_curves(sac)
    curves = pd.concat([bs.read_curves([path for path in bro if "width" not in path.stem]), peers])
    for env_id, own in curves[curves["utd"].isin(peers["utd"])].groupby("env_id"):
        yield (
            str(env_id),
            own.pivot_table("episode_return", "env_steps", ["algorithm", "learning_rate"], aggfunc="median"),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, two thresholds, no picture")
    if parser.parse_args().smoke:
        main(Config(thresholds=(400.0, 500.0), chains=1, draws=20, warmup=30), None)
    else:
        main(Config(), Path(__file__).with_name("bro_dmc.svg"))
