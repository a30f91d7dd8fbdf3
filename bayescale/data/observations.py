"""Give the bounds that each row of a crossings table sets on the log run length, and the observation kind of the row.

The run length T is the number of env steps until a run reaches the threshold. A row bounds it by
log_lower < log T <= log_upper; a bound that the row does not give is infinite.

    kind                log_lower               log_upper
    interval-censored   log(env_steps_lower)    log(env_steps_upper)
    left-censored       -inf                    log(env_steps_upper)
    right-censored      log(env_steps_lower)    inf
    failed              inf                     inf
    before training     -inf                    inf

A diverged run never reaches what it had not reached: its run length there is infinite. A run that crashed, was stopped
or is still running is right-censored at its last evaluation.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from bayescale.data.curves import run_columns
from bayescale.data.run_ends import DIVERGED
from bayescale.errors import InputError

REGULAR = 0.9  # a task's runs evaluate regularly if more than this share of its crossings lies on one schedule
ON_SCHEDULE = 0.05  # largest distance of an evaluation from that schedule, as a share of the interval


class Kind(IntEnum):
    """Observation kind of one crossing."""

    INTERVAL_CENSORED = 0  # the run reached the threshold between two evaluations
    LEFT_CENSORED = 1  # the first evaluation after env step 0 was already above the threshold
    RIGHT_CENSORED = 2  # the run had not reached the threshold by its last evaluation
    BEFORE_TRAINING = 3  # the untrained agent was above the threshold: the row says nothing about the run length
    FAILED = 4  # the run diverged below the threshold and will never reach it


class Observations(NamedTuple):
    """Bounds on log run lengths; each array has shape (crossing,), or (run, threshold) after `by_run`.

    Attributes:
        log_lower: exclusive lower bound on log env steps; -inf if there is none, inf for a failed run.
        log_upper: inclusive upper bound on log env steps; inf if there is none.
        kind: a `Kind` for each crossing.
    """

    log_lower: Float[np.ndarray, "..."]
    log_upper: Float[np.ndarray, "..."]
    kind: Int[np.ndarray, "..."]

    @property
    def interval_censored(self) -> Bool[np.ndarray, "..."]:
        """True where the run reached the threshold between two evaluations."""
        return np.asarray(self.kind == Kind.INTERVAL_CENSORED)

    @property
    def left_censored(self) -> Bool[np.ndarray, "..."]:
        """True where the run reached the threshold by its first evaluation after env step 0."""
        return np.asarray(self.kind == Kind.LEFT_CENSORED)

    @property
    def right_censored(self) -> Bool[np.ndarray, "..."]:
        """True where the run had not reached the threshold by its last evaluation, and had not diverged."""
        return np.asarray(self.kind == Kind.RIGHT_CENSORED)

    @property
    def failed(self) -> Bool[np.ndarray, "..."]:
        """True where the run diverged below the threshold."""
        return np.asarray(self.kind == Kind.FAILED)

    @property
    def before_training(self) -> Bool[np.ndarray, "..."]:
        """True where the untrained agent was above the threshold."""
        return np.asarray(self.kind == Kind.BEFORE_TRAINING)

    @property
    def reached_in_training(self) -> Bool[np.ndarray, "..."]:
        """True where the run reached the threshold after env step 0: interval-censored or left-censored."""
        return np.asarray(self.interval_censored | self.left_censored)

    @property
    def bounded(self) -> Bool[np.ndarray, "..."]:
        """True where at least one bound is finite."""
        return np.asarray(np.isfinite(self.log_lower) | np.isfinite(self.log_upper))

    def by_run(self, thresholds: int) -> "Observations":
        """Return the observations with shape (run, threshold); the table must be sorted by run, then threshold."""
        return Observations(*(part.reshape(-1, thresholds) for part in self))


def observations(crossings: pd.DataFrame) -> Observations:
    """Return the bounds on log env steps and the observation kind of each row of a crossings table.

    Args:
        crossings: columns env_steps_lower (>= 0), env_steps_upper, censored and [status], as `time_to_threshold` makes
            them. No run has failed where the status is missing.
    """
    lower, upper = (crossings[f"env_steps_{end}"].to_numpy(float) for end in ("lower", "upper"))
    not_reached = crossings["censored"].to_numpy(bool)
    failed = not_reached & diverged(crossings)
    before_training = ~not_reached & (upper <= 0)
    kind = np.select(
        [failed, not_reached, before_training, lower <= 0],
        [Kind.FAILED, Kind.RIGHT_CENSORED, Kind.BEFORE_TRAINING, Kind.LEFT_CENSORED],
        Kind.INTERVAL_CENSORED,
    )
    with np.errstate(divide="ignore"):  # log 0 = -inf, the bound that says nothing
        log_lower, log_upper = np.log(lower), np.log(upper)
    log_upper = np.where(not_reached | before_training, np.inf, log_upper)
    return Observations(np.where(failed, np.inf, log_lower), log_upper, kind)


def diverged(crossings: pd.DataFrame) -> Bool[np.ndarray, " crossing"]:
    """Return True for each row of a run whose status is `diverged`, in capital or small letters."""
    if "status" not in crossings:
        return np.zeros(len(crossings), bool)
    return crossings["status"].astype(str).str.strip().str.lower().eq(DIVERGED).to_numpy(bool)


def require_reached_in_training(crossings: pd.DataFrame) -> None:
    """Raise InputError unless a run reaches a threshold after its first env step."""
    observed = observations(crossings)
    if (observed.right_censored | observed.failed).all():
        raise InputError("no run reaches any threshold; lower the thresholds or give longer runs.")
    if not observed.reached_in_training.any():
        raise InputError(
            "all runs that reach a threshold are above it before their first env step; raise the thresholds."
        )


def evaluation_intervals(crossings: pd.DataFrame, env_ids: pd.Series) -> Float[np.ndarray, " row"]:
    """Return the interval at whose multiples each task's runs are evaluated, in env steps; 0 if there is none.

    The interval of a task is the median width of its crossings. The task's runs evaluate regularly if more than nine in
    ten crossings end at a multiple of the interval and belong to a run whose narrowest crossing is as wide as the
    interval. (Resets and missing evaluations widen some crossings of a run, another spacing all of them.)

    Args:
        crossings: one row per run and threshold, as `time_to_threshold` returns it.
        env_ids: task of each row of the result. A task whose crossings tell nothing gets the median over all tasks, or
            0 if any task is irregular.
    """
    seen = crossings[observations(crossings).reached_in_training]
    width = seen["env_steps_upper"] - seen["env_steps_lower"]
    own = [seen[name] for name in run_columns(seen)]
    narrowest = width.groupby(own, dropna=False, observed=True).transform("min")
    interval = width.groupby(seen["env_id"]).transform("median")
    unit = interval.where(interval > 0)
    ends = seen["env_steps_upper"] / unit
    on_schedule = (abs(narrowest / unit - 1) <= ON_SCHEDULE) & (abs(ends - ends.round()) <= ON_SCHEDULE)
    regular = on_schedule.groupby(seen["env_id"]).mean() > REGULAR
    by_task = width.groupby(seen["env_id"]).median().where(regular, 0.0)
    return env_ids.map(by_task).fillna(width.median() if regular.all() else 0.0).to_numpy(float)
