"""New runs under every draw of a posterior, and the quantiles of their mixture over draws.

The chance of a mixture to lie below x is known at offsets from its centre; between them its normal score is nearly a
straight line, so that interpolating the score needs few offsets.
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
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.run_length_distribution import RunLengthDistribution, normal_score

CHUNK = 256  # configurations at a time: what is computed of them stays in the cache
REFINEMENTS = (
    4  # of a quantile within a bracket of offsets; it is then off by 0.03% of the spread, 0.3% between two humps
)
TINY = 1e-12
LAW_LEVELS = np.array([0.05, 0.5, 0.95])
# In spreads of the mixture: at most 5% of any distribution lies beyond 4.4 of them on one side (Cantelli), and more
# are needed only where the chance to get there is small.
OFFSETS = np.concatenate([[-7, -6, -5, -4], np.arange(-3.5, 3.51, 0.25), [4, 5, 6, 7]])

AnyArray = np.ndarray | Array


@compiled_code_kept()
@float64()
def runs(model: Any, draws: Mapping[str, Any], configs: pd.DataFrame) -> RunLengthDistribution:
    """A new run at each configuration under each draw."""
    return RunLengthDistribution(*(np.asarray(part) for part in _runs(model, draws, model.points(configs))))


@partial(jax.jit, static_argnums=0)
def _runs(model: Any, draws: Mapping[str, Any], points: Any) -> Any:
    """`model.runs` at the points under every draw; compiled once for equal models and as many draws and points."""
    return jax.vmap(model.runs, in_axes=(0, None))(draws, points)


class Prediction(NamedTuple):
    """A new run at each configuration, over all draws.

    Attributes:
        quantiles: of env steps until it gets there; inf where the quantile falls on runs that never do.
        law: of the median run's env steps, at `LAW_LEVELS`: parameter uncertainty alone.
        p_reach: the chance to get there at all.
    """

    quantiles: Float[np.ndarray, "config threshold level"]
    law: Float[np.ndarray, "config threshold law"]
    p_reach: Float[np.ndarray, "config threshold"]


@compiled_code_kept()
@float64()
def predict(
    model: Any, draws: Mapping[str, Any], configs: pd.DataFrame, levels: Float[np.ndarray, " level"]
) -> Prediction:
    """New runs at each configuration; its cost grows with configurations, thresholds and draws alone.

    Args:
        model: the fitted model.
        draws: its sites, draw axis first.
        configs: one row per configuration.
        levels: of the quantiles.
    """
    points = jax.tree.map(np.asarray, model.points(configs))
    draws = jax.device_put(dict(draws))
    size = min(CHUNK, len(configs))

    @float64()
    def chunk(first: int) -> Prediction:
        """Those of one chunk; the last one is filled up with its last point, so that one compiled function does."""
        at = np.minimum(np.arange(first, first + size), len(configs) - 1)
        here = jax.tree.map(lambda values: values[at], points)
        location, steps, p_reach = map(np.asarray, _predicted(model, draws, here, levels))
        law = np.exp(np.moveaxis(np.quantile(location, LAW_LEVELS, axis=0), 0, -1))
        kept = slice(min(size, len(configs) - first))
        return Prediction(steps[kept], law[kept], p_reach[kept])

    compiled = chunk(0)  # on this thread, so that the others only run it
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = [compiled, *pool.map(chunk, range(size, len(configs), size))]
    return Prediction(*map(np.concatenate, zip(*chunks, strict=True)))


def predict_at(
    model: Any,
    draws: Mapping[str, Any],
    configs: pd.DataFrame,
    levels: Float[np.ndarray, " level"],
    fitted: Float[np.ndarray, " threshold"],
    wanted: Float[np.ndarray, " wanted"],
    ceiling: Float[np.ndarray, " config"],
) -> Prediction:
    """As `predict`, at other returns than the thresholds `fitted`, below a ceiling; see `bayescale.posterior.extrapolation`."""
    chunks = []
    for first in range(0, len(configs), CHUNK):
        here = slice(first, first + CHUNK)
        times = at_thresholds(runs(model, draws, configs.iloc[here]), fitted, wanted, ceiling[here])
        law = np.where(times.p_reach > 0, times.location, np.inf)
        law = np.exp(np.moveaxis(np.quantile(law, LAW_LEVELS, axis=0, method="nearest"), 0, -1))
        chunks.append(Prediction(quantiles(times, levels), law, times.p_reach.mean(axis=0)))
    return Prediction(*map(np.concatenate, zip(*chunks, strict=True)))


@partial(jax.jit, static_argnums=0)
def _predicted(model: Any, draws: Mapping[str, Any], points: Any, levels: Array) -> Any:
    times = jax.vmap(model.runs, in_axes=(0, None))(draws, points)
    return times.location, mixture_quantiles(times, levels), times.p_reach.mean(axis=0)


@compiled_code_kept()
@float64()
def quantiles(
    times: RunLengthDistribution, levels: Float[np.ndarray, " level"]
) -> Float[np.ndarray, "point threshold level"]:
    """As `mixture_quantiles`, of NumPy arrays."""
    return np.asarray(_quantiles(RunLengthDistribution(*map(jnp.asarray, times)), levels))


@jax.jit
def _quantiles(times: RunLengthDistribution, levels: Array) -> Array:
    return mixture_quantiles(times, levels)


def mixture_quantiles(
    times: RunLengthDistribution, levels: Float[AnyArray, " level"]
) -> Float[Array, "point threshold level"]:
    """Quantiles of env steps of the mixture over draws; inf beyond the chance to get there, monotone in threshold."""
    centre = jnp.mean(times.location, axis=0)
    spread = jnp.sqrt(times.location.var(axis=0) + (times.scale**2).mean(axis=0))
    reached = jnp.mean(times.p_reach, axis=0)
    # Single precision moves a probability by less than 1e-6, and takes a quarter of the time.
    shift, stretch, skew, weight = (
        jnp.asarray(part, jnp.float32)
        for part in (
            (centre - times.location) / times.scale, spread / times.scale, times.skewness, times.p_reach / reached
        )
    )  # fmt: skip

    def score(offset: Array) -> Array:
        """Normal score of the share, of the runs that get there, that does so before centre + offset * spread."""
        share = (weight * ndtr(normal_score(shift + offset.astype(jnp.float32) * stretch, skew))).mean(axis=0)
        return ndtri(jnp.clip(share.astype(float), TINY, 1 - TINY))

    grid = jnp.asarray(OFFSETS)
    scores = jax.lax.map(lambda offset: score(jnp.full_like(centre, offset)), grid)

    def solve(level: Array) -> Array:
        """By false position from the two offsets that bracket the level."""
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
