"""Predict the return that a run reaches within a number of env steps or within a budget.

A run reaches return J within D env steps if its run length T(J) is at most D. So P(T(J) <= D), the probability that the
run reaches J or more, falls as J rises, and a quantile of the reached return is the J where this probability equals one
minus the quantile level. Above the highest fitted threshold, T(J) follows the law of
`bayescale.posterior.extrapolation`.
"""

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import counted, require_positive, three_digits
from bayescale.data.configurations import LENGTH, checked_configs
from bayescale.decisions.candidates import flops_per_step, with_model_sizes
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, require_prices
from bayescale.errors import InputError
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import FEWEST_THRESHOLDS, at_thresholds
from bayescale.posterior.outcomes import highest_returns
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.prediction_table import (
    LAW_QUANTILE_COLUMNS,
    LAW_QUANTILE_LEVELS,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
)
from bayescale.posterior.predictive import run_lengths
from bayescale.posterior.swept_ranges import above_thresholds, joined, outside_sweep
from bayescale.run_length_distribution import RunLengthDistribution

PERFORMANCE_DRAWS = 400
CHUNK = 64  # configurations per pass, to bound memory
# Grid of returns: the smallest distance below a ceiling, in units of (ceiling - highest threshold).
NEAREST = 1e-4
# Grid of returns: the largest distance above the highest threshold, in units of the fitted range of returns.
FARTHEST = 20.0


def performance(
    posterior: Posterior,
    configs: pd.DataFrame,
    *,
    env_steps: float | None = None,
    budget: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    ceiling: Ceiling | None = None,
    new_task: bool = False,
) -> pd.DataFrame:
    """Return quantiles of the return that a new run reaches within `env_steps`, or within the env steps of a budget.

        env steps of a budget = budget / (prices.flop * 10 N B sigma + prices.env_step)

    Args:
        posterior: a fit.
        configs: as for `Posterior.predict`; a column `env_steps` may hold the length of each run.
        env_steps: length of every run, > 0, if `configs` has no such column.
        budget: for each run, in the unit of the prices, > 0; instead of a length.
        prices: of a training flop and of an env step. Flops need a model size in `configs` or in the fitted runs.
        ceiling: the highest return that a task allows, in units of the thresholds; see `bayescale.posterior.ceilings`.
        new_task: True allows tasks without runs, predicted as sampled from the population of tasks.

    Returns:
        One row per configuration: its columns; `env_steps`; q05 ... q95, the return of a new run (one seed) in units of
        the thresholds, -inf below the lowest threshold; law_q05 law_q50 law_q95, the return of the median run
        (parameter uncertainty alone); `extrapolated`, True outside the fitted data or if q50 exceeds the highest
        threshold; `extrapolation`, on which axes and how far; `beyond_data`, True if q50 exceeds the highest return
        that any fitted run of the task reached (of any task for a task without runs), which is also a warning. Higher
        returns are better, so q05 is the pessimistic end.

    Raises:
        InputError: a task has no fitted runs and `new_task` is False.
        InputError: not exactly one of a length and a budget is given, a number or a ceiling is unusable, or the fit has
            fewer than three thresholds, too few to extrapolate beyond the highest.
    """
    if (count := len(posterior.thresholds)) < FEWEST_THRESHOLDS:
        raise InputError(
            f"the returns that runs reach need at least {FEWEST_THRESHOLDS} fitted thresholds; got {count}. Fit more."
        )
    configs = checked_configs(configs, LENGTH).reset_index(drop=True)
    if sum((env_steps is not None, budget is not None, "env_steps" in configs)) != 1:
        raise InputError("performance needs the env steps of each run or a budget; give one of them.")
    named = posterior.named(configs)
    posterior.require_tasks(named["env_id"], new_task=new_task)
    posterior.warn_of_nothing_reached(named["env_id"])
    require_prices(prices)
    if budget is not None:
        require_positive("budget", budget)
        per_step = flops_per_step(with_model_sizes(posterior, named))
        configs = configs.assign(env_steps=budget / prices.cost(per_step, np.ones(len(configs))))
    elif env_steps is not None:
        require_positive("env_steps", env_steps)
        configs = configs.assign(env_steps=env_steps)
    lengths = configs["env_steps"].to_numpy(float)
    draws = posterior.flat_draws(PERFORMANCE_DRAWS, named["env_id"])
    best = ceilings(ceiling, named["env_id"], posterior.crossings)
    quantiles = np.empty((len(configs), len(QUANTILE_LEVELS)))
    law_quantiles = np.empty((len(configs), len(LAW_QUANTILE_LEVELS)))
    by_ceiling = [np.flatnonzero(best == each) for each in np.unique(best)]  # the grid depends on the ceiling
    for rows in (group[first : first + CHUNK] for group in by_ceiling for first in range(0, len(group), CHUNK)):
        grid = _return_grid(posterior, best[rows[0]])
        distribution = run_lengths(posterior.model, draws, named.iloc[rows])
        distribution = at_thresholds(distribution, posterior.thresholds, grid, best[rows])
        log_lengths = np.log(lengths[rows])[:, None]
        p_within = distribution.reached_by(log_lengths).mean(axis=0)
        median_run = _median_return(distribution, log_lengths, grid)
        quantiles[rows] = np.stack([_crossing(p_within, grid, 1 - level) for level in QUANTILE_LEVELS], axis=1)
        law_quantiles[rows] = np.quantile(median_run, LAW_QUANTILE_LEVELS, axis=0, method="nearest").T
    table = configs.copy()
    table[QUANTILE_COLUMNS] = np.minimum(quantiles, best[:, None])
    table[LAW_QUANTILE_COLUMNS] = np.minimum(law_quantiles, best[:, None])
    outside = outside_sweep(posterior.crossings, named)
    above = [above_thresholds(posterior.thresholds, median) for median in table["q50"]]
    extrapolation = [joined(*texts) for texts in zip(outside, above, strict=True)]
    table = table.assign(extrapolated=[text != "" for text in extrapolation], extrapolation=extrapolation)
    highest = highest_returns(posterior.crossings, named["env_id"])
    table["beyond_data"] = table["q50"].to_numpy() > highest
    if table["beyond_data"].any():
        _warn_beyond_data(table["beyond_data"].to_numpy(), highest, best)
    return table


