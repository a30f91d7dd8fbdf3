"""Check return thresholds that users give, and choose default ones."""

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.errors import InputError

DEFAULT_COUNT = 10  # default thresholds
MAY_MISS = 5  # one configuration in five may miss the highest default threshold, as in Fu et al. (NeurIPS 2025)
# The lowest default threshold lies between these shares of the way from the untrained return to the highest threshold.
LOWEST_SHARE, HIGHEST_SHARE = 0.3, 0.7
UNTRAINED_BELOW = 0.95  # share of the runs whose first return should lie below the lowest default threshold


def increasing_thresholds(thresholds: object) -> Float[np.ndarray, " threshold"]:
    """Return the thresholds as an array.

    Raises:
        InputError: the thresholds are empty, not numbers, not finite, not a flat list or not increasing.
    """
    try:
        if any(isinstance(each, str) for each in np.ravel(np.asarray(thresholds, object))):
            raise TypeError  # numpy would read the text "300" as a number
        array = np.atleast_1d(np.asarray(thresholds, np.float64))
    except (TypeError, ValueError):
        raise InputError(f"thresholds must be numbers; got {thresholds!r}. Give returns such as (300, 500).") from None
    came = f"({', '.join(f'{threshold:g}' for threshold in array.ravel())})"
    if array.size == 0:
        raise InputError("thresholds must be one or more returns; got none. Give returns such as (300, 500).")
    if array.ndim != 1:
        raise InputError(f"thresholds must be a list of returns; got an array of shape {array.shape}. Flatten it.")
    if not np.isfinite(array).all():
        raise InputError(f"thresholds must be finite; got {came}. Remove infinite and missing ones.")
    if (np.diff(array) <= 0).any():
        remedy = "Sort them" if np.unique(array).size == array.size else "Sort them and keep each once"
        raise InputError(f"thresholds must increase; got {came}. {remedy}.")
    return array


def default_thresholds(
    runs: pd.DataFrame, first_returns: Float[np.ndarray, " run"], last_returns: Float[np.ndarray, " run"]
) -> Float[np.ndarray, " threshold"]:
    """Return ten evenly spaced thresholds, the highest of which 80% of configurations reach.

    A configuration reaches a threshold if the median last return of its seeds does. Let the untrained return be the
    median first return of a task's runs, of the task where it is highest. The lowest threshold lies 0.3 of the way from
    the untrained return to the highest threshold. It rises, to at most 0.7 of the way, until 95% of the runs of every
    task start below it, because returns of untrained agents say nothing about learning.

    Args:
        runs: columns env_id, the settings, seed.
        first_returns: isotonic return of each run at its first evaluation.
        last_returns: isotonic return of each run at its last evaluation.

    Raises:
        InputError: the highest threshold is not above the untrained return.
    """
    configuration = [name for name in runs.columns if name != "seed"]
    reached = runs.assign(last_return=last_returns).groupby(configuration)["last_return"].median().to_numpy()
    top = float(np.sort(reached)[len(reached) // MAY_MISS])
    first = runs.assign(first_return=first_returns).groupby("env_id")["first_return"]
    untrained, most_start_below = float(first.median().max()), float(first.quantile(UNTRAINED_BELOW).max())
    if top <= untrained:
        raise InputError(
            f"no default thresholds: four configurations in five reach {top:.4g}, which is not above the first returns "
            f"({untrained:.4g}). Give thresholds, or a return_scale if the tasks' returns differ in scale."
        )
    share = min(max((most_start_below - untrained) / (top - untrained), LOWEST_SHARE), HIGHEST_SHARE)
    thresholds = np.linspace(untrained + share * (top - untrained), top, DEFAULT_COUNT)
    nearest = Context(prec=4, rounding=ROUND_HALF_EVEN)
    rounded = [float(nearest.create_decimal(repr(float(threshold)))) for threshold in thresholds[:-1]]
    rounded.append(float(Context(prec=4, rounding=ROUND_FLOOR).create_decimal(repr(top))))
    return np.array(rounded) if (np.diff(rounded) > 0).all() and rounded[0] > untrained else thresholds
