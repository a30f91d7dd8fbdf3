"""Env steps that each run needed to reach each return threshold, as intervals, censored where it never did.

A run's curve is replaced by its isotonic (non-decreasing least-squares) regression, as in Rybkin et al., "Value-Based
Deep RL Scales Predictably" (ICML 2025), but for each run by itself: seeds are not averaged and no run is dropped.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num
from scipy.optimize import isotonic_regression

from bayescale.arguments import counted, require_positive
from bayescale.data.curves import (
    CURVE_COLUMNS,
    run_columns,
    run_starts,
    validate_curves,
)
from bayescale.data.return_scale import ReturnScale, normalised_returns, read_return_scale
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError

DEFAULT_LEVELS = 10
MAY_MISS = 5  # one configuration in five may miss the highest default threshold, as in Fu et al. (NeurIPS 2025)
CROSSING_COLUMNS = (
    *(column for column in CURVE_COLUMNS if column.name not in ("algorithm", "env_steps", "episode_return")),
    Column("threshold", "real"),
    Column("env_steps_lower", "real", at_least=0),
    Column("env_steps_upper", "real", at_least=0, may_be_infinite=True),
)
# The lowest default threshold, in shares of the way from the untrained return to the highest: at least, and at most.
LOWEST_LEVEL, HIGHEST_START = 0.3, 0.7
UNTRAINED = 0.95  # share of the runs whose first return should lie below it


def time_to_threshold(
    curves: pd.DataFrame,
    thresholds: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    return_scale: ReturnScale | None = None,
    reset_period: float | None = None,
) -> pd.DataFrame:
    """One row per run and threshold: the run's columns, threshold, env_steps_lower, env_steps_upper, censored.

    With f the isotonic regression of a run's normalised returns at its evaluations t_1 < ... < t_n, and i the first
    with f_i >= J: the run reached J in (env_steps_lower, env_steps_upper] = (t_(i-1), t_i], where t_0 = 0. Without
    such an i it is right-censored: env_steps_lower = t_n, env_steps_upper = inf. Sorted by run, then threshold.
    A run that is above J at an evaluation before training (t_1 = 0) has both ends 0.

    Args:
        curves: a learning-curve table.
        thresholds: increasing returns J, in units of the return, or of the normalised return if `return_scale` is
            given. None: `default_thresholds` of these curves.
        return_scale: see `read_return_scale`; normalised return = 1000 (R - low)/(high - low). None: R as it is.
        reset_period: gradient updates between full resets of the agent, so that resets fall on multiples of
            reset_period/utd env steps. Evaluations at or after a reset are left out until the last return before it
            is regained. None: no resets.

    Raises:
        InputError: curves, thresholds, scale or period that cannot be used.
    """
    curves = validate_curves(curves, "curves")
    levels = None if thresholds is None else increasing_thresholds(thresholds)
    returns = normalised_returns(curves, read_return_scale(return_scale))
    starts = run_starts(curves)
    env_steps = curves["env_steps"].to_numpy(np.float64)
    last_steps = env_steps[np.append(starts[1:], len(curves)) - 1]
    runs = curves[run_columns(curves)].take(starts).reset_index(drop=True)
    if reset_period is not None:
        kept = _kept_after_resets(env_steps, returns, starts, runs["utd"].to_numpy(), reset_period)
        env_steps, returns = env_steps[kept], returns[kept]
        starts = np.append(0, np.add.reduceat(kept, starts).cumsum()[:-1])
    smooth = _isotonic(returns, starts)
    if levels is None:
        levels = _default_levels(runs, smooth[starts], smooth[np.append(starts[1:], len(smooth)) - 1])
    lower, upper = _intervals(env_steps, smooth, starts, last_steps, levels)
    crossings = runs.take(np.repeat(np.arange(len(runs)), len(levels))).reset_index(drop=True)
    return crossings.assign(
        threshold=np.tile(levels, len(runs)),
        env_steps_lower=lower.ravel(),
        env_steps_upper=upper.ravel(),
        censored=np.isinf(upper.ravel()),
    )


def validate_crossings(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as `time_to_threshold` orders it, by run and threshold; as it is where it is ordered so already.

    Raises:
        InputError: a column is missing or holds what it must not, or a run has not one row for every threshold.
    """
    require_crossing_columns(frame)
    runs = run_columns(frame)
    levels = np.unique(frame["threshold"].to_numpy(float))

    def ordered(table: pd.DataFrame) -> bool:
        if len(table) % len(levels):
            return False
        number = table.groupby(runs, sort=False, observed=True).ngroup().to_numpy().reshape(-1, len(levels))
        each = table["threshold"].to_numpy(float).reshape(-1, len(levels))
        return bool((number == np.arange(len(number))[:, None]).all() and (each == levels).all())

    if ordered(frame):
        return frame
    again = frame.sort_values([*runs, "threshold"], kind="stable", ignore_index=True)
    if not ordered(again):
        came = counted(len(levels), "threshold"), counted(len(frame[runs].drop_duplicates()), "run")
        raise InputError(
            f"crossings must have one row for every run and threshold; got {counted(len(frame), 'row')} for "
            f"{' and '.join(came)}. Give them as time_to_threshold makes them."
        )
    return again


