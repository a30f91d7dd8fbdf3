"""Does one fit of small SAC sweeps on several Gymnasium tasks predict runs at UTDs beyond both ends of the sweeps?

Data: all sweeps case_studies/data/sac_*.parquet, each made from the plan of the same name, and the runs of the plans
*_heldout*.toml, which no fit sees. One fit pools the tasks on normalised returns; sac_return_scale.csv gives each
task's scale: 0 is the mean return of its untrained agents, 1000 the highest return that four in five of its
configurations reached, so that a threshold is about as hard on every task. Run time: some minutes on two cores.
Expected: predictions for every held-out plan, printed before its runs are read, then coverage and error of each, and a
picture of the predicted env steps over UTD with the held-out runs on top.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.plots import plot_data
from bayescale.runners import load_plan

DATA = Path(__file__).parent / "data"
CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]


@dataclass(frozen=True)
class Config:
    """What the study reads, asks and writes."""

    sweeps: tuple[Path, ...] = tuple(sorted(path for path in DATA.glob("sac_*.parquet") if "heldout" not in path.stem))
    held_out: tuple[Path, ...] = tuple(sorted(DATA.glob("sac_*_heldout*.parquet")))
    return_scale: Path = DATA / "sac_return_scale.csv"
    thresholds: tuple[float, ...] = (400.0, 550.0, 700.0, 850.0, 1000.0)  # normalised
    shown: float = 700.0  # the threshold of the picture
    chains: int = 4
    draws: int = 1000
    warmup: int = 500


def main(config: Config, picture: Path | None) -> None:
    """Fits all tasks, predicts the held-out runs, and then looks."""
    # The tasks' critics differ by the width of their observations alone, which is no axis of the fit.
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
    worst = posterior.diagnostics()
    print(f"{posterior.status.value}; R-hat {worst.r_hat.max():.3f}, bulk ESS {worst.ess_bulk.min():.0f}")

    predicted = {plan: posterior.predict(settings(plan)) for plan in config.held_out}
    for plan, table in predicted.items():
        print(f"\npredicted for {plan.stem}, before its runs are read:")
        print(table[[*CONFIG[1:], "threshold", "q05", "q50", "q95", "p_reach"]].round(4).to_string(index=False))

    seen = {
        plan: bs.time_to_threshold(bs.read_curves(plan), config.thresholds, config.return_scale)
        for plan in config.held_out
    }
    rows = [{"plan": plan.stem, **bs.score(predicted[plan], seen[plan])._asdict()} for plan in config.held_out]
    every = [pd.concat(tables.values()).drop_duplicates() for tables in (predicted, seen)]
    rows.append({"plan": "all", **bs.score(*every)._asdict()})
    print(f"\n{pd.DataFrame(rows).round(3).to_string(index=False)}")
    if picture is not None:
        draw(posterior, every[1], config.shown).savefig(picture, bbox_inches="tight")


def settings(plan: Path) -> pd.DataFrame:
    """The configurations of the plan beside a table of runs; the runs are not read."""
    runs = load_plan(plan.with_suffix(".toml")).runs
    return pd.DataFrame([{name: getattr(run, name) for name in CONFIG} for run in runs]).drop_duplicates()


def draw(posterior: bs.Posterior, seen: pd.DataFrame, threshold: float) -> Figure:
    """A panel per held-out setting: env steps that a new run needs, over UTD, and the runs on top."""
    panels = [runs for _, runs in seen.groupby(CONFIG[:1] + CONFIG[2:])]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 4.4 * rows), layout="constrained")
    for i, runs in enumerate(panels):
        setting = runs[["env_id", "batch_size", "learning_rate"]].drop_duplicates()
        table = posterior.predict(setting.merge(pd.DataFrame({"utd": np.geomspace(0.1, 10.0, 25)}), how="cross"))
        table = table[np.isclose(table["threshold"], threshold)].reset_index(drop=True)
        table = table.rename(columns={level: f"env_steps_{level}" for level in ("q05", "q50", "q95")})
        ax = plot_data(table, runs, threshold, figure.add_subplot(rows, columns, i + 1))
        ax.set_ylim(top=4.0 * runs["env_steps_lower"].max())  # some runs never get there: the band may have no top
        env_id, batch_size, learning_rate = setting.iloc[0]
        ax.set_xlabel(f"UTD; {env_id}, batch size {batch_size}, learning rate {learning_rate:.2g}")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, two thresholds, no picture")
    if parser.parse_args().smoke:
        main(Config(thresholds=(700.0, 1000.0), chains=1, draws=20, warmup=30), None)
    else:
        main(Config(), Path(__file__).with_name("sac_gymnasium.svg"))
