"""Draw results. Each function takes finished results and an optional `ax`, and returns the axes.

Without `ax` a function makes a pyplot figure, so `matplotlib.pyplot.show()` or the end of a notebook cell shows it.
Save a vector drawing with `axes.figure.savefig("frontier.pdf")`; `with column_width():` around the call fits the figure
into one column of a two-column paper. The colours are those of Okabe and Ito and of viridis, which readers with colour
blindness can distinguish. Needs the extra `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from bayescale.errors import MissingExtra
from bayescale.reporting import calibration_plots, diagnostic_plots, frontier_plot
from bayescale.reporting import plots as drawings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "budget_path",
    "chain_ranks",
    "column_width",
    "data",
    "diagnostics",
    "frontier",
    "learning_curves",
    "ranks",
    "rule",
]

P = ParamSpec("P")
PAGE = 6.0  # inches; the width of a figure
COLUMN = 3.35  # inches; two columns with a gap fill a page of 7 inches
HEIGHT = 4.2  # inches of a figure of the page's width
COLUMN_HEIGHT = 0.7  # height of a column's figure over that of a page's; its text takes more of the height
COLUMN_FONT = 7.0  # points
_width: ContextVar[float] = ContextVar("width", default=PAGE)


@contextmanager
def column_width() -> Iterator[None]:
    """Make figures in this block one column wide, with small type and with text that stays text in PDF and SVG."""
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "font.size": COLUMN_FONT,
        "lines.linewidth": 1.0,
        "legend.handlelength": 1.5,
        "legend.columnspacing": 1.0,
        "pdf.fonttype": 42,  # TrueType, which publishers ask for
        "svg.fonttype": "none",
    }
    before = _width.set(COLUMN)
    try:
        with rc_context(settings):
            yield
    finally:
        _width.reset(before)


def _shown(draw: Callable[P, Axes], height: float = HEIGHT) -> Callable[P, Axes]:
    """Return the plot function with a pyplot figure, `height` inches high, in place of a missing `ax`."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Axes:
        if kwargs.get("ax") is not None:
            return draw(*args, **kwargs)
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError as error:
            raise MissingExtra("matplotlib", "report") from error
        width = _width.get()
        size = width, height if width == PAGE else height * COLUMN_HEIGHT
        figure = plt.figure(figsize=size, layout="constrained")
        try:
            kwargs["ax"] = figure.add_subplot()
            return draw(*args, **kwargs)
        except BaseException:
            plt.close(figure)  # a later plt.show() would show an empty figure
            raise

    return drawn


frontier = plot_frontier = _shown(frontier_plot.plot_frontier, frontier_plot.HEIGHT)
budget_path = _shown(drawings.plot_budget_path)
learning_curves = _shown(drawings.plot_learning_curves)
rule = _shown(drawings.plot_rule)
data = _shown(drawings.plot_data)
diagnostics = _shown(diagnostic_plots.plot_diagnostics)
chain_ranks = _shown(diagnostic_plots.plot_chain_ranks)
ranks = plot_ranks = _shown(calibration_plots.plot_ranks)
