"""Find the mode of a density and its curvature there: coordinates in which the density is close to standard normal.

L-BFGS stalls far from the mode if scales differ by orders of magnitude. The search therefore runs in rounds. Each round
moves in coordinates that are standardised by the curvature where the last round ended. The search ends when another
Newton step would gain almost nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

TOLERANCE = 1e-6  # log density that another Newton step may gain; no draw shows a difference this small
ROUNDS = 30  # most rounds
STEPS = 100  # L-BFGS steps per round; the curvature costs about 2 dim gradients, as much as a few hundred steps
DIFFERENCE = 1e-4  # step of the gradient's finite differences; unconstrained parameters have a scale of about 1
MIN_CURVATURE = 0.5  # proper priors give a curvature of about 1; a lower curvature comes from a kink
HUGE = 1e30  # value that L-BFGS gets where the potential is infinite

ValueAndGrad = Callable[[np.ndarray], tuple[Any, Any]]


class Laplace(NamedTuple):
    """The Laplace approximation of a density: the normal distribution at its mode.

    Attributes:
        mode: the highest point that the search found.
        root: a square root of the inverse curvature: in y, with z = mode + root @ y, the density has about unit scale.
        newton_gain: log density that another Newton step would gain; at most `TOLERANCE` if the search converged.
    """

    mode: Float[np.ndarray, " dim"]
    root: Float[np.ndarray, "dim dim"]
    newton_gain: float


def laplace(value_and_grad: ValueAndGrad, starts: Sequence[Float[np.ndarray, " dim"]]) -> Laplace:
    """Return the Laplace approximation of a density.

    Args:
        value_and_grad: minus the log density and its gradient.
        starts: vectors from which to search; after a first round from each, the search goes on from the best end.
    """
    identity = np.eye(len(starts[0]))
    ends = [_round(value_and_grad, start, identity) for start in starts]
    mode = ends[int(np.nanargmin([float(value_and_grad(end)[0]) for end in ends]))]
    for _ in range(ROUNDS):
        root = _root_of_inverse(curvature(value_and_grad, mode))
        gain = 0.5 * float(np.sum((np.asarray(value_and_grad(mode)[1]) @ root) ** 2))
        if gain <= TOLERANCE:
            break
        mode = _round(value_and_grad, mode, root)
    return Laplace(mode, root, gain)


def curvature(value_and_grad: ValueAndGrad, at: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "dim dim"]:
    """Return the Hessian of minus the log density by central differences of the gradient.

    Differences need no second compiled function, and their errors are near 1e-8.
    """
    steps = DIFFERENCE * np.eye(len(at))
    rows = [np.asarray(value_and_grad(at + e)[1]) - np.asarray(value_and_grad(at - e)[1]) for e in steps]
    square = np.stack(rows) / (2 * DIFFERENCE)
    return (square + square.T) / 2


def _root_of_inverse(square: Float[np.ndarray, "dim dim"]) -> Float[np.ndarray, "dim dim"]:
    """Return a square root of the inverse of a Hessian, whose eigenvalues are made positive and not too small."""
    values, vectors = np.linalg.eigh(square)
    root: np.ndarray = vectors / np.sqrt(np.maximum(abs(values), MIN_CURVATURE))
    return root


def _round(
    value_and_grad: ValueAndGrad, start: Float[np.ndarray, " dim"], root: Float[np.ndarray, "dim dim"]
) -> Float[np.ndarray, " dim"]:
    """Run L-BFGS in the coordinates y, with z = start + root @ y, and return the z where it ends."""

    def objective(y: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_grad(start + root @ y)
        if not np.isfinite(float(value)):
            return HUGE, np.zeros_like(y)  # makes the line search step back
        return float(value), np.asarray(gradient) @ root

    options = {"maxiter": STEPS, "maxcor": 30, "ftol": 1e-13}
    end = minimize(objective, np.zeros_like(start), jac=True, method="L-BFGS-B", options=options)
    reached: np.ndarray = start + root @ end.x
    return reached
