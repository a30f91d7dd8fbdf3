"""Explain the plot of the frontier: the recommended row, the entries of the legend, and the title with the price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.reporting.style import scientific

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayescale.decisions.frontier import Frontier


def recommended(table: pd.DataFrame) -> pd.Series | None:
    """Return the row of least risk inside the sweep, or None if no risk there is finite."""
    inside = table[~table["extrapolated"] & np.isfinite(table["risk"]) & np.isfinite(table["env_steps_q50"])]
    return None if inside.empty else inside.loc[inside["risk"].idxmin()]


def explain(ax: Axes, fronts: list[Frontier], tables: list[pd.DataFrame], observed: bool, held_out: bool) -> None:
    """Add the entries of the legend."""
    any_cheapest = any(each.settings == "cheapest" for each in fronts)
    entries: list[tuple[str, dict[str, Any]]] = []
    if any_cheapest and any(recommended(table) is not None for table in tables):
        entries = [
            (
                "run this: the lowest total cost",
                {"marker": "*", "markersize": 12, "linestyle": "", "markeredgecolor": "k"},
            ),
            ("UTDs that cost at most 5% more", {"linewidth": 5.0, "alpha": 0.65}),
            ("same total cost as the star", {"linestyle": ":"}),
        ]
    if any_cheapest:
        entries.append(("UTD at its cheapest setting", {"marker": "o", "markersize": 3.5}))
        entries.append(("90% interval of the median run", {"linewidth": 8.0, "alpha": 0.3}))
    if any(each.settings == "law" for each in fronts):
        entries.append(("90% region of data and compute", {"linewidth": 0.8}))
    if any(table["extrapolated"].any() for table in tables):
        entries.append(("outside the sweep: extrapolated", {"linestyle": "--"}))
    if observed:
        entries.append(("median of fitted runs", {"marker": "o", "markerfacecolor": "white", "linestyle": ""}))
    if held_out:
        entries.append(("median of held-out runs", {"marker": "D", "markeredgecolor": "black", "linestyle": ""}))
    if observed or held_out:
        entries.append(("single run", {"marker": "o", "markersize": 2.0, "linestyle": ""}))
    for label, style in entries:
        ax.plot([], [], **{"color": "0.4", "markersize": 5, **style}, label=label)


def title(fronts: list[Frontier], one_task: bool) -> str:
    """Return what the picture shows, and the price that the choice rests on."""
    task = f"{fronts[0].env_id}: " if one_task else ""
    prices = {(each.prices.flop, each.prices.env_step) for each in fronts}
    what = "each UTD at its cheapest setting" if fronts[0].settings == "cheapest" else "each UTD at its optimum"
    if len(prices) > 1 or fronts[0].settings == "law":
        return f"{task}{what}"
    ((flop, step),) = prices
    if flop == 0:
        priced = "compute is free"
    else:
        why = " (the default, published for Gym)" if step / flop == ENV_STEP_PRICE else ""
        priced = f"one env step costs as much as {scientific(step / flop)} flops{why}"
    return f"{task}{what}; {priced}"
