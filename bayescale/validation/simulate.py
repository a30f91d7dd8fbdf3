"""Simulate runs of a known law, and the crossings and learning curves that an experiment would record of them.

`simulate_runs` draws true run lengths under the assumptions of the joint model. `crossings_of` and `curves_of` record
them as an experiment does, at evaluations up to a horizon. The intervals of a fit can then be checked against the
truth, and a sweep can be tried before it is paid for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from bayescale.data.curves import SETTING_COLUMNS, run_columns
from bayescale.data.run_ends import DIVERGED
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError
from bayescale.laws import log_batch_room, log_data_ratio, log_optimum, log_size_ratio, penalty

DESIGN_COLUMNS = (
    *SETTING_COLUMNS,
    Column("seeds", "integer", above=0, optional=True),
)
SIMULATED = "simulated"  # algorithm of the runs if the design has no column algorithm


@dataclass(frozen=True)
class KnownLaw:
    """A law with given numbers, the same for every task; see `bayescale.laws` for the formulas.

    B* is the optimal batch size, eta* the optimal learning rate. The reference is `utd_ref` and `model_size_ref`.

    Attributes:
        env_steps: env steps of the median run at the reference, B* and eta*, by threshold.
        utd_ref: UTD of the reference.
        min_share: share of the data at the reference that more updates cannot save, in (0, 1).
        alpha: exponent of the data in the UTD, > 0.
        batch_size: B* at the reference.
        batch_size_slope: exponent by which B* falls with the UTD.
        batch_size_curvature: log env steps per squared log batch size, >= 0.
        learning_rate: eta* at the reference.
        learning_rate_slope: exponent by which eta* falls with the UTD.
        learning_rate_curvature: log env steps per squared log learning rate, >= 0.
        interaction: correlation of batch size and learning rate in the penalty, in (-1, 1).
        model_size_ref: critic parameters of the reference.
        size_share: share of the data at the reference that an infinitely large critic saves, in [0, 1); 0: the model
            size has no effect.
        gamma: exponent of that share in the critic parameters, > 0.
        batch_size_room: B* of an infinitely large critic over B* at the reference, minus 1.
        batch_size_gamma: exponent of the room in the critic parameters, > 0.
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
        """Return the log env steps of the median run.

        Args:
            configs: columns utd, batch_size, learning_rate, [model_size].
        """
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
    """Draw the true run length T_k of every run at every threshold k.

        log T_k = location_k + scale_k (z_k + skew_k z_k^2),   T_k = inf where v > p_reach_k
        z_k = sqrt(shared) c_k + sqrt(1 - shared) r_k

    c is the configuration effect and r the seed noise. Both are standard normal with correlation `correlation` between
    thresholds. v is one uniform number per run. T is replaced by its running maximum over thresholds, because a run
    cannot reach a higher threshold earlier.

    Args:
        design: one row per configuration: env_id, utd, batch_size, learning_rate, [seeds: number of runs, 1 if
            absent]; further columns are kept.
        thresholds: increasing returns.
        location: log env steps of the median run; broadcasts to (configuration, threshold).
        scale: spread of log env steps between runs, >= 0; broadcasts likewise.
        rng: source of randomness.
        p_reach: probability that a run ever reaches the threshold; broadcasts likewise.
        correlation: correlation of a run's deviations between thresholds, in [0, 1].
        shared: share of the variance that is due to the configuration effect, in [0, 1].
        skew: skewness of the log env steps, see `RunLengthDistribution`; broadcasts likewise.

    Returns:
        One row per run and threshold: the run's columns, threshold, and true_env_steps (inf if the run never reaches
        the threshold).

    Raises:
        InputError: the design, a threshold, a shape or a number is not valid.
    """
    returns = increasing_thresholds(thresholds)
    for name, value in (("correlation", correlation), ("shared", shared)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} must lie in [0, 1]; got {value:g}. Correct it.")
    configs = check_columns(Table(design, "design"), DESIGN_COLUMNS)
    if configs.duplicated(configs.columns.drop("seeds", errors="ignore").tolist()).any():
        raise InputError("design has a configuration twice; keep one row of it and raise its seeds.")
    seeds = configs.pop("seeds").to_numpy() if "seeds" in configs else np.ones(len(configs), int)
    shape = (len(configs), len(returns))
    location, scale, p_reach, skewness = (
        _by_config(name, values, shape)
        for name, values in (("location", location), ("scale", scale), ("p_reach", p_reach), ("skew", skew))
    )
    if not np.isfinite(skewness).all():
        raise InputError("skew must be finite; 0 means a symmetric distribution. Correct it.")
    if not ((scale >= 0).all() and ((p_reach >= 0) & (p_reach <= 1)).all() and np.isfinite(location).all()):
        raise InputError("location must be finite, scale >= 0 and p_reach within [0, 1]; correct the others.")
    config = np.repeat(np.arange(len(configs)), seeds)

    def deviates(count: int) -> Float[np.ndarray, "unit threshold"]:
        """Return standard normal numbers, correlated between thresholds."""
        common, by_threshold = rng.standard_normal((count, 1)), rng.standard_normal((count, len(returns)))
        return np.asarray(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * by_threshold)

    z = np.sqrt(shared) * deviates(len(configs))[config] + np.sqrt(1 - shared) * deviates(len(config))
    log_steps = np.where(
        rng.random((len(config), 1)) > p_reach[config],
        np.inf,
        location[config] + scale[config] * (z + skewness[config] * z**2),
    )
    true = np.exp(np.maximum.accumulate(log_steps, axis=1))
    runs = configs.take(config).reset_index(drop=True)
    runs["seed"] = np.arange(len(config)) - np.repeat(np.cumsum(seeds) - seeds, seeds)
    if "algorithm" not in runs:
        runs["algorithm"] = SIMULATED
    table = runs[[*run_columns(runs), *runs.columns.difference(run_columns(runs))]]
    table = table.take(np.repeat(np.arange(len(runs)), len(returns))).reset_index(drop=True)
    return table.assign(threshold=np.tile(returns, len(runs)), true_env_steps=true.ravel())


