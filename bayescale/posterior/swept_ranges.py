"""Say on which axes, and how far, a configuration lies outside the swept range of its task."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import three_digits
from bayescale.data.configurations import swept_ranges

NEW_TASK = "no run of this task"


def outside_sweep(fitted: pd.DataFrame, configs: pd.DataFrame) -> list[str]:
    """Return, for each configuration, on which axes and how far it lies outside its task's swept range.

    Args:
        fitted: rows of the fitted runs.
        configs: the configurations. A setting counts only where both tables have its column.

    Returns:
        Texts such as "utd 4 times below the smallest swept; learning_rate 10 times above the largest swept"; empty
        inside the range; "no run of this task" for a task without runs.
    """
    parts: list[list[str]] = [[] if known else [NEW_TASK] for known in configs["env_id"].isin(fitted["env_id"])]
    for one in swept_ranges(fitted, configs):
        for i in np.flatnonzero(one.below):
            parts[i].append(f"{one.axis} {_times(one.low[i] / one.value[i])} below the smallest swept")
        for i in np.flatnonzero(one.above):
            parts[i].append(f"{one.axis} {_times(one.value[i] / one.high[i])} above the largest swept")
    return ["; ".join(each) for each in parts]


def above_thresholds(fitted: Float[np.ndarray, " threshold"], threshold: float) -> str:
    """Return how far a return lies above the highest fitted threshold; empty if it does not."""
    if not threshold > fitted[-1]:
        return ""
    return f"threshold {three_digits(threshold - fitted[-1])} above the highest fitted, {three_digits(fitted[-1])}"


def joined(*texts: str) -> str:
    """Return the texts that are not empty, joined by semicolons."""
    return "; ".join(filter(None, texts))


def _times(factor: float) -> str:
    """Return the factor in words, with enough digits to differ from 1."""
    return f"{three_digits(factor)} times" if factor >= 1.005 else f"{100 * (factor - 1):.2g}%"
