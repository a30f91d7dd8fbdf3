"""Distribution of the log run length of a new run: a skewed normal, and a probability to reach the threshold.

    log T = location + scale (z + skewness z^2),   z standard normal,   with probability p_reach;
    T = inf otherwise

T is the run length, the env steps until a new run reaches the threshold. The location is the median of log T over the
runs that reach it. This is the Cornish-Fisher expansion to first order: the third standardised moment of log T is about
6 skewness. Run lengths of published runs are skewed to the late side (skewness about 0.1) in some tasks, in others not.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

# The inverse takes the root of s = 1 + 4 skewness (log T - location) / scale, whose slope is infinite at s = 0. Below
# this s an exponential replaces the root: it has the same value there, stays above 0 and keeps gradients finite.
BEND = 0.04


class RunLengthDistribution(NamedTuple):
    """Log run lengths of new runs, for each draw, point and threshold; all NumPy or all JAX arrays.

    Attributes:
        location: median log env steps of the runs that reach the threshold.
        scale: spread of log env steps, > 0.
        skewness: coefficient of z^2, well below 1/2 in size.
        p_reach: probability that a run reaches the threshold.
    """

    location: Float[Any, "*draw point threshold"]
    scale: Float[Any, "*draw point threshold"]
    skewness: Float[Any, "*draw point threshold"]
    p_reach: Float[Any, "*draw point threshold"]

    def reached_by(self, log_env_steps: float | Float[np.ndarray, "*#draw #point #threshold"]) -> np.ndarray:
        """Return the probability that a run reaches the threshold within these log env steps, which may be infinite."""
        steps = (np.asarray(log_env_steps) - self.location) / self.scale
        finite = np.isfinite(steps)
        score = np.where(finite, normal_score(np.where(finite, steps, 0), self.skewness), steps)
        return np.asarray(self.p_reach * ndtr(score))


def normal_score(steps: Any, skewness: Any) -> Any:
    """Return z such that z + skewness z^2 = steps.

    The parabola turns back at |z| = 1 / (2 |skewness|). Near the turn and beyond, z is continued to a smooth and
    strictly increasing function of the steps.

    Args:
        steps: (log T - location) / scale, finite.
        skewness: see `RunLengthDistribution`.
    """
    square = 1.0 + 4.0 * skewness * steps
    root = square.clip(BEND) ** 0.5 * np.e ** ((square.clip(-1e3, BEND) - BEND) / (2.0 * BEND))
    return 2.0 * steps / (1.0 + root)
