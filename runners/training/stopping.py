"""When a run may stop early: its last threshold is safely reached.

With S = `stop_return` and p = `stop_patience`, a run stops once the isotonic regression of its returns so far has been
at S or above for p evaluations and its last return is too. Crossings of thresholds J up to S follow the same
regression, f_i = max_(a <= i) min_(b >= i) mean(r_a .. r_b), so they are those of the whole run provided that the mean
of its next returns, over any number of evaluations, would have stayed at S or above. A dip below S does no harm as long
as it is no deeper than what the returns since the crossing exceed S by: let S lie somewhat above the last threshold.
Thresholds above S are censored where the run stopped. Returns are in the task's own units.
"""

from collections.abc import Sequence

from scipy.optimize import isotonic_regression


def safely_reached(returns: Sequence[float], stop_return: float, patience: int) -> bool:
    """Whether a run with these returns may stop: see the head of this module."""
    if len(returns) < patience or returns[-1] < stop_return:
        return False
    return bool(isotonic_regression(returns).x[-patience] >= stop_return)
