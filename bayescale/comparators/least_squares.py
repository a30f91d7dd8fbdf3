"""Solve many small nonlinear least-squares problems at once, for bootstraps and several starts.

scipy.optimize.least_squares solves one problem at a time, which takes too long for thousands of bootstraps.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

STEP = 1e-6  # step of the forward differences
FIRST_DAMPING = 1e-2

Residual = Callable[[Float[np.ndarray, "problem parameter"]], Float[np.ndarray, "problem row"]]


@np.errstate(invalid="ignore")  # residuals that are not finite at a start give inf - inf
def minimise(
    residual: Residual,
    start: Float[np.ndarray, "problem parameter"],
    longest: Float[np.ndarray, " parameter"] | None = None,
    iterations: int = 300,
) -> tuple[Float[np.ndarray, "problem parameter"], Float[np.ndarray, " problem"]]:
    """Minimise the sum of squares of each problem by the Levenberg-Marquardt method.

    Args:
        residual: returns the residuals of each problem; 0 in the rows that a problem lacks.
        start: finite parameters. If the residuals at the start are not finite, a problem may keep its start.
        longest: largest step of each parameter; None: no limit.
        iterations: largest number of iterations.

    Returns:
        The parameters and the sum of squares of each problem; the sum is inf if the residuals are not finite.
    """
    best = np.array(start, float)
    limit = np.full(best.shape[1], np.inf) if longest is None else longest
    rows = residual(best)
    loss = _loss(rows)
    damping = np.full(len(best), FIRST_DAMPING)
    for _ in range(iterations):
        shifts = STEP * np.eye(best.shape[1])
        slopes = np.stack([(residual(best + shift) - rows) / STEP for shift in shifts], axis=-1)
        slopes = np.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0)
        curvature = np.einsum("nri,nrj->nij", slopes, slopes)
        gradient = np.einsum("nri,nr->ni", slopes, np.where(np.isfinite(rows), rows, 0.0))
        diagonal = np.einsum("nii->ni", curvature)
        ridge = damping[:, None] * np.maximum(diagonal, 1e-12)
        moves = -np.linalg.solve(curvature + ridge[:, :, None] * np.eye(best.shape[1]), gradient[:, :, None])[..., 0]
        tried = best + np.clip(moves, -limit, limit)
        tried_rows = residual(tried)
        tried_loss = _loss(tried_rows)
        better = tried_loss < loss
        done = np.where(better, loss - tried_loss < 1e-12 * (loss + 1e-300), damping > 1e8)
        best = np.where(better[:, None], tried, best)
        rows = np.where(better[:, None], tried_rows, rows)
        loss = np.where(better, tried_loss, loss)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-10, 1e10)
        if done.all():
            break
    return best, loss


def _loss(rows: Float[np.ndarray, "problem row"]) -> Float[np.ndarray, " problem"]:
    """Return the sum of squares of each problem; inf if a residual is not finite."""
    finite = np.isfinite(rows).all(axis=1)
    return np.where(finite, np.square(np.where(finite[:, None], rows, 0.0)).sum(axis=1), np.inf)
