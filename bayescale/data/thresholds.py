"""Return thresholds as users give them."""

import numpy as np
from jaxtyping import Float

from bayescale.errors import InputError


def increasing_thresholds(thresholds: object) -> Float[np.ndarray, " threshold"]:
    """The thresholds as an array.

    Raises:
        InputError: they are no numbers, none, not finite or do not increase.
    """
    try:
        if any(isinstance(each, str) for each in np.ravel(np.asarray(thresholds, object))):
            raise TypeError  # numbers in quotes are none
        levels = np.atleast_1d(np.asarray(thresholds, np.float64))
    except (TypeError, ValueError):
        raise InputError(f"thresholds must be numbers; got {thresholds!r}. Give returns such as (300, 500).") from None
    came = f"({', '.join(f'{level:g}' for level in levels.ravel())})"
    if levels.size == 0:
        raise InputError("thresholds must be one or more returns; got none. Give returns such as (300, 500).")
    if levels.ndim != 1:
        raise InputError(f"thresholds must be a list of returns; got an array of shape {levels.shape}. Flatten it.")
    if not np.isfinite(levels).all():
        raise InputError(f"thresholds must be finite; got {came}. Remove the others.")
    if (np.diff(levels) <= 0).any():
        remedy = "Sort them" if np.unique(levels).size == levels.size else "Sort them and keep each once"
        raise InputError(f"thresholds must increase; got {came}. {remedy}.")
    return levels
