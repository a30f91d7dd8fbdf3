"""Find the setting of least risk at each UTD: batch size, learning rate and model size within given ranges.

At one UTD, the expected cost is smooth in the logs of the other axes and has one minimum, apart from candidates that
are left out because their nearest swept setting failed. The search takes the best point of a coarse grid, then looks
around it in ever smaller steps. All decisions about one setting use this search, so that they agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from bayescale.decisions.candidates import flops_per_step
from bayescale.decisions.utility import Prices, Risk, expected_cost
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.outcomes import RunCounts, failed_settings, near_failed_settings, run_counts
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import quantiles, run_lengths
from bayescale.run_length_distribution import RunLengthDistribution

ALLOCATION_DRAWS = 400
COARSE = 5  # values per axis of the coarse grid
FINEST = 0.05  # the search ends when its steps are smaller than this, in logs
CHUNK = 64  # settings per call of the model, always as many, so that JAX compiles it once
WORTHWHILE = 1.03  # risk over the least risk of all UTDs, above which `only_best` gives a UTD up after the first round
UNBOUNDED = 1e300  # merits above it belong to settings without a finite risk; they fall with the probability to reach
TUNED = ("batch_size", "learning_rate", "model_size")
WHOLE = ("batch_size", "model_size")


@dataclass(frozen=True, kw_only=True)
class Question:
    """The task, the returns, the cost and the ranges of a decision.

    Attributes:
        posterior: the fit.
        env_id: task.
        wanted: one return to reach; None: all fitted thresholds.
        prices: of a training flop and of an env step.
        measure: the risk measure to minimise.
        ranges: lowest and highest value by axis; see `candidates.ranges`.
        ceiling: the highest return that a task allows.
        cut_short: True: runs that ended early were only cut short.
    """

    posterior: Posterior
    env_id: str
    wanted: float | None
    prices: Prices
    measure: Risk
    ranges: Mapping[str, tuple[float, float]]
    ceiling: Ceiling | None = None
    cut_short: bool = False

    @cached_property
    def thresholds(self) -> Float[np.ndarray, " threshold"]:
        """The returns to reach, increasing."""
        return self.posterior.thresholds if self.wanted is None else np.array([self.wanted])

    @cached_property
    def draws(self) -> dict[str, Any]:
        """The draws that risks are computed over."""
        return self.posterior.flat_draws(ALLOCATION_DRAWS, [self.env_id])

    @cached_property
    def left_out(self) -> list[tuple[str, ...]]:
        """The swept settings that failed at each return, in words."""
        return failed_settings(self.posterior.crossings, self.env_id, self.thresholds, cut_short=self.cut_short)

    @cached_property
    def counts(self) -> list[RunCounts]:
        """The number of runs of the task, and of those that reached each return."""
        return run_counts(self.posterior.crossings, self.env_id, self.thresholds)


class Choices(NamedTuple):
    """Settings, each with the outcome of runs there for one return.

    Attributes:
        settings: one row per choice with the columns env_id, utd, batch_size, learning_rate and model_size.
        threshold: index of the return of each choice.
        run_lengths: of a new run.
        cost: expected cost, see `utility.expected_cost`; inf where `failed`.
        risk: the risk of the cost; inf where no budget suffices.
        merit: what the search minimises: the risk where it is finite, otherwise a number that falls with the
            probability to reach the return; inf where `failed`.
        failed: True where the nearest swept setting failed at the return, so that the setting is no candidate.
        least_cost: the least cost of all settings that the search has tried, by draw and return.
    """

    settings: pd.DataFrame
    threshold: Int[np.ndarray, " choice"]
    run_lengths: RunLengthDistribution
    cost: Float[np.ndarray, "draw choice"]
    risk: Float[np.ndarray, " choice"]
    merit: Float[np.ndarray, " choice"]
    failed: Bool[np.ndarray, " choice"]
    least_cost: Float[np.ndarray, "draw threshold"]

    @property
    def env_steps(self) -> Float[np.ndarray, "draw choice"]:
        """Env steps of the median run; inf under draws in which no run reaches the return."""
        return np.where(self.run_lengths.p_reach > 0, np.exp(self.run_lengths.location), np.inf)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Choices":
        """Return some of the choices, by number or by a mask."""
        kept = np.arange(len(self.merit))[np.asarray(rows)]
        return Choices(
            self.settings.iloc[kept].reset_index(drop=True),
            self.threshold[kept],
            RunLengthDistribution(*(part[:, kept] for part in self.run_lengths)),
            self.cost[:, kept],
            self.risk[kept],
            self.merit[kept],
            self.failed[kept],
            self.least_cost,
        )


def coarse_choices(question: Question, utd: Float[np.ndarray, " utd"]) -> Choices:
    """Return, for each return and UTD, the best setting of a coarse grid; UTDs vary fastest."""
    axes = [np.unique(_spaced(name, *question.ranges[name])) for name in TUNED]
    grid = np.array(list(product(utd, *axes)))
    settings = pd.DataFrame(grid, columns=["utd", *TUNED])
    all_thresholds = np.tile(np.arange(len(question.thresholds)), (len(grid), 1))
    outcomes = _outcomes(question, settings, all_thresholds)
    merit = outcomes.merit.reshape(len(utd), -1, len(question.thresholds))
    per_utd, count = merit.shape[1:]
    best = merit.argmin(axis=1) + per_utd * np.arange(len(utd))[:, None]  # row of the grid by UTD and threshold
    return outcomes.take((best * count + np.arange(count)).T.ravel())


def refined(question: Question, choices: Choices, *, only_best: bool = False) -> Choices:
    """Return the choices after a search around each in ever smaller steps.

    Args:
        question: as for `coarse_choices`.
        choices: results of `coarse_choices`, or some of them.
        only_best: True: after the first round, give up UTDs whose risk is clearly not the least for their return.
    """
    steps = {name: np.log(high / low) / (COARSE - 1) / 2 for name, (low, high) in question.ranges.items()}
    moving = [name for name in TUNED if steps[name] > 0]
    signs = [np.array(each) for each in _stencil(moving)]
    logs = np.log(choices.settings[moving].to_numpy(float))
    step = np.array([steps[name] for name in moving])
    while moving and 2 * step.max() > FINEST:
        around = logs[:, None] + np.array(signs) * step  # choice, neighbour, axis
        low, high = (np.log([question.ranges[name][end] for name in moving]) for end in (0, 1))
        around = np.clip(around, low, high)
        count = len(signs)
        settings = choices.settings.loc[choices.settings.index.repeat(count)].reset_index(drop=True)
        settings[moving] = np.exp(around.reshape(-1, len(moving)))
        tried = _outcomes(question, settings, np.repeat(choices.threshold, count)[:, None])
        least_cost = choices.least_cost.copy()
        for k in np.unique(tried.threshold):
            np.minimum(least_cost[:, k], tried.cost[:, tried.threshold == k].min(axis=1), out=least_cost[:, k])
        merit = np.concatenate([choices.merit[:, None], tried.merit.reshape(-1, count)], axis=1)
        best = merit.argmin(axis=1)  # 0: no neighbour is better
        moves = np.flatnonzero(best)
        choices = _replaced(choices, moves, tried.take(moves * count + best[moves] - 1), least_cost)
        logs[moves] = around[moves, best[moves] - 1]
        if only_best:
            least = np.array([choices.merit[choices.threshold == k].min() for k in choices.threshold])
            kept = choices.merit <= WORTHWHILE * least
            choices, logs = choices.take(kept), logs[kept]
        step = step / 2
    return choices


def _stencil(moving: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the neighbours of a point, as signs by axis: all combinations of two axes, and the third axis alone."""
    tuned = [name for name in moving if name != "model_size"]
    signs = [each + (0,) * (len(moving) - len(tuned)) for each in product((-1, 0, 1), repeat=len(tuned)) if any(each)]
    return signs if len(tuned) == len(moving) else [*signs, *(((0,) * len(tuned)) + (sign,) for sign in (-1, 1))]


