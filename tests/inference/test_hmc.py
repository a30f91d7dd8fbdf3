"""The integrator and the bound on trajectories, on densities whose trajectories are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import ParamInfo
from scipy.integrate import solve_ivp

from bayescale.inference.hmc import MOST_STEPS, Trajectory, hmc, integrate

pytestmark = pytest.mark.usefixtures("jax_float64")

SCALES = jnp.array([1.0, 2.0])
LENGTH = 6.0


def quartic(z: jax.Array) -> jax.Array:
    return jnp.sum(z**2 / 2 + z**4 / 10)


def begin() -> Trajectory:
    z = jnp.array([0.4, -1.2])
    return Trajectory(z, jnp.array([1.0, 0.7]), jax.grad(quartic)(z))


def energy(at: Trajectory) -> float:
    return float(quartic(at.z) + jnp.sum(at.velocity**2) / 2)


def end_after(steps: int, length: float = 3.0) -> Trajectory:
    size = jnp.asarray(length / steps)
    return integrate(jax.value_and_grad(quartic), begin(), size, jnp.asarray(steps), SCALES)


def test_trajectories_approach_the_solution_with_an_error_of_second_order() -> None:
    def motion(_: float, both: np.ndarray) -> np.ndarray:
        z, velocity = both[:2], both[2:]
        return np.concatenate([SCALES * velocity, -SCALES * (z + 0.4 * z**3)])

    start = np.concatenate([begin().z, begin().velocity])
    exact = solve_ivp(motion, (0.0, 3.0), start, rtol=1e-11, atol=1e-11).y[:, -1]
    errors = [np.linalg.norm(np.concatenate([end.z, end.velocity]) - exact) for end in map(end_after, (64, 128, 256))]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4.0, rtol=0.1)
    energies = [abs(energy(end_after(steps)) - energy(begin())) for steps in (64, 128)]
    assert 3.5 < energies[0] / energies[1] < 4.5


def test_trajectories_can_be_reversed() -> None:
    """The draws would else have another distribution; so they would if trajectories changed the volume."""
    value_and_grad, (size, steps) = jax.value_and_grad(quartic), (jnp.asarray(0.2), jnp.asarray(7))
    end = integrate(value_and_grad, begin(), size, steps, SCALES)
    back = integrate(value_and_grad, end._replace(velocity=-end.velocity), size, steps, SCALES)
    np.testing.assert_allclose(back.z, begin().z, rtol=1e-12)
    np.testing.assert_allclose(-back.velocity, begin().velocity, rtol=1e-12)
    assert float(jnp.abs(end.z - begin().z).max()) > 0.5  # the control: the trajectory has moved

    def flow(both: jax.Array) -> jax.Array:
        start = Trajectory(both[:2], both[2:], jax.grad(quartic)(both[:2]))
        after = integrate(value_and_grad, start, size, jnp.asarray(3), SCALES)
        return jnp.concatenate([after.z, after.velocity])

    jacobian = jax.jacfwd(flow)(jnp.concatenate([begin().z, begin().velocity]))
    assert float(jnp.linalg.det(jacobian)) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("step_size", "steps"), [(1e-300, MOST_STEPS), (1e-7, MOST_STEPS), (2 * LENGTH, 1)])
def test_a_trajectory_has_a_bounded_number_of_steps_however_small_they_are(step_size: float, steps: int) -> None:
    """Warm-ups try tiny steps; without the bound one iteration would take millions of steps."""
    sampler = hmc(jax.value_and_grad(quartic), warmup=100, trajectory=LENGTH, target_acceptance=0.9, learn_scales=True)
    at = begin()
    state = sampler.start(ParamInfo(at.z, quartic(at.z), at.z_grad), jax.random.PRNGKey(0))
    state = state._replace(adapt_state=state.adapt_state._replace(step_size=jnp.asarray(step_size)))
    assert int(sampler.step(state).num_steps) == steps


def test_an_energy_that_is_not_a_number_is_a_divergence_and_is_refused() -> None:
    def broken(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(jnp.nan), z

    sampler = hmc(broken, warmup=100, trajectory=LENGTH, target_acceptance=0.9, learn_scales=True)
    first = ParamInfo(jnp.ones(2), jnp.asarray(0.0), jnp.ones(2))
    state = sampler.step(sampler.start(first, jax.random.PRNGKey(0)))
    assert bool(state.diverging)
    assert float(state.accept_prob) == 0.0
    np.testing.assert_array_equal(state.z, 1.0)
