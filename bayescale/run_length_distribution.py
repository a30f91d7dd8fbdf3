"""The log env steps that a new run needs to reach a threshold: a skewed normal, and a chance never to get there.

    log T = location + scale (z + skew z^2),   z standard normal

The location is the median. Crossing times of published runs lean to the late side (skew about 0.1) in some tasks and
not in others; to first order this is the Cornish-Fisher expansion of a distribution of skewness 6 skew.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

BEND = 0.04  # of 1 + 4 skew steps, which is 0 at the turn; below it the root bends away from 0, with a finite gradient


class RunTimes(NamedTuple):
    """New runs at several points and thresholds under one draw or more, draw axis first, as NumPy or JAX arrays.

    Attributes:
        location: median log env steps of a run that gets there.
        scale: its spread, > 0.
        skew: the share of z^2, well below 1/2 in size.
        p_reach: the chance that a run gets there at all.
    """

    location: Float[Any, "*draw point threshold"]
    scale: Float[Any, "*draw point threshold"]
    skew: Float[Any, "*draw point threshold"]
    p_reach: Float[Any, "*draw point threshold"]

    def reached_by(self, log_env_steps: float | Float[np.ndarray, "*#draw #point #threshold"]) -> np.ndarray:
        """The chance that a run gets there within so many log env steps, -inf and inf among them."""
        steps = (np.asarray(log_env_steps) - self.location) / self.scale
        known = np.isfinite(steps)
        return np.asarray(
            self.p_reach * ndtr(np.where(known, normal_score(np.where(known, steps, 0), self.skew), steps))
        )


def normal_score(steps: Any, skew: Any) -> Any:
    """z with z + skew z^2 = steps; near where that turns back, at |z| = 1/(2 |skew|), the tail bends into a line.

    Args:
        steps: (log T - location) / scale, finite.
        skew: as in `RunTimes`.
    """
    square = 1.0 + 4.0 * skew * steps
    root = square.clip(BEND) ** 0.5 * np.e ** ((square.clip(-1e3, BEND) - BEND) / (2.0 * BEND))
    return 2.0 * steps / (1.0 + root)
