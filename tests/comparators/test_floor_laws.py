import numpy as np
import pytest
from scipy.optimize import nnls

from bayescale.comparators.floor_laws import floor_laws

UTD = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
EXPONENTS = np.geomspace(0.05, 5.0, 358)
NEVER = np.nan


def sum_of_squares(y: np.ndarray, exponent: float, coefficient: float, floor: float) -> float:
    return float(np.square(coefficient * UTD**-exponent + floor - y)[np.isfinite(y)].sum())


def least_sum_of_squares(y: np.ndarray) -> float:
    """Return the least sum of squares over exponents; the floor is 0 where two UTDs or fewer are known."""
    known = np.isfinite(y)
    shape = np.stack([UTD[known, None] ** -EXPONENTS, np.ones((known.sum(), len(EXPONENTS)))])[: 1 + (known.sum() > 2)]
    return min(nnls(shape[:, :, i].T, y[known])[1] ** 2 for i in range(len(EXPONENTS)))


def test_laws_are_the_least_squares_among_those_that_fall_to_a_floor() -> None:
    curves = {
        "with a floor": 0.4 + 0.6 * UTD**-0.8,
        "steep": 0.4 + 0.6 * UTD**-4.5,
        "flat": 0.9 + 0.1 * UTD**-0.06,
        "with a low floor": 0.02 + UTD**-0.8,
        "that rises": UTD**0.3,
        "that falls faster than any power": 2.5 - np.log(UTD),
        "of some UTDs": np.array([2.0, NEVER, 0.7, 0.6, NEVER]),
        "of two UTDs": np.array([NEVER, 1.0, NEVER, 0.6, NEVER]),
        "of one UTD": np.array([NEVER, NEVER, 0.7, NEVER, NEVER]),
        "of none": np.full(5, NEVER),
    }
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal((3, 5, len(curves))))
    target = np.stack(list(curves.values()), axis=1) * np.where(np.arange(3)[:, None, None] == 0, 1.0, noise)
    exponent, coefficient, floor = floor_laws(UTD, target)
    assert (exponent[0, 0], coefficient[0, 0], floor[0, 0]) == pytest.approx((0.8, 0.6, 0.4), rel=1e-5)
    for draw in range(3):
        for k, name in enumerate(curves):
            law = exponent[draw, k], coefficient[draw, k], floor[draw, k]
            if name == "of none":
                assert np.isnan(law).all()
                continue
            assert 0.05 <= law[0] <= 5
            assert min(law[1:]) >= 0
            assert sum_of_squares(target[draw, :, k], *law) <= least_sum_of_squares(target[draw, :, k]) + 1e-12, name
    assert coefficient[0, 4] == 0, "of what rises the floor alone is left"
    assert (floor[:, [5, 7, 8]] == 0).all()
    assert (
        sum_of_squares(target[0, :, 0], 0.8, 0.6, 0.0) > least_sum_of_squares(target[0, :, 0]) + 0.1
    )  # must fail: without its floor
