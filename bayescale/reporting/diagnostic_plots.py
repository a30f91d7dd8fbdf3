"""Plot the convergence of the sampler: effective sample sizes against R-hat, and ranks of the chains' draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Int

from bayescale.inference.convergence import MAX_R_HAT, MIN_ESS_PER_CHAIN
from bayescale.reporting.style import BLUE, ORANGE, finish, log_axis, ordered_colours, own_axes, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIN_ESS = 4 * MIN_ESS_PER_CHAIN  # draws, for the usual four chains


def plot_diagnostics(
    diagnostics: pd.DataFrame, *, ax: Axes | None = None, min_ess: float = MIN_ESS, max_r_hat: float = MAX_R_HAT
) -> Axes:
    """Plot R-hat against effective sample size, the smaller of bulk and tail; the worst parameters are named.

    Args:
        diagnostics: `Posterior.diagnostics()`, indexed by parameter, with columns r_hat, ess_bulk, ess_tail.
        ax: axes to draw on; None makes a figure.
        min_ess: smallest acceptable effective sample size, in draws.
        max_r_hat: largest acceptable R-hat.
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


def plot_chain_ranks(counts: Int[np.ndarray, "chain bin"], name: str, *, ax: Axes | None = None) -> Axes:
    """Plot the rank histogram of one parameter for each chain; chains that agree are flat, near the dotted line.

    Args:
        counts: number of a chain's draws whose rank among the draws of all chains falls in the bin.
        name: the parameter, for the title.
        ax: axes to draw on; None makes a figure.
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
