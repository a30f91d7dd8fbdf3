"""Does each task follow the law that was fitted to it? Posterior predictive p-values by task and statistic.

Under a draw of the posterior every run has normal scores z, one a threshold, of which the seeds of a configuration have
the share s of the variance in common. A run counts by its mean score over thresholds, a configuration c with n_c seeds
by the mean m_c of these, at the weight w_c = 1 / (s + (1 - s) / n_c). Replicated data, with the misfit of a
configuration shared by its seeds, have weighted means m_c that are independent and equally spread, so that ratios of
their mean squares follow F distributions under every draw, and the posterior predictive p-value is the mean over draws
of the chance of a larger ratio (Gelman, Meng and Stern, Statistica Sinica 1996). Only the censored are simulated.

Noise and misfit of the model widen until a task that bends otherwise seems likely. So the ratios ask for structure: a
scale that all m_c share cancels.

- `utd`, `batch_size`, `learning_rate`, `model_size`: what squares and cubes of the log explain of the m_c, over what
  they leave.
- `scatter`: the m_c around straight lines, over those of the other tasks.
- `surface`: the m_c around straight lines, over what seeds and the fitted misfit explain.
- `spread`: seeds around their m_c at the UTDs above the median over those at and below it, either way.
- `censored`: the share of times never observed, either way, against simulated ones.

The surface was fitted to the same runs: right models are flagged less often than stated.
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
from bayescale.posterior.predictive import runs
from bayescale.run_length_distribution import RunTimes
from bayescale.validation.sums_of_squares import AXES, Squares, TaskSquares, ratio, task_squares

CHECK_DRAWS = 200
REPLICATES = 100  # of the censored, for each draw; their p-values are at least 1e-4
EDGE = 1e-9  # probabilities are kept this far from 0 and 1
OVERALL = "all tasks"


@dataclass(frozen=True)
class Censored:
    """How many times of a task were not observed, and how many of each replicate."""

    observed: int
    replicated: Int[np.ndarray, " replicate"]
    times: int


@float64()
def posterior_predictive_checks(
    posterior: Posterior,
    *,
    rng: np.random.Generator,
    crossings: pd.DataFrame | None = None,
    false_alarm: float = 0.01,
) -> pd.DataFrame:
    """By task and statistic, then over all tasks: value, expected, p_value, flagged.

    `value` is a ratio of mean squares, or a share; `expected` is its median over replicated data. A flagged task does
    not follow the law that was fitted: look at its curves, and fit it apart. What a design cannot tell has no row.

    Args:
        posterior: a fit.
        rng: source of the replicates, and of scores where a time is known only to lie in an interval.
        crossings: at thresholds that were fitted; None: those of the fit.
        false_alarm: the chance that anything is flagged where all tasks follow the law, at most (Holm's correction).

    Raises:
        InputError: a task or threshold that was not fitted, a false-alarm rate outside (0, 1).
    """
    require_share("false_alarm", false_alarm)
    table = posterior.crossings if crossings is None else posterior.named(validate_crossings(crossings))
    unknown = sorted(set(table["env_id"]) - set(posterior.tasks))
    if unknown:
        raise InputError(f"crossings have the task {unknown[0]}, which was not fitted; remove its rows.")
    draws = posterior.flat_draws(CHECK_DRAWS)
    shares = np.asarray(posterior.model.shared_variance(draws))
    every = table[setting_columns(table)].drop_duplicates().reset_index(drop=True)
    predicted = runs(posterior.model, draws, every)
    squares, censored = {}, {}
    for env_id, own in table.groupby("env_id"):
        configs, config, times = _run_times(posterior, predicted, every, own)
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
    times: RunTimes,
    log_lower: Float[np.ndarray, "run threshold"],
    log_upper: Float[np.ndarray, "run threshold"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw run threshold"]:
    """Scores that are standard normal if the times are right; a run's unknown places in its intervals are the same.

    Args:
        times: of the runs, under each draw.
        log_lower: the log env steps after which a run got there.
        log_upper: those by which it did; inf where it did not.
        rng: source of the places.
    """
    below, above = times.reached_by(log_lower), times.reached_by(log_upper)
    above = np.where(np.isinf(log_upper), 1.0, above)
    place = rng.random((len(above), len(log_lower), 1))
    return np.asarray(ndtri(np.clip(below + (above - below) * place, EDGE, 1 - EDGE)))


def holm(p_values: Float[np.ndarray, " test"], false_alarm: float) -> Bool[np.ndarray, " test"]:
    """Which hypotheses fall while the chance that any true one does stays at most `false_alarm` (Holm 1979)."""
    order = np.argsort(p_values)
    falls = p_values[order] * np.arange(len(order), 0, -1) < false_alarm
    flagged = np.zeros(len(order), bool)
    flagged[order] = np.logical_and.accumulate(falls)
    return flagged


def _rows(
    env_id: str, squares: Mapping[str, TaskSquares], censored: Mapping[str, Censored]
) -> list[tuple[str, float, float, float]]:
    mine = squares[env_id]
    others = [task for name, task in squares.items() if name != env_id]
    pooled = _sum([task.left for task in squares.values()])
    ratios = {axis: ratio(bend, pooled) for axis, bend in mine.structure.items()}
    if others:
        ratios["scatter"] = ratio(mine.around, _sum([task.around for task in others]))
    ratios["surface"] = ratio(mine.around, mine.within)
    ratios["spread"] = _either_way(ratio(mine.within_high, mine.within_low))
    ratios["censored"] = _shares(censored[env_id])
    return [(name, *found) for name, found in ratios.items() if found is not None]


def _overall(
    squares: Mapping[str, TaskSquares], censored: Mapping[str, Censored]
) -> list[tuple[str, float, float, float]]:
    tasks = list(squares.values())
    left, around, within = (_sum([getattr(task, name) for task in tasks]) for name in ("left", "around", "within"))
    ratios = {}
    for axis in AXES:
        bends = [task.structure[axis] for task in tasks if axis in task.structure]
        if bends:
            ratios[axis] = ratio(_sum(bends), left)
    ratios["surface"] = ratio(around, within)
    high, low = _sum([task.within_high for task in tasks]), _sum([task.within_low for task in tasks])
    ratios["spread"] = _either_way(ratio(high, low))
    every = censored.values()
    replicated = np.sum([one.replicated for one in every], axis=0)
    ratios["censored"] = _shares(
        Censored(sum(one.observed for one in every), replicated, sum(one.times for one in every))
    )
    return [(name, *found) for name, found in ratios.items() if found is not None]


def _sum(squares: list[Squares]) -> Squares:
    return sum(squares[1:], start=squares[0])


def _either_way(found: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if found is None:
        return None
    value, expected, chance = found
    return value, expected, 2 * min(chance, 1 - chance)


def _shares(censored: Censored) -> tuple[float, float, float]:
    replicates = len(censored.replicated)
    more = (1 + (censored.replicated >= censored.observed).sum()) / (1 + replicates)
    fewer = (1 + (censored.replicated <= censored.observed).sum()) / (1 + replicates)
    expected = float(np.median(censored.replicated)) / censored.times
    return censored.observed / censored.times, expected, min(1.0, 2 * float(min(more, fewer)))


def _run_times(
    posterior: Posterior, predicted: RunTimes, every: pd.DataFrame, crossings: pd.DataFrame
) -> tuple[pd.DataFrame, Int[np.ndarray, " run"], RunTimes]:
    """A task's configurations, the configuration of each run, and the runs' times under each draw."""
    levels = np.unique(crossings["threshold"].to_numpy(float))
    number = [posterior.threshold_number(level) for level in levels]
    first = pd.MultiIndex.from_frame(crossings.iloc[:: len(levels)][list(every)])
    rows, config = np.unique(pd.MultiIndex.from_frame(every).get_indexer(first), return_inverse=True)
    return every.iloc[rows], config, RunTimes(*(part[:, rows[config]][:, :, number] for part in predicted))


def _censored(
    observed: Observations,
    times: RunTimes,
    config: Int[np.ndarray, " run"],
    shares: Float[np.ndarray, " draw"],
    rng: np.random.Generator,
) -> Censored:
    """The censored of a task, and of replicates whose runs have one score for all thresholds.

    A run that was not censored is taken to have been watched as long as the longest of its task that was, or for ever
    where none was: crossings do not say how long a run went on after its last threshold.
    """
    unseen = observed.bounded & observed.right_censored
    last = np.where(unseen, observed.log_lower, -np.inf).max(axis=1)
    ended = np.where(np.isfinite(last), last, last.max() if unseen.any() else np.inf)
    late = 1 - times.reached_by(ended[:, None])
    replicated = []
    for chance, share in zip(late, shares, strict=True):
        own = rng.standard_normal((REPLICATES, len(config)))
        common = rng.standard_normal((REPLICATES, config.max() + 1))[:, config]
        score = np.sqrt(share) * common + np.sqrt(1 - share) * own
        beyond = -ndtri(np.clip(chance, EDGE, 1 - EDGE))
        replicated.append(((score[..., None] > beyond) & observed.bounded).sum(axis=(1, 2)))
    return Censored(int(unseen.sum()), np.concatenate(replicated), max(int(observed.bounded.sum()), 1))
