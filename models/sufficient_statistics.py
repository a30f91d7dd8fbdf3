"""Crossings collapsed to sufficient statistics: one cell for each configuration and threshold.

Seeds of a configuration enter through counts, means and sums of squares, so the cost of a fit grows with distinct
configurations, not with runs. A time known to lie in (lower, upper] enters at the middle of its log interval, whose
uniform uncertainty adds width^2 / 12 to the variance (Sheppard's correction). Times below the first evaluation are
left-censored, times beyond the last one right-censored; both keep one exact term for each run. A run that is above
the threshold before training says nothing of learning but that it does not fail: its time is earlier than anything.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

AXES = ("utd", "batch_size", "learning_rate", "model_size")
COMPROMISE = -2 / 3  # exponent of a run's redundancy in the weight of its times
FEWEST_SEEDS = 4  # that tell how a distribution leans
BEFORE_ANY_STEP = -1000.0  # log env steps: "later than this" is certain, for values and gradients alike
AFTER_ALL_STEPS = 1000.0  # log env steps: "earlier than this" is certain likewise

AnyArray = np.ndarray | Array


@jax.tree_util.register_dataclass  # so that one compiled density serves many tables
@dataclass(frozen=True)
class Cells:
    """Sufficient statistics of log env steps; E tasks, C configurations, K thresholds, M censored observations."""

    task: Int[AnyArray, " config"]
    log_utd: Float[AnyArray, " config"]
    log_batch_size: Float[AnyArray, " config"]
    log_learning_rate: Float[AnyArray, " config"]
    log_model_size: Float[AnyArray, " config"]  # 0 where the table has none
    count: Float[AnyArray, "config threshold"]
    mean: Float[AnyArray, "config threshold"]
    squares: Float[AnyArray, "config threshold"]  # around the mean
    lean: Float[AnyArray, "config threshold"]  # (mean - median) / sd of the distribution, estimated from the seeds
    lean_precision: Float[AnyArray, "config threshold"]  # 1 / variance of that estimate; 0: no information
    grid_variance: Float[AnyArray, "config threshold"]  # from the spacing of evaluations
    censored_config: Int[AnyArray, " censored"]
    censored_threshold: Int[AnyArray, " censored"]
    censored_side: Float[AnyArray, " censored"]  # +1: later than the bound (right-censored), -1: earlier
    log_bound: Float[AnyArray, " censored"]
    weight: float | Float[Array, ""]  # of each time in the composite likelihood: a run's K times are correlated


def collapse(crossings: pd.DataFrame, env_ids: tuple[str, ...]) -> Cells:
    """The cells of a crossings table.

    Args:
        crossings: one row per run and threshold, as `time_to_threshold` makes it, sorted by run, then threshold.
        env_ids: task names; their order numbers the tasks.
    """
    levels = len(np.unique(crossings["threshold"]))
    first = crossings.iloc[::levels]
    identity = first[["env_id", *(axis for axis in AXES if axis in first)]]
    config = identity.groupby(list(identity), sort=True).ngroup().to_numpy()
    configs = identity.assign(config=config).drop_duplicates("config").sort_values("config")
    shape = (len(configs), levels)

    lower_steps, upper_steps = (
        crossings[f"env_steps_{end}"].to_numpy(float).reshape(-1, levels) for end in ("lower", "upper")
    )
    lower, upper = np.log(np.maximum(lower_steps, 1.0)), np.log(np.maximum(upper_steps, 1.0))
    right = crossings["censored"].to_numpy(bool).reshape(-1, levels)
    left = ~right & (lower_steps <= 0)
    inside = ~right & ~left
    middle = np.where(inside, (lower + np.where(inside, upper, 0.0)) / 2, 0.0)
    width2 = np.where(inside, (np.where(inside, upper, 0.0) - lower) ** 2 / 12, 0.0)

    def total(values: Float[np.ndarray, "run threshold"]) -> Float[np.ndarray, "config threshold"]:
        sums = np.zeros(shape)
        np.add.at(sums, config, values)
        return sums

    count = total(inside.astype(float))
    mean = total(middle) / np.maximum(count, 1)
    runs = np.bincount(config, minlength=len(configs))
    residual = np.where(inside, middle - mean[config], 0.0)
    squares = total(residual**2)
    lean, lean_precision = _lean(residual, config, squares, count == runs[:, None])
    run, threshold = np.nonzero(~inside)
    untrained = ~right & (upper_steps <= 0)
    bound = np.where(right, lower, np.where(untrained, AFTER_ALL_STEPS, upper))
    return Cells(
        task=configs["env_id"].map({name: i for i, name in enumerate(env_ids)}).to_numpy(int),
        log_utd=np.log(configs["utd"].to_numpy(float)),
        log_batch_size=np.log(configs["batch_size"].to_numpy(float)),
        log_learning_rate=np.log(configs["learning_rate"].to_numpy(float)),
        log_model_size=np.log(configs["model_size"].to_numpy(float)) if "model_size" in configs else np.zeros(shape[0]),
        count=count,
        mean=mean,
        squares=squares,
        lean=lean,
        lean_precision=lean_precision,
        grid_variance=total(width2) / np.maximum(count, 1),
        censored_config=config[run],
        censored_threshold=threshold,
        censored_side=np.where(right, 1.0, -1.0)[run, threshold],
        log_bound=bound[run, threshold],
        weight=_weight(residual[inside.all(axis=1)]),
    )


def padded(cells: Cells, censored: int) -> Cells:
    """The same observations with `censored` censored entries; those added are certain and so say nothing.

    Args:
        cells: of one table.
        censored: entries to have, at least those there are.
    """
    more = censored - len(cells.log_bound)

    def extended(values: AnyArray, by: float) -> AnyArray:
        return np.append(values, np.full(more, by, values.dtype))

    return replace(
        cells,
        censored_config=extended(cells.censored_config, 0),
        censored_threshold=extended(cells.censored_threshold, 0),
        censored_side=extended(cells.censored_side, 1.0),
        log_bound=extended(cells.log_bound, BEFORE_ANY_STEP),
    )


def _lean(
    residual: Float[np.ndarray, "run threshold"],
    config: Int[np.ndarray, " run"],
    squares: Float[np.ndarray, "config threshold"],
    complete: Bool[np.ndarray, "config threshold"],
) -> tuple[Float[np.ndarray, "config threshold"], Float[np.ndarray, "config threshold"]]:
    """Estimates of (mean - median) / sd, and their precisions, from configurations of which every seed was seen.

    Of n normal seeds the mean, the sd and (mean - median) / sd are independent (Basu), so that the last is an
    observation of its own, of variance v - 1/n with v that of a normal median. On average n seeds show 1 - v of it.
    """
    seeds = np.bincount(config, minlength=len(squares))[:, None]
    median = pd.DataFrame(residual).groupby(config).median().to_numpy()
    v = np.pi / 2 / (seeds + np.where(seeds % 2, 0.46, 1.35))  # within 2% of the exact variance from three seeds on
    told = complete & (seeds >= FEWEST_SEEDS) & (squares > 0)
    sd = np.sqrt(np.where(told, squares, 1.0) / np.maximum(seeds - 1, 1))
    precision = (1 - v) ** 2 / np.where(told, v - 1 / seeds, np.inf)
    return np.where(told, -median / sd / (1 - v), 0.0), precision


def _weight(residual: Float[np.ndarray, "run threshold"]) -> float:
    """(K * mean correlation)^(-2/3) of a run's K times.

    A parameter of one threshold alone asks for weight 1, one common to all thresholds for 1 / (K * mean correlation),
    the share of independent information; this lies between them. A compromise that scored well on published runs
    left out of the fit, not a derivation: with several thresholds credible intervals of parameters are not exactly
    calibrated.
    """
    levels = residual.shape[1]
    spread = residual.std(axis=0) if len(residual) else np.zeros(levels)
    correlation = np.corrcoef(residual.T).mean() if len(residual) > 2 and (spread > 0).all() else 1.0
    return float(np.clip(levels * correlation, 1.0, levels) ** COMPROMISE)
