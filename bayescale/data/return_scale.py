"""Read return scales, and convert returns to and from normalised returns.

    normalised return = 1000 (R - low) / (high - low)

A return scale gives the returns `low` and `high` that count as 0 and 1000 in each task.
"""

import os
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.data.tables import Column, check_columns
from bayescale.data.tables.files import as_table
from bayescale.errors import InputError

NORMALISED_RANGE = 1000.0  # normalised return of a run at `high`
SCALE_COLUMNS = (Column("env_id", "text"), Column("low", "real"), Column("high", "real"))

Scale = Mapping[str, tuple[float, float]]
ReturnScale = str | os.PathLike[str] | Scale | pd.DataFrame


def read_return_scale(scale: ReturnScale | None) -> dict[str, tuple[float, float]] | None:
    """Return the returns that count as 0 and 1000 in each task, `{env_id: (low, high)}`; None stays None.

    Args:
        scale: a file or frame with columns env_id, low, high, or a mapping env_id -> (low, high), in units of return.

    Raises:
        InputError: a column or a value is missing, a task comes twice, or low >= high.
    """
    if scale is None:
        return None
    table = as_table("return_scale", _frame(scale) if isinstance(scale, Mapping) else scale, SCALE_COLUMNS)
    frame = check_columns(table, SCALE_COLUMNS)
    ends: dict[str, tuple[float, float]] = {}
    for env_id, low, high in zip(frame["env_id"], frame["low"], frame["high"], strict=True):
        if env_id in ends:
            raise InputError(f"{table.source} has {env_id} twice. Keep one.")
        if low >= high:
            raise InputError(
                f"{table.source}: low must be < high; got {low:g} and {high:g} for {env_id}. Correct them."
            )
        ends[env_id] = (float(low), float(high))
    return ends


def normalised_returns(curves: pd.DataFrame, scale: Scale | None) -> Float[np.ndarray, " evaluation"]:
    """Return the normalised return of each row of a learning-curve table; the plain return if `scale` is None.

    Args:
        curves: columns env_id and episode_return.
        scale: (low, high) by env_id, as `read_return_scale` returns it.

    Raises:
        InputError: the scale lacks a task of the table.
    """
    returns = curves["episode_return"].to_numpy(np.float64)
    if scale is None:
        return returns
    task, env_ids = pd.factorize(curves["env_id"])
    low, high = np.array([_ends(scale, env_id) for env_id in env_ids], np.float64).reshape(-1, 2).T
    return np.asarray(NORMALISED_RANGE * (returns - low[task]) / (high - low)[task])


def raw_thresholds(
    thresholds: Float[np.ndarray, " threshold"], env_id: str, scale: Scale | None
) -> Float[np.ndarray, " threshold"]:
    """Return the returns of a task at these normalised returns; the thresholds themselves if `scale` is None.

    Args:
        thresholds: normalised returns.
        env_id: the task.
        scale: (low, high) by env_id, as `read_return_scale` returns it.

    Raises:
        InputError: the scale lacks the task.
    """
    if scale is None:
        return thresholds
    low, high = _ends(scale, env_id)
    return np.asarray(low + thresholds * (high - low) / NORMALISED_RANGE)


def _ends(scale: Scale, env_id: str) -> tuple[float, float]:
    """Return (low, high) of a task, or raise InputError if the scale lacks it."""
    if env_id not in scale:
        raise InputError(f"return_scale has no {env_id}; it has {', '.join(scale)}. Add its low and high.")
    return scale[env_id]


def _frame(scale: Scale) -> pd.DataFrame:
    try:
        rows = [(env_id, low, high) for env_id, (low, high) in scale.items()]
    except (TypeError, ValueError):
        raise InputError(f"return_scale must map each env_id to (low, high); got {scale}. Give two numbers.") from None
    return pd.DataFrame(rows, columns=["env_id", "low", "high"])
