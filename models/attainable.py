"""The chance that a task's returns can be attained at all, equation (7) at the head of `bayescale.models.joint`.

A task may have a ceiling that no run exceeds, whatever its settings and its length: a sparse reward that is never
found, a return above what the algorithm can learn. One run that reaches a threshold shows that the ceiling lies above
it. Where no run did, either the threshold is above the ceiling, or runs reach it later than these lasted. The place of
the ceiling is integrated out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Priors, stated and not fitted: one sweep has too few tasks to learn how many have a ceiling within the thresholds.
LOWEST_ATTAINABLE = 0.7  # prior chance that a task's runs can reach the lowest threshold
HIGHEST_ATTAINABLE = 0.7  # prior chance that they can reach the highest, given that they can reach the lowest

AnyArray = np.ndarray | Array


class Ceiling(NamedTuple):
    """The ceiling of each task, integrated out.

    Attributes:
        log_marginal: log likelihood of what the runs of all tasks show at thresholds that no run of their task reached.
        attainable: chance that each threshold lies below the task's ceiling, given these runs.
    """

    log_marginal: Float[Array, ""]
    attainable: Float[Array, "task threshold"]


def prior_attainable(x: Float[np.ndarray, " threshold"]) -> Float[np.ndarray, " threshold"]:
    """Return the prior chance that a task's runs can reach each threshold; it falls exponentially in the return.

    Args:
        x: thresholds scaled to [-1, 1]; (0,) for one threshold.
    """
    return np.asarray(LOWEST_ATTAINABLE * HIGHEST_ATTAINABLE ** ((x - x[0]) / 2))


def integrate_ceiling(
    x: Float[np.ndarray, " threshold"],
    if_attainable: Float[Array, "task threshold"],
    reached: Int[AnyArray, " task"],
) -> Ceiling:
    """Return the sum over the places of the ceiling, each with its prior share.

    The ceiling of a task lies below one of the thresholds that no run reached, or above all thresholds. At thresholds
    above the ceiling, runs show what they must, so these add nothing.

    Args:
        x: thresholds scaled to [-1, 1].
        if_attainable: log likelihood of what a task's runs show at a threshold if runs can reach it; read above
            `reached` only.
        reached: number of the highest threshold that a run of the task reached, -1 for none.
    """
    chance = np.concatenate([[1.0], prior_attainable(x), [0.0]])
    share = jnp.asarray(
        np.log(chance[:-1] - chance[1:])
    )  # The ceiling lies below threshold 0, 1, ... or above the last.
    place = jnp.arange(len(x) + 1)
    above = place[:-1] > reached[:, None]
    up_to = jnp.cumsum(jnp.where(above, if_attainable, 0.0), axis=1)
    each = share + jnp.pad(up_to, ((0, 0), (1, 0)))  # the thresholds below the place are attainable
    each = jnp.where(place > reached[:, None], each, -jnp.inf)
    total = jax.nn.logsumexp(each, axis=1, keepdims=True)
    log_prior = jax.nn.logsumexp(jnp.where(place > reached[:, None], share, -jnp.inf), axis=1)
    attainable = 1 - jnp.cumsum(jnp.exp(each - total), axis=1)[:, :-1]
    return Ceiling((total[:, 0] - log_prior).sum(), jnp.where(above, jnp.clip(attainable, 0.0, 1.0), 1.0))
