"""Compute the posterior predictive distribution of a new run's length, and its quantiles.

The predictive distribution is the mixture, over posterior draws, of each draw's run-length distribution. To find its
quantiles, the code evaluates its distribution function F on a fixed grid of offsets from the mean, then interpolates.
The normal score of F is nearly linear in log env steps, so interpolating the score needs few grid points.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import Model, Points
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.prediction_table import LAW_QUANTILE_LEVELS, QUANTILE_LEVELS
from bayescale.run_length_distribution import RunLengthDistribution, normal_score

CHUNK = 256  # configurations per compiled call; their intermediate arrays fit into the processor's cache
# Steps of false position per quantile. With 4, a quantile is off by 0.03% of the spread, 0.3% between two modes.
REFINEMENTS = 4
TINY = 1e-12  # smallest probability whose normal score is computed
# Grid of offsets from the mean, in standard deviations of the mixture. By Cantelli's inequality at most 5% of any
# distribution lies beyond 4.4 standard deviations on one side; larger offsets matter only where p_reach is small.
OFFSETS = np.concatenate([[-7, -6, -5, -4], np.arange(-3.5, 3.51, 0.25), [4, 5, 6, 7]])

AnyArray = np.ndarray | Array


@compiled_code_kept()
@float64()
def run_lengths(model: Model, draws: Mapping[str, Any], configs: pd.DataFrame) -> RunLengthDistribution:
    """Return the distribution of a new run's length at each configuration under each draw.

    Args:
        model: the fitted model, `Posterior.model`.
        draws: values by parameter name, draw axis first, as `Posterior.flat_draws` returns them.
        configs: one row per configuration, with the task names of the fit as env_id.

    Returns:
        NumPy arrays with the axes draw, configuration and fitted threshold.
    """
    return RunLengthDistribution(*(np.asarray(part) for part in _run_lengths(model, draws, model.points(configs))))


@partial(jax.jit, static_argnums=0)
def _run_lengths(model: Model, draws: Mapping[str, Any], points: Points) -> Any:
    """Apply `model.run_lengths` under every draw; JAX compiles once per model (by value) and array shape."""
    return jax.vmap(model.run_lengths, in_axes=(0, None))(draws, points)


class Prediction(NamedTuple):
    """The posterior predictive of a new run at each configuration and threshold.

    Attributes:
        quantiles: env steps of a new run at `QUANTILE_LEVELS`; inf where the quantile falls on runs that never reach
            the threshold.
        law: env steps of the median run at `LAW_QUANTILE_LEVELS`: parameter uncertainty alone.
        p_reach: probability that a new run reaches the threshold.
    """

    quantiles: Float[np.ndarray, "config threshold quantile"]
    law: Float[np.ndarray, "config threshold law_quantile"]
    p_reach: Float[np.ndarray, "config threshold"]


@compiled_code_kept()
@float64()
def predict(model: Model, draws: Mapping[str, Any], configs: pd.DataFrame) -> Prediction:
    """Predict a new run at each configuration and fitted threshold.

    Args:
        model: the fitted model.
        draws: values by parameter name, draw axis first.
        configs: one row per configuration.
    """
    points = jax.tree.map(np.asarray, model.points(configs))
    draws = jax.device_put(dict(draws))
    size = min(CHUNK, len(configs))

    @float64()
    def chunk(first: int) -> Prediction:
        """Predict one chunk; the last chunk repeats its last point, so that all chunks share one compiled function."""
        at = np.minimum(np.arange(first, first + size), len(configs) - 1)
        here = jax.tree.map(lambda values: values[at], points)
        location, steps, p_reach = map(np.asarray, _predicted(model, draws, here, QUANTILE_LEVELS))
        law = np.exp(np.moveaxis(np.quantile(location, LAW_QUANTILE_LEVELS, axis=0), 0, -1))
        kept = slice(min(size, len(configs) - first))
        return Prediction(steps[kept], law[kept], p_reach[kept])

    first_chunk = chunk(0)  # compiles here, before the threads share the compiled function
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = [first_chunk, *pool.map(chunk, range(size, len(configs), size))]
    return Prediction(*map(np.concatenate, zip(*chunks, strict=True)))


def predict_at(
    model: Model,
    draws: Mapping[str, Any],
    configs: pd.DataFrame,
    *,
    fitted: Float[np.ndarray, " threshold"],
    wanted: Float[np.ndarray, " wanted"],
    ceiling: Float[np.ndarray, " config"],
) -> Prediction:
    """Predict a new run at each configuration and wanted return, by the law of `bayescale.posterior.extrapolation`.

    Args:
        model: the fitted model.
        draws: values by parameter name, draw axis first.
        configs: one row per configuration.
        fitted: the fitted thresholds, increasing.
        wanted: increasing returns, none below the lowest fitted threshold.
        ceiling: the highest return of each configuration's task; inf where there is none.
    """
    chunks = []
    for first in range(0, len(configs), CHUNK):
        here = slice(first, first + CHUNK)
        distribution = at_thresholds(run_lengths(model, draws, configs.iloc[here]), fitted, wanted, ceiling[here])
        law = np.where(distribution.p_reach > 0, distribution.location, np.inf)
        law = np.exp(np.moveaxis(np.quantile(law, LAW_QUANTILE_LEVELS, axis=0, method="nearest"), 0, -1))
        chunks.append(Prediction(quantiles(distribution, QUANTILE_LEVELS), law, distribution.p_reach.mean(axis=0)))
    return Prediction(*map(np.concatenate, zip(*chunks, strict=True)))


@partial(jax.jit, static_argnums=0)
def _predicted(model: Model, draws: Mapping[str, Any], points: Points, levels: Array) -> Any:
    """Return the median run's log env steps by draw, the quantiles of a new run and its probability to reach."""
    distribution = jax.vmap(model.run_lengths, in_axes=(0, None))(draws, points)
    return distribution.location, mixture_quantiles(distribution, levels), distribution.p_reach.mean(axis=0)


