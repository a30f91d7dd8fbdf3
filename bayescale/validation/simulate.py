"""Runs that a known law would give: their true env steps, and the crossings and learning curves they would leave.

What is simulated is what the joint model assumes, so that its intervals can be checked against a known truth, and a
grid can be tried before it is paid for. `simulate_runs` makes the truth; `crossings_of` and `curves_of` look at it as
an experiment does, at evaluations up to a horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from bayescale.data.curves import SETTING_COLUMNS, run_columns
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError
from bayescale.laws import log_batch_room, log_data_ratio, log_optimum, log_size_ratio, penalty

DESIGN_COLUMNS = (
    *SETTING_COLUMNS,
    Column("seeds", "integer", above=0, optional=True),
)
SIMULATED = "simulated"  # the algorithm of runs whose design names none


@dataclass(frozen=True)
class KnownLaw:
    """A law with stated numbers, the same for every task.

    Attributes:
        env_steps: of the median run at `utd_ref`, `model_size_ref`, B* and eta*, by threshold.
        utd_ref: the UTD at which the numbers hold.
        min_share: D_min over the data at `utd_ref`, in (0, 1).
        alpha: exponent of the data in the UTD, > 0.
        batch_size: B* at `utd_ref`; learning_rate: eta* there.
        batch_size_slope: exponent of B* in the UTD; learning_rate_slope: of eta*.
        batch_size_curvature: log env steps per squared log of the batch size; learning_rate_curvature: of the rate.
        interaction: correlation of the two in the penalty, in (-1, 1).
        model_size_ref: critic parameters at which the numbers hold.
        size_share: share of the data there that an endless critic would save, in [0, 1); 0: size does not matter.
        gamma: exponent of that share in critic parameters, > 0.
        batch_size_room: B* of an endless critic over that at `model_size_ref`, less 1; batch_size_gamma: the exponent.
    """

    env_steps: tuple[float, ...]
    utd_ref: float = 1.0
    min_share: float = 0.5
    alpha: float = 0.75
    batch_size: float = 256.0
    batch_size_slope: float = 0.4
    batch_size_curvature: float = 0.1
    learning_rate: float = 5e-4
    learning_rate_slope: float = 0.4
    learning_rate_curvature: float = 0.2
    interaction: float = 0.0
    model_size_ref: float = 1e6
    size_share: float = 0.0
    gamma: float = 0.8
    batch_size_room: float = 0.0
    batch_size_gamma: float = 0.5

    def location(self, configs: pd.DataFrame) -> Float[np.ndarray, "config threshold"]:
        """Log env steps of the median run; `configs` has the columns utd, batch_size, learning_rate, [model_size]."""
        size = configs["model_size"].to_numpy(float) if "model_size" in configs else self.model_size_ref
        log_size = np.log(size / self.model_size_ref)
        log_utd = np.log(configs["utd"].to_numpy(float) / self.utd_ref)
        best_batch = log_optimum(np.log(self.batch_size), self.batch_size_slope, log_utd)
        best_batch += log_batch_room(log_size, self.batch_size_room, self.batch_size_gamma)
        best_rate = log_optimum(np.log(self.learning_rate), self.learning_rate_slope, log_utd)
        extra = penalty(
            [
                np.log(configs["batch_size"].to_numpy(float)) - best_batch,
                np.log(configs["learning_rate"].to_numpy(float)) - best_rate,
            ],
            [self.batch_size_curvature, self.learning_rate_curvature],
            np.array([[1.0, self.interaction], [self.interaction, 1.0]]),
        )
        ratio = log_data_ratio(log_utd, self.min_share, self.alpha)
        ratio = log_size_ratio(ratio, log_size, self.size_share, self.gamma)
        location: Float[np.ndarray, "config threshold"] = np.log(self.env_steps) + np.asarray(ratio + extra)[:, None]
        return location


def simulate_runs(
    design: pd.DataFrame,
    *,
    thresholds: Sequence[float],
    location: Num[np.ndarray, "..."],
    scale: Num[np.ndarray, "..."] | float,
    rng: np.random.Generator,
    p_reach: Num[np.ndarray, "..."] | float = 1.0,
    correlation: float = 0.0,
    shared: float = 0.0,
    skew: Num[np.ndarray, "..."] | float = 0.0,
) -> pd.DataFrame:
    """One row per run and threshold: the run's columns, threshold, true_env_steps (inf: the run never gets there).

        log T_k = location_k + scale_k (z_k + skew_k z_k^2),   T_k = inf where v > p_reach_k
        z_k = sqrt(shared) c_k + sqrt(1 - shared) r_k

    with c of the configuration, r and the uniform v of the run. c and r are standard normal; between thresholds each
    is correlated by `correlation`. T is the running maximum over thresholds: a run cannot reach a higher one earlier.

    Args:
        design: one row per configuration: env_id, utd, batch_size, learning_rate, [seeds: runs of it, 1 if absent];
            further columns are kept.
        thresholds: increasing returns.
        location: log env steps of the median run; broadcast to (configuration, threshold), as the next two are.
        scale: spread of log env steps between runs, >= 0.
        rng: source of randomness.
        p_reach: chance that a run ever gets there.
        correlation: of a run's deviations at two thresholds, in [0, 1].
        shared: share of the variance that the seeds of a configuration have in common, in [0, 1].
        skew: lean of the log env steps, see `RunLengthDistribution`; broadcast as the location is.

    Raises:
        InputError: a design, threshold, shape or number that cannot be used.
    """
    levels = increasing_thresholds(thresholds)
    for name, value in (("correlation", correlation), ("shared", shared)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} must lie in [0, 1]; got {value:g}. Correct it.")
    configs = check_columns(Table(design, "design"), DESIGN_COLUMNS)
    if configs.duplicated(configs.columns.drop("seeds", errors="ignore").tolist()).any():
        raise InputError("design has a configuration twice; keep one row of it and raise its seeds.")
    seeds = configs.pop("seeds").to_numpy() if "seeds" in configs else np.ones(len(configs), int)
    shape = (len(configs), len(levels))
    middle, spread, reach, lean = (
        _by_config(name, values, shape)
        for name, values in (("location", location), ("scale", scale), ("p_reach", p_reach), ("skew", skew))
    )
    if not np.isfinite(lean).all():
        raise InputError("skew must be finite; 0 is none. Correct it.")
    if not ((spread >= 0).all() and ((reach >= 0) & (reach <= 1)).all() and np.isfinite(middle).all()):
        raise InputError("location must be finite, scale >= 0 and p_reach within [0, 1]; correct the others.")
    config = np.repeat(np.arange(len(configs)), seeds)

    def deviates(count: int) -> Float[np.ndarray, "unit threshold"]:
        common, own = rng.standard_normal((count, 1)), rng.standard_normal((count, len(levels)))
        return np.asarray(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)

    deviate = np.sqrt(shared) * deviates(len(configs))[config] + np.sqrt(1 - shared) * deviates(len(config))
    log_steps = np.where(
        rng.random((len(config), 1)) > reach[config],
        np.inf,
        middle[config] + spread[config] * (deviate + lean[config] * deviate**2),
    )
    true = np.exp(np.maximum.accumulate(log_steps, axis=1))
    runs = configs.take(config).reset_index(drop=True)
    runs["seed"] = np.arange(len(config)) - np.repeat(np.cumsum(seeds) - seeds, seeds)
    if "algorithm" not in runs:
        runs["algorithm"] = SIMULATED
    table = runs[[*run_columns(runs), *runs.columns.difference(run_columns(runs))]]
    table = table.take(np.repeat(np.arange(len(runs)), len(levels))).reset_index(drop=True)
    return table.assign(threshold=np.tile(levels, len(runs)), true_env_steps=true.ravel())


def crossings_of(runs: pd.DataFrame, *, every: int, horizon: float) -> pd.DataFrame:
    """What `time_to_threshold` would find: the runs' columns, threshold, env_steps_lower, env_steps_upper, censored.

    Args:
        runs: what `simulate_runs` made.
        every: env steps between evaluations, the first of them after this many.
        horizon: env steps of the longest run; the last evaluation is the last multiple of `every` within it.

    Raises:
        InputError: no evaluation before the horizon.
    """
    last = _last_evaluation(every, horizon)
    runs = runs.sort_values([*run_columns(runs), "threshold"], kind="stable", ignore_index=True)
    upper = np.maximum(np.ceil(runs.pop("true_env_steps").to_numpy() / every), 1.0) * every
    late = upper > last
    return runs.assign(
        env_steps_lower=np.where(late, last, upper - every),
        env_steps_upper=np.where(late, np.inf, upper),
        censored=late,
    )


def curves_of(
    runs: pd.DataFrame,
    *,
    every: int,
    horizon: float,
    first_return: float,
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """A learning-curve table: each run's return rises in straight lines through its true crossings, then stays.

    Without noise `time_to_threshold` of these curves equals `crossings_of` the same runs.

    Args:
        runs: what `simulate_runs` made.
        every: env steps between evaluations, the first of them after this many.
        horizon: env steps of the longest run.
        first_return: of an untrained agent, below all thresholds.
        noise: sd of independent normal errors of the evaluations, in units of the return.
        rng: source of the noise; needed if there is any.

    Raises:
        InputError: no evaluation before the horizon, a first return that is too high, noise without `rng`.
    """
    lowest = float(runs["threshold"].min())
    if not first_return < lowest:
        raise InputError(
            f"first_return must be below all thresholds; got {first_return:g}, not < {lowest:g}. Lower it."
        )
    if noise and rng is None:
        raise InputError(f"noise of {noise:g} needs a source; give rng=numpy.random.default_rng(seed).")
    env_steps = np.arange(every, _last_evaluation(every, horizon) + 1, every)
    levels = np.unique(runs["threshold"])
    number = runs.groupby(run_columns(runs), sort=False, dropna=False).ngroup()
    runs = runs.iloc[np.lexsort((runs["threshold"], number))]  # runs as they came, so that equal seeds give equal noise
    true = runs["true_env_steps"].to_numpy().reshape(-1, len(levels))
    curves = runs.iloc[:: len(levels)].drop(columns=["threshold", "true_env_steps"])
    returns = np.empty((len(true), len(env_steps)))
    for run, steps in enumerate(true):
        known = np.isfinite(steps)
        returns[run] = np.interp(env_steps, np.append(0.0, steps[known]), np.append(first_return, levels[known]))
    if rng is not None:
        returns += noise * rng.standard_normal(returns.shape)
    table = curves.take(np.repeat(np.arange(len(curves)), len(env_steps))).reset_index(drop=True)
    return table.assign(env_steps=np.tile(env_steps, len(curves)), episode_return=returns.ravel())


def _by_config(name: str, values: object, shape: tuple[int, int]) -> Float[np.ndarray, "config threshold"]:
    array = np.asarray(values, float)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(
            f"{name} must have shape {shape}, a row per configuration and a column per threshold; got {array.shape}."
        ) from None


def _last_evaluation(every: int, horizon: float) -> int:
    if not (every >= 1 and every == int(every) and every <= horizon < np.inf):
        raise InputError(
            f"every must be whole env steps >= 1 and at most the horizon; got {every} and {horizon:g}. Correct them."
        )
    return int(horizon // every) * int(every)
