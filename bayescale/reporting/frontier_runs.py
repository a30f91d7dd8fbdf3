"""Draw runs on the plot of the frontier: every run as a dot, and the median of a setting's runs as a larger mark.

The curve shows the median run, so the medians should lie on it: a thin line joins each to the curve at its UTD. Single
runs scatter along the same diagonal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.laws import flops

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayescale.decisions.frontier import Frontier

# Factors up to which a run's setting is near the drawn one. Flops are proportional to batch and model size.
NEAR = {"batch_size": 1.25, "learning_rate": 2.0, "model_size": 1.25}
SAME_UTD = 0.1  # difference of log UTDs up to which a run belongs to a row of the frontier
JOINED: dict[str, Any] = {"linewidth": 0.9, "linestyle": "-", "alpha": 0.8}  # line from a median to its forecast
MARKS: dict[str, dict[str, Any]] = {
    "o": {"markersize": 5.0, "markerfacecolor": "white"},
    "D": {"markersize": 5.5, "markeredgecolor": "black"},
}


def draw_runs(
    ax: Axes, each: Frontier, table: pd.DataFrame, runs: pd.DataFrame | None, colour: str, marker: str
) -> tuple[Float[np.ndarray, "run 2"], Float[np.ndarray, "median 2"]]:
    """Draw the runs at the setting of each UTD, or at the nearest setting that is near.

    The median counts runs that have not reached the return as infinite; an infinite median is not drawn.

    Args:
        ax: the axes.
        each: the frontier, whose task and threshold the runs must have.
        table: `each.table()`.
        runs: crossings; None: no runs.
        colour: colour of the frontier.
        marker: a key of `MARKS`, for the medians.

    Returns:
        The places of single runs and those of medians, as env steps and flops.
    """
    singles, medians = [np.empty((0, 2))], [np.empty((0, 2))]
    if runs is None:
        return singles[0], medians[0]
    rows = runs[(runs["env_id"] == each.env_id) & np.isclose(runs["threshold"], each.threshold, rtol=1e-4)]
    for utd, at_utd in rows.groupby("utd"):
        row = table.loc[abs(np.log(table["utd"] / float(str(utd)))).idxmin()]
        here = _nearest_setting(at_utd, row)
        if here is None or abs(np.log(row["utd"] / float(str(utd)))) > SAME_UTD:
            continue
        size = float(here["model_size"].iloc[0]) if "model_size" in here else float(row["model_size"])
        steps = here["env_steps_upper"].where(~here["censored"], np.inf).to_numpy(float)
        steps = np.append(steps, np.median(steps))
        spent = np.asarray(flops(size, float(here["batch_size"].iloc[0]), float(str(utd)), steps))
        single, median = np.stack([steps, spent], axis=1)[:-1], np.array([[steps[-1], spent[-1]]])
        single, median = (each[np.isfinite(each).all(axis=1)] for each in (single, median))
        ax.plot(*single.T, "o", color=colour, markersize=2.0, alpha=0.6, markeredgewidth=0, zorder=3)
        for end in median:
            ax.plot(*np.stack([end, row[["env_steps_q50", "flops_q50"]].to_numpy(float)]).T, **JOINED, color=colour)
        ax.plot(*median.T, marker, color=colour, zorder=4, markeredgewidth=0.9, **MARKS[marker])
        singles.append(single)
        medians.append(median)
    return np.concatenate(singles), np.concatenate(medians)


def _nearest_setting(runs: pd.DataFrame, row: pd.Series) -> pd.DataFrame | None:
    """Return the runs of the setting nearest to a row of the frontier; None if none is near."""
    drawn = {"batch_size": row["batch_size_q50"], "learning_rate": row["learning_rate_q50"]}
    if "model_size" in runs:
        drawn["model_size"] = row["model_size"]
    away = pd.DataFrame({name: abs(np.log(runs[name] / at)) for name, at in drawn.items()})
    near = (away <= [np.log(NEAR[name]) for name in drawn]).all(axis=1)
    if not near.any():
        return None
    at = int((away**2).sum(axis=1).where(near, np.inf).to_numpy().argmin())
    nearest = runs[list(drawn)].iloc[at]
    return pd.DataFrame(runs[(runs[list(drawn)] == nearest).all(axis=1)])
