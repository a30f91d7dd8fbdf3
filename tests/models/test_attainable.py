"""Test the chance that a task's returns can be attained at all."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.float64 import float64
from bayescale.models.attainable import HIGHEST_ATTAINABLE, LOWEST_ATTAINABLE, integrate_ceiling, prior_attainable

X = np.array([-1.0, -0.2, 0.4, 1.0])
SHOWN = -np.random.default_rng(0).exponential(2.0, (3, 4))  # log likelihoods if runs can reach


def enumerated(shown: np.ndarray, reached: int) -> tuple[float, np.ndarray]:
    """Return the log marginal likelihood of one task and the chance of each threshold, place by place."""
    chance = [1.0, *prior_attainable(X), 0.0]
    weight = {
        place: (chance[place] - chance[place + 1]) * np.exp(sum(shown[k] for k in range(reached + 1, place)))
        for place in range(reached + 1, 5)
    }
    total = sum(weight.values())
    attainable = [sum(w for place, w in weight.items() if place > k) / total for k in range(4)]
    return np.log(total / chance[reached + 1]), np.array(attainable)


def test_the_prior_falls_from_the_lowest_to_the_highest_threshold() -> None:
    chance = prior_attainable(X)
    assert chance[0] == LOWEST_ATTAINABLE
    assert chance[-1] == pytest.approx(LOWEST_ATTAINABLE * HIGHEST_ATTAINABLE)
    assert (np.diff(chance) < 0).all()
    assert prior_attainable(np.zeros(1)) == LOWEST_ATTAINABLE


@float64()
def test_the_place_of_the_ceiling_is_summed_out() -> None:
    for reached in itertools.product([-1, 1, 3], repeat=3):
        found = integrate_ceiling(X, jnp.asarray(SHOWN), np.array(reached))
        expected = [enumerated(SHOWN[e], reached[e]) for e in range(3)]
        assert float(found.log_marginal) == pytest.approx(sum(marginal for marginal, _ in expected), abs=1e-12)
        np.testing.assert_allclose(found.attainable, [chance for _, chance in expected], atol=1e-12)


@float64()
def test_thresholds_that_a_run_reached_are_attainable_and_leave_the_likelihood_alone() -> None:
    found = integrate_ceiling(X, jnp.asarray(SHOWN), np.array([3, 3, 3]))
    assert float(found.log_marginal) == pytest.approx(0.0, abs=1e-12)
    assert (np.asarray(found.attainable) == 1).all()
    gradient = jax.grad(lambda shown: integrate_ceiling(X, shown, np.array([3, 3, 3])).log_marginal)(jnp.asarray(SHOWN))
    assert (np.asarray(gradient) == 0).all()


@float64()
def test_runs_that_lasted_long_beyond_the_expected_time_speak_for_a_ceiling() -> None:
    surprising, expected = (integrate_ceiling(X, jnp.full((1, 4), shown), np.array([-1])) for shown in (-20.0, -0.01))
    assert (np.asarray(surprising.attainable) < 0.01).all()
    np.testing.assert_allclose(expected.attainable[0], prior_attainable(X), atol=0.02)  # the control: the prior is left
    assert np.isfinite(
        jax.grad(lambda s: integrate_ceiling(X, s, np.array([-1])).log_marginal)(jnp.full((1, 4), -1e3))
    ).all()
