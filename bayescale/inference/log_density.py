"""A model's posterior density over unconstrained vectors, as functions of the observations and the vector.

Observations are arguments, not constants, so that one compiled function serves every table of equal shapes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
import numpyro
import pandas as pd
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.infer.util import constrain_fn, potential_energy

from bayescale.inference.compilation_cache import keep_compiled

jax.config.update("jax_enable_x64", True)  # float32 gave ten times the divergences
keep_compiled()


@runtime_checkable
class Model(Protocol):
    """What a model must offer to be fitted."""

    def observe(self, crossings: pd.DataFrame) -> Any:
        """The observations as the likelihood reads them."""

    def sites(self) -> None:
        """Declares the NumPyro sample sites."""

    def log_likelihood(self, sites: dict[str, Array], observations: Any) -> Float[Array, ""]:
        """The log likelihood under one draw of the sites."""


class Density(NamedTuple):
    """The posterior density of `dimension` unconstrained numbers.

    Attributes:
        potential: minus its log, of (observations, vector); traced once for all functions that take it in.
        constrain: the values of the sites, deterministic ones too, at (observations, vector).
        dimension: length of the vector.
    """

    potential: Callable[[Any, Array], Array]
    constrain: Callable[[Any, Array], dict[str, Array]]
    dimension: int


def density_of(model: Model) -> Density:
    """The model's posterior density."""

    def joint(observations: Any) -> None:
        with numpyro.handlers.trace() as trace:
            model.sites()
        values = {name: site["value"] for name, site in trace.items()}
        numpyro.factor("log_likelihood", model.log_likelihood(values, observations))

    flat, unravel = ravel_pytree({name: np.zeros(shape) for name, shape in _shapes(model).items()})
    return Density(
        jax.jit(lambda observations, z: potential_energy(joint, (observations,), {}, unravel(z))),
        lambda observations, z: constrain_fn(joint, (observations,), {}, unravel(z), return_deterministic=True),
        len(flat),
    )


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """The shape of each site in the unconstrained space, from a trace that computes nothing."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(key: Array) -> None:
        with numpyro.handlers.seed(rng_seed=key), numpyro.handlers.trace() as trace:
            model.sites()
        for name, site in trace.items():
            if site["type"] != "sample":  # a deterministic site follows from the others
                continue
            shapes[name] = biject_to(site["fn"].support).inverse_shape(site["value"].shape)

    jax.eval_shape(note, jax.random.PRNGKey(0))
    return shapes
