"""The mode of a density and its curvature there: coordinates in which the density is about standard normal.

L-BFGS stalls far from the mode where scales differ by orders of magnitude. So it runs in rounds, each in coordinates
whitened by the curvature where the last one ended, until a Newton step promises nothing more.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

SETTLED = 1e-6  # what a Newton step would still gain, in units of log density: no draw can tell
ROUNDS = 30
STEPS = 100  # of L-BFGS a round; the curvature costs about 2 * dim gradients, so a few hundred steps
REACH = 1e-4  # of the differences of gradients; unconstrained parameters have about unit scale
FLATTEST = 0.5  # curvature: priors are proper, of curvature about 1; flatter directions come from kinks
OUTSIDE = 1e30  # stands for an infinite potential

ValueAndGrad = Callable[[np.ndarray], tuple[Any, Any]]


class Laplace(NamedTuple):
    """The normal approximation at the mode of a density.

    Attributes:
        mode: where the density is highest, of the ends that the starts led to.
        whiten: a square root of the inverse curvature: z = mode + whiten @ y has about unit scale in y.
        gain: log density that a Newton step from `mode` would still win; the search settled where at most `SETTLED`.
    """

    mode: Float[np.ndarray, " dim"]
    whiten: Float[np.ndarray, "dim dim"]
    gain: float


def laplace(value_and_grad: ValueAndGrad, starts: Sequence[Float[np.ndarray, " dim"]]) -> Laplace:
    """The mode and the whitening of a density.

    Args:
        value_and_grad: minus the log density and its gradient.
        starts: where to search from; the search goes on from the best end of a first round from each.
    """
    identity = np.eye(len(starts[0]))
    ends = [_round(value_and_grad, start, identity) for start in starts]
    mode = ends[int(np.nanargmin([float(value_and_grad(end)[0]) for end in ends]))]
    for _ in range(ROUNDS):
        whiten = _whitening(curvature(value_and_grad, mode))
        gain = 0.5 * float(np.sum((np.asarray(value_and_grad(mode)[1]) @ whiten) ** 2))
        if gain <= SETTLED:
            break
        mode = _round(value_and_grad, mode, whiten)
    return Laplace(mode, whiten, gain)


def curvature(value_and_grad: ValueAndGrad, at: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "dim dim"]:
    """The Hessian by central differences of the gradient: no second function to compile, and errors near 1e-8."""
    steps = REACH * np.eye(len(at))
    rows = [np.asarray(value_and_grad(at + e)[1]) - np.asarray(value_and_grad(at - e)[1]) for e in steps]
    square = np.stack(rows) / (2 * REACH)
    return (square + square.T) / 2


def _whitening(square: Float[np.ndarray, "dim dim"]) -> Float[np.ndarray, "dim dim"]:
    values, vectors = np.linalg.eigh(square)
    root: np.ndarray = vectors / np.sqrt(np.maximum(abs(values), FLATTEST))
    return root


def _round(
    value_and_grad: ValueAndGrad, start: Float[np.ndarray, " dim"], whiten: Float[np.ndarray, "dim dim"]
) -> Float[np.ndarray, " dim"]:
    """Where L-BFGS in whitened coordinates ends."""

    def objective(y: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_grad(start + whiten @ y)
        if not np.isfinite(float(value)):
            return OUTSIDE, np.zeros_like(y)  # the line search steps back
        return float(value), np.asarray(gradient) @ whiten

    options = {"maxiter": STEPS, "maxcor": 30, "ftol": 1e-13}
    end = minimize(objective, np.zeros_like(start), jac=True, method="L-BFGS-B", options=options)
    reached: np.ndarray = start + whiten @ end.x
    return reached
