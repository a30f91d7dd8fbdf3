"""Put the result of a design check into three plain sentences."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayescale.arguments import counted, three_digits
from bayescale.validation.expected_posterior import BATCH, COST, QUESTIONS, RATE, UTD
from bayescale.validation.plan_variants import Variant

PLACED_BELOW, UNPLACED_ABOVE = 0.5, 0.8  # posterior sd over prior sd
SD_OF_INTERVAL = 3.29  # width of a 90% interval in standard deviations
HELPS = 0.1  # least share by which a change must narrow the intervals
MOST_SHOWN = 1e4  # largest factor that is written as a number


def changes_table(compared: Sequence[Variant], results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per change: change, runs and work as multiples of the plan's, gain, helps, and the four sd.

    Args:
        compared: the plan, then its variants.
        results: the posterior sd of each quantity (index `quantity`) by the columns variant and dataset.
    """
    by_question = results.assign(question=[str(name).split(", ")[0] for name in results.index])
    sd = by_question.groupby(["variant", "dataset", "question"])["sd"].mean().unstack()[list(QUESTIONS)]
    total = sd.sum(axis=1).unstack("dataset")
    log_ratio = np.log(total / total.iloc[0]).mean(axis=1).to_numpy()  # over the data sets that both have
    typical = sd.groupby("variant").median()
    rows = []
    for number, one in enumerate(compared[1:], start=1):
        gain = 1 - float(np.exp(log_ratio[number]))
        counts = {"runs": one.runs / compared[0].runs, "work": one.work / compared[0].work}
        own = {str(name): float(value) for name, value in typical.iloc[number].items()}
        rows.append({"change": one.change, **counts, "gain": gain, "helps": gain >= HELPS, **own})
    return pd.DataFrame(rows)


def verdict(table: pd.DataFrame, changes: pd.DataFrame, *, extra: float, runs: int) -> tuple[str, str, str]:
    """Return the verdict on a plan in three sentences.

    Args:
        table: prior_sd, posterior_sd of every quantity.
        changes: the result of `changes_table`.
        extra: mean log of the cost of the recommended setting over the least cost.
        runs: runs of the plan.
    """
    before, after = (
        {question: _mean_over_tasks(question, table[name]) for question in QUESTIONS}
        for name in ("prior_sd", "posterior_sd")
    )
    clauses = [
        f"{placed(after[name] / before[name])} the {name} (90% interval: {factor(after[name])}; before the sweep: "
        f"{factor(before[name])})"
        for name in (RATE, BATCH, UTD)
    ]
    place = f"Can this plan place the optimum? It {clauses[0]}, {clauses[1]}, and {clauses[2]}."
    wide = (
        f"How wide will the recommendation be? Its cost will be known within {factor(after[COST])} and the best UTD "
        f"within {factor(after[UTD])} (90% intervals), and it will cost about {100 * np.expm1(extra):.0f}% more than "
        "the best setting."
    )
    return place, wide, f"What is the cheapest change that helps? {_advice(changes, runs)}"


def factor(sd: float) -> str:
    """Return the ratio of the ends of a 90% interval, in words, for a standard deviation of a log."""
    ratio = float(np.exp(SD_OF_INTERVAL * sd))
    return f"a factor of {three_digits(ratio)}" if ratio < MOST_SHOWN else f"a factor above {MOST_SHOWN:,.0f}"


def further(change: pd.Series, runs: int) -> str:
    """Return what a change costs: the runs and the work that it adds."""
    added, work = round((change["runs"] - 1) * runs), change["work"] - 1
    parts = ([counted(added, "more run")] if added else []) + ([f"{work:.0%} more training"] if work > 0.005 else [])
    return " and ".join(parts) or "more evaluations alone"


def _advice(changes: pd.DataFrame, runs: int) -> str:
    useful = changes[changes["helps"]]
    if useful.empty:
        best = changes.sort_values("gain").iloc[-1]
        return (
            f"None of {counted(len(changes), 'change')} narrows these intervals by {HELPS:.0%}; the best is "
            f"{best['change']}, {max(best['gain'], 0):.0%} for {further(best, runs)}."
        )
    cheapest = useful.sort_values(["work", "gain"], ascending=[True, False]).iloc[0]
    change = str(cheapest["change"])
    return (
        f"{change[0].upper()}{change[1:]}: {further(cheapest, runs)} narrow the four intervals above by "
        f"{cheapest['gain']:.0%} on average."
    )


def placed(ratio: float) -> str:
    """Return what a plan does with a quantity whose posterior sd is this share of its prior sd."""
    if ratio < PLACED_BELOW:
        return "places"
    return "does not place" if ratio > UNPLACED_ABOVE else "places only roughly"


def _mean_over_tasks(question: str, sd: pd.Series) -> float:
    return float(sd[[str(name).startswith(f"{question}, ") for name in sd.index]].mean())