def _spaced(name: str, low: float, high: float) -> Float[np.ndarray, " value"]:
    """Return the values of one axis of the coarse grid."""
    values = np.geomspace(low, high, COARSE)
    return values.round() if name in WHOLE else values


def _outcomes(question: Question, settings: pd.DataFrame, thresholds: Int[np.ndarray, "setting pick"]) -> Choices:
    """Predict each setting at some of the returns; the result has the picks of a setting beside each other.

    Args:
        question: the task, the returns and the cost.
        settings: columns utd, batch_size, learning_rate and model_size; batch and model sizes are rounded.
        thresholds: indices of the returns of each setting.
    """
    settings = settings.assign(env_id=question.env_id, **{name: settings[name].round().astype(int) for name in WHOLE})
    chunks = [
        _predicted(question, settings.iloc[first : first + CHUNK], thresholds[first : first + CHUNK])
        for first in range(0, len(settings), CHUNK)
    ]
    distribution = RunLengthDistribution(
        *(np.concatenate([part[i] for part, _ in chunks], axis=1).reshape(len(chunks[0][0][i]), -1) for i in range(4))
    )
    picks = thresholds.shape[1]
    failed = np.zeros((len(settings), len(question.thresholds)), bool)
    any_failed = np.array([bool(one) for one in question.left_out])
    if any_failed.any():
        at = question.thresholds[any_failed]
        failed[:, any_failed] = near_failed_settings(
            question.posterior.crossings, settings, at, cut_short=question.cut_short
        )
    out = np.take_along_axis(failed, thresholds, axis=1).ravel()
    step_cost = np.repeat(question.prices.cost(flops_per_step(settings), np.ones(len(settings))), picks)
    reaches = distribution.p_reach > 0
    env_steps = np.where(reaches, np.exp(distribution.location), np.inf)
    cost = np.where(out, np.inf, expected_cost(env_steps, step_cost=step_cost, p_reach=distribution.p_reach))
    if question.measure.one_run:
        risk = np.where(out, np.inf, step_cost * np.concatenate([one_run for _, one_run in chunks]).ravel())
    else:
        risk = question.measure(cost)
    likely = distribution.p_reach.mean(axis=0)
    merit = np.where(out, np.inf, np.where(np.isfinite(risk), risk, UNBOUNDED * (2 - likely)))
    rows = settings.loc[settings.index.repeat(picks)].reset_index(drop=True)
    number = thresholds.ravel()
    least = np.full((len(cost), len(question.thresholds)), np.inf)
    for k in np.unique(number):
        least[:, k] = cost[:, number == k].min(axis=1)
    return Choices(rows, number, distribution, cost, risk, merit, out, least)


