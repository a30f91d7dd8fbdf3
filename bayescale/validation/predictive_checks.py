"""Posterior predictive checks: does each task follow the law that was fitted to it?

Each check is a ratio of two sums of squares (see `bayescale.validation.sums_of_squares`, which defines z, s, m_c and
w_c). Replicated data have weighted configuration means m_c that are independent with equal variance, because the
configuration effect is shared by the seeds of a configuration. A ratio of mean squares then follows an F distribution
under every draw. The posterior predictive p-value is the mean over draws of the probability of a larger ratio.
Source: Gelman, Meng and Stern, Statistica Sinica 1996. Only the check of censoring simulates data.

The model's noise and configuration effect can grow until a task that departs from the law seems likely. The ratios
therefore look for structure in the m_c: a common scale of all m_c cancels.

statistic   numerator                                      denominator
utd, batch_size, learning_rate, model_size
            m_c: squares and cubes of the log setting      m_c: neither lines, squares nor cubes explain
scatter     m_c around straight lines                      the same, in the other tasks
surface     m_c around straight lines                      z around m_c: seeds and the fitted configuration effect
spread      z around m_c, at UTDs above the median         z around m_c, at UTDs up to the median
censored    share of right-censored run lengths, against simulated shares

The p-values of spread and censored are two-sided. The surface was fitted to the same runs, so right models are flagged
less often than stated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from bayescale.arguments import require_share
from bayescale.data.configurations import setting_columns
from bayescale.data.crossings import validate_crossings
from bayescale.data.observations import Observations, observations
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation.sums_of_squares import AXES, Squares, TaskSquares, ratio, task_squares

CHECK_DRAWS = 200
REPLICATES = 100  # simulated data sets per draw for the check of censoring; p-values are then at least 1e-4
EDGE = 1e-9  # probabilities are clipped to [EDGE, 1 - EDGE]
OVERALL = "all tasks"


@dataclass(frozen=True)
class Censored:
    """Counts of a task's right-censored run lengths.

    Attributes:
        observed: right-censored run lengths in the data.
        replicated: right-censored run lengths in each replicated data set.
        total: run lengths in the data, without those reached before training.
    """

    observed: int
    replicated: Int[np.ndarray, " replicate"]
    total: int


@float64()
def posterior_predictive_checks(
    posterior: Posterior,
    *,
    rng: np.random.Generator,
    crossings: pd.DataFrame | None = None,
    false_alarm: float = 0.01,
) -> pd.DataFrame:
    """Check by task, and over all tasks, whether the runs follow the fitted law.

    A flagged task does not follow the law: look at its curves, and fit it separately. A statistic that the design
    cannot identify has no row.

    Args:
        posterior: a fit.
        rng: source of the replicated data and of the scores of interval-censored run lengths.
        crossings: crossings at fitted thresholds; None: those of the fit.
        false_alarm: upper bound in (0, 1) on the probability of any flag where all tasks follow the law (Holm's
            correction).

    Returns:
        One row per task and statistic with columns env_id, statistic, value (a ratio of mean squares, or a share),
        expected (the median of value over replicated data), p_value and flagged. The rows over all tasks have env_id
        "all tasks".

    Raises:
        InputError: a task or threshold was not fitted, or `false_alarm` lies outside (0, 1).
    """
    require_share("false_alarm", false_alarm)
    table = posterior.crossings if crossings is None else posterior.named(validate_crossings(crossings))
    unknown = sorted(set(table["env_id"]) - set(posterior.tasks))
    if unknown:
        raise InputError(f"crossings have the task {unknown[0]}, which was not fitted; remove its rows.")
    draws = posterior.flat_draws(CHECK_DRAWS, table["env_id"])
    shares = np.asarray(posterior.model.shared_variance(draws))
    every = table[setting_columns(table)].drop_duplicates().reset_index(drop=True)
    predicted = run_lengths(posterior.model, draws, every)
    squares, censored = {}, {}
    for env_id, own in table.groupby("env_id"):
        configs, config, times = _of_task(posterior, predicted, every, own)
        observed = observations(own).by_run(times.location.shape[2])
        scores = normal_scores(times, observed.log_lower, observed.log_upper, rng).mean(axis=2)
        squares[str(env_id)] = task_squares(scores, configs, config, shares)
        censored[str(env_id)] = _censored(observed, times, config, shares, rng)
    rows = [(name, *row) for name in squares for row in _rows(name, squares, censored)]
    if len(squares) > 1:
        rows += [(OVERALL, *row) for row in _overall(squares, censored)]
    checked = pd.DataFrame(rows, columns=["env_id", "statistic", "value", "expected", "p_value"])
    return checked.assign(flagged=holm(checked["p_value"].to_numpy(), false_alarm))


def normal_scores(
    predicted: RunLengthDistribution,
    log_lower: Float[np.ndarray, "run threshold"],
    log_upper: Float[np.ndarray, "run threshold"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw run threshold"]:
    """Return normal scores of observed run lengths; they are standard normal if the predicted distribution is right.

    A run length is known between two bounds. Its score uses a probability drawn uniformly between the predictive CDF at
    the two bounds. All thresholds of a run under one draw share the random number.

    Args:
        predicted: distribution of each run's length under each draw.
        log_lower: lower bounds of the log run lengths; -inf if there is none.
        log_upper: upper bounds of the log run lengths; inf if there is none.
        rng: source of the random numbers.
    """
    below, above = predicted.reached_by(log_lower), predicted.reached_by(log_upper)
    above = np.where(np.isinf(log_upper), 1.0, above)
    uniform = rng.random((len(above), len(log_lower), 1))
    return np.asarray(ndtri(np.clip(below + (above - below) * uniform, EDGE, 1 - EDGE)))


def holm(p_values: Float[np.ndarray, " test"], false_alarm: float) -> Bool[np.ndarray, " test"]:
    """Return the hypotheses to reject so that any true one is rejected with probability `false_alarm` at most.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p_values)
    small = p_values[order] * np.arange(len(order), 0, -1) < false_alarm
    rejected = np.zeros(len(order), bool)
    rejected[order] = np.logical_and.accumulate(small)
    return rejected