@compiled_code_kept()
@float64()
def quantiles(
    distribution: RunLengthDistribution, levels: Float[np.ndarray, " level"]
) -> Float[np.ndarray, "point threshold level"]:
    """Return `mixture_quantiles` of NumPy arrays as a NumPy array."""
    return np.asarray(_quantiles(RunLengthDistribution(*map(jnp.asarray, distribution)), levels))


@jax.jit
def _quantiles(distribution: RunLengthDistribution, levels: Array) -> Array:
    return mixture_quantiles(distribution, levels)


def mixture_quantiles(
    distribution: RunLengthDistribution, levels: Float[AnyArray, " level"]
) -> Float[Array, "point threshold level"]:
    """Return quantiles of env steps of the mixture over draws.

    Args:
        distribution: run-length distributions, draw axis first.
        levels: quantile levels in (0, 1).

    Returns:
        Env steps, not decreasing in the threshold; inf where the level exceeds the probability to reach the threshold.
    """
    centre = jnp.mean(distribution.location, axis=0)
    spread = jnp.sqrt(distribution.location.var(axis=0) + (distribution.scale**2).mean(axis=0))
    reached = jnp.mean(distribution.p_reach, axis=0)
    # Single precision changes a probability by less than 1e-6 and takes a quarter of the time.
    shift, stretch, skewness, weight = (
        jnp.asarray(part, jnp.float32)
        for part in (
            (centre - distribution.location) / distribution.scale,
            spread / distribution.scale,
            distribution.skewness,
            distribution.p_reach / reached,
        )
    )

    def score(offset: Array) -> Array:
        """Return the normal score of P(log T < centre + offset * spread), given that the run reaches the threshold."""
        probability = (weight * ndtr(normal_score(shift + offset.astype(jnp.float32) * stretch, skewness))).mean(axis=0)
        return ndtri(jnp.clip(probability.astype(float), TINY, 1 - TINY))

    grid = jnp.asarray(OFFSETS)
    scores = jax.lax.map(lambda offset: score(jnp.full_like(centre, offset)), grid)

    def solve(level: Array) -> Array:
        """Find one quantile by false position, starting from the two grid points around it."""
        wanted = ndtri(jnp.clip(level / reached, TINY, 1 - TINY))
        above = jnp.clip((scores < wanted).sum(axis=0), 1, len(OFFSETS) - 1)
        ends = grid[above - 1], grid[above], *(jnp.take_along_axis(scores, i[None], 0)[0] for i in (above - 1, above))

        def between(low: Array, high: Array, low_score: Array, high_score: Array) -> Array:
            part = (wanted - low_score) / jnp.maximum(high_score - low_score, TINY)
            return low + jnp.clip(part, 0.0, 1.0) * (high - low)

        for _ in range(REFINEMENTS):
            low, high, low_score, high_score = ends
            at = between(*ends)
            here = score(at)
            below = here < wanted
            ends = (
                jnp.where(below, at, low), jnp.where(below, high, at),
                jnp.where(below, here, low_score), jnp.where(below, high_score, here),
            )  # fmt: skip
        return jnp.where(level < reached, jnp.exp(centre + between(*ends) * spread), jnp.inf)

    return jax.lax.cummax(jnp.moveaxis(jax.lax.map(solve, jnp.asarray(levels)), 0, -1), axis=1)
