"""Decide when a run may stop early, because it has safely reached its last threshold.

With S = `stop_return` and p = `stop_patience`, a run stops once the isotonic regression of its returns so far has been
at S or above for p evaluations, and its last return is at S or above too.

Crossings of thresholds J up to S follow the same regression, f_i = max_(a <= i) min_(b >= i) mean(r_a .. r_b). They
equal the crossings of the whole run if the mean of its next returns, over any number of evaluations, would have stayed
at S or above. A dip below S changes no crossing as long as the returns since the crossing exceed S by at least the
depth of the dip, so choose S somewhat above the last threshold. Thresholds above S are right-censored where the run
stopped. Returns are in the task's own units.
"""

from collections.abc import Sequence

from scipy.optimize import isotonic_regression


def safely_reached(returns: Sequence[float], stop_return: float, patience: int) -> bool:
    """Return whether a run may stop, see the head of this module.

    Args:
        returns: the mean returns of all evaluations so far.
        stop_return: S, in the task's units.
        patience: p, in evaluations.
    """
    if len(returns) < patience or returns[-1] < stop_return:
        return False
    return bool(isotonic_regression(returns).x[-patience] >= stop_return)
