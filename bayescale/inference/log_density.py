"""The unnormalised posterior log density of a model in unconstrained coordinates.

Observations are arguments, not constants, so that one compiled function serves every table of equal shapes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import Transform
from numpyro.handlers import block, seed, substitute, trace
from numpyro.infer.util import potential_energy

from bayescale.inference.model import Model


class Density(NamedTuple):
    """The unnormalised posterior density over vectors of unconstrained numbers.

    Attributes:
        potential: minus the log density at (observations, vector).
        value_and_grad: the potential and its gradient there; traced once for all functions that call it.
        constrain: every parameter by name at a vector.
        dimension: length of the vector.
    """

    potential: Callable[[Any, Array], Array]
    value_and_grad: Callable[[Any, Array], tuple[Array, Array]]
    constrain: Callable[[Array], dict[str, Array]]
    dimension: int


def density_of(model: Model) -> Density:
    """Return the posterior density of a model."""
    sites = _sites(model)
    shapes = {name: transform.inverse_shape(shape) for name, (transform, shape) in sites.items()}
    flat, unravel = ravel_pytree({name: np.zeros(shape) for name, shape in shapes.items()})

    def joint(observations: Any) -> None:
        numpyro.factor("log_likelihood", model.log_likelihood(model.sample_parameters(), observations))

    def constrain(z: Array) -> dict[str, Array]:
        values = {name: sites[name][0](value) for name, value in unravel(z).items()}
        with block(), substitute(data=values):
            return model.sample_parameters()

    def potential(observations: Any, z: Array) -> Array:
        return jnp.asarray(potential_energy(joint, (observations,), {}, unravel(z)))

    return Density(potential, jax.jit(jax.value_and_grad(potential, argnums=1)), constrain, len(flat))


def _sites(model: Model) -> dict[str, tuple[Transform, tuple[int, ...]]]:
    """Return each sample site's shape and the transform of unconstrained numbers to it; nothing is computed."""
    found: dict[str, tuple[Transform, tuple[int, ...]]] = {}

    def note(key: Array) -> None:
        with seed(rng_seed=key), trace() as sites:
            model.sample_parameters()
        for name, site in sites.items():
            if site["type"] == "sample":
                found[name] = biject_to(site["fn"].support), site["value"].shape

    jax.eval_shape(note, jax.random.PRNGKey(0))
    return found
