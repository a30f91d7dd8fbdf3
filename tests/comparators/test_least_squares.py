import numpy as np
import pytest
from scipy.optimize import least_squares

from bayescale.comparators.least_squares import FIRST_DAMPING, minimise


def test_side_by_side_least_squares_equals_scipy() -> None:
    x = np.linspace(0, 3, 20)
    wanted = np.array([[2.0, 0.7], [0.5, 1.5]])
    y = np.array([a * np.exp(-b * x) for a, b in wanted]) + 0.05 * np.random.default_rng(0).standard_normal((2, 20))
    found, loss = minimise(lambda p: p[:, :1] * np.exp(-p[:, 1:] * x) - y, np.ones((2, 2)))
    for problem in range(2):
        peer = least_squares(lambda p, y=y[problem]: p[0] * np.exp(-p[1] * x) - y, np.ones(2))
        assert found[problem] == pytest.approx(peer.x, rel=1e-4)
        assert loss[problem] == pytest.approx(2 * peer.cost, rel=1e-6)


def test_steps_are_damped_less_after_each_that_helps_and_no_longer_than_stated() -> None:
    def away(p: np.ndarray) -> np.ndarray:
        return (p - np.array([10.0, 2.0])) * np.array([1.0, 100.0])  # damped in each parameter's own unit

    start = np.zeros((1, 2))
    first = 1 / (1 + 1 / FIRST_DAMPING)  # share of the way that is left after one step
    second = 1 / (1 + 5 / FIRST_DAMPING)
    for steps, left in ((1, first), (2, first * second)):
        found, loss = minimise(away, start, iterations=steps)
        assert found[0] == pytest.approx([10 * (1 - left), 2 * (1 - left)])
        assert loss[0] == pytest.approx((10**2 + 200**2) * left**2, rel=1e-4)
    found, _ = minimise(away, start, np.array([1.0, np.inf]), iterations=2)
    assert found[0] == pytest.approx([2.0, 2 * (1 - first * second)])
    assert minimise(away, start)[1] < 1e-20


def test_a_step_that_makes_it_worse_is_not_taken_but_damped() -> None:
    """The Gauss-Newton step from p = 2 towards the zero of arctan leads beyond -2."""
    start = np.array([[2.0], [0.5]])
    found, loss = minimise(np.arctan, start, iterations=1)
    assert (found[0, 0], loss[0]) == (2.0, np.arctan(2.0) ** 2)
    assert abs(found[1, 0]) < 0.1
    found, loss = minimise(np.arctan, start)
    assert found == pytest.approx(np.zeros((2, 1)), abs=1e-6)


def test_a_curved_valley_is_followed_to_its_end() -> None:
    """Many steps in Rosenbrock's valley help little, and some make it worse."""
    found, loss = minimise(lambda p: np.stack([10 * (p[:, 1] - p[:, 0] ** 2), 1 - p[:, 0]], axis=1), -np.ones((1, 2)))
    assert found[0] == pytest.approx([1.0, 1.0], rel=1e-4)
    assert loss[0] < 1e-8


def test_problems_that_are_not_finite_or_know_nothing_of_a_parameter_do_not_disturb_the_others() -> None:
    def residual(p: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(p[:, :1], 0.0) / 0.01)

    found, loss = minimise(residual, np.array([[-1.0, 5.0], [4.0, 5.0]]))
    assert found[0].tolist() == [-1.0, 5.0]
    assert loss[0] == np.inf
    assert found[1] == pytest.approx([0.01, 5.0])
    assert loss[1] < 1e-12


def test_finite_residuals_lead_out_of_where_others_are_not() -> None:
    def residual(p: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.stack([p[:, 0] - 0.01, np.log(p[:, 0] / 0.01), np.where(p[:, 1] > 5, np.inf, 0.0)], axis=1)

    found, loss = minimise(residual, np.array([[0.0, 4.0], [3.0, 5.0]]))
    assert found == pytest.approx(np.array([[0.01, 4.0], [0.01, 5.0]]))
    assert (loss < 1e-12).all()
