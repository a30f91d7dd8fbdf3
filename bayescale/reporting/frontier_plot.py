"""Plot the data-compute frontier of a task: what each UTD costs in env steps and in flops, and which UTD to run.

The band is the 90% interval of the median run at each UTD. At one setting flops are proportional to env steps, so data
and compute move together: the band runs along the diagonal bar through a marked UTD and joins the ends of these bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.errors import InputError
from bayescale.reporting.frontier_legend import explain, recommended, title
from bayescale.reporting.frontier_runs import draw_runs
from bayescale.reporting.style import (
    NUMBER_HEIGHT,
    NUMBER_WIDTH,
    Box,
    distinct_colours,
    finish,
    free_corner,
    in_points,
    log_axis,
    own_axes,
    pieces,
    plain,
    room,
    scientific,
    si,
    spanned,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayescale.decisions.frontier import Frontier

FLAT = 0.05  # excess cost up to which UTDs count as equally good
HEIGHT = 5.8  # inches
BAND, PALE = 0.22, 0.08  # opacity of a band inside the sweep and outside
STAR = 15.0  # points
MEDIAN = 6.0  # points
SHORT = 5.0  # points; a bar whose ends lie closer to its curve would look like fraying
BESIDE = (9.0, 11.0, 14.0, 17.0, 21.0, 25.0)  # distances in points of a UTD from its dot
NAMED = (30.0, 40.0, 50.0, 60.0)  # distances in points of a curve's name from its highest UTD
LETTER_WIDTH = 4.3  # mean width in points of a letter of 8 points
TRACED = 5  # places traced per row of a frontier; a text covers runs rather than as many places of a curve


def plot_frontier(
    front: Frontier | Sequence[Frontier],
    *,
    observed: pd.DataFrame | None = None,
    held_out: pd.DataFrame | None = None,
    unit: str = "return",
    ax: Axes | None = None,
) -> Axes:
    """Plot compute against data over UTD, one curve per frontier, with the UTD to run, on logarithmic axes.

    A star marks the setting of least cost, a thick line the UTDs that cost at most 5% more, and a dotted line other
    pairs of data and compute that cost as much as the star. Dashed lines and paler bands extrapolate.
    Frontiers with `settings="law"` are drawn as one 90% credible region of data and compute per marked UTD.

    Args:
        front: one result of `frontier`, or several.
        observed: crossings of the fitted runs. At each UTD the runs of the setting nearest to the drawn one appear, if
            it is near (`bayescale.reporting.frontier_runs.NEAR`): single runs as dots, their median as a circle.
        held_out: crossings of runs that the fit never saw, drawn likewise, their median as a diamond; or None.
        unit: the words before each return, such as "normalised return".
        ax: axes to draw on; None makes a figure.

    Raises:
        InputError: `front` is empty or holds something other than a Frontier.
    """
    fronts = list(front) if isinstance(front, Sequence) else [front]
    if not fronts or not all(hasattr(each, "table") for each in fronts):
        came = ", ".join(type(each).__name__ for each in fronts) or "none"
        raise InputError(f"front must be one Frontier or more; got {came}. Make them with frontier(posterior, ...).")
    ax = own_axes(ax, HEIGHT)
    one_task = len({each.env_id for each in fronts}) == 1
    tables = [each.table() for each in fronts]
    colours = distinct_colours(len(fronts))
    for each, table, colour in zip(fronts, tables, colours, strict=True):
        if each.settings == "law":
            _draw_law(ax, each, table, colour)
        else:
            _draw_curve(ax, table, colour)
    log_axis(ax, "x", "data: env steps of the median run until it reaches the return", si)
    log_axis(ax, "y", "compute: training flops of the median run", scientific)
    limits = spanned(tables, "env_steps", 4.0, 1.6), spanned(tables, "flops", 1.4, 2.6)
    singles, medians = [], {}
    for name, runs, marker in (("observed", observed, "o"), ("held_out", held_out, "D")):
        drawn = zip(fronts, tables, colours, strict=True)
        by_front = [draw_runs(ax, each, table, runs, colour, marker) for each, table, colour in drawn]
        singles += [single for single, _ in by_front]
        medians[name] = np.concatenate([median for _, median in by_front])
    explain(ax, fronts, tables, len(medians["observed"]) > 0, len(medians["held_out"]) > 0)
    finish(ax, title(fronts, one_task))
    ax.set(xlim=limits[0], ylim=limits[1], autoscale_on=False)
    if (figure := ax.get_figure(root=True)) is not None:
        figure.draw_without_rendering()  # lays out the axes, which the places of texts depend on
    middles = in_points(ax, np.concatenate(list(medians.values())))
    taken: list[Box] = [(*(middle - MEDIAN / 2), MEDIAN, MEDIAN) for middle in middles]
    curves = np.concatenate([*(_outline(ax, table) for table in tables), *(in_points(ax, p) for p in singles), middles])
    for each, table, colour in zip(fronts, tables, colours, strict=True):
        name = f"{unit} {plain(each.threshold)}" if one_task else f"{each.env_id}, {unit} {plain(each.threshold)}"
        _name_curve(ax, table, colour, name, curves, taken)
    for each, table, colour in zip(fronts, tables, colours, strict=True):
        if each.settings == "cheapest":
            _draw_bars(ax, table, colour)
            if (star := recommended(table)) is not None:
                middle = in_points(ax, star[["env_steps_q50", "flops_q50"]].to_numpy(float)[None])[0]
                taken.append((*(middle - STAR / 2), STAR, STAR))
        _number_utds(ax, table, colour, curves, taken)
    for each, table, colour in zip(fronts, tables, colours, strict=True):
        if each.settings == "cheapest":
            _draw_choice(ax, each, table, colour, curves, taken)
    return ax


def marked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a frontier that carry their UTD: powers of two with finite env steps."""
    octave = np.isclose(np.log2(table["utd"]), np.log2(table["utd"]).round())
    return pd.DataFrame(table[octave & np.isfinite(table["env_steps_q95"])])


