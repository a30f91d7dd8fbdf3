"""Prior distributions as plain data: a family and two numbers.

Families: normal(location, scale); student_t(location, scale), with heavier tails; lognormal(median, log scale) for
positive parameters; fixed(value) for a number that is stated instead of sampled, because the few tasks of a sweep do
not identify it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayescale.errors import InputError

DEGREES = 3.0  # degrees of freedom of Student's t: the fewest whole number with a finite variance


@dataclass(frozen=True)
class Prior:
    """A prior distribution.

    Attributes:
        family: "normal", "student_t", "lognormal" or "fixed".
        location: mean of the parameter (normal, student_t), mean of its log (lognormal), or its value (fixed).
        scale: standard deviation of the parameter (normal) or of its log (lognormal); scale of Student's t with
            `DEGREES` degrees of freedom (student_t); 0 if fixed.
    """

    family: str
    location: float
    scale: float

    @property
    def sd(self) -> float:
        """Standard deviation of the parameter."""
        if self.family == "student_t":
            return self.scale * float(np.sqrt(DEGREES / (DEGREES - 2)))
        if self.family == "lognormal":
            return float(np.sqrt(np.expm1(self.scale**2) * np.exp(2 * self.location + self.scale**2)))
        return self.scale

    def distribution(self) -> Any:
        """Return the NumPyro distribution."""
        import numpyro.distributions as dist  # a saved fit is read without NumPyro

        if self.family == "normal":
            return dist.Normal(self.location, self.scale)
        if self.family == "student_t":
            return dist.StudentT(DEGREES, self.location, self.scale)
        if self.family == "lognormal":
            return dist.LogNormal(self.location, self.scale)
        if self.family == "fixed":
            return dist.Delta(self.location)
        raise InputError(f"a prior's family must be normal, student_t, lognormal or fixed; got '{self.family}'.")


def normal(location: float, scale: float) -> Prior:
    """Return a normal prior."""
    return Prior("normal", location, scale)


def student_t(location: float, scale: float) -> Prior:
    """Return a prior of Student's t, whose heavy tails let data move the parameter far from the location."""
    return Prior("student_t", location, scale)


def lognormal(median: float, scale: float) -> Prior:
    """Return a lognormal prior with this median and standard deviation of the log."""
    return Prior("lognormal", float(np.log(median)), scale)


def fixed(value: float) -> Prior:
    """Return a prior that states a value; the parameter is not sampled."""
    return Prior("fixed", value, 0.0)
