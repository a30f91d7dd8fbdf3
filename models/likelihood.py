"""The log likelihood of sufficient statistics, equations (4) to (8) at the head of `bayescale.models.joint`."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Float

from bayescale.float64 import float64
from bayescale.models.attainable import Ceiling, integrate_ceiling
from bayescale.models.sufficient_statistics import SufficientStatistics
from bayescale.models.surface import (
    Frame,
    Parameters,
    Points,
    failure_logit,
    log_law,
    log_noise,
    log_penalty,
    value,
)
from bayescale.run_length_distribution import normal_score


def log_likelihood(frame: Frame, p: Parameters, observed: SufficientStatistics) -> Float[Array, ""]:
    """Return the weighted log likelihood of the observations.

    The configuration effect and the ceilings of the tasks are integrated out. A censored run is predicted from the
    configuration's other runs, which is exact for one censored run and treats several as independent given the others.
    """
    below, ceiling = _terms(frame, p, observed)
    return below + ceiling.log_marginal


@float64()
def attainable(
    frame: Frame, draws: Mapping[str, ArrayLike], observed: SufficientStatistics
) -> Float[np.ndarray, "draw task_and_new threshold"]:
    """Return the chance that each threshold lies below the task's ceiling, given the observations; 1 for a new task.

    Args:
        frame: the sweep.
        draws: parameters by name, draw axis first.
        observed: the observations.
    """
    chances = jax.jit(jax.vmap(lambda p: _terms(frame, p, observed)[1].attainable))
    chance = np.ones((len(np.asarray(next(iter(draws.values())))), len(observed.reached) + 1, len(frame.x)))
    if (observed.reached < len(frame.x) - 1).any():  # else every chance is 1
        chance[:, :-1] = chances(dict(draws))
    return chance


def _terms(frame: Frame, p: Parameters, observed: SufficientStatistics) -> tuple[Float[Array, ""], Ceiling]:
    """Return the log likelihood at thresholds that runs of the task reached, and the ceiling given the others."""
    at = Points(jnp.asarray(observed.task), {k: jnp.asarray(v) for k, v in observed.log_settings.items()})
    extra = log_penalty(frame, p, at)
    noise = jnp.exp(log_noise(frame, p, at))
    skew = value(frame.declared.skewness, p, at)
    effect2 = p[frame.declared.configuration_effect.name] ** 2
    mean = log_law(frame, p, at) + extra + skew * noise * jnp.sqrt(1 + effect2)
    noise2 = noise**2 * (1 + 2 * skew**2)
    effect_variance = effect2 * noise2
    seed_variance = noise2 + observed.grid_variance
    n, error = observed.count, jnp.where(observed.count > 0, observed.mean - mean, 0.0)
    total_variance = seed_variance + n * effect_variance
    seed_precision, total_precision = 1 / seed_variance, 1 / total_variance
    log_determinant = (n - 1) * jnp.log(seed_variance) + jnp.log(total_variance)
    known = -0.5 * (log_determinant + observed.squares * seed_precision + n * error**2 * total_precision)
    among_seeds = skew / jnp.sqrt(1 + effect2)  # coefficient of the seed's part of z^2, in units of the seed noise
    known -= 0.5 * observed.skewness_precision * (observed.skewness - among_seeds) ** 2
    fails = failure_logit(frame, p, at, extra)
    log_fail, log_reach = _log_chances(fails)
    known += n * log_reach
    diverged = observed.failed * log_fail

    cell = observed.censored_threshold, observed.censored_config
    shrunk = n * effect_variance * total_precision
    left_over = seed_variance * total_precision  # share of the effect's variance
    scale = (noise * jnp.sqrt(1 + effect2 * left_over))[cell]
    later = (observed.log_bound - (mean + shrunk * error)[cell]) / scale + skew[cell]
    log_fail, log_reach = _log_chances(fails[cell])
    reached = log_reach + log_ndtr(-observed.censored_side * normal_score(later, skew[cell]))
    censored = jnp.where(observed.censored_side > 0, jnp.logaddexp(log_fail, reached), reached)
    by_task = jnp.zeros((len(observed.reached), len(frame.x)))
    by_task = by_task.at[at.task].add(diverged.T).at[at.task[cell[1]], cell[0]].add(censored)
    below = jnp.arange(len(frame.x)) <= observed.reached[:, None]
    total: Array = observed.weight * (known.sum() + jnp.where(below, by_task, 0.0).sum())
    return total, integrate_ceiling(frame.x, observed.weight * by_task, observed.reached)


def _log_chances(logit: Array) -> tuple[Array, Array]:
    """Return the logs of a chance and of its complement; gradients cost a quarter of those of `jax.nn.log_sigmoid`."""
    complement = -jnp.maximum(logit, 0.0) - jnp.log1p(jnp.exp(-abs(logit)))
    return logit + complement, complement
