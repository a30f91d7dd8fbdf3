"""Plot the data-compute frontier of a task: what each UTD costs in env steps and in flops, and which UTD to run.

The thin bar through a marked UTD is the 90% interval of its setting: flops are proportional to env steps at one
setting, so data and compute move together along the bar. A band joins the ends of these bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.errors import InputError
from bayescale.laws import flops
from bayescale.reporting.frontier_legend import GREY, explain, recommended, title
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
NEAR = {"batch_size": 1.5, "learning_rate": 2.0, "model_size": 1.5}  # factors up to which a run's setting is near
LETTER_WIDTH = 3.9  # mean width in points of a letter of 8 points
CURVE_WEIGHT = 8  # runs that a text may cover before it covers a point of a curve
ROUNDING = 1e-6  # differences of log settings that count as none


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
    pairs of data and compute that cost as much as the star. Dashed lines and hatched bands extrapolate.
    Frontiers with `settings="law"` are drawn as one 90% credible region of data and compute per marked UTD.

    Args:
        front: one result of `frontier`, or several.
        observed: crossings of the fitted runs, to draw those that reached the return at the setting nearest to the
            one drawn at their UTD, if it is near (a factor of at most 1.5 in batch and model size, 2 in learning rate).
        held_out: crossings of runs that the fit never saw, drawn likewise; or None.
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
    log_axis(ax, "x", "data: env steps until the median run reaches the return", si)
    log_axis(ax, "y", "compute: training flops until then", scientific)
    limits = spanned(tables, "env_steps", 2.2, 1.6), spanned(tables, "flops", 1.4, 1.8)
    places = {}
    for name, runs, marker in (("observed", observed, "o"), ("held_out", held_out, "D")):
        drawn = zip(fronts, tables, colours, strict=True)
        by_front = [_draw_runs(ax, each, table, runs, colour, marker) for each, table, colour in drawn]
        places[name] = np.concatenate([np.empty((0, 2)), *by_front])
    explain(ax, fronts, tables, len(places["observed"]) > 0, len(places["held_out"]) > 0)
    finish(ax, title(fronts, one_task))
    ax.set(xlim=limits[0], ylim=limits[1], autoscale_on=False)
    if (figure := ax.get_figure(root=True)) is not None:
        figure.draw_without_rendering()  # lays out the axes, which the places of texts depend on
    taken: list[Box] = []
    # A text may rather cover runs than a curve, so the points of curves count several times.
    curves = np.concatenate([np.repeat(in_points(ax, _outline(table)), CURVE_WEIGHT, axis=0) for table in tables])
    curves = np.concatenate([curves, *(in_points(ax, each) for each in places.values())])
    for each, table, colour in zip(fronts, tables, colours, strict=True):
        name = f"{unit} {plain(each.threshold)}" if one_task else f"{each.env_id}, {unit} {plain(each.threshold)}"
        _name_curve(ax, table, colour, name, taken)
    for table, colour in zip(tables, colours, strict=True):
        _number_utds(ax, table, colour, taken)
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
        if extrapolated:
            ax.fill(x, y, facecolor="none", edgecolor=colour, alpha=0.3, linewidth=0, hatch="////")
        else:
            ax.fill(x, y, color=colour, alpha=0.2, linewidth=0)
        style = "--" if extrapolated else "-"
        ax.plot(rows["env_steps_q50"], rows["flops_q50"], color=colour, linestyle=style, linewidth=1.4)
    for _, row in marked(table).iterrows():
        ends = [[row[f"{name}_{q}"] for q in ("q05", "q95")] for name in ("env_steps", "flops")]
        ax.plot(*ends, color=colour, linewidth=0.8, alpha=0.8)
        ax.plot(row["env_steps_q50"], row["flops_q50"], "o", color=colour, markersize=3.5)


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
        ax.plot(reach[shown], same[shown], ":", color=GREY, linewidth=1.2)
    ax.plot(x, y, "*", color=colour, markersize=15, markeredgecolor="black", zorder=5)
    words = (
        f"UTD {plain(float(f'{star.utd:.2g}'))}, batch size {star.batch_size_q50:.0f},\n"
        f"learning rate {scientific(star.learning_rate_q50)}"
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
        zorder=6,
    )


def _outline(table: pd.DataFrame) -> Float[np.ndarray, "place 2"]:
    """Return the finite points of a curve and of both sides of its band."""
    sides = [table[[f"env_steps_{side}", f"flops_{side}"]].to_numpy(float) for side in ("q05", "q50", "q95")]
    places = np.concatenate(sides)
    return np.asarray(places[np.isfinite(places).all(axis=1)])


def _name_curve(ax: Axes, table: pd.DataFrame, colour: str, name: str, taken: list[Box]) -> None:
    """Write the name of a curve above its highest UTD."""
    rows = marked(table)
    last = rows.iloc[-1] if len(rows) else table.iloc[-1]
    place = last[["env_steps_q50", "flops_q95"]].to_numpy(float)
    width = len(name) * NUMBER_WIDTH * 1.4
    corner = in_points(ax, place[None])[0] + np.array([-4.0 - width / 2, 14.0])
    taken.append((*corner, width, NUMBER_HEIGHT * 1.3))
    write(ax, name, place, (-4.0, 14.0), ha="center", fontsize=10, fontweight="bold", color=colour)


def _number_utds(ax: Axes, table: pd.DataFrame, colour: str, taken: list[Box]) -> None:
    """Write each UTD at the end of its bar that is farther from the curve, where there is room."""
    rows = marked(table)
    curve = in_points(ax, table[["env_steps_q50", "flops_q50"]].to_numpy(float))
    ends_first = rows.index[[0, -1]].tolist() + rows.index[1:-1].tolist() if len(rows) > 1 else rows.index.tolist()
    for i in ends_first:
        row = rows.loc[i]
        text = f"UTD {plain(row['utd'])}" if i == rows.index[0] else plain(row["utd"])
        width = len(text) * NUMBER_WIDTH
        places = []
        for end, offset in (("q95", (3.0, 3.0)), ("q05", (-3.0 - width, -3.0 - NUMBER_HEIGHT))):
            place = row[[f"env_steps_{end}", f"flops_{end}"]].to_numpy(float)
            corner = in_points(ax, place[None])[0] + offset
            middle = corner + np.array([width / 2, NUMBER_HEIGHT / 2])
            places.append((float(np.nanmin(np.hypot(*(curve - middle).T))), place, offset, corner))
        for _, place, offset, corner in sorted(places, key=lambda each: -each[0]):
            if room(corner, width, taken):
                write(ax, text, place, offset, fontsize=8, color=colour)
                break


def _draw_runs(
    ax: Axes, each: Frontier, table: pd.DataFrame, runs: pd.DataFrame | None, colour: str, marker: str
) -> Float[np.ndarray, "run 2"]:
    """Draw the runs at the setting nearest to that of their UTD, if it is near, and return their places."""
    places = [np.empty((0, 2))]
    if runs is None:
        return places[0]
    rows = runs[(runs["env_id"] == each.env_id) & np.isclose(runs["threshold"], each.threshold, rtol=1e-4)]
    for utd, here in rows.groupby("utd"):
        row = table.loc[abs(np.log(table["utd"] / float(str(utd)))).idxmin()]
        if abs(np.log(row["utd"] / float(str(utd)))) > 0.1:
            continue
        drawn = {"batch_size": row["batch_size_q50"], "learning_rate": row["learning_rate_q50"]}
        if "model_size" in here:
            drawn["model_size"] = row["model_size"]
        away = {name: abs(np.log(here[name] / at)) for name, at in drawn.items()}
        near = np.logical_and.reduce([away[name] <= np.log(factor) for name, factor in NEAR.items() if name in away])
        distance = np.sqrt(sum(each**2 for each in away.values()))
        done = here[near & (distance <= distance.min() * (1 + ROUNDING) + ROUNDING) & ~here["censored"]]
        size = done["model_size"] if "model_size" in done else row["model_size"]
        steps = done["env_steps_upper"].to_numpy(float)
        spent = np.asarray(flops(np.asarray(size, float), done["batch_size"].to_numpy(float), float(str(utd)), steps))
        looks: dict[str, Any] = {"markersize": 3.5, "markerfacecolor": "white", "color": colour}
        if marker == "D":
            looks = {"markersize": 4.5, "color": colour, "markeredgecolor": "black"}
        ax.plot(steps, spent, marker, zorder=4, markeredgewidth=0.8, **looks)
        places.append(np.stack([steps, spent], axis=1))
    return np.concatenate(places)
