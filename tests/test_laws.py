"""Check the laws of UTD and batch size at their limits, against finite differences and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.float64 import float64
from bayescale.laws import (
    LARGEST_EXPONENT,
    SMALLEST_EXPONENT,
    log_crossover_ratio,
    log_data_ratio,
    one_sided,
)


def penalty(z: np.ndarray, curvature: float) -> np.ndarray:
    return np.asarray(curvature * one_sided(z, curvature) ** 2 / 2)


@pytest.mark.parametrize("sharpness", [0.3, 0.74, 1.0, 2.0])
def test_few_updates_limit_the_data_and_many_leave_the_least_data(sharpness: float) -> None:
    share, step = 0.4, 1e-4
    rare = log_crossover_ratio(np.array([-100.0, -101.0]), share, sharpness)
    assert np.diff(rare)[0] == pytest.approx(1.0, rel=1e-9)  # half the updates need twice the data
    assert float(log_crossover_ratio(200.0, share, sharpness)) == pytest.approx(np.log(1 - share) / sharpness)
    near = log_crossover_ratio(np.array([-step, 0.0, step]), share, sharpness)
    assert near[1] == 0.0
    assert (near[0] - near[2]) / (2 * step) == pytest.approx(share, rel=1e-6)  # the share is the slope there
    swept = log_crossover_ratio(np.linspace(-5, 5, 101), share, sharpness)
    assert (np.diff(swept) < 0).all()


def test_a_sharpness_of_one_is_the_published_law_with_exponent_one() -> None:
    s = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(log_crossover_ratio(s, 0.3, 1.0), log_data_ratio(s, 0.7, 1.0), rtol=1e-12)
    assert abs(log_crossover_ratio(s, 0.3, 0.6) - log_data_ratio(s, 0.7, 0.6)).max() > 0.1  # the control: other laws


@pytest.mark.parametrize("curvature", [0.05, 0.3, 2.0])
def test_small_batches_cost_in_proportion_and_large_ones_exponentially(curvature: float) -> None:
    far = -60.0 / curvature * LARGEST_EXPONENT / 60.0
    below = penalty(np.array([far, far + 1e-3]), curvature)
    assert np.diff(below)[0] / 1e-3 == pytest.approx(-1.0, abs=1e-3)
    z = np.linspace(-3, 3, 25)
    expected = (np.exp(curvature * z) - curvature * z - 1) / curvature
    np.testing.assert_allclose(penalty(z, curvature), expected, rtol=1e-8, atol=1e-12)
    assert (np.sign(one_sided(z, curvature)) == np.sign(z)).all()


def test_the_series_near_the_optimum_meets_the_closed_form() -> None:
    ends = np.array([-1.0, 1.0]) * SMALLEST_EXPONENT
    inner, outer = one_sided(ends * (1 - 1e-12), 1.0), one_sided(ends * (1 + 1e-12), 1.0)
    np.testing.assert_allclose(inner, outer, rtol=1e-10)


@float64()
def test_the_penalty_has_its_curvature_at_the_optimum_and_finite_slopes() -> None:
    def cost(z: jax.Array) -> jax.Array:
        return 0.3 * one_sided(z, jnp.asarray(0.3)) ** 2 / 2

    assert float(jax.grad(jax.grad(cost))(jnp.asarray(0.0))) == pytest.approx(0.3)
    slopes = jax.vmap(jax.grad(cost))(jnp.asarray([-1e3, -1.0, 0.0, 1.0, 1e3]))
    assert np.isfinite(slopes).all()
    assert (np.diff(slopes) > 0).all()
