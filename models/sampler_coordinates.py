"""Coordinates that exist for the sampler's sake: the same posterior in numbers that a sampler can move through.

Data determine some functions of the parameters well and others hardly. Where a well-determined function is sampled
directly, trajectories are short and few diverge. Each function below declares such a coordinate and returns the
parameter that it serves, which keeps its declared prior:

- `sample_log_exponent` serves the exponent of the data in the model size (`log_gamma`).
- `sample_optima`, through `sample_optimum_offsets`, serves the tasks' departures from the mean optimum
  (`log_batch_optimum`, `log_rate_optimum`).

Two more such choices lie in the model's form itself: env steps are stated at the reference of all settings
(`log_env_steps_at_centre`) and as shares at a reference (`utd_share`, `size_share`), because an asymptote and an
amplitude are nearly collinear. `utd_share` is the slope of log D at the reference, which runs determine well, so that
`log_sharpness` needs no coordinate. Departures of tasks are non-centred (see `bayescale.models.pooling`).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import constraints
from numpyro.handlers import scope

from bayescale.models.axes import Tuned
from bayescale.models.pooling import ByTask, Scaled, Shared

# Both were chosen by effective draws and divergences of several sweeps.
CURVATURE_POWER = 0.7  # 0 samples distances to the optimum, 1 samples slopes; slopes diverge where the penalty is flat
CORRELATION_SHARE = 0.7  # 1 makes the coordinates of two axes collinear where their correlation is near 1


def sample_log_exponent(exponent: ByTask | Shared, log_saved_odds: Float[Array, "task threshold"]) -> Float[Array, ""]:
    """Declare a resource's mean log elasticity at the reference, and return the log exponent at x = 0.

        log elasticity = log exponent + mean over tasks and thresholds of log q,   q = sigmoid(log_saved_odds)

    Runs determine the elasticity, the slope of the log data in the log resource, well. How much of it is the exponent
    shows in the bend of the law alone.

    Args:
        exponent: the log exponent of the axis.
        log_saved_odds: the axis's share of the data by task and threshold, without the population's row.
    """
    prior = exponent.prior
    with scope(prefix=exponent.name):
        if prior.family != "normal":
            return jnp.asarray(numpyro.sample("prior", prior.distribution()))
        log_share = jax.nn.log_sigmoid(log_saved_odds).mean()
        log_elasticity = numpyro.sample("log_elasticity", dist.Normal(prior.location + log_share, prior.scale))
    return jnp.asarray(log_elasticity - log_share)


def sample_optima(
    tuned: Sequence[Tuned],
    correlations: Float[Array, "axis axis"],
    centres: Float[np.ndarray, "task axis"],
    x: Scaled,
) -> dict[str, Array]:
    """Declare the optima and curvatures of the tuned axes, and return them by name.

    Args:
        tuned: the axes.
        correlations: correlations of the axes in the penalty.
        centres: mean log setting of each task's data.
        x: scaled thresholds.
    """
    if not tuned:
        return {}
    tasks = len(centres)
    optima = [axis.log_optimum.sample_mean() for axis in tuned]
    curvatures = [axis.log_curvature.sample_mean() for axis in tuned]
    bends = [axis.log_curvature.sample_offsets(tasks) for axis in tuned]
    by_task = [
        mean + axis.log_curvature.spread.location * offsets
        for axis, mean, offsets in zip(tuned, curvatures, bends, strict=True)
    ]
    offsets = sample_optimum_offsets(tuned, optima, by_task, correlations, centres)
    p = {}
    for i, axis in enumerate(tuned):
        p[axis.log_optimum.name] = axis.log_optimum.sample(tasks, x, optima[i], offsets[i])
        p[axis.log_curvature.name] = axis.log_curvature.sample(tasks, x, curvatures[i], bends[i])
    return p


def sample_optimum_offsets(
    tuned: Sequence[Tuned],
    means: Sequence[Float[Array, ""]],
    log_curvatures: Sequence[Float[Array, " task"]],
    correlations: Float[Array, "axis axis"],
    centres: Float[np.ndarray, "task axis"],
) -> list[Float[Array, " task"]]:
    """Declare the pulls on each task's optimum, and return the tasks' standard normal departures from the mean.

        pull_i = (K d)_i / (k_i (K_ii / k_i)^(1 - `CURVATURE_POWER`)),   d = optimum - centre of the task's settings

    in units of the spreads between tasks, with k_i the prior's curvature and K the curvature matrix, its correlations
    shrunk by `CORRELATION_SHARE`. K d is minus the slope of the penalty at the centre. Where the optimum lies beyond
    the swept settings, runs determine this slope, but not how far away the optimum is and how curved the penalty.

    Args:
        tuned: the axes, in the order of everything below.
        means: population mean of each log optimum.
        log_curvatures: log curvature of each axis by task.
        correlations: correlations of the axes in the penalty.
        centres: mean log setting of each task's data.
    """
    tasks = len(centres)
    spreads = np.array([axis.log_optimum.spread.location for axis in tuned])
    if (spreads == 0).any():
        return [axis.log_optimum.sample_offsets(tasks) for axis in tuned]
    at_centre = (centres - jnp.stack(list(means))) / spreads
    typical = np.array([axis.log_curvature.prior.location for axis in tuned])
    relative = jnp.stack(list(log_curvatures), axis=1) - typical
    log_roots = (relative + typical) / 2 + np.log(spreads)
    log_units = typical + 2 * np.log(spreads) + (1 - CURVATURE_POWER) * relative
    shrunk = jnp.eye(len(tuned)) + CORRELATION_SHARE * (correlations - jnp.eye(len(tuned)))
    pulls = Pulls(at_centre, shrunk, log_roots, log_units)
    offsets = pulls.offsets(jnp.asarray(numpyro.sample("optimum_pull", pulls)))
    return list(jnp.moveaxis(offsets, 1, 0))


class Pulls(dist.Distribution):  # type: ignore[misc]  # NumPyro has no types
    """The distribution of M (offsets - at_centre), with M = diag(roots / units) C diag(roots), for normal offsets.

    It is the normal distribution with covariance M M'. One or two axes need no factorisation, which would cost a fifth
    of a gradient: det C = 1 - c^2 and inv C = (2 I - C) / det C, with c the correlation of the axes, or 0.
    """

    support = constraints.independent(constraints.real, 2)

    def __init__(
        self,
        at_centre: Float[Array, "task axis"],
        correlations: Float[Array, "axis axis"],
        log_roots: Float[Array, "task axis"],
        log_units: Float[Array, "task axis"],
    ) -> None:
        self.at_centre, self.correlations = at_centre, correlations
        self.log_roots, self.log_units = log_roots, log_units
        super().__init__(event_shape=jnp.shape(at_centre))

    @property
    def determinant(self) -> Float[Array, ""]:
        """The determinant of C."""
        return 1 - ((self.correlations - np.eye(len(self.correlations))) ** 2).sum() / 2

    def offsets(self, pulls: Float[Array, "task axis"]) -> Float[Array, "task axis"]:
        """Return the tasks' departures from the mean optimum, in units of their spread, that have these pulls."""
        inverse = (2 * np.eye(len(self.correlations)) - self.correlations) / self.determinant
        along = pulls * jnp.exp(self.log_units - self.log_roots)
        return self.at_centre + (along @ inverse) * jnp.exp(-self.log_roots)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*sample task axis"]:
        """Return draws."""
        offsets = jax.random.normal(key, sample_shape + self.event_shape)
        along = (offsets - self.at_centre) * jnp.exp(self.log_roots)
        return (along @ self.correlations) * jnp.exp(self.log_roots - self.log_units)

    def log_prob(self, value: Float[Array, "task axis"]) -> Float[Array, ""]:
        """Return the log density."""
        offsets = self.offsets(value)
        log_volume = len(offsets) * jnp.log(self.determinant) + (2 * self.log_roots - self.log_units).sum()
        log_density: Array = -0.5 * (offsets**2 + np.log(2 * np.pi)).sum() - log_volume
        return log_density
