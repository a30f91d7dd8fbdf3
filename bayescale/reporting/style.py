"""Give all plots one look: figure size, logarithmic axes with plain numbers, colours, and a legend above the axes.

The plots use matplotlib's `Figure` directly, so they leave pyplot, its windows and its settings unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Two colours of Okabe and Ito's palette, which readers with colour blindness can distinguish
BLUE, ORANGE = "#0072B2", "#D55E00"
OKABE_ITO = (BLUE, ORANGE, "#009E73", "#AA4499")  # the last one is darker than theirs, to be read on white
WIDTH = 6.0  # inches of a figure
MARGIN = 0.6  # inches beside the axes
NUMBER_WIDTH, NUMBER_HEIGHT = 5.0, 9.0  # size in points of a digit beside a mark
Box = tuple[float, float, float, float]  # left, bottom, width and height of a text in points
APART = 2.0  # points between two texts
TITLE_WIDTH = 64  # characters that fit this width in the usual type


def own_axes(ax: Axes | None, height: float = 4.2) -> Axes:
    """Return `ax`, or the axes of a new figure of 6 inches by `height` if it is None.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "report") from error
    return Figure(figsize=(WIDTH, height), layout="constrained").add_subplot() if ax is None else ax


def finish(ax: Axes, title: str | None = None) -> Axes:
    """Put the title and the legend above the axes, where they cover no data, and return the axes.

    Their type follows matplotlib's `font.size`, and they wrap at the width of the figure.
    """
    ax.spines[["top", "right"]].set_visible(False)
    marks, labels = ax.get_legend_handles_labels()
    size, fitting = _legend_size(), _fitting(ax)
    widest = max(map(len, labels)) / fitting
    columns = 1 if widest > 40 else 2 if widest > 20 else 3 if widest > 10 else 5
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0.0}
    longest = int(TITLE_WIDTH * fitting)
    title, *labels = (
        fill(text, width).replace("$", r"\$")  # a bare $ would start a formula
        for text, width in (
            (title or "", longest),
            *((label, longest - 10) for label in labels),
        )  # marks take 10
    )
    ax.legend(
        marks,
        labels,
        title=title or None,
        ncols=columns,
        alignment="left",
        frameon=False,
        fontsize=size,
        title_fontsize=size,
        **above,
    )
    return ax


def _fitting(ax: Axes) -> float:
    """Return the characters that fit the width of the axes, relative to those of a full figure in the usual type."""
    figure = ax.figure
    return min(1.0, (figure.bbox.width / figure.dpi - MARGIN) / (WIDTH - MARGIN)) * 9.0 / _legend_size()


def _legend_size() -> float:
    """Return the size of a legend's type in points: nine tenths of matplotlib's `font.size`, which is 10 by default."""
    from matplotlib import rcParams

    return 0.9 * float(rcParams["font.size"])


def pieces(extrapolated: pd.Series) -> Iterator[tuple[slice, bool]]:
    """Yield the slices of points that one line joins, each with True if the line extrapolates.

    A segment between two points extrapolates if one of the points does.
    """
    flags = extrapolated.to_numpy(bool)
    stretches = flags[:-1] | flags[1:]
    for flag, positions in groupby(range(len(stretches)), key=stretches.__getitem__):
        first, *others = positions
        yield slice(first, first + len(others) + 2), bool(flag)


def ordered_colours(count: int) -> list[tuple[float, ...]]:
    """Return colours from dark to bright for ordered things; readers with colour blindness can distinguish them."""
    from matplotlib import colormaps

    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.85, count))]


def distinct_colours(count: int) -> list[Any]:
    """Return colours that stay distinct for readers with colour blindness: those of Okabe and Ito, of many viridis."""
    return list(OKABE_ITO[:count]) if count <= len(OKABE_ITO) else ordered_colours(count)


def log_axis(ax: Axes, side: Literal["x", "y"], label: str, text: Callable[[float], str]) -> None:
    """Make one axis logarithmic, with its label and few tick labels.

    Ticks lie at powers of two if `text` is `plain`, otherwise at round numbers within powers of ten.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set(**{f"{side}scale": "log"})
    axis = ax.xaxis if side == "x" else ax.yaxis
    low, high = axis.get_view_interval()
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 8 else (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    axis.set_major_locator(LogLocator(2.0, (1.0,), numticks=9) if text is plain else LogLocator(10.0, steps))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_label_text(fill(label, int(TITLE_WIDTH * _fitting(ax))))
    axis.grid(color="0.9", linewidth=0.8)


def write(ax: Axes, text: str, place: Float[np.ndarray, " 2"], offset: tuple[float, float], **style: Any) -> None:
    """Write a text beside a place, on a white halo, so that it can be read on marks and lines."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]
    text = text.replace("$", r"\$")  # a bare $ would start a formula
    ax.annotate(text, tuple(place), offset, textcoords="offset points", zorder=6, path_effects=halo, **style)