def crossings_of(runs: pd.DataFrame, *, every: int, horizon: float, diverged: bool = False) -> pd.DataFrame:
    """Return the crossings that `time_to_threshold` would find in the learning curves of simulated runs.

    Args:
        runs: the result of `simulate_runs`.
        every: env steps between evaluations; the first evaluation comes after as many.
        horizon: env steps of every run; the last evaluation is the last multiple of `every` within it.
        diverged: True: a run that never reaches a threshold is seen to diverge. False: it is right-censored.

    Returns:
        One row per run and threshold: the run's columns, threshold, env_steps_lower, env_steps_upper, censored and, if
        `diverged`, status; not `highest_return`, as simulated runs have no returns.

    Raises:
        InputError: there is no evaluation before the horizon.
    """
    last = _last_evaluation(every, horizon)
    columns = run_columns(runs)
    runs = runs.sort_values([*columns, "threshold"], kind="stable", ignore_index=True)
    if diverged:
        longest = runs.groupby(columns, sort=False, dropna=False)["true_env_steps"].transform("max")
        runs["status"] = np.where(np.isinf(longest), DIVERGED, "finished")
    upper = np.maximum(np.ceil(runs.pop("true_env_steps").to_numpy() / every), 1.0) * every
    right_censored = upper > last
    return runs.assign(
        env_steps_lower=np.where(right_censored, last, upper - every),
        env_steps_upper=np.where(right_censored, np.inf, upper),
        censored=right_censored,
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
    """Return the learning curves of simulated runs.

    Each return rises in straight lines through the true crossings and stays at the last one. Without noise,
    `time_to_threshold` of these curves equals `crossings_of` the same runs.

    Args:
        runs: the result of `simulate_runs`.
        every: env steps between evaluations; the first evaluation comes after as many.
        horizon: env steps of every run.
        first_return: return of an untrained agent, below all thresholds.
        noise: standard deviation of independent normal errors of the evaluations, in units of the return.
        rng: source of the noise; needed if `noise` is not 0.

    Returns:
        A learning-curve table, one row per run and evaluation.

    Raises:
        InputError: there is no evaluation before the horizon, `first_return` is too high, or noise lacks `rng`.
    """
    lowest = float(runs["threshold"].min())
    if not first_return < lowest:
        raise InputError(
            f"first_return must be below all thresholds; got {first_return:g}, not < {lowest:g}. Lower it."
        )
    if noise and rng is None:
        raise InputError(f"noise of {noise:g} needs a source; give rng=numpy.random.default_rng(seed).")
    env_steps = np.arange(every, _last_evaluation(every, horizon) + 1, every)
    thresholds = np.unique(runs["threshold"])
    number = runs.groupby(run_columns(runs), sort=False, dropna=False).ngroup()
    runs = runs.iloc[np.lexsort((runs["threshold"], number))]  # keep the order of runs: equal seeds give equal noise
    true = runs["true_env_steps"].to_numpy().reshape(-1, len(thresholds))
    curves = runs.iloc[:: len(thresholds)].drop(columns=["threshold", "true_env_steps"])
    returns = np.empty((len(true), len(env_steps)))
    for run, steps in enumerate(true):
        reached = np.isfinite(steps)
        returns[run] = np.interp(
            env_steps, np.append(0.0, steps[reached]), np.append(first_return, thresholds[reached])
        )
    if rng is not None:
        returns += noise * rng.standard_normal(returns.shape)
    table = curves.take(np.repeat(np.arange(len(curves)), len(env_steps))).reset_index(drop=True)
    return table.assign(env_steps=np.tile(env_steps, len(curves)), episode_return=returns.ravel())


def _by_config(name: str, values: object, shape: tuple[int, int]) -> Float[np.ndarray, "config threshold"]:
    """Broadcast an argument to one row per configuration and one column per threshold, or raise InputError."""
    array = np.asarray(values, float)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(
            f"{name} must have shape {shape}, a row per configuration and a column per threshold; got {array.shape}."
        ) from None


def _last_evaluation(every: int, horizon: float) -> int:
    """Return the env steps of the last evaluation within the horizon, or raise InputError if there is none."""
    if not (every >= 1 and every == int(every) and every <= horizon < np.inf):
        raise InputError(
            f"every must be whole env steps >= 1 and at most the horizon; got {every} and {horizon:g}. Correct them."
        )
    return int(horizon // every) * int(every)
