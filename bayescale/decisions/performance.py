"""How far a run gets: the return that it reaches within so many env steps or within a budget, with a band.

The same posterior read the other way round. A return is reached within D env steps when the time to it is at most D, so
that the chance to get beyond a return, P(T(J) <= D), falls with J; beyond the highest fitted threshold T(J) follows the
law of `bayescale.posterior.extrapolation`.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import require_positive
from bayescale.data.configurations import LENGTH, checked_configs
from bayescale.decisions.allocation import DEFAULT_PRICES
from bayescale.decisions.candidates import flops_per_step, with_model_sizes
from bayescale.decisions.utility import Prices, require_prices
from bayescale.errors import InputError
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import FEWEST, at_thresholds
from bayescale.posterior.posterior import LEVELS, QUANTILES, Posterior
from bayescale.posterior.predictive import LAW_LEVELS, runs
from bayescale.run_length_distribution import RunLengthDistribution

PERFORMANCE_DRAWS = 400
AT_ONCE = 64  # configurations
NEAREST = 1e-4  # of the way from a ceiling down to the highest threshold: below it by less is the ceiling
FARTHEST = 20.0  # times the fitted range of returns: beyond the highest threshold by more is inf


def performance(
    posterior: Posterior,
    configs: pd.DataFrame,
    env_steps: float | None = None,
    budget: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    ceiling: Ceiling | None = None,
) -> pd.DataFrame:
    """Quantiles of the return that a new run reaches within `env_steps`, or within what `budget` pays for.

    Args:
        posterior: a fit.
        configs: as for `Posterior.predict`; the length of each run may stand in a column `env_steps`.
        env_steps: the length of every run, if not in the configurations.
        budget: of every run, in the unit of the prices, in place of a length.
        prices: of a flop and an env step; flops need a model size, in the configurations or the fitted runs.
        ceiling: the best return there is, in units of the thresholds, see `bayescale.posterior.ceilings`.

    Returns:
        A row per configuration: its columns, `env_steps`, q05 ... q95 (the return of a new run, one seed, in the units
        of the thresholds; -inf below the lowest threshold), law_q05 law_q50 law_q95 (of the median run: parameter
        uncertainty alone), and `extrapolated`: outside the data, or q50 above the highest threshold.

    Raises:
        InputError: not one of env steps and budget, numbers or a ceiling that cannot be used, or fewer than three
            fitted thresholds, which do not tell how far beyond them a run gets.
    """
    if len(posterior.thresholds) < FEWEST:
        raise InputError(
            f"the returns that runs reach need at least {FEWEST} fitted thresholds; got {len(posterior.thresholds)}. "
            "Fit more."
        )
    configs = checked_configs(configs, LENGTH).reset_index(drop=True)
    if sum((env_steps is not None, budget is not None, "env_steps" in configs)) != 1:
        raise InputError("performance needs the env steps of each run or a budget; give one of them.")
    named = posterior.named(configs)
    require_prices(prices)
    if budget is not None:
        require_positive("budget", budget)
        per_step = flops_per_step(with_model_sizes(posterior, named))
        configs = configs.assign(env_steps=budget / prices.cost(per_step, np.ones(len(configs))))
    elif env_steps is not None:
        require_positive("env_steps", env_steps)
        configs = configs.assign(env_steps=env_steps)
    lengths = configs["env_steps"].to_numpy(float)
    draws = posterior.flat_draws(PERFORMANCE_DRAWS)
    best = ceilings(ceiling, named["env_id"], posterior.crossings)
    quantiles, law = np.empty((len(configs), len(LEVELS))), np.empty((len(configs), len(LAW_LEVELS)))
    alike = [np.flatnonzero(best == each) for each in np.unique(best)]  # of one ceiling, and so of one grid
    for rows in (each[first : first + AT_ONCE] for each in alike for first in range(0, len(each), AT_ONCE)):
        grid = _returns(posterior, best[rows[0]])
        times = runs(posterior.model, draws, named.iloc[rows])
        times = at_thresholds(times, posterior.thresholds, grid, best[rows])
        within = np.log(lengths[rows])[:, None]
        reached = times.reached_by(within).mean(axis=0)
        exact = _reached(times, within, grid)
        quantiles[rows] = np.stack([_where_falls(reached, grid, 1 - level) for level in LEVELS], axis=1)
        law[rows] = np.quantile(exact, LAW_LEVELS, axis=0, method="nearest").T
    table = configs.copy()
    table[list(QUANTILES)] = np.minimum(quantiles, best[:, None])
    table[["law_q05", "law_q50", "law_q95"]] = np.minimum(law, best[:, None])
    beyond = table["q50"] > posterior.thresholds[-1]
    return table.assign(extrapolated=posterior.extrapolated(named) | beyond.to_numpy())


def _returns(posterior: Posterior, ceiling: float) -> Float[np.ndarray, " return"]:
    """Where the chance is known: between thresholds evenly, beyond ever farther apart, below a ceiling ever closer."""
    fitted = posterior.thresholds
    span = fitted[-1] - fitted[0]
    beyond = fitted[-1] + span * np.geomspace(0.02, FARTHEST, 60)
    room = ceiling - fitted[-1]
    near = ceiling - room * np.array([0, *np.geomspace(NEAREST, 1, 20)]) if 0 < room < np.inf else ()
    return np.unique([*fitted, *np.linspace(fitted[0], fitted[-1], 25), *beyond, *near])


def _where_falls(
    chance: Float[np.ndarray, "config return"], grid: Float[np.ndarray, " return"], to: float
) -> Float[np.ndarray, " config"]:
    """The return at which a chance that falls with it is down to `to`; -inf if it starts below, inf if it never is."""
    falling = np.minimum.accumulate(chance, axis=1)
    out = np.empty(len(falling))
    for i, row in enumerate(falling):
        k = int((row > to).sum())
        if k == 0:
            out[i] = -np.inf
        elif k == len(grid):
            out[i] = np.inf
        else:
            out[i] = grid[k - 1] + (grid[k] - grid[k - 1]) * (row[k - 1] - to) / (row[k - 1] - row[k])
    return out


def _reached(
    times: RunLengthDistribution, within: Float[np.ndarray, "config 1"], grid: Float[np.ndarray, " return"]
) -> Float[np.ndarray, "draw config"]:
    """The return that each draw's median run reaches: linear in log env steps between the returns of the grid."""
    there = (times.location <= within) & (times.p_reach > 0.5)
    k = np.logical_and.accumulate(there, axis=-1).sum(axis=-1)
    low, high = np.clip(k - 1, 0, None), np.clip(k, None, len(grid) - 1)
    early, late = (np.take_along_axis(times.location, at[..., None], axis=-1)[..., 0] for at in (low, high))
    share = np.where(late > early, (within[:, 0] - early) / np.where(late > early, late - early, 1.0), 0.0)
    between = grid[low] + (grid[high] - grid[low]) * np.clip(share, 0.0, 1.0)
    return np.asarray(np.where(k == 0, -np.inf, np.where(k == len(grid), np.inf, between)))
