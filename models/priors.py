"""Prior distributions as plain data: a family and two numbers.

Families: normal(location, scale); lognormal(median, log scale) for positive parameters; fixed(value) for a number that
is stated instead of sampled, because the few tasks of a sweep do not identify it.
"""

from dataclasses import dataclass

import numpy as np
import numpyro.distributions as dist

from bayescale.errors import InputError


@dataclass(frozen=True)
class Prior:
    """A prior distribution.

    Attributes:
        family: "normal", "lognormal" or "fixed".
        location: mean of the parameter (normal), mean of its log (lognormal), or its value (fixed).
        scale: standard deviation of the parameter (normal) or of its log (lognormal); 0 if fixed.
    """

    family: str
    location: float
    scale: float

    def distribution(self) -> dist.Distribution:
        """Return the NumPyro distribution."""
        if self.family == "normal":
            return dist.Normal(self.location, self.scale)
        if self.family == "lognormal":
            return dist.LogNormal(self.location, self.scale)
        if self.family == "fixed":
            return dist.Delta(self.location)
        raise InputError(f"a prior's family must be normal, lognormal or fixed; got '{self.family}'. Choose one.")


def normal(location: float, scale: float) -> Prior:
    """Return a normal prior."""
    return Prior("normal", location, scale)


def lognormal(median: float, scale: float) -> Prior:
    """Return a lognormal prior with this median and standard deviation of the log."""
    return Prior("lognormal", float(np.log(median)), scale)


def fixed(value: float) -> Prior:
    """Return a prior that states a value; the parameter is not sampled."""
    return Prior("fixed", value, 0.0)
