"""Runs that no fit has seen: predicted first, then read and scored, and drawn; shared by the studies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.reporting.plots import plot_data

CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]
SETTINGS = [*CONFIG, "model_size"]
SHOWN = [*SETTINGS, "threshold", "q05", "q50", "q95", "p_reach"]


def predict_then_look(
    posterior: bs.Posterior, tables: Sequence[Path], return_scale: Path | None = None
) -> pd.DataFrame:
    """Crossings of the runs in `tables`, whose predictions are printed before, and whose scores after they are read."""
    predicted = {table: posterior.predict(settings(table)) for table in tables}
    for table, rows in predicted.items():
        print(f"\npredicted for {table.stem}, before its runs are read:")
        print(rows[SHOWN].round(4).to_string(index=False))
    seen = {table: bs.time_to_threshold(bs.read_curves(table), posterior.thresholds, return_scale) for table in tables}
    scores = []
    for table, rows in seen.items():
        print(f"\n{table.stem}, env steps of its runs:")
        reached = rows["env_steps_upper"].groupby([rows[name] for name in (*SETTINGS, "threshold")])
        print(reached.agg(["min", "median", "max"]).reset_index().to_string(index=False))
        scores.append({"runs": table.stem, **bs.score(predicted[table], rows)._asdict()})
    every = [pd.concat(rows.values()).drop_duplicates() for rows in (predicted, seen)]
    if len(tables) > 1:
        scores.append({"runs": "all", **bs.score(*every)._asdict()})
    print(f"\n{pd.DataFrame(scores).round(3).to_string(index=False)}")
    print(by_probability(posterior, every[1]))
    return every[1]


def by_probability(posterior: bs.Posterior, crossings: pd.DataFrame) -> str:
    """The share of times inside their intervals if one that an evaluation bounds counts by its probability, in words.

    Scores take a time for that of the evaluation that shows it, and quantiles for whole evaluations too: such intervals
    hold more than they say, the more the rarer evaluations are.
    """
    shares = bs.coverage(posterior, crossings.reset_index(drop=True), np.random.default_rng(0), (0.5, 0.9))
    told = ", ".join(f"{share:.1%} inside {level:.0%} intervals" for level, share in shares["coverage"].items())
    worst = shares["standard_error"].max()
    known = f" (standard error {worst:.1%})" if np.isfinite(worst) else ""  # that of one configuration is not
    return f"with times between evaluations counted by their probability: {told}{known}"


def state(posterior: bs.Posterior) -> str:
    """Whether the fit converged, in words and numbers."""
    worst = posterior.diagnostics()
    diverging = int(posterior.statistics["diverging"].sum())
    return (
        f"{posterior.status.value}; R-hat {worst.r_hat.max():.3f}, bulk ESS {worst.ess_bulk.min():.0f}, "
        f"{diverging} divergent draws"
    )


def settings(table: Path) -> pd.DataFrame:
    """What was run, of a table of runs; what came of it is not read."""
    return pd.read_parquet(table, columns=SETTINGS).drop_duplicates(ignore_index=True)


def draw(posterior: bs.Posterior, seen: pd.DataFrame, threshold: float) -> Figure:
    """A panel per setting of the runs: env steps that a new run needs, over UTD, and the runs on top."""
    panels = [runs for _, runs in seen.groupby([name for name in SETTINGS if name != "utd"])]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    utd = pd.DataFrame({"utd": np.geomspace(0.8 * seen["utd"].min(), 1.25 * seen["utd"].max(), 25)})
    figure = Figure(figsize=(5.2 * columns, 4.4 * rows), layout="constrained")
    for i, runs in enumerate(panels):
        setting = runs[[name for name in SETTINGS if name != "utd"]].drop_duplicates()
        between = utd.assign(evaluation_interval=1)  # runs are drawn as intervals, so the band need not be rounded up
        table = posterior.predict(setting.merge(between, how="cross"))
        table = table[np.isclose(table["threshold"], threshold)].reset_index(drop=True)
        table = table.rename(columns={level: f"env_steps_{level}" for level in ("q05", "q50", "q95")})
        ax = plot_data(table, runs, threshold, figure.add_subplot(rows, columns, i + 1))
        ax.set_ylim(top=4.0 * runs["env_steps_lower"].max())  # some runs never get there: the band may have no top
        env_id, batch_size, learning_rate, model_size = setting.iloc[0]
        size = f",\n{model_size:,} critic parameters" if "model_size" in posterior.crossings else ""
        ax.set_xlabel(f"UTD; {env_id}, batch size {batch_size}, learning rate {learning_rate:.2g}{size}")
    return figure