def require_crossing_columns(frame: pd.DataFrame) -> None:
    """Nothing, if the frame has the columns of crossings and what they must hold; InputError otherwise."""
    check_columns(Table(frame, "crossings"), CROSSING_COLUMNS)
    if "censored" not in frame or frame["censored"].dtype != bool:
        raise InputError("crossings must have a column 'censored' of booleans; make them with time_to_threshold.")
    lower, upper = (frame[f"env_steps_{end}"].to_numpy(float) for end in ("lower", "upper"))
    if (np.isinf(upper) != frame["censored"].to_numpy()).any() or (lower > upper).any():
        raise InputError(
            "crossings must have env_steps_lower <= env_steps_upper, and that infinite where censored and only there; "
            "make them with time_to_threshold."
        )


def _kept_after_resets(
    env_steps: Float[np.ndarray, " evaluation"],
    returns: Float[np.ndarray, " evaluation"],
    starts: Int[np.ndarray, " run"],
    utd: Float[np.ndarray, " run"],
    reset_period: float,
) -> Bool[np.ndarray, " evaluation"]:
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
    smooth = np.empty_like(returns)
    for start, end in zip(starts, np.append(starts[1:], len(returns)), strict=True):
        smooth[start:end] = isotonic_regression(returns[start:end]).x
    return smooth


def _intervals(
    env_steps: Float[np.ndarray, " evaluation"],
    smooth: Float[np.ndarray, " evaluation"],
    starts: Int[np.ndarray, " run"],
    last_steps: Float[np.ndarray, " run"],
    levels: Float[np.ndarray, " threshold"],
) -> tuple[Float[np.ndarray, "run threshold"], Float[np.ndarray, "run threshold"]]:
    """Exclusive lower and inclusive upper env steps; a run's isotonic returns below J come before all others."""
    below = np.stack([np.add.reduceat(smooth < level, starts, dtype=np.int64) for level in levels], axis=1)
    first = starts[:, None] + below
    censored = first >= np.append(starts[1:], len(smooth))[:, None]
    previous = np.where(below > 0, env_steps[first - 1], 0.0)
    lower = np.where(censored, last_steps[:, None], previous)
    upper = np.where(censored, np.inf, env_steps[np.minimum(first, len(smooth) - 1)])
    return lower, upper


def _default_levels(
    runs: pd.DataFrame, first_returns: Float[np.ndarray, " run"], last_returns: Float[np.ndarray, " run"]
) -> Float[np.ndarray, " threshold"]:
    """Ten levels up to the highest that 80% of configurations reach.

    A configuration reaches a level if the median over its seeds of the last isotonic return does. The lowest level is
    0.3 of the way up from the largest over tasks of the median over runs of the first isotonic return; more, to 0.7 at
    most, where one run in twenty starts above that: what untrained networks do says nothing of learning.
    """
    configuration = [name for name in runs.columns if name != "seed"]
    reached = runs.assign(last_return=last_returns).groupby(configuration)["last_return"].median().to_numpy()
    top = float(np.sort(reached)[len(reached) // MAY_MISS])
    first = runs.assign(first_return=first_returns).groupby("env_id")["first_return"]
    start, most_start_below = float(first.median().max()), float(first.quantile(UNTRAINED).max())
    if top <= start:
        raise InputError(
            f"no default thresholds: four configurations in five reach {top:.4g}, which is not above the first returns "
            f"({start:.4g}). Give thresholds, or a return_scale if the tasks' returns differ in scale."
        )
    way = min(max((most_start_below - start) / (top - start), LOWEST_LEVEL), HIGHEST_START)
    levels = np.linspace(start + way * (top - start), top, DEFAULT_LEVELS)
    nearest = Context(prec=4, rounding=ROUND_HALF_EVEN)
    rounded = [float(nearest.create_decimal(repr(float(level)))) for level in levels[:-1]]
    rounded.append(float(Context(prec=4, rounding=ROUND_FLOOR).create_decimal(repr(top))))
    return np.array(rounded) if (np.diff(rounded) > 0).all() and rounded[0] > start else levels