def in_points(ax: Axes, places: Float[np.ndarray, "place 2"]) -> Float[np.ndarray, "place 2"]:
    """Return places in data units in points, the unit of font sizes."""
    return np.asarray(ax.transData.transform(places)) * 72 / ax.figure.dpi


def free_corner(
    ax: Axes,
    anchor: Float[np.ndarray, " 2"],
    size: Float[np.ndarray, " 2"],
    curves: Float[np.ndarray, "place 2"],
    taken: list[Box],
    distances: tuple[float, ...] = tuple(range(45, 241, 6)),
) -> Float[np.ndarray, " 2"]:
    """Return the lower left corner of a text that lies clear of curves and other texts; all in points.

    Args:
        ax: the axes; a text outside them is the last choice.
        anchor: the place that the text explains. The line from there to the text crosses as few curves as possible.
        size: width and height of the text.
        curves: places to leave free, such as the points of curves.
        taken: boxes of other texts.
        distances: distances of the middle of the text from the anchor, for texts above or below it up to a fifth less.
    """
    # A short leader that crosses nothing is best; covering a place of a curve, another text or the frame costs most.
    inside = ax.bbox.get_points() * 72 / ax.figure.dpi
    best, least = anchor, np.inf
    for angle in np.arange(0, 2 * np.pi, np.pi / 36):
        for away in distances:
            middle = anchor + away * np.array([np.cos(angle), 0.8 * np.sin(angle)])
            corner = middle - size / 2
            leader = anchor + np.arange(15.0, away, 4.0)[:, None] / away * (middle - anchor)
            crossed = (np.hypot(*(curves[:, None] - leader).T) < 3.0).any(axis=1)
            beyond = np.maximum(corner - curves - 4, curves - corner - size - 4).max(axis=1)  # < 0: covers the curve
            covers = 4 * int((beyond < 0).sum()) + 15 * int(crossed.sum())
            covers += 1000 * sum(_overlap(corner - APART, size + 2 * APART, box) for box in taken)
            covers += 2000 * int((corner < inside[0]).any() or (corner + size > inside[1]).any())
            if covers + away / 4 < least:
                best, least = corner, covers + away / 4
    return best


def _overlap(corner: Float[np.ndarray, " 2"], size: Float[np.ndarray, " 2"], box: Box) -> bool:
    """Return True if a text of this corner and size covers part of the box."""
    left, bottom, wide, high = box
    return bool(left - size[0] < corner[0] < left + wide and bottom - size[1] < corner[1] < bottom + high)


def room(corner: Float[np.ndarray, " 2"], width: float, taken: list[Box]) -> bool:
    """Return True, and take the place, if a line of text there covers no other text; all in points."""
    size = np.array([width, NUMBER_HEIGHT])
    if any(_overlap(corner, size, box) for box in taken):
        return False
    taken.append((*corner, *size))
    return True


def spanned(tables: list[pd.DataFrame], name: str, below: float, above: float) -> tuple[float, float]:
    """Return the ends of an axis: those of all finite intervals, with room for text beyond."""
    values = np.concatenate([table[[f"{name}_q05", f"{name}_q95"]].to_numpy(float).ravel() for table in tables])
    finite = values[np.isfinite(values)]
    return (finite.min() / below, finite.max() * above) if len(finite) else (1.0, 10.0)


def plain(value: float) -> str:
    """Return the number without exponent: 0.25, 1, 16384. Four digits below 1000, whole numbers above."""
    return (
        f"{value:.0f}"
        if 1000 <= abs(value) < np.inf
        else np.format_float_positional(value, 4, fractional=False, trim="-")
    )


def si(value: float) -> str:
    """Return the number with a unit prefix and at most three digits: 50k, 1.25M."""
    value = float(f"{value:.3g}")
    factor, unit = next(((f, u) for f, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= f), (1.0, ""))
    return f"{value / factor:g}{unit}"


def scientific(value: float) -> str:
    """Return the number with an exponent and at most two digits: 5e-5, 1.2e15."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if value else "0"


def steps(value: float) -> str:
    """Return env steps with a unit prefix, or "never" for inf."""
    return si(value) if np.isfinite(value) else "never"


def percent(share: float) -> str:
    """Return the share in percent, with a decimal near 0% and 100%, where it matters: 93%, 99.6%, >99.9%."""
    if 0 < share < 0.0005 or 0.9995 <= share < 1:
        return "<0.1%" if share < 0.5 else ">99.9%"
    return f"{100 * share:.1f}%" if 0 < min(share, 1 - share) < 0.01 else f"{100 * share:.0f}%"
