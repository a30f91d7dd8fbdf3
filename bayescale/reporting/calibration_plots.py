"""Plot calibration checks. A plot function draws a finished summary on an `Axes` and returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import InputError
from bayescale.reporting.style import BLUE, finish, own_axes
from bayescale.validation.sbc import RankHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_ranks(histogram: RankHistogram, quantity: str, *, ax: Axes | None = None) -> Axes:
    """Plot the histogram of the ranks of one quantity's true values; exact fits stay within the grey band.

    Args:
        histogram: the result of `rank_histogram`.
        quantity: a column of `histogram.counts`.
        ax: axes to draw on; None makes a figure.

    Raises:
        InputError: `histogram` has no such quantity.
    """
    if quantity not in histogram.counts:
        known = ", ".join(map(str, histogram.counts))
        raise InputError(f"quantity must be among {known}; got '{quantity}'. Choose one of them.")
    ax = own_axes(ax)
    edges = np.linspace(0, 100, len(histogram.counts) + 1)
    band = f"all bins within: {histogram.probability:.0%} for exact fits"
    ax.stairs(histogram.high, edges, baseline=histogram.low, fill=True, color="0.85", label=band)
    ax.stairs(histogram.expected, edges, baseline=None, color="0.4", linestyle=":", label="expected")
    counts = histogram.counts[quantity].to_numpy()
    ax.stairs(counts, edges, baseline=None, color=BLUE, linewidth=1.5, label="true values")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("rank of the true value among posterior draws (percent)")
    ax.set_ylabel("data sets")
    return finish(ax, quantity)
