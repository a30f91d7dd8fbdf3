"""Chains on a normal density whose whitening is neither upright nor symmetric: what comes back fits together."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.chains import BLOCK, FIELDS, Tuning, compile_chain, run_chains
from bayescale.density import Density
from bayescale.mode import Laplace

CENTRE, WHITEN = np.array([3.0, -1.0]), np.array([[2.0, 0.0], [5.0, 0.5]])
WARMUP, DRAWS, CHAINS = 70, 45, 3
BLOCKS = 4  # for the first 160 iterations


def potential(centre: jax.Array, z: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum((jnp.linalg.inv(WHITEN) @ (z - centre)) ** 2)


@pytest.mark.parametrize("trajectory", [None, 1.5])
def test_draws_their_statistics_and_the_progress_told_belong_together(trajectory: float | None) -> None:
    centre = jnp.asarray(CENTRE)
    slope = partial(jax.jit(jax.value_and_grad(potential, argnums=1)), centre)
    told: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        density = Density(potential, lambda _, z: {"z": z}, 2)
        chain = compile_chain(density, centre, Tuning(WARMUP, trajectory), pool)
        at_mode = Laplace(CENTRE, WHITEN, 0.0)
        asked = run_chains(chain, slope, at_mode, jax.random.PRNGKey(0), CHAINS, DRAWS, told.append)
        first, second = islice(asked, 2)
    assert first[0].shape == (CHAINS, DRAWS, 2)
    assert second[0].shape == (CHAINS, 2 * DRAWS, 2)
    assert told == [BLOCK] * CHAINS * BLOCKS
    for draws, statistics in (first, second):
        assert set(statistics) == set(FIELDS)
        energy = 0.5 * (np.linalg.solve(WHITEN, np.swapaxes(draws - CENTRE, 1, 2)) ** 2).sum(axis=1)
        np.testing.assert_allclose(statistics["potential_energy"], energy)
    np.testing.assert_array_equal(second[0][:, :DRAWS], first[0])
    assert len(np.unique(second[0][:, -1, 0])) == CHAINS
