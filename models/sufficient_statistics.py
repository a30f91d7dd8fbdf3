"""Crossings collapsed to sufficient statistics: one cell for each configuration and threshold.

Seeds of a configuration enter through counts, means and sums of squares, so the cost of a fit grows with the number of
distinct configurations, not with runs. An interval-censored time enters at the middle of its log interval; its uniform
uncertainty adds width^2 / 12 to the variance (Sheppard's correction). Left- and right-censored times keep one exact
term per run. Failed runs enter by their number. A run that is above the threshold before training shows only that it
does not fail: its time is earlier than any bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

from bayescale.data.observations import observations
from bayescale.models.parameters import AXES

COMPROMISE = -2 / 3  # exponent of a run's redundancy in the weight of its times
FEWEST_SEEDS = 4  # fewest seeds of a configuration that show skewness
BEFORE_ANY_STEP = -1000.0  # log env steps; "later than this" is certain, for values and gradients alike
AFTER_ALL_STEPS = 1000.0  # log env steps; "earlier than this" is certain likewise

AnyArray = np.ndarray | Array


@jax.tree_util.register_dataclass  # one compiled density serves many tables of equal shapes
@dataclass(frozen=True)
class SufficientStatistics:
    """Sufficient statistics of log env steps for configurations, thresholds and censored observations.

    Attributes:
        task: number of the configuration's task.
        log_settings: log of each setting, by the name of its axis; axes that the table lacks are absent.
        count: number of interval-censored times.
        mean: mean of their log env steps.
        squares: sum of squares around the mean.
        skewness: (mean - median) / sd of the distribution, estimated from the seeds.
        skewness_precision: 1 / variance of that estimate; 0: no information.
        grid_variance: variance from the spacing of evaluations, averaged over the times.
        failed: number of runs that diverged below the threshold.
        censored_config: configuration of each censored observation.
        censored_threshold: number of its threshold.
        censored_side: +1: later than the bound (right-censored); -1: earlier.
        log_bound: log env steps of the bound.
        reached: by task, the number of the highest threshold that a run reached; -1 if no run reached any.
        weight: weight of each time in the composite likelihood, as a run's times are correlated.
    """

    task: Int[AnyArray, " config"]
    log_settings: dict[str, Float[AnyArray, " config"]]
    count: Float[AnyArray, "threshold config"]
    mean: Float[AnyArray, "threshold config"]
    squares: Float[AnyArray, "threshold config"]
    skewness: Float[AnyArray, "threshold config"]
    skewness_precision: Float[AnyArray, "threshold config"]
    grid_variance: Float[AnyArray, "threshold config"]
    failed: Float[AnyArray, "threshold config"]
    censored_config: Int[AnyArray, " censored"]
    censored_threshold: Int[AnyArray, " censored"]
    censored_side: Float[AnyArray, " censored"]
    log_bound: Float[AnyArray, " censored"]
    reached: Int[AnyArray, " task"]
    weight: float | Float[Array, ""]


def collapse(crossings: pd.DataFrame, env_ids: tuple[str, ...]) -> SufficientStatistics:
    """Return the sufficient statistics of a crossings table.

    Args:
        crossings: one row per run and threshold, as `time_to_threshold` makes it, sorted by run, then threshold.
        env_ids: task names; their order numbers the tasks.
    """
    thresholds = len(np.unique(crossings["threshold"]))
    first = crossings.iloc[::thresholds]
    identity = first[["env_id", *(axis.name for axis in AXES if axis.name in first)]]
    config = identity.groupby(list(identity), sort=True).ngroup().to_numpy()
    configs = identity.assign(config=config).drop_duplicates("config").sort_values("config")

    observed = observations(crossings).by_run(thresholds)
    lower, upper = (
        np.maximum(bound, 0.0) for bound in (observed.log_lower, observed.log_upper)
    )  # bounds below one env step count as one
    inside, right = observed.interval_censored, observed.right_censored
    middle = np.where(inside, (lower + np.where(inside, upper, 0.0)) / 2, 0.0)
    width2 = np.where(inside, (np.where(inside, upper, 0.0) - lower) ** 2 / 12, 0.0)

    def total(values: Float[np.ndarray, "run threshold"]) -> Float[np.ndarray, "config threshold"]:
        sums = np.zeros((len(configs), thresholds))
        np.add.at(sums, config, values)
        return sums

    count = total(inside.astype(float))
    mean = total(middle) / np.maximum(count, 1)
    runs = np.bincount(config, minlength=len(configs))
    residual = np.where(inside, middle - mean[config], 0.0)
    squares = total(residual**2)
    skewness, skewness_precision = _skewness(residual, config, squares, count == runs[:, None])
    run, threshold = np.nonzero(~inside & ~observed.failed)
    bound = np.where(right, lower, np.where(observed.before_training, AFTER_ALL_STEPS, upper))
    numbers = {name: i for i, name in enumerate(env_ids)}
    reached = np.full(len(env_ids), -1)
    np.maximum.at(reached, first["env_id"].map(numbers).to_numpy(int), _highest(~(right | observed.failed)))
    return SufficientStatistics(
        task=configs["env_id"].map(numbers).to_numpy(int),
        log_settings={axis.name: np.log(configs[axis.name].to_numpy(float)) for axis in AXES if axis.name in configs},
        count=count.T,
        mean=mean.T,
        squares=squares.T,
        skewness=skewness.T,
        skewness_precision=skewness_precision.T,
        grid_variance=(total(width2) / np.maximum(count, 1)).T,
        failed=total(observed.failed.astype(float)).T,
        censored_config=config[run],
        censored_threshold=threshold,
        censored_side=np.where(right, 1.0, -1.0)[run, threshold],
        log_bound=bound[run, threshold],
        reached=reached,
        weight=_weight(residual[inside.all(axis=1)]),
    )


def padded(statistics: Sequence[SufficientStatistics]) -> list[SufficientStatistics]:
    """Return the same observations in equal shapes; added censored entries are certain, with no effect."""
    most = max(len(one.log_bound) for one in statistics)

    def with_more(one: SufficientStatistics) -> SufficientStatistics:
        more = most - len(one.log_bound)

        def extended(values: AnyArray, by: float) -> AnyArray:
            return np.append(values, np.full(more, by, values.dtype))

        return replace(
            one,
            censored_config=extended(one.censored_config, 0),
            censored_threshold=extended(one.censored_threshold, 0),
            censored_side=extended(one.censored_side, 1.0),
            log_bound=extended(one.log_bound, BEFORE_ANY_STEP),
        )

    return [with_more(one) for one in statistics]


def _highest(reached: Bool[np.ndarray, "run threshold"]) -> Int[np.ndarray, " run"]:
    """Return the number of the highest threshold that each run reached, -1 for none."""
    return np.asarray(np.where(reached, np.arange(reached.shape[1]), -1).max(axis=1))


def _skewness(
    residual: Float[np.ndarray, "run threshold"],
    config: Int[np.ndarray, " run"],
    squares: Float[np.ndarray, "config threshold"],
    complete: Bool[np.ndarray, "config threshold"],
) -> tuple[Float[np.ndarray, "config threshold"], Float[np.ndarray, "config threshold"]]:
    """Return estimates of (mean - median) / sd and their precisions, from configurations whose every seed was seen.

    For n normal seeds the mean, the sd and (mean - median) / sd are independent (Basu's theorem). So the last is a
    further observation, with variance v - 1/n for the variance v of a normal median. On average n seeds show the
    share 1 - v of it.
    """
    seeds = np.bincount(config, minlength=len(squares))[:, None]
    median = pd.DataFrame(residual).groupby(config).median().to_numpy()
    v = (
        np.pi / 2 / (seeds + np.where(seeds % 2, 0.46, 1.35))
    )  # differs by at most 2% from the exact variance for three seeds or more
    usable = complete & (seeds >= FEWEST_SEEDS) & (squares > 0)
    sd = np.sqrt(np.where(usable, squares, 1.0) / np.maximum(seeds - 1, 1))
    precision = (1 - v) ** 2 / np.where(usable, v - 1 / seeds, np.inf)
    return np.where(usable, -median / sd / (1 - v), 0.0), precision


def _weight(residual: Float[np.ndarray, "run threshold"]) -> float:
    """Return (K * mean correlation)^(-2/3) of a run's K times.

    A parameter of one threshold alone asks for weight 1, one that all thresholds share for 1 / (K * mean correlation),
    the share of independent information. The exponent -2/3 lies between them. It is a compromise that scored well on
    published runs left out of the fit, not a derivation: with several thresholds, credible intervals of parameters are
    not exactly calibrated.
    """
    thresholds = residual.shape[1]
    spread = residual.std(axis=0) if len(residual) else np.zeros(thresholds)
    correlation = np.corrcoef(residual.T).mean() if len(residual) > 2 and (spread > 0).all() else 1.0
    return float(np.clip(thresholds * correlation, 1.0, thresholds) ** COMPROMISE)
