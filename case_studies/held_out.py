"""Predict held-out runs before they are read, then score and draw them.

Several case studies share these functions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.reporting.plots import plot_data

# Columns that name a configuration.
CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]
SETTINGS = [*CONFIG, "model_size"]
# Columns of the predictions that are printed.
SHOWN = [*SETTINGS, "threshold", "q05", "q50", "q95", "p_reach"]


def predict_then_score(
    posterior: bs.Posterior, tables: Sequence[Path], return_scale: Path | None = None
) -> pd.DataFrame:
    """Print predictions for the runs in `tables`, then read the runs, print their scores and return their crossings."""
    predicted = {table: posterior.predict(read_settings(table)) for table in tables}
    for table, rows in predicted.items():
        print(f"\npredicted for {table.stem}, before its runs are read:")
        print(rows[SHOWN].round(4).to_string(index=False))
    seen = {
        table: bs.time_to_threshold(bs.read_curves(table), thresholds=posterior.thresholds, return_scale=return_scale)
        for table in tables
    }
    scores = []
    for table, rows in seen.items():
        print(f"\n{table.stem}, env steps of its runs:")
        reached = rows["env_steps_upper"].groupby([rows[name] for name in (*SETTINGS, "threshold")])
        print(reached.agg(["min", "median", "max"]).reset_index().to_string(index=False))
        scores.append({"runs": table.stem, **bs.score(predicted[table], crossings=rows)._asdict()})
    predictions, crossings = (pd.concat(rows.values()).drop_duplicates() for rows in (predicted, seen))
    if len(tables) > 1:
        scores.append({"runs": "all", **bs.score(predictions, crossings=crossings)._asdict()})
    print(f"\n{pd.DataFrame(scores).round(3).to_string(index=False)}")
    print(coverage_by_probability(posterior, crossings))
    return crossings


def coverage_by_probability(posterior: bs.Posterior, crossings: pd.DataFrame) -> str:
    """Return a sentence with the coverage of run lengths, where censored run lengths count by their probability.

    `bayescale.score` instead rounds run lengths and quantiles up to the next evaluation. Rounded intervals cover more
    than their nominal share, and more so the rarer the evaluations are.
    """
    shares = bs.coverage(
        posterior, crossings=crossings.reset_index(drop=True), rng=np.random.default_rng(0), levels=(0.5, 0.9)
    )
    covered = ", ".join(f"{share:.1%} inside {level:.0%} intervals" for level, share in shares["coverage"].items())
    worst = shares["standard_error"].max()
    # A single configuration has no standard error.
    precision = f" (standard error {worst:.1%})" if np.isfinite(worst) else ""
    return f"with times between evaluations counted by their probability: {covered}{precision}"


def convergence(posterior: bs.Posterior) -> str:
    """Return a line with the fit's status and its worst diagnostics."""
    worst = posterior.diagnostics()
    diverging = int(posterior.statistics["diverging"].sum())
    return (
        f"{posterior.status.value}; R-hat {worst.r_hat.max():.3f}, bulk ESS {worst.ess_bulk.min():.0f}, "
        f"{diverging} divergent draws"
    )


def read_settings(table: Path) -> pd.DataFrame:
    """Return the configurations of a table of runs without reading the runs' returns."""
    return pd.read_parquet(table, columns=SETTINGS).drop_duplicates(ignore_index=True)


def draw(posterior: bs.Posterior, crossings: pd.DataFrame, threshold: float) -> Figure:
    """Draw the predicted env steps over UTD with the observed runs on top, one panel per batch size, rate and size."""
    panels = [runs for _, runs in crossings.groupby([name for name in SETTINGS if name != "utd"])]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    utd = pd.DataFrame({"utd": np.geomspace(0.8 * crossings["utd"].min(), 1.25 * crossings["utd"].max(), 25)})
    figure = Figure(figsize=(5.2 * columns, 4.4 * rows), layout="constrained")
    for i, runs in enumerate(panels):
        setting = runs[[name for name in SETTINGS if name != "utd"]].drop_duplicates()
        # Runs are drawn as intervals, so the band is not rounded up to evaluations.
        unrounded = utd.assign(evaluation_interval=1)
        table = posterior.predict(setting.merge(unrounded, how="cross"))
        table = table[np.isclose(table["threshold"], threshold)].reset_index(drop=True)
        table = table.rename(columns={level: f"env_steps_{level}" for level in ("q05", "q50", "q95")})
        ax = plot_data(table, runs, threshold, ax=figure.add_subplot(rows, columns, i + 1))
        # The band has no upper end where more than 5% of the runs never reach the threshold.
        ax.set_ylim(top=4.0 * runs["env_steps_lower"].max())
        env_id, batch_size, learning_rate, model_size = setting.iloc[0]
        size = f",\n{model_size:,} critic parameters" if "model_size" in posterior.crossings else ""
        ax.set_xlabel(f"UTD; {env_id}, batch size {batch_size}, learning rate {learning_rate:.2g}{size}")
    return figure
