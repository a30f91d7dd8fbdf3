"""The published law of data over UTD, fitted for many bootstraps and thresholds at once."""

import numpy as np
from jaxtyping import Float

EXPONENTS = np.geomspace(0.05, 5.0, 120)  # of the law, searched on this grid and then between its neighbours


def floor_laws(
    utd: Float[np.ndarray, " utd"], target: Float[np.ndarray, "draw utd threshold"]
) -> tuple[Float[np.ndarray, "draw threshold"], ...]:
    """(exponent, coefficient, floor) of least squares in linear space, coefficient and floor >= 0.

    For a given exponent the law is linear in the other two, so that one parameter is searched. With two UTDs the floor
    is 0: three parameters would be too many.
    """
    known = np.isfinite(target)
    y = np.where(known, target, 0.0)

    def given(exponent: Float[np.ndarray, "draw threshold grid"]) -> tuple[Float[np.ndarray, "..."], ...]:
        x = utd[None, :, None, None] ** -exponent[:, None]
        w, v = known[..., None], y[..., None]
        n, sx, sy = w.sum(axis=1), (w * x).sum(axis=1), v.sum(axis=1)
        sxx, sxy, syy = (w * x * x).sum(axis=1), (x * v).sum(axis=1), (v * v).sum(axis=1)
        determinant = n * sxx - sx**2
        usable = (n >= 3) & (determinant > 1e-12 * np.maximum(n * sxx, 1e-300))
        slope = np.where(usable, n * sxy - sx * sy, 0.0) / np.where(usable, determinant, 1.0)
        level = (sy - slope * sx) / np.maximum(n, 1)
        through_zero = sxy / np.where(sxx > 0, sxx, 1.0)
        alone = ~usable | (level < 0)
        slope, level = np.where(alone, through_zero, slope), np.where(alone, 0.0, level)
        flat = slope < 0
        slope, level = np.where(flat, 0.0, slope), np.where(flat, sy / np.maximum(n, 1), level)
        error = syy - 2 * (slope * sxy + level * sy) + slope**2 * sxx + 2 * slope * level * sx + level**2 * n
        return error, slope, level

    shape = (*y.shape[::2], len(EXPONENTS))
    grid = np.broadcast_to(EXPONENTS, shape)
    for _ in range(3):
        at = given(grid)[0].argmin(axis=-1)[..., None]
        low = np.take_along_axis(grid, np.maximum(at - 1, 0), axis=-1)
        high = np.take_along_axis(grid, np.minimum(at + 1, shape[-1] - 1), axis=-1)
        grid = low * (high / low) ** np.linspace(0.0, 1.0, shape[-1])
    error, slope, level = given(grid)
    at = error.argmin(axis=-1)[..., None]
    none = ~known.any(axis=1)
    exponent, coefficient, floor = (
        np.where(none, np.nan, np.take_along_axis(values, at, axis=-1)[..., 0]) for values in (grid, slope, level)
    )
    return exponent, coefficient, floor