def _rows(
    env_id: str, squares: Mapping[str, TaskSquares], censored: Mapping[str, Censored]
) -> list[tuple[str, float, float, float]]:
    """Return (statistic, value, expected, p-value) for each statistic of one task."""
    own = squares[env_id]
    others = [task for name, task in squares.items() if name != env_id]
    unstructured = _sum([task.unstructured for task in squares.values()])
    ratios = {axis: ratio(structure, unstructured) for axis, structure in own.structure.items()}
    if others:
        ratios["scatter"] = ratio(own.around_lines, _sum([task.around_lines for task in others]))
    ratios["surface"] = ratio(own.around_lines, own.within)
    ratios["spread"] = _two_sided(ratio(own.within_high_utd, own.within_low_utd))
    ratios["censored"] = _censored_check(censored[env_id])
    return [(name, *found) for name, found in ratios.items() if found is not None]


def _overall(
    squares: Mapping[str, TaskSquares], censored: Mapping[str, Censored]
) -> list[tuple[str, float, float, float]]:
    """Return (statistic, value, expected, p-value) for each statistic over all tasks."""
    tasks = list(squares.values())
    unstructured = _sum([task.unstructured for task in tasks])
    ratios = {}
    for axis in AXES:
        structures = [task.structure[axis] for task in tasks if axis in task.structure]
        if structures:
            ratios[axis] = ratio(_sum(structures), unstructured)
    ratios["surface"] = ratio(_sum([task.around_lines for task in tasks]), _sum([task.within for task in tasks]))
    high_utd, low_utd = _sum([task.within_high_utd for task in tasks]), _sum([task.within_low_utd for task in tasks])
    ratios["spread"] = _two_sided(ratio(high_utd, low_utd))
    every = censored.values()
    replicated = np.sum([one.replicated for one in every], axis=0)
    ratios["censored"] = _censored_check(
        Censored(sum(one.observed for one in every), replicated, sum(one.total for one in every))
    )
    return [(name, *found) for name, found in ratios.items() if found is not None]


def _sum(squares: list[Squares]) -> Squares:
    return sum(squares[1:], start=squares[0])


def _two_sided(found: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if found is None:
        return None
    value, expected, p_value = found
    return value, expected, 2 * min(p_value, 1 - p_value)


def _censored_check(censored: Censored) -> tuple[float, float, float]:
    """Return the share of right-censored run lengths, its median over replicated data and its two-sided p-value."""
    replicates = len(censored.replicated)
    more = (1 + (censored.replicated >= censored.observed).sum()) / (1 + replicates)
    fewer = (1 + (censored.replicated <= censored.observed).sum()) / (1 + replicates)
    expected = float(np.median(censored.replicated)) / censored.total
    return censored.observed / censored.total, expected, min(1.0, 2 * float(min(more, fewer)))


def _of_task(
    posterior: Posterior, predicted: RunLengthDistribution, every: pd.DataFrame, crossings: pd.DataFrame
) -> tuple[pd.DataFrame, Int[np.ndarray, " run"], RunLengthDistribution]:
    """Return a task's configurations, the configuration number of each run, and the predicted run lengths.

    Args:
        posterior: the fit.
        predicted: run lengths of each configuration in `every`, under each draw.
        every: the configurations of all tasks, one row each.
        crossings: the task's crossings, sorted by run, then threshold.
    """
    thresholds = np.unique(crossings["threshold"].to_numpy(float))
    number = [posterior.threshold_number(threshold) for threshold in thresholds]
    first = pd.MultiIndex.from_frame(crossings.iloc[:: len(thresholds)][list(every)])
    rows, config = np.unique(pd.MultiIndex.from_frame(every).get_indexer(first), return_inverse=True)
    return every.iloc[rows], config, RunLengthDistribution(*(part[:, rows[config]][:, :, number] for part in predicted))


def _censored(
    observed: Observations,
    predicted: RunLengthDistribution,
    config: Int[np.ndarray, " run"],
    shares: Float[np.ndarray, " draw"],
    rng: np.random.Generator,
) -> Censored:
    """Count the right-censored and failed run lengths of a task, in the data and in replicated data.

    A replicated run uses one normal score for all thresholds. Crossings do not say when a run that reached its highest
    threshold ended, nor how long a failed run would have been watched. Such a run is assumed to end with the last
    right-censored run of the task, or never if the task has no right-censored run.
    """
    right_censored = observed.bounded & observed.right_censored
    missed, counted = right_censored | observed.failed, observed.bounded | observed.failed
    last = np.where(right_censored, observed.log_lower, -np.inf).max(axis=1)
    end = np.where(np.isfinite(last), last, last.max() if right_censored.any() else np.inf)
    p_censored = 1 - predicted.reached_by(end[:, None])
    replicated = []
    for probability, share in zip(p_censored, shares, strict=True):
        seed_noise = rng.standard_normal((REPLICATES, len(config)))
        configuration_effect = rng.standard_normal((REPLICATES, config.max() + 1))[:, config]
        score = np.sqrt(share) * configuration_effect + np.sqrt(1 - share) * seed_noise
        limit = -ndtri(np.clip(probability, EDGE, 1 - EDGE))
        replicated.append(((score[..., None] > limit) & counted).sum(axis=(1, 2)))
    return Censored(int(missed.sum()), np.concatenate(replicated), max(int(counted.sum()), 1))