def _draw_curve(ax: Axes, table: pd.DataFrame, colour: str) -> None:
    table = table[np.isfinite(table["env_steps_q95"])].reset_index(drop=True)
    for part, extrapolated in pieces(table["extrapolated"]):
        rows = table.iloc[part]
        x = np.concatenate([rows["env_steps_q05"], rows["env_steps_q95"][::-1]])
        y = np.concatenate([rows["flops_q05"], rows["flops_q95"][::-1]])
        ax.fill(x, y, color=colour, alpha=PALE if extrapolated else BAND, linewidth=0)
        style = "--" if extrapolated else "-"
        ax.plot(rows["env_steps_q50"], rows["flops_q50"], color=colour, linestyle=style, linewidth=1.4)
    ax.plot(marked(table)["env_steps_q50"], marked(table)["flops_q50"], "o", color=colour, markersize=3.5)


def _draw_bars(ax: Axes, table: pd.DataFrame, colour: str) -> None:
    """Draw the bar through each marked UTD whose ends lie away from the curve."""
    curve = in_points(ax, table[["env_steps_q50", "flops_q50"]].to_numpy(float))
    for _, row in marked(table).iterrows():
        ends = np.array([[row[f"env_steps_{q}"], row[f"flops_{q}"]] for q in ("q05", "q95")], float)
        away = [np.nanmin(np.hypot(*(curve - end).T)) for end in in_points(ax, ends)]
        if min(away) >= SHORT:
            ax.plot(*ends.T, color=colour, linewidth=0.8, alpha=0.8)


def _draw_law(ax: Axes, each: Frontier, table: pd.DataFrame, colour: str) -> None:
    regions = each.credible_regions()
    for i in marked(table).index:
        style = "--" if table["extrapolated"][i] else "-"
        ax.fill(*regions[i].T, facecolor=colour, alpha=0.08, linewidth=0)
        ax.plot(*regions[i].T, color=colour, linestyle=style, linewidth=0.8)
    ax.plot(table["env_steps_q50"], table["flops_q50"], color=colour, linewidth=1.0, alpha=0.6)
    ax.plot(marked(table)["env_steps_q50"], marked(table)["flops_q50"], "o", color=colour, markersize=3.5)