def _warn_beyond_data(
    beyond: Bool[np.ndarray, " config"], highest: Float[np.ndarray, " config"], ceiling: Float[np.ndarray, " config"]
) -> None:
    """Warn that medians exceed the highest return that runs reached, and name the assumption that they rest on."""
    stated = np.isfinite(ceiling[beyond])
    assumptions = ["the stated ceiling"] * bool(stated.any())
    if not stated.all():
        assumptions.append("the prior of the ceiling, as no ceiling is given")
    returns = three_digits(highest[beyond].min())
    if highest[beyond].min() < highest[beyond].max():
        returns += f" to {three_digits(highest[beyond].max())}, by task"
    warnings.warn(
        f"{counted(int(beyond.sum()), 'row')} of {len(beyond):,}: the median return lies above the highest that any "
        f"run reached ({returns}); it rests on {' or '.join(assumptions)}.",
        stacklevel=3,
    )


def _return_grid(posterior: Posterior, ceiling: float) -> Float[np.ndarray, " return"]:
    """Return the increasing returns at which the probability to reach them is computed.

    The grid is even between the fitted thresholds, grows coarser above them, and finer again below a finite ceiling.
    """
    fitted = posterior.thresholds
    span = fitted[-1] - fitted[0]
    beyond = fitted[-1] + span * np.geomspace(0.02, FARTHEST, 60)
    room = ceiling - fitted[-1]
    near = ceiling - room * np.array([0, *np.geomspace(NEAREST, 1, 20)]) if 0 < room < np.inf else ()
    return np.unique([*fitted, *np.linspace(fitted[0], fitted[-1], 25), *beyond, *near])


def _crossing(
    probability: Float[np.ndarray, "config return"], grid: Float[np.ndarray, " return"], level: float
) -> Float[np.ndarray, " config"]:
    """Return where a probability that falls with the return crosses `level`, by linear interpolation.

    Returns:
        -inf if the probability starts at or below the level; inf if it stays above the level on the whole grid.
    """
    falling = np.minimum.accumulate(probability, axis=1)
    crossing = np.empty(len(falling))
    for i, row in enumerate(falling):
        k = int((row > level).sum())
        if k == 0:
            crossing[i] = -np.inf
        elif k == len(grid):
            crossing[i] = np.inf
        else:
            crossing[i] = grid[k - 1] + (grid[k] - grid[k - 1]) * (row[k - 1] - level) / (row[k - 1] - row[k])
    return crossing


def _median_return(
    distribution: RunLengthDistribution,
    log_lengths: Float[np.ndarray, "config 1"],
    grid: Float[np.ndarray, " return"],
) -> Float[np.ndarray, "draw config"]:
    """Return the return that the median run of each draw reaches, linear in log env steps between grid points.

    Args:
        distribution: axes draw, configuration, return of the grid.
        log_lengths: log env steps of each run.
        grid: increasing returns.

    Returns:
        -inf if the median run reaches no return of the grid; inf if it reaches all of them.
    """
    reached = (distribution.location <= log_lengths) & (distribution.p_reach > 0.5)
    k = np.logical_and.accumulate(reached, axis=-1).sum(axis=-1)
    low, high = np.clip(k - 1, 0, None), np.clip(k, None, len(grid) - 1)
    early, late = (np.take_along_axis(distribution.location, at[..., None], axis=-1)[..., 0] for at in (low, high))
    share = np.where(late > early, (log_lengths[:, 0] - early) / np.where(late > early, late - early, 1.0), 0.0)
    between = grid[low] + (grid[high] - grid[low]) * np.clip(share, 0.0, 1.0)
    return np.asarray(np.where(k == 0, -np.inf, np.where(k == len(grid), np.inf, between)))
