"""Find the env steps that each run needed to reach each return threshold, as intervals.

A run's curve is replaced by its isotonic (non-decreasing least-squares) regression, as in Rybkin et al., "Value-Based
Deep RL Scales Predictably" (ICML 2025). Here each run has its own regression: seeds are not averaged and no run is
dropped. A run that never reaches a threshold is right-censored.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num

from bayescale.arguments import counted, require_positive
from bayescale.data.curves import CURVE_COLUMNS, run_columns, run_starts, validate_curves
from bayescale.data.return_scale import ReturnScale, normalised_returns, read_return_scale
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.thresholds import default_thresholds, increasing_thresholds
from bayescale.errors import InputError

CROSSING_COLUMNS = (
    *(column for column in CURVE_COLUMNS if column.name not in ("algorithm", "env_steps", "episode_return")),
    Column("threshold", "real"),
    Column("env_steps_lower", "real", at_least=0),
    Column("env_steps_upper", "real", at_least=0, may_be_infinite=True),
)


def time_to_threshold(
    curves: pd.DataFrame,
    *,
    thresholds: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    return_scale: ReturnScale | None = None,
    reset_period: float | None = None,
) -> pd.DataFrame:
    """Return one row per run and threshold, with the interval of env steps in which the run reached the threshold.

    Let f be the isotonic regression of a run's returns at its evaluations t_1 < ... < t_n, t_0 = 0, and i the first
    evaluation with f_i >= J. The run reached J in (t_(i-1), t_i]. If there is no such i, the run is right-censored:
    env_steps_lower = t_n and env_steps_upper = inf. If the run is above J before training (i = 1, t_1 = 0), both are 0.

    Args:
        curves: a learning-curve table.
        thresholds: increasing returns J, in units of the return, or of the normalised return if `return_scale` is
            given. None: ten thresholds chosen from the curves, see `default_thresholds`.
        return_scale: returns that count as 0 and 1000 in each task, see `read_return_scale`; normalised return =
            1000 (R - low)/(high - low). None: returns are not normalised.
        reset_period: gradient updates between full resets of the agent, > 0; resets fall on multiples of
            reset_period/utd env steps. Evaluations after a reset are left out until the run regains its last return
            before the reset. None: no resets.

    Returns:
        The columns that identify a run, `threshold`, `env_steps_lower`, `env_steps_upper`, `censored` (true if
        right-censored), `highest_return` (f_n, which the run's thresholds are compared with) and, if the curves have
        it, `status` (the run's last value, empty where missing), sorted by run, then threshold.

    Raises:
        InputError: curves, thresholds, return scale or reset period cannot be used.
    """
    curves = validate_curves(curves, "curves")
    checked = None if thresholds is None else increasing_thresholds(thresholds)
    returns = normalised_returns(curves, read_return_scale(return_scale))
    starts = run_starts(curves)
    env_steps = curves["env_steps"].to_numpy()
    last_rows = np.append(starts[1:], len(curves)) - 1
    last_steps = env_steps[last_rows]
    runs = curves[run_columns(curves)].take(starts).reset_index(drop=True)
    if reset_period is not None:
        kept = _kept_after_resets(env_steps, returns, starts, runs["utd"].to_numpy(), reset_period)
        env_steps, returns = env_steps[kept], returns[kept]
        starts = np.append(0, np.add.reduceat(kept, starts).cumsum()[:-1])
    smooth = _isotonic(returns, starts)
    highest_returns = smooth[np.append(starts[1:], len(smooth)) - 1]
    if checked is None:
        checked = default_thresholds(runs, smooth[starts], highest_returns)
    lower, upper = _intervals(env_steps, smooth, starts, last_steps, checked)
    crossings = runs.take(np.repeat(np.arange(len(runs)), len(checked))).reset_index(drop=True)
    crossings = crossings.assign(
        threshold=np.tile(checked, len(runs)),
        env_steps_lower=lower.ravel(),
        env_steps_upper=upper.ravel(),
        censored=np.isinf(upper.ravel()),
        highest_return=np.repeat(highest_returns, len(checked)),
    )
    if "status" in curves:
        status = curves["status"].iloc[last_rows].astype(object).where(lambda values: values.notna(), "").astype(str)
        crossings["status"] = np.repeat(status.to_numpy(), len(checked))
    return crossings


def validate_crossings(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the crossings sorted by run, then threshold, as `time_to_threshold` sorts them.

    A table that is in this order already is returned unchanged.

    Raises:
        InputError: a column is missing or holds a wrong value, or a run does not have one row for every threshold.
    """
    require_crossing_columns(frame)
    runs = run_columns(frame)
    thresholds = np.unique(frame["threshold"].to_numpy(float))

    def ordered(table: pd.DataFrame) -> bool:
        if len(table) % len(thresholds):
            return False
        number = table.groupby(runs, sort=False, observed=True).ngroup().to_numpy().reshape(-1, len(thresholds))
        each = table["threshold"].to_numpy(float).reshape(-1, len(thresholds))
        return bool((number == np.arange(len(number))[:, None]).all() and (each == thresholds).all())

    if ordered(frame):
        return frame
    again = frame.sort_values([*runs, "threshold"], kind="stable", ignore_index=True)
    if not ordered(again):
        came = counted(len(thresholds), "threshold"), counted(len(frame[runs].drop_duplicates()), "run")
        raise InputError(
            f"crossings must have one row for every run and threshold; got {counted(len(frame), 'row')} for "
            f"{' and '.join(came)}. Make them with time_to_threshold."
        )
    return again


def require_crossing_columns(frame: pd.DataFrame) -> None:
    """Raise InputError unless the frame has the columns of crossings and they hold valid values."""
    check_columns(Table(frame, "crossings"), CROSSING_COLUMNS)
    if "censored" not in frame or frame["censored"].dtype != bool:
        raise InputError("crossings must have a column 'censored' of booleans; make them with time_to_threshold.")
    lower, upper = (frame[f"env_steps_{end}"].to_numpy(float) for end in ("lower", "upper"))
    if (np.isinf(upper) != frame["censored"].to_numpy()).any() or (lower > upper).any():
        raise InputError(
            "crossings must have env_steps_lower <= env_steps_upper, and env_steps_upper must be infinite where "
            "censored and only there; make them with time_to_threshold."
        )


def _kept_after_resets(
    env_steps: Int[np.ndarray, " evaluation"],
    returns: Float[np.ndarray, " evaluation"],
    starts: Int[np.ndarray, " run"],
    utd: Float[np.ndarray, " run"],
    reset_period: float,
) -> Bool[np.ndarray, " evaluation"]:
    """Return False for evaluations after a reset, until the run regains its last kept return before that reset."""
    require_positive("reset_period", reset_period)
    kept = np.ones(len(returns), bool)
    for start, end, period in zip(starts, np.append(starts[1:], len(returns)), reset_period / utd, strict=True):
        resets_before = np.floor_divide(env_steps[start:end], period)
        after_reset = start + 1 + np.flatnonzero(np.diff(resets_before) > 0)
        for first, next_reset in pairwise([*after_reset, end]):
            before = returns[start:first][kept[start:first]][-1]
            regained = np.flatnonzero(returns[first:next_reset] >= before)
            kept[first : first + regained[0] if regained.size else next_reset] = False
    return kept


def _isotonic(
    returns: Float[np.ndarray, " evaluation"], starts: Int[np.ndarray, " run"]
) -> Float[np.ndarray, " evaluation"]:
    """Return the isotonic regression of each run's returns, all runs joined."""
    from scipy.optimize import isotonic_regression  # late: who reads a saved fit waits for no optimiser

    smooth = np.empty_like(returns)
    for start, end in pairwise([*starts, len(returns)]):
        smooth[start:end] = isotonic_regression(returns[start:end]).x
    return smooth


def _intervals(
    env_steps: Int[np.ndarray, " evaluation"],
    smooth: Float[np.ndarray, " evaluation"],
    starts: Int[np.ndarray, " run"],
    last_steps: Int[np.ndarray, " run"],
    thresholds: Float[np.ndarray, " threshold"],
) -> tuple[Float[np.ndarray, "run threshold"], Float[np.ndarray, "run threshold"]]:
    """Return the exclusive lower and the inclusive upper env steps of each crossing.

    A run's isotonic returns increase, so the number of returns below J is the position of the first return >= J.
    """
    ends = np.append(starts[1:], len(smooth))
    below = np.stack([np.searchsorted(smooth[i:j], thresholds) for i, j in zip(starts, ends, strict=True)])
    first = starts[:, None] + below
    censored = first >= ends[:, None]
    previous = np.where(below > 0, env_steps[first - 1], 0.0)
    lower = np.where(censored, last_steps[:, None].astype(float), previous)
    upper = np.where(censored, np.inf, env_steps[np.minimum(first, len(smooth) - 1)])
    return lower, upper
