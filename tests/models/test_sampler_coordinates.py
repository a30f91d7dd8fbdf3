"""The distribution of the pulls is the normal distribution that its docstring states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayescale.models.sampler_coordinates import Pulls

DRAWS = 20_000


def pulls(correlation: float, axes: int) -> tuple[Pulls, list[np.ndarray]]:
    """Return the distribution for two tasks, and each task's matrix M by hand."""
    rng = np.random.default_rng(0)
    at_centre, log_roots, log_units = (rng.normal(size=(2, axes)) for _ in range(3))
    matrix = np.full((axes, axes), correlation) + (1 - correlation) * np.eye(axes)
    slopes = [
        np.diag(np.exp(root - unit)) @ matrix @ np.diag(np.exp(root))
        for root, unit in zip(log_roots, log_units, strict=True)
    ]
    arrays = map(jnp.asarray, (at_centre, matrix, log_roots, log_units))
    return Pulls(*arrays), slopes


@pytest.mark.parametrize(("correlation", "axes"), [(0.0, 1), (0.0, 2), (-0.8, 2), (0.65, 2)])
def test_pulls_are_normal_with_the_stated_mean_and_covariance(correlation: float, axes: int) -> None:
    distribution, slopes = pulls(correlation, axes)
    draws = np.asarray(distribution.sample(jax.random.PRNGKey(0), (DRAWS,)))
    total = 0.0
    for task, slope in enumerate(slopes):
        mean, covariance = -slope @ np.asarray(distribution.at_centre)[task], slope @ slope.T
        total += multivariate_normal(mean, covariance).logpdf(draws[0, task])
        error = np.sqrt(np.diag(covariance) / DRAWS)
        assert (abs(draws[:, task].mean(axis=0) - mean) < 4 * error).all()
        standardised = np.linalg.solve(slope, (draws[:, task] - mean).T)
        assert abs(np.cov(standardised).reshape(axes, axes) - np.eye(axes)).max() < 6 / np.sqrt(DRAWS)
    assert float(distribution.log_prob(jnp.asarray(draws[0]))) == pytest.approx(total, rel=1e-9)
    other, _ = pulls(0.3, axes)
    assert axes == 1 or float(other.log_prob(jnp.asarray(draws[0]))) != pytest.approx(total, rel=1e-3)  # the control


@pytest.mark.parametrize("correlation", [0.0, 0.65])
def test_offsets_undo_pulls(correlation: float) -> None:
    distribution, slopes = pulls(correlation, 2)
    offsets = np.array([[0.3, -1.0], [2.0, 0.1]])
    made = [slope @ (z - c) for slope, z, c in zip(slopes, offsets, distribution.at_centre, strict=True)]
    np.testing.assert_allclose(distribution.offsets(jnp.asarray(np.array(made))), offsets, rtol=1e-12)
