"""Search for the mode of densities with a known mode and curvature, some of them badly scaled."""

import numpy as np
import pytest
from scipy.optimize import minimize

from bayescale.inference.laplace import TOLERANCE, curvature, laplace

SCALES = np.geomspace(1e-3, 1.0, 24)
RNG = np.random.default_rng(0)
ROTATION = np.linalg.qr(RNG.standard_normal((24, 24)))[0]
MODE = RNG.standard_normal(24)


def valley(z):
    """Return a curved valley (Rosenbrock's, in pairs) over rotated axes whose scales differ by a factor of 1000."""
    y = (ROTATION.T @ (z - MODE)) / SCALES
    a, b = y[::2] + 1.0, y[1::2] + 1.0
    value = 0.5 * ((1 - a) ** 2 + 30 * (b - a**2) ** 2).sum()
    slope = np.empty_like(y)
    slope[::2] = -(1 - a) - 60 * a * (b - a**2)
    slope[1::2] = 30 * (b - a**2)
    return value, ROTATION @ (slope / SCALES)


STARTS = [np.zeros(24), MODE + 0.5, MODE - 0.5]


def test_the_mode_of_a_curved_and_badly_scaled_density_is_found():
    found = laplace(valley, STARTS)
    assert found.newton_gain <= TOLERANCE
    assert valley(found.mode)[0] == pytest.approx(0.0, abs=1e-5)
    assert abs((ROTATION.T @ (found.mode - MODE)) / SCALES).max() < 1e-2


def test_plain_l_bfgs_the_control_that_must_fail_is_still_far_away():
    steps = {"maxiter": 100, "maxcor": 30, "ftol": 1e-13}
    ends = [minimize(valley, start, jac=True, method="L-BFGS-B", options=steps) for start in STARTS]
    assert min(end.fun for end in ends) > 0.1


def test_the_curvature_agrees_with_the_formula_and_the_root_standardises():
    root = np.linalg.cholesky(np.diag(np.geomspace(1.0, 1e4, 5)) + 0.3)
    square = root @ root.T

    def normal(z):
        return 0.5 * z @ square @ z, square @ z

    np.testing.assert_allclose(curvature(normal, np.ones(5)), square, rtol=1e-6, atol=1e-5)
    found = laplace(normal, [np.ones(5)])
    np.testing.assert_allclose(found.mode, 0.0, atol=1e-6)
    np.testing.assert_allclose(found.root.T @ square @ found.root, np.eye(5), atol=1e-6)


def test_the_better_of_two_modes_wins_and_an_infinite_potential_is_stepped_back_from():
    def two(z):
        """Return a potential with modes near -2 and, of higher density, 2, and infinite beyond 4."""
        if abs(z[0]) > 4:
            return np.inf, np.full(1, np.nan)
        return float((z[0] ** 2 - 4) ** 2 / 8 - 0.3 * z[0]), np.array([(z[0] ** 2 - 4) * z[0] / 2 - 0.3])

    found = laplace(two, [np.array([-3.9]), np.array([3.9])])
    assert found.mode[0] == pytest.approx(2.07, abs=0.05)
