"""Fit the published law of data over UTD for many bootstraps and thresholds at once.

    D = floor + coefficient utd^-exponent

Source: Rybkin et al., "Value-Based Deep RL Scales Predictably" (ICML 2025), D = D_min + (beta / utd)^alpha.
"""

import numpy as np
from jaxtyping import Float

EXPONENTS = np.geomspace(0.05, 5.0, 120)  # grid of exponents; the search then refines it around the best one


def floor_laws(
    utd: Float[np.ndarray, " utd"], target: Float[np.ndarray, "draw utd threshold"]
) -> tuple[Float[np.ndarray, "draw threshold"], ...]:
    """Return the least-squares exponent, coefficient (>= 0) and floor (>= 0) of each draw and threshold.

    For a given exponent the law is linear in coefficient and floor, so only the exponent is searched. With two UTDs or
    fewer the floor is 0. All problems are solved side by side; scipy.optimize.nnls would solve one exponent of one
    problem at a time.

    Args:
        utd: UTD of each column of the target.
        target: D, up to a factor; NaN where it is unknown.

    Returns:
        exponent, coefficient, floor; NaN where the target is NaN at every UTD.
    """
    known = np.isfinite(target)
    y = np.where(known, target, 0.0)

    def given(exponent: Float[np.ndarray, "draw threshold grid"]) -> tuple[Float[np.ndarray, "..."], ...]:
        """Return the least sum of squares for each exponent, with its coefficient and floor."""
        x = utd[None, :, None, None] ** -exponent[:, None]
        w, v = known[..., None], y[..., None]
        n, sx, sy = w.sum(axis=1), (w * x).sum(axis=1), v.sum(axis=1)
        sxx, sxy, syy = (w * x * x).sum(axis=1), (x * v).sum(axis=1), (v * v).sum(axis=1)
        determinant = n * sxx - sx**2
        usable = (n >= 3) & (determinant > 1e-12 * np.maximum(n * sxx, 1e-300))
        coefficient = np.where(usable, n * sxy - sx * sy, 0.0) / np.where(usable, determinant, 1.0)
        floor = (sy - coefficient * sx) / np.maximum(n, 1)
        without_floor = sxy / np.where(sxx > 0, sxx, 1.0)
        at_zero = ~usable | (floor < 0)
        coefficient, floor = np.where(at_zero, without_floor, coefficient), np.where(at_zero, 0.0, floor)
        rising = coefficient < 0
        coefficient, floor = np.where(rising, 0.0, coefficient), np.where(rising, sy / np.maximum(n, 1), floor)
        error = syy - 2 * (coefficient * sxy + floor * sy)
        error = error + coefficient**2 * sxx + 2 * coefficient * floor * sx + floor**2 * n
        return error, coefficient, floor

    shape = (*y.shape[::2], len(EXPONENTS))
    grid = np.broadcast_to(EXPONENTS, shape)
    for _ in range(3):
        at = given(grid)[0].argmin(axis=-1)[..., None]
        low = np.take_along_axis(grid, np.maximum(at - 1, 0), axis=-1)
        high = np.take_along_axis(grid, np.minimum(at + 1, shape[-1] - 1), axis=-1)
        grid = low * (high / low) ** np.linspace(0.0, 1.0, shape[-1])
    error, *laws = given(grid)
    at = error.argmin(axis=-1)[..., None]
    unknown = ~known.any(axis=1)
    exponent, coefficient, floor = (
        np.where(unknown, np.nan, np.take_along_axis(values, at, axis=-1)[..., 0]) for values in (grid, *laws)
    )
    return exponent, coefficient, floor
