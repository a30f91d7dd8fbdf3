"""Choose the candidate settings that the report carries, so that it can answer at any prices.

At one UTD and model size, the log of env steps over chance is smooth in log batch size and log learning rate. It is
computed on a grid and interpolated. The best point for each fitted return and each of several prices of an env step
becomes a candidate. A coarse grid over the swept ranges is added, for questions far from these.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.interpolate import make_interp_spline

from bayescale.decisions.candidates import flops_per_step, ranges, swept_sizes, utd_candidates
from bayescale.decisions.cheapest_settings import ALLOCATION_DRAWS, CHUNK
from bayescale.decisions.utility import Prices
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution

AXES = ("utd", "batch_size", "learning_rate", "model_size")
GRID, GRID_PER_SIZE = 9, 5  # batch sizes and learning rates of the grid at one model size, and where sizes vary too
COARSE = 5  # batch sizes and learning rates of the grid that are candidates themselves
FINE = 49  # batch sizes and learning rates between which the interpolation chooses
PRICE_FACTORS = np.geomspace(0.01, 100, 9)  # multiples of the price of an env step that candidates are placed for


def candidate_settings(
    posterior: Posterior, env_id: str, *, prices: Prices, model_size: int | None = None
) -> pd.DataFrame:
    """Return the candidate settings of a task, one row each, with the columns env_id and `AXES`.

    Args:
        posterior: a fit.
        env_id: task.
        prices: the prices around which candidates are placed.
        model_size: critic parameters; None as in `allocate`.
    """
    limits = ranges(posterior, env_id, model_size=model_size)
    utds, sizes = utd_candidates(posterior, env_id, *limits["utd"]), swept_sizes(posterior, env_id, model_size)
    count = GRID if len(sizes) == 1 else GRID_PER_SIZE
    batches, rates = (_spaced(*limits[name], count) for name in ("batch_size", "learning_rate"))
    grid = _product(env_id, utds, sizes, batches, rates)
    lengths = lengths_at(posterior, grid)
    log_steps = np.log((np.exp(lengths.location) / np.maximum(lengths.p_reach, 1e-6)).mean(axis=0))
    log_steps = log_steps.reshape(len(utds) * len(sizes), len(batches), len(rates), -1)
    fine_batches, fine_rates = (_spaced(values[0], values[-1], FINE) for values in (batches, rates))
    log_steps = _interpolated(_interpolated(log_steps, batches, fine_batches, 1), rates, fine_rates, 2)
    points = _product(env_id, utds, sizes, fine_batches, fine_rates)
    step_flops = flops_per_step(points).reshape(log_steps.shape[:3])
    chosen = set()
    for factor in PRICE_FACTORS:
        price = prices.env_step * factor if prices.env_step > 0 else factor
        log_cost = np.log(prices.flop * step_flops + price)[..., None] + log_steps
        best = log_cost.reshape(len(log_cost), -1, log_cost.shape[-1]).argmin(axis=1)
        chosen.update((best + len(fine_batches) * len(fine_rates) * np.arange(len(best))[:, None]).ravel().tolist())
    coarse = _product(
        env_id, utds, sizes, *(values[:: max(1, (len(values) - 1) // (COARSE - 1))] for values in (batches, rates))
    )
    settings = pd.concat([coarse, points.iloc[sorted(chosen)]])
    return settings.drop_duplicates().reset_index(drop=True)


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


def _product(env_id: str, utds: np.ndarray, sizes: np.ndarray, batches: np.ndarray, rates: np.ndarray) -> pd.DataFrame:
    """Return all settings of these values; the learning rate varies fastest, then batch size, model size and UTD."""
    grid = np.stack(np.meshgrid(utds, sizes, batches.round(), rates, indexing="ij"), axis=-1).reshape(-1, 4)
    table = pd.DataFrame(grid, columns=["utd", "model_size", "batch_size", "learning_rate"])
    return table.assign(env_id=env_id).astype({"batch_size": int, "model_size": int})[["env_id", *AXES]]


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
