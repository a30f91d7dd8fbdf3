"""Choose the candidate settings that the report carries, so that it can answer at any prices.

At one UTD, model size and batch size, the learning rate of fewest expected env steps is the same at all prices, because
prices and batch size fix the cost of an env step. So the cheapest setting at any price lies on a line: a batch size and
its best learning rate. The candidates are settings along this line for each fitted return, spaced so closely that the
choices of neighbouring UTDs make a smooth curve. The best settings at the report's own prices are placed more finely.
A coarse grid over the swept ranges is added, for questions far from these.

The log of expected env steps is smooth in log batch size and log learning rate. It is computed on a grid and
interpolated.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Num
from scipy.interpolate import make_interp_spline

from bayescale.decisions.candidates import ranges, swept_sizes, utd_candidates
from bayescale.decisions.cheapest_settings import ALLOCATION_DRAWS, CHUNK
from bayescale.decisions.utility import Prices, expected_cost
from bayescale.laws import flops
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution

AXES = ("utd", "batch_size", "learning_rate", "model_size")
GRID, GRID_PER_SIZE = 9, 5  # batch sizes and learning rates of the grid at one model size, and where sizes vary too
COARSE = 3  # batch sizes and learning rates of the grid that are candidates themselves
FINE_BATCHES, FINE_RATES = 193, 97  # values between which the interpolation chooses at the report's prices
BATCH_STEP, RATE_STEP = 0.075, 0.14  # logs; spacing of a line's batch sizes, and of the rates between which it chooses
LEAST_CHANCE = 1e-9  # smaller probabilities to reach a return are raised to this one; costs and logs stay finite


def candidate_settings(
    posterior: Posterior, env_id: str, *, prices: Prices, model_size: int | None = None
) -> pd.DataFrame:
    """Return the candidate settings of a task, one row each, with the columns env_id and `AXES`.

    Args:
        posterior: a fit.
        env_id: task.
        prices: the report's prices; the best settings at these prices are candidates.
        model_size: critic parameters; None as in `allocate`.
    """
    limits = ranges(posterior, env_id, model_size=model_size)
    utds, sizes = utd_candidates(posterior, env_id, *limits["utd"]), swept_sizes(posterior, env_id, model_size)
    count = GRID if len(sizes) == 1 else GRID_PER_SIZE
    batches = np.unique(_spaced(*limits["batch_size"], count).round())
    rates = _spaced(*limits["learning_rate"], count)
    lengths = lengths_at(posterior, _table(env_id, list(product(utds, sizes, batches, rates))))
    chance = np.maximum(lengths.p_reach, LEAST_CHANCE)
    env_steps = expected_cost(np.exp(lengths.location), step_cost=np.array(1.0), p_reach=chance).mean(axis=0)
    by_cell = np.log(env_steps).reshape(len(utds) * len(sizes), len(batches), len(rates), -1)
    fine_batches = _spaced(*limits["batch_size"], FINE_BATCHES).round()
    fine_rates = _spaced(*limits["learning_rate"], FINE_RATES)
    chosen = list(product(utds, sizes, _thinned(batches, COARSE), _thinned(rates, COARSE)))
    for (utd, size), on_grid in zip(product(utds, sizes), by_cell, strict=True):
        log_steps = _interpolated(_interpolated(on_grid, batches, fine_batches, 0), rates, fine_rates, 1)
        along, across = _line(fine_batches, BATCH_STEP * len(sizes)), _line(fine_rates, RATE_STEP)
        best_rates = across[log_steps[np.ix_(along, across)].argmin(axis=1)]
        step_cost = prices.cost(np.asarray(flops(size, fine_batches, utd, 1.0)), np.ones(len(fine_batches)))
        log_cost = np.log(step_cost)[:, None, None] + log_steps
        cheapest = np.unravel_index(log_cost.reshape(-1, log_cost.shape[-1]).argmin(axis=0), log_cost.shape[:2])
        places = {(i, j) for i, line in zip(along, best_rates, strict=True) for j in line}
        places |= set(zip(*cheapest, strict=True))
        chosen += [(utd, size, float(fine_batches[i]), float(fine_rates[j])) for i, j in sorted(places)]
    return _table(env_id, chosen).drop_duplicates().reset_index(drop=True)


def lengths_at(posterior: Posterior, settings: pd.DataFrame) -> RunLengthDistribution:
    """Return the run lengths at each setting under `ALLOCATION_DRAWS` draws; axes draw, setting, fitted threshold.

    Chunks of one size share the code that JAX compiled for `allocate`.
    """
    draws, parts = posterior.flat_draws(ALLOCATION_DRAWS, settings["env_id"]), []
    for first in range(0, len(settings), CHUNK):
        rows = np.minimum(np.arange(first, first + CHUNK), len(settings) - 1)
        kept = min(CHUNK, len(settings) - first)
        lengths = run_lengths(posterior.model, draws, settings.iloc[rows])
        parts.append(RunLengthDistribution(*(part[:, :kept] for part in lengths)))
    return RunLengthDistribution(*(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)))


def _table(env_id: str, settings: Sequence[tuple[float, ...]]) -> pd.DataFrame:
    """Return settings, each a UTD, model size, batch size and learning rate, as a table."""
    table = pd.DataFrame(settings, columns=["utd", "model_size", "batch_size", "learning_rate"], dtype=float)
    return table.assign(env_id=env_id).astype({"batch_size": int, "model_size": int})[["env_id", *AXES]]


def _line(values: Float[np.ndarray, " value"], step: float) -> Int[np.ndarray, " kept"]:
    """Return the indices of values that lie about a step apart in logs, with both ends."""
    return _thinned(np.arange(len(values)), int(np.ceil(np.log(values[-1] / values[0]) / step)) + 1)


def _thinned(values: Num[np.ndarray, " value"], most: int) -> Num[np.ndarray, " kept"]:
    """Return at most so many of the values, evenly spaced, with both ends."""
    kept = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return np.asarray(values[kept])


def _spaced(low: float, high: float, count: int) -> Float[np.ndarray, " value"]:
    """Return values evenly spaced in logs; a range without length has one value."""
    return np.geomspace(low, high, count) if high > low else np.array([low])


def _interpolated(
    values: Float[np.ndarray, "..."], at: Float[np.ndarray, " value"], wanted: Float[np.ndarray, " fine"], axis: int
) -> Float[np.ndarray, "..."]:
    """Interpolate along one axis by splines in the logs of its values."""
    if len(at) == 1:
        return values
    degree = min(3, len(at) - 1)
    return np.asarray(make_interp_spline(np.log(at), values, k=degree, axis=axis)(np.log(wanted)))
