"""Pictures of finished summaries: each function draws the numbers of a table on an `Axes` and returns it.

Nothing is computed here and no pyplot state is touched. Without an `ax` a new figure is made; save it with
`plot_frontier(front).figure.savefig("frontier.png")`. In every picture a solid line and a darker band lie within the
range of the data; a dashed line and a lighter band are extrapolated. Of names in letters that matplotlib's font lacks
it warns; `matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK JP"]` adds a font that has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Int, Num

from bayescale.data.curves import run_columns
from bayescale.errors import InputError
from bayescale.inference.convergence import MAX_R_HAT, MIN_ESS_PER_CHAIN
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

    from bayescale.decisions.frontier import Frontier

HOLLOW: dict[str, Any] = {"markersize": 5, "fillstyle": "none", "markeredgewidth": 0.9}
UTD_LABEL = "UTD (gradient updates per env step)"
NUMBER_WIDTH, NUMBER_HEIGHT = 5.0, 8.0  # of a digit beside a mark, in points
MIN_ESS = 4 * MIN_ESS_PER_CHAIN  # of the usual four chains


def plot_learning_curves(
    crossings: pd.DataFrame, env_id: str, curves: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Axes with each run's climb through the thresholds: a dot per crossing, a triangle where the run ended below one.

    Args:
        crossings: rows of `time_to_threshold`; those of `env_id` are drawn.
        env_id: the task.
        curves: learning curves in the units of the thresholds; those of the runs drawn lie faintly behind. None: none.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: no crossing belongs to `env_id`.
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


def plot_rule(table: pd.DataFrame, name: str, observed: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Axes with the best batch size or learning rate against UTD: posterior median, 90% band and the swept values.

    Args:
        table: `Frontier.table()`.
        name: "batch_size" or "learning_rate".
        observed: a frame with columns `utd` and `name`, such as the crossings of the task; repeats are drawn once.
        ax: where to draw; None makes a figure.

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


def plot_data(table: pd.DataFrame, observed: pd.DataFrame, threshold: float, ax: Axes | None = None) -> Axes:
    """Axes with the data D_J(UTD) needed at B*, eta*: median and 90% band, and the runs that were observed.

    Args:
        table: `Frontier.table()` of one task at `threshold`.
        observed: crossings of the task; the rows at `threshold` are drawn, each as its interval (lower, upper]. Runs
            whose boolean column `near_optimum` is false are drawn in grey; without the column none is.
        threshold: J, one of the observed thresholds.
        ax: where to draw; None makes a figure.
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


def plot_frontier(front: Frontier | Sequence[Frontier], ax: Axes | None = None) -> Axes:
    """Axes with the data-compute frontier of one or several thresholds, both axes logarithmic.

    UTD varies along a curve; its octaves are marked, with numbers on the last curve and on those whose numbers do not
    meet others. The band joins, UTD by UTD, the 5% quantiles of data and compute on one side and their 95% quantiles on
    the other: at a given UTD compute grows with data, so both err alike.

    Args:
        front: one Frontier or several, as `frontier` gives them.
        ax: where to draw; None makes a figure.

    Raises:
        InputError: `front` is empty, or something else.
    """
    fronts = list(front) if isinstance(front, Sequence) else [front]
    if not fronts or not all(hasattr(each, "table") for each in fronts):
        came = ", ".join(type(each).__name__ for each in fronts) or "none"
        raise InputError(f"front must be one Frontier or more; got {came}. Make them with frontier(posterior, ...).")
    ax = own_axes(ax)
    one_task = len({each.env_id for each in fronts}) == 1
    marked = []
    for each, colour in zip(fronts, ordered_colours(len(fronts)), strict=True):
        table = each.table()
        for part, extrapolated in pieces(table["extrapolated"]):
            rows = table.iloc[part]
            edge_flops = np.concatenate([rows["flops_q05"], rows["flops_q95"][::-1]])
            edge_env_steps = np.concatenate([rows["env_steps_q05"], rows["env_steps_q95"][::-1]])
            alpha, line = (0.09, "--") if extrapolated else (0.25, "-")
            ax.fill(edge_flops, edge_env_steps, color=colour, alpha=alpha, linewidth=0)
            for side in ("q05", "q95"):  # thin outlines tell bands apart where they overlap
                edge = rows[f"flops_{side}"], rows[f"env_steps_{side}"]
                ax.plot(*edge, color=colour, linestyle=line, linewidth=0.6, alpha=0.7)
            ax.plot(rows["flops_q50"], rows["env_steps_q50"], color=colour, linestyle=line)
        octaves = table[np.isclose(np.log2(table["utd"]), np.log2(table["utd"]).round())]
        label = f"J = {plain(each.threshold)}" if one_task else f"{each.env_id}, J = {plain(each.threshold)}"
        ax.plot(octaves["flops_q50"], octaves["env_steps_q50"], "o", color=colour, markersize=4, label=label)
        marked.append(octaves[["utd", "flops_q50", "env_steps_q50"]].to_numpy())
    ax.plot([], [], color="0.3", linestyle="--", label="extrapolated")
    log_axis(ax, "x", "compute (flops)", scientific)
    log_axis(ax, "y", "data (env steps)", si)
    _number_curves(ax, marked)
    note = "numbers along a curve: UTD; band: 90% interval"
    return finish(ax, f"{fronts[0].env_id} ({note})" if one_task else note)