def _draw_choice(
    ax: Axes,
    each: Frontier,
    table: pd.DataFrame,
    colour: str,
    curves: Float[np.ndarray, "place 2"],
    taken: list[Box],
) -> None:
    """Draw the star, the UTDs that cost little more, the line of equal cost, and the star's setting in words."""
    star = recommended(table)
    if star is None:
        return
    flat = table[~table["extrapolated"] & (table["excess"] <= FLAT)]
    ax.plot(flat["env_steps_q50"], flat["flops_q50"], color=colour, linewidth=5.0, alpha=0.65, solid_capstyle="butt")
    prices, x, y = each.prices, star["env_steps_q50"], star["flops_q50"]
    cost = prices.flop * y + prices.env_step * x
    if prices.flop > 0 and prices.env_step > 0:
        reach = np.geomspace(x / 2.2, min(x * 2.2, cost / prices.env_step * 0.999), 200)
        same = (cost - prices.env_step * reach) / prices.flop
        shown = same > y / 4
        ax.plot(reach[shown], same[shown], ":", color=colour, linewidth=1.2)
    ax.plot(x, y, "*", color=colour, markersize=STAR, markeredgecolor="black", zorder=5)
    words = (
        f"UTD {plain(float(f'{star.utd:.2g}'))}, batch size {star.batch_size_q50:.0f},\n"
        f"learning rate {scientific(star.learning_rate_q50)}:\n"
        f"{si(x)} env steps, {scientific(y)} flops"
    )
    if len(flat) > 1:
        low, high = (plain(float(f"{utd:.2g}")) for utd in (flat["utd"].min(), flat["utd"].max()))
        words += f"\n(UTD {low} to {high}: at most 5% more)"
    size = np.array([max(map(len, words.split("\n"))) * LETTER_WIDTH, (words.count("\n") + 1) * (NUMBER_HEIGHT + 2)])
    corner = free_corner(ax, in_points(ax, np.array([[x, y]]))[0], size, curves, taken)
    taken.append((*corner, *size))
    ax.annotate(
        words,
        (x, y),
        tuple(corner + size / 2 - in_points(ax, np.array([[x, y]]))[0]),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=8,
        color=colour,
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7},
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
        zorder=5.5,  # below the UTDs
    )


def _outline(ax: Axes, table: pd.DataFrame) -> Float[np.ndarray, "place 2"]:
    """Return places in points along a curve and along both sides of its band."""
    traced = [np.empty((0, 2))]
    for side in ("q05", "q50", "q95"):
        places = table[[f"env_steps_{side}", f"flops_{side}"]].to_numpy(float)
        places = in_points(ax, places[np.isfinite(places).all(axis=1)])
        if len(places):
            at = np.linspace(0, len(places) - 1, TRACED * len(places))
            traced.append(np.stack([np.interp(at, range(len(places)), line) for line in places.T], axis=1))
    return np.concatenate(traced)


def _name_curve(
    ax: Axes,
    table: pd.DataFrame,
    colour: str,
    name: str,
    curves: Float[np.ndarray, "place 2"],
    taken: list[Box],
) -> None:
    """Write the name of a curve near its highest UTD."""
    rows = marked(table)
    last = rows.iloc[-1] if len(rows) else table.iloc[-1]
    place = last[["env_steps_q50", "flops_q50"]].to_numpy(float)
    size = np.array([len(name) * NUMBER_WIDTH * 1.4, NUMBER_HEIGHT * 1.3])
    anchor = in_points(ax, place[None])[0]
    corner = free_corner(ax, anchor, size, curves, taken, NAMED)
    taken.append((*corner, *size))
    write(ax, name, place, tuple(corner - anchor), fontsize=10, fontweight="bold", color=colour)


def _number_utds(
    ax: Axes, table: pd.DataFrame, colour: str, curves: Float[np.ndarray, "place 2"], taken: list[Box]
) -> None:
    """Write each UTD beside its dot, clear of curves and runs, where there is room."""
    rows = marked(table)
    ends = rows.index[[0, -1]].tolist() if len(rows) > 1 else rows.index.tolist()
    for i in [*ends, *rows.index.difference(ends)]:
        row = rows.loc[i]
        text = f"UTD {plain(row['utd'])}" if i in ends else plain(row["utd"])
        size = np.array([len(text) * NUMBER_WIDTH, NUMBER_HEIGHT])
        place = row[["env_steps_q50", "flops_q50"]].to_numpy(float)
        anchor = in_points(ax, place[None])[0]
        corner = free_corner(ax, anchor, size, curves, taken, BESIDE)
        if room(corner, float(size[0]), taken):
            write(ax, text, place, tuple(corner - anchor), fontsize=8, color=colour)
