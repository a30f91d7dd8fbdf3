"""Fit a small sweep, train the setting that it recommends, add these runs and fit again: what do they buy?

Data: the first two seeds at UTD 1, 2 and 8 of case_studies/data/pendulum_trade_off.parquet: 72 runs of SAC on
Pendulum-v1. The second stage is four new runs, trained here.

Every step is a command that a user would type. The script prints each command before it runs it.

Run time: four minutes of one core for the two fits and the new runs.

Expected result: of four new runs three reach the return within the predicted interval, and one ends below it. The 90%
interval of the compute at the recommended setting narrows from 0.160 to 0.149 decades: four runs beside 72 add little.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Config:
    """Runs of the first stage, the return to reach, the price of an env step in flops, and the length of the chains."""

    curves: Path = DATA / "pendulum_trade_off.parquet"
    plan: Path = DATA / "pendulum_trade_off.toml"
    utds: tuple[float, ...] = (1.0, 2.0, 8.0)
    seeds: tuple[int, ...] = (0, 1)
    thresholds: str = "-800,-400,-300"
    threshold: float = -300.0
    env_step_price: str = "1e7"
    new_seeds: int = 4
    chains: tuple[str, ...] = ()


def run(folder: Path, *arguments: str) -> None:
    """Print `bayescale ARGUMENTS` and run it in `folder`, without its progress."""
    print(f"\n$ bayescale {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "bayescale", "--quiet", *arguments]
    subprocess.run(command, cwd=folder, check=True)


def recommend(config: Config, folder: Path, stage: str, *form: str, out: str) -> None:
    """Write the recommendations of a stage's fit in one form."""
    asked = [f"{stage}.nc", f"--threshold={config.threshold:g}", "--env-step-price", config.env_step_price]
    run(folder, "recommend", *asked, "--format", *form, "--out", out)


def fit_and_recommend(config: Config, folder: Path, curves: list[str], stage: str) -> pd.Series:
    """Fit curves, list the cheapest setting of each UTD, and return the row of the recommended one."""
    run(folder, "fit", *curves, f"--thresholds={config.thresholds}", *config.chains, "--out", f"{stage}.nc")
    recommend(config, folder, stage, "json", out=f"{stage}.json")
    table = pd.DataFrame(json.loads((folder / f"{stage}.json").read_text()))
    return table[table["recommended"]].iloc[0]


def compute_interval(posterior: bs.Posterior, setting: pd.Series, config: Config) -> tuple[float, float, float]:
    """Return quantiles 0.05, 0.5 and 0.95 of the flops of the median run at a setting."""
    row = setting[["env_id", "utd", "batch_size", "learning_rate"]].to_frame().T
    predicted = posterior.predict(row).set_index("threshold").loc[config.threshold]
    flops_per_step = setting["flops_q50"] / setting["env_steps_q50"]
    low, middle, high = predicted[["law_q05", "law_q50", "law_q95"]].to_numpy(float) * flops_per_step
    return low, middle, high


def main(config: Config, folder: Path) -> None:
    """Fit the first stage, train its recommendation, fit both stages, and compare what the two fits say."""
    curves = bs.read_curves(config.curves)
    first = curves[curves["utd"].isin(config.utds) & curves["seed"].isin(config.seeds)]
    first.to_parquet(folder / "first.parquet", index=False)

    chosen = fit_and_recommend(config, folder, ["first.parquet"], "first")
    form = ("plan", "--base", str(config.plan), "--seeds", str(config.new_seeds))
    recommend(config, folder, "first", *form, out="second.toml")
    print((folder / "second.toml").read_text())
    run(folder, "sweep", "second.toml", "--out", "second")

    new = bs.time_to_threshold(bs.read_curves(folder / "second" / "curves.parquet"), thresholds=[config.threshold])
    seen = new["env_steps_upper"].where(~new["censored"], np.inf)
    settings = new[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates()
    before = bs.load(folder / "first.nc")
    foretold = before.predict(settings).set_index("threshold").loc[config.threshold]
    inside = ((seen > foretold["q05"]) & (seen <= foretold["q95"])).sum()
    print(
        f"\nforetold for a run: {foretold['q50']:,.0f} env steps, "
        f"90% between {foretold['q05']:,.0f} and {foretold['q95']:,.0f}"
    )
    print(f"the new runs: {', '.join(f'{steps:,.0f}' for steps in sorted(seen))}; {inside} of {len(seen)} inside")

    again = fit_and_recommend(config, folder, ["first.parquet", "second/curves.parquet"], "both")
    both = bs.load(folder / "both.nc")
    print("\ncompute of the median run at the setting of the second stage, flops:")
    for name, posterior in (("one stage", before), ("two stages", both)):
        low, middle, high = compute_interval(posterior, chosen, config)
        width = np.log10(high / low)
        print(f"{name}: {middle:.3g} (90%: {low:.3g} to {high:.3g}), {width:.3f} decades wide")
    for name, row in (("one stage", chosen), ("two stages", again)):
        print(
            f"a fit of {name} recommends UTD {row['utd']:g}, batch size {row['batch_size']}, learning rate "
            f"{row['learning_rate']:.3g}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, one new run")
    smoke = parser.parse_args().smoke
    short = ("--fast",)
    with tempfile.TemporaryDirectory() as folder:
        main(Config(new_seeds=1, chains=short) if smoke else Config(), Path(folder))
