"""Prior distributions as plain data: a family and two numbers.

Families: normal(location, scale); heavy_tailed(location, scale) for a parameter that is near its location unless the
data say otherwise; lognormal(median, log scale) for positive parameters; fixed(value) for a number that is stated
instead of sampled, because the few tasks of a sweep do not identify it.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array

from bayescale.errors import InputError

TAIL = 1.5  # a heavy-tailed number passes 1.4, 6.7 and 30 scales where a normal one passes 1, 2 and 3


@dataclass(frozen=True)
class Prior:
    """A prior distribution.

    Attributes:
        family: "normal", "heavy_tailed", "lognormal" or "fixed".
        location: mean of the parameter (normal), its median (heavy_tailed), mean of its log (lognormal), or its value
            (fixed).
        scale: standard deviation of the parameter (normal) or of its log (lognormal), unit of `stretched` numbers
            (heavy_tailed); 0 if fixed.
    """

    family: str
    location: float
    scale: float

    def sample(self, name: str) -> Array:
        """Declare a NumPyro sample site of this name and return the parameter.

        The site of a heavy-tailed parameter is standard normal, because chains move well through it.
        """
        if self.family == "heavy_tailed":
            return self.location + self.scale * stretched(numpyro.sample(name, dist.Normal(0.0, 1.0)))
        return jnp.asarray(numpyro.sample(name, self.distribution()))

    def distribution(self) -> dist.Distribution:
        """Return the NumPyro distribution; a heavy-tailed prior has `sample` alone."""
        if self.family == "normal":
            return dist.Normal(self.location, self.scale)
        if self.family == "lognormal":
            return dist.LogNormal(self.location, self.scale)
        if self.family == "fixed":
            return dist.Delta(self.location)
        raise InputError(
            f"a prior's family must be normal, heavy_tailed, lognormal or fixed; got '{self.family}'. Choose one."
        )


def normal(location: float, scale: float) -> Prior:
    """Return a normal prior."""
    return Prior("normal", location, scale)


def heavy_tailed(location: float, scale: float) -> Prior:
    """Return a prior of `location + scale stretched(z)`, z standard normal."""
    return Prior("heavy_tailed", location, scale)


def lognormal(median: float, scale: float) -> Prior:
    """Return a lognormal prior with this median and standard deviation of the log."""
    return Prior("lognormal", float(np.log(median)), scale)


def fixed(value: float) -> Prior:
    """Return a prior that states a value; the parameter is not sampled."""
    return Prior("fixed", value, 0.0)


def stretched(z: Any) -> Any:
    """Return sinh(TAIL z) / TAIL: near z around 0, with tails like those of a lognormal distribution on both sides."""
    return jnp.sinh(TAIL * z) / TAIL