def _predicted(
    question: Question, settings: pd.DataFrame, thresholds: Int[np.ndarray, "setting pick"]
) -> tuple[RunLengthDistribution, Float[np.ndarray, "setting pick"]]:
    """Return the run lengths at the picked returns, and the quantile of one new run's length that the risk asks for."""
    count, posterior = len(settings), question.posterior
    padded = settings.iloc[np.minimum(np.arange(CHUNK), count - 1)]
    distribution = run_lengths(posterior.model, question.draws, padded)
    if question.wanted is not None:
        best = ceilings(question.ceiling, padded["env_id"], posterior.crossings)
        distribution = at_thresholds(distribution, posterior.thresholds, [question.wanted], best)
    one_run = np.full(thresholds.shape, np.nan)
    if question.measure.one_run:
        at_level = quantiles(distribution, np.array([question.measure.level]))[:count, :, 0]
        one_run = np.take_along_axis(at_level, thresholds, axis=1)
    picked = (np.take_along_axis(np.asarray(part)[:, :count], thresholds[None], axis=2) for part in distribution)
    return RunLengthDistribution(*picked), one_run


def _replaced(
    choices: Choices, rows: Int[np.ndarray, " row"], better: Choices, least_cost: Float[np.ndarray, "draw threshold"]
) -> Choices:
    """Return the choices with some of them replaced by better ones."""
    settings = choices.settings.copy()
    for name in TUNED:
        settings.loc[rows, name] = better.settings[name].to_numpy()

    def with_better(values: Any, new: Any) -> Any:
        values = values.copy()
        values[..., rows] = new
        return values

    return Choices(
        settings,
        choices.threshold,
        RunLengthDistribution(*map(with_better, choices.run_lengths, better.run_lengths)),
        cost=with_better(choices.cost, better.cost),
        risk=with_better(choices.risk, better.risk),
        merit=with_better(choices.merit, better.merit),
        failed=with_better(choices.failed, better.failed),
        least_cost=least_cost,
    )