def _number_curves(ax: Axes, marked: Sequence[Num[np.ndarray, "octave 3"]]) -> None:
    """UTDs beside marked points (UTD, x, y): of the last curve, and of those before it whose numbers meet no others."""
    taken: list[tuple[float, float, float]] = []
    for points in reversed(marked):
        places = ax.transData.transform(points[:, 1:]) * 72 / ax.figure.dpi  # in points, as are sizes of letters
        own = [(x, y, NUMBER_WIDTH * len(plain(utd))) for utd, (x, y) in zip(points[:, 0], places, strict=True)]
        if any(
            -width < x - x_taken < width_taken and abs(y - y_taken) < NUMBER_HEIGHT
            for x, y, width in own
            for x_taken, y_taken, width_taken in taken
        ):
            continue
        taken += own
        for utd, x, y in points:
            ax.annotate(plain(utd), (x, y), (4, 3), textcoords="offset points", fontsize=8, color="0.2")


def plot_budget_path(table: pd.DataFrame, observed: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Axes with the budget-optimal UTD against the budget, a point per threshold, and the UTD to choose.

    Args:
        table: `BudgetPath.table()`.
        observed: a frame with column `utd`, such as the crossings of the task; UTD beyond its range is extrapolated.
        ax: where to draw; None makes a figure.
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
    limits = min(bottom, low / 1.3), max(top, high * 1.3)  # the whole sweep, for a best UTD that is always at its edge
    for start, stop in ((limits[0], low), (high, limits[1])):
        ax.axhspan(start, max(start, stop), color="0.95", zorder=-1)
    ax.set_ylim(limits)
    return finish(ax)


def plot_diagnostics(
    diagnostics: pd.DataFrame, ax: Axes | None = None, min_ess: float = MIN_ESS, max_r_hat: float = MAX_R_HAT
) -> Axes:
    """Axes with a point per parameter: its smaller effective sample size against its R-hat; the worst are named.

    Args:
        diagnostics: `Posterior.diagnostics()`: indexed by parameter; columns r_hat, ess_bulk, ess_tail.
        ax: where to draw; None makes a figure.
        min_ess: the least effective sample size that will do, in draws.
        max_r_hat: the largest R-hat that will do.
    """
    ax = own_axes(ax)
    ess, r_hat = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1), diagnostics["r_hat"]
    outside = (r_hat > max_r_hat) | (ess < min_ess)
    for group, colour, label in ((~outside, BLUE, "within the limits"), (outside, ORANGE, "outside the limits")):
        if group.any():
            ax.plot(ess[group], r_hat[group], "o", color=colour, markersize=4, alpha=0.6, label=label)
    ax.axhline(max_r_hat, color="0.4", linestyle=":", label=f"limits: R-hat {max_r_hat}, ESS {min_ess}")
    ax.axvline(min_ess, color="0.4", linestyle=":")
    for worst in {int(r_hat.argmax()), int(ess.argmin())}:
        point = (ess.iloc[worst], r_hat.iloc[worst])
        ax.annotate(str(diagnostics.index[worst]), point, (5, 4), textcoords="offset points", fontsize=8)
    log_axis(ax, "x", "effective sample size: the smaller of bulk and tail (draws)", si)
    ax.set_ylabel("R-hat")
    return finish(ax)


def plot_chain_ranks(counts: Int[np.ndarray, "chain bin"], name: str, ax: Axes | None = None) -> Axes:
    """Axes with the rank histogram of one parameter: chains that agree are all flat, near the dotted line.

    Args:
        counts: how many of a chain's draws have their rank, among the draws of all chains, in this bin.
        name: the parameter.
        ax: where to draw; None makes a figure.
    """
    ax = own_axes(ax)
    edges = np.linspace(0, 100, counts.shape[1] + 1)
    for chain, (row, colour) in enumerate(zip(counts, ordered_colours(len(counts)), strict=True), start=1):
        ax.stairs(row, edges, baseline=None, color=colour, linewidth=1.5, label=f"chain {chain}")
    ax.axhline(counts.mean(), color="0.4", linestyle=":")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("rank among the draws of all chains (percent)")
    ax.set_ylabel("draws")
    return finish(ax, name)


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
    """Runs of one UTD side by side over `width`, in units of log UTD."""
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
    opacity = min(0.6, max(0.08, 10 / max(len(runs), 1)))  # hundreds of runs make a haze, a few are lines
    # Rasterised: hundreds of runs of a thousand points would make a page of many megabytes.
    faint = LineCollection(
        [run[["env_steps", "episode_return"]].to_numpy(float) for run in runs],
        colors=[colours[run["utd"].iloc[0]] for run in runs],
        alpha=opacity,
        linewidth=0.7,
        zorder=0.7,
        rasterized=True,
    )
    ax.add_collection(faint, autolim=False)  # the crossings set the limits: early returns lie far below
    ax.plot([], [], color="0.3", alpha=0.6, linewidth=0.7, label="learning curve")
