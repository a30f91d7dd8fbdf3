"""Plot the frontier, the response surface and the learning curves of a task.

A plot function draws a finished table on an `Axes` and returns it; it computes no estimate and leaves pyplot alone.
Without `ax` it makes a figure, which `plot_frontier(front).figure.savefig("frontier.png")` saves. Solid lines and
darker bands lie within the range of the data; dashed lines and lighter bands extrapolate.

matplotlib warns about names in letters that its font lacks. This setting adds a font that has them:
`matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK JP"]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.data.curves import run_columns
from bayescale.errors import InputError
from bayescale.reporting.style import (
    BLUE,
    ORANGE,
    finish,
    log_axis,
    ordered_colours,
    own_axes,
    pieces,
    plain,
    scientific,
    si,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


HOLLOW: dict[str, Any] = {"markersize": 5, "fillstyle": "none", "markeredgewidth": 0.9}
UTD_LABEL = "UTD (gradient updates per env step)"


def plot_learning_curves(
    crossings: pd.DataFrame, env_id: str, *, curves: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Plot each run's climb through the thresholds: a dot per crossing, a triangle where the run ended below one.

    Args:
        crossings: the result of `time_to_threshold`; the rows of `env_id` are drawn.
        env_id: the task.
        curves: learning curves in the units of the thresholds, drawn faintly behind their runs; or None.
        ax: axes to draw on; None makes a figure.

    Raises:
        InputError: `crossings` has no row of `env_id`.
    """
    rows = crossings[crossings["env_id"] == env_id]
    if rows.empty:
        raise InputError(f"env_id must be a task of the crossings; got {env_id!r}. Choose one of their env_id.")
    ax = own_axes(ax)
    colours = dict(zip(np.unique(rows["utd"]), ordered_colours(rows["utd"].nunique()), strict=True))
    if curves is not None:
        _draw_curves(ax, curves.merge(rows[run_columns(rows)].drop_duplicates()), colours)
    for _, run in rows.groupby(run_columns(rows)):
        reached, ended = run[~run["censored"]], run[run["censored"]].head(1)
        colour = colours[run["utd"].iloc[0]]
        ax.plot(reached["env_steps_upper"], reached["threshold"], ".-", color=colour, alpha=0.7, linewidth=1.0)
        ax.plot(ended["env_steps_lower"], ended["threshold"], ">", color=colour, **HOLLOW)
    for utd, colour in colours.items():
        ax.plot([], [], ".-", color=colour, label=f"UTD {plain(utd)}")
    if rows["censored"].any():
        ax.plot([], [], ">", color="0.3", label="ended below J", **HOLLOW)
    log_axis(ax, "x", "env steps", si)
    ax.hlines(np.unique(rows["threshold"]), *ax.get_xlim(), color="0.6", linewidth=0.5, zorder=0.6, label="threshold J")
    ax.set_ylabel("return")
    return finish(ax, env_id)


