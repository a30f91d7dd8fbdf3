"""How every picture looks: a figure of its own, logarithmic axes with plain numbers, colours, and a legend above.

matplotlib's `Figure` is used directly, so that pyplot, its windows and its settings stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from bayescale.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Okabe and Ito's palette, told apart under the common kinds of colour blindness.
BLUE, ORANGE = "#0072B2", "#D55E00"
LINE = 64  # letters of a title that fit the width of a figure


def own_axes(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure of 6 by 4.2 inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "report") from error
    return Figure(figsize=(6.0, 4.2), layout="constrained").add_subplot() if ax is None else ax


def finish(ax: Axes, title: str | None = None) -> Axes:
    """The axes with their legend above them, where it covers no data, under `title`."""
    ax.spines[["top", "right"]].set_visible(False)
    marks, labels = ax.get_legend_handles_labels()
    widest = max(map(len, labels))
    columns = 1 if widest > 40 else 2 if widest > 20 else 3 if widest > 10 else 5
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0.0}
    title, *labels = (
        fill(text, width).replace("$", r"\$")  # which would start a formula
        for text, width in ((title or "", LINE), *((label, LINE - 10) for label in labels))  # beside their marks
    )
    ax.legend(
        marks,
        labels,
        title=title or None,
        ncols=columns,
        alignment="left",
        frameon=False,
        fontsize=9,
        title_fontsize=9,
        **above,
    )
    return ax


def pieces(extrapolated: pd.Series) -> Iterator[tuple[slice, bool]]:
    """Slices of points that one line joins, and whether it is extrapolated: a stretch is if either of its ends is."""
    flags = extrapolated.to_numpy(bool)
    stretches = flags[:-1] | flags[1:]
    for flag, positions in groupby(range(len(stretches)), key=stretches.__getitem__):
        first, *others = positions
        yield slice(first, first + len(others) + 2), bool(flag)


def ordered_colours(count: int) -> list[tuple[float, ...]]:
    """Colours for ordered things: dark to bright, which all readers can tell apart."""
    from matplotlib import colormaps

    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.85, count))]


def log_axis(ax: Axes, side: Literal["x", "y"], label: str, text: Callable[[float], str]) -> None:
    """A logarithmic axis with plain numbers at octaves (`plain`) or at few steps within powers of ten (others)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set(**{f"{side}scale": "log"})
    axis = ax.xaxis if side == "x" else ax.yaxis
    low, high = axis.get_view_interval()
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 8 else (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    axis.set_major_locator(LogLocator(2.0, (1.0,), numticks=9) if text is plain else LogLocator(10.0, steps))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_label_text(label)
    axis.grid(color="0.9", linewidth=0.8)


def plain(value: float) -> str:
    """0.25, 1, 16384: four digits, from 1000 on all of the whole number, never an exponent."""
    return (
        f"{value:.0f}"
        if 1000 <= abs(value) < np.inf
        else np.format_float_positional(value, 4, fractional=False, trim="-")
    )


def si(value: float) -> str:
    """50k, 1.25M; three digits at most."""
    value = float(f"{value:.3g}")
    factor, unit = next(((f, u) for f, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= f), (1.0, ""))
    return f"{value / factor:g}{unit}"


def scientific(value: float) -> str:
    """5e-5, 1.2e15; two digits at most."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if value else "0"