def plot_rule(table: pd.DataFrame, name: str, observed: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot the best batch size or learning rate against UTD: posterior median, 90% band and the swept values.

    Args:
        table: `Frontier.table()`.
        name: "batch_size" or "learning_rate".
        observed: a frame with columns `utd` and `name`, such as the crossings of the task; repeats are drawn once.
        ax: axes to draw on; None makes a figure.

    Raises:
        InputError: `name` is neither of the two.
    """
    if name not in ("batch_size", "learning_rate"):
        raise InputError(f"name must be 'batch_size' or 'learning_rate'; got {name!r}. Choose one of them.")
    ax = own_axes(ax)
    _band(ax, table, name)
    swept = observed[["utd", name]].drop_duplicates()
    ax.plot(swept["utd"], swept[name], "s", color="0.25", label="value in the sweep", **HOLLOW)
    log_axis(ax, "x", UTD_LABEL, plain)
    if name == "batch_size":
        log_axis(ax, "y", "best batch size B* (samples per update)", plain)
    else:
        log_axis(ax, "y", "best learning rate η*", scientific)
    return finish(_shade_outside(ax, table))


def plot_data(table: pd.DataFrame, observed: pd.DataFrame, threshold: float, *, ax: Axes | None = None) -> Axes:
    """Plot the data D_J(UTD) needed at B*, eta* with its median and 90% band, and the observed runs.

    Args:
        table: `Frontier.table()` of one task at `threshold`.
        observed: crossings of the task; a row at `threshold` is drawn as its interval (lower, upper]. Rows whose
            boolean column `near_optimum` is false are drawn in grey; the column is optional.
        threshold: J, one of the observed thresholds.
        ax: axes to draw on; None makes a figure.
    """
    ax = own_axes(ax)
    _band(ax, table, "env_steps")
    rows = observed[np.isclose(observed["threshold"], threshold)]
    if "near_optimum" in rows:
        _draw_runs(ax, rows[~rows["near_optimum"]], "0.72", 0.3, "run with other B, η")
        _draw_runs(ax, rows[rows["near_optimum"]], "0.1", 0.12, "run nearest to B*, η*")
    else:
        _draw_runs(ax, rows, "0.1", 0.3, "run")
    log_axis(ax, "x", UTD_LABEL, plain)
    log_axis(ax, "y", f"data to reach J = {plain(threshold)} (env steps)", si)
    return finish(_shade_outside(ax, table))


def plot_budget_path(table: pd.DataFrame, observed: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot the budget-optimal UTD against the budget, a point per threshold, and the UTD to choose.

    Args:
        table: `BudgetPath.table()`.
        observed: a frame with column `utd`, such as the crossings of the task; UTD beyond its range is extrapolated.
        ax: axes to draw on; None makes a figure.
    """
    ax = own_axes(ax)
    low, high = observed["utd"].min(), observed["utd"].max()
    x, y = table["budget_q50"].to_numpy(), table["utd_q50"].to_numpy()
    outside = pd.Series((y < low * (1 - 1e-9)) | (y > high * (1 + 1e-9)))
    for part, extrapolated in pieces(outside):
        alpha, line = (0.12, "--") if extrapolated else (0.3, "-")
        ax.fill_between(x[part], table["utd_q05"][part], table["utd_q95"][part], color=BLUE, alpha=alpha, linewidth=0)
        ax.plot(x[part], y[part], color=BLUE, linestyle=line)
    reach = [x - table["budget_q05"], table["budget_q95"] - x]
    label = "best UTD: median and 90% intervals"
    ax.errorbar(x, y, xerr=reach, fmt="o", color=BLUE, markersize=4, linewidth=1, label=label)
    ax.plot(x, table["utd_chosen"], "D", color=ORANGE, label="least expected budget", **HOLLOW)
    for threshold, *point in table[["threshold", "budget_q50", "utd_q50"]].iloc[[0, -1]].to_numpy().tolist():
        ax.annotate(f"J = {plain(threshold)}", (point[0], point[1]), (0, 9), textcoords="offset points", ha="center")
    log_axis(ax, "x", "budget (price of compute + price of data)", scientific)
    log_axis(ax, "y", UTD_LABEL, plain)
    bottom, top = ax.get_ylim()
    limits = (
        min(bottom, low / 1.3),
        max(top, high * 1.3),
    )  # show the whole sweep even if every best UTD lies at its edge
    for start, stop in ((limits[0], low), (high, limits[1])):
        ax.axhspan(start, max(start, stop), color="0.95", zorder=-1)
    ax.set_ylim(limits)
    return finish(ax)


def _band(ax: Axes, table: pd.DataFrame, name: str) -> None:
    low, median, high = (table[f"{name}_{quantile}"] for quantile in ("q05", "q50", "q95"))
    for part, extrapolated in pieces(table["extrapolated"]):
        alpha, line = (0.12, "--") if extrapolated else (0.3, "-")
        ax.fill_between(table["utd"][part], low[part], high[part], color=BLUE, alpha=alpha, linewidth=0)
        ax.plot(table["utd"][part], median[part], color=BLUE, linestyle=line)
    ax.plot([], [], color=BLUE, label="median and 90% interval")
    ax.plot([], [], color=BLUE, linestyle="--", label="extrapolated")


def _shade_outside(ax: Axes, table: pd.DataFrame) -> Axes:
    limits, inside = ax.get_xlim(), table["utd"][~table["extrapolated"]]
    ends = ((limits[0], inside.min()), (inside.max(), limits[1])) if len(inside) else (limits,)
    for start, stop in ends:
        ax.axvspan(start, stop, color="0.95", zorder=-1)
    ax.set_xlim(limits)
    return ax


def _draw_runs(ax: Axes, rows: pd.DataFrame, colour: str, width: float, label: str) -> None:
    """Draw the runs of one UTD side by side over `width`, in units of log UTD."""
    same_utd = rows.groupby("utd")["utd"]
    x = rows["utd"] * np.exp(width * ((same_utd.cumcount() + 0.5) / same_utd.transform("size") - 0.5))
    done, ended = ~rows["censored"], rows["censored"]
    ax.vlines(x[done], rows["env_steps_lower"][done], rows["env_steps_upper"][done], color=colour, linewidth=1)
    ax.plot(x[done], rows["env_steps_upper"][done], "o", color=colour, markersize=2.5, label=label)
    if ended.any():
        ax.plot(x[ended], rows["env_steps_lower"][ended], "^", color=colour, label=f"{label}: ended below J", **HOLLOW)


def _draw_curves(ax: Axes, curves: pd.DataFrame, colours: dict[float, tuple[float, ...]]) -> None:
    from matplotlib.collections import LineCollection

    runs = [run for _, run in curves.groupby(run_columns(curves))]
    opacity = min(0.6, max(0.08, 10 / max(len(runs), 1)))  # hundreds of curves become a haze, a few stay lines
    # Hundreds of curves of a thousand points would make a vector drawing of many megabytes, so they become pixels.
    faint = LineCollection(
        [run[["env_steps", "episode_return"]].to_numpy(float) for run in runs],
        colors=[colours[run["utd"].iloc[0]] for run in runs],
        alpha=opacity,
        linewidth=0.7,
        zorder=0.7,
        rasterized=True,
    )
    ax.add_collection(faint, autolim=False)  # the crossings set the limits; early returns may lie far below them
    ax.plot([], [], color="0.3", alpha=0.6, linewidth=0.7, label="learning curve")
