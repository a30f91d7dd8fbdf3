"""Chains on a normal density whose whitening is neither upright nor symmetric: what comes back fits together."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import ParamInfo

from bayescale.inference.chains import BLOCK, FIELDS, Chain, Tuning, compile_chain, run_chains
from bayescale.inference.laplace import Laplace
from bayescale.inference.log_density import Density

CENTRE, WHITEN = np.array([3.0, -1.0]), np.array([[2.0, 0.0], [5.0, 0.5]])
WARMUP, DRAWS, CHAINS = 70, 45, 3
BLOCKS = 4  # for the first 160 iterations
LENGTH = 6.0


def potential(centre: jax.Array, z: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum((jnp.linalg.inv(WHITEN) @ (z - centre)) ** 2)


def compiled(tuning: Tuning) -> Chain:
    with ThreadPoolExecutor(1) as pool:
        return compile_chain(Density(potential, lambda _, z: {"z": z}, 2), jnp.asarray(CENTRE), tuning, pool)


def rounds(chain: Chain, told: list[int]) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """The first draws, and those with as many more."""
    slope = partial(jax.jit(jax.value_and_grad(potential, argnums=1)), jnp.asarray(CENTRE))
    at_mode = Laplace(CENTRE, WHITEN, 0.0)
    return list(islice(run_chains(chain, slope, at_mode, jax.random.PRNGKey(0), CHAINS, DRAWS, told.append), 2))


@pytest.mark.parametrize("trajectory", [None, LENGTH])
def test_draws_their_statistics_and_the_progress_told_belong_together(trajectory: float | None) -> None:
    chain = compiled(Tuning(WARMUP, trajectory, accepted=0.99))
    starts: list[ParamInfo] = []

    def start(mode: jax.Array, whiten: jax.Array, first: ParamInfo, key: jax.Array) -> Any:
        starts.append(first)
        return chain.start(mode, whiten, first, key)

    told: list[int] = []
    first, second = rounds(chain._replace(start=start), told)
    assert len({float(point.z[0]) for point in starts}) == CHAINS
    for point in starts:  # the potential is half the square there, and its gradient the point
        assert float(point.potential_energy) == pytest.approx(0.5 * float(point.z @ point.z))
        np.testing.assert_allclose(point.z_grad, point.z)
    assert first[0].shape == (CHAINS, DRAWS, 2)
    assert second[0].shape == (CHAINS, 2 * DRAWS, 2)
    assert told == [BLOCK] * CHAINS * BLOCKS
    for draws, statistics in (first, second):
        assert set(statistics) == set(FIELDS)
        energy = 0.5 * (np.linalg.solve(WHITEN, np.swapaxes(draws - CENTRE, 1, 2)) ** 2).sum(axis=1)
        np.testing.assert_allclose(statistics["potential_energy"], energy)
    assert second[1]["accept_prob"].mean() > 0.96
    np.testing.assert_array_equal(second[0][:, :DRAWS], first[0])
    assert len(np.unique(second[0][:, -1, 0])) == CHAINS


def test_short_chains_go_on_with_the_median_of_their_step_sizes_and_lengths_around_the_one_asked_for() -> None:
    chain = compiled(Tuning(WARMUP, LENGTH, accepted=0.99))
    advance, before, after = chain.compiled(), [], []

    def watched(leaves: list[jax.Array], mode: jax.Array, whiten: jax.Array, state: Any) -> Any:
        before.append(state)
        state, block = advance(leaves, mode, whiten, state)
        after.append(state)
        return state, block

    _, statistics = rounds(chain._replace(compiled=lambda: watched), [])[1]
    adapted = 2 * BLOCK  # iterations, in whole blocks
    own = [float(state.adapt_state.step_size) for state in after if state.i == adapted]
    (step,) = {float(state.adapt_state.step_size) for state in before if state.i >= adapted}
    assert len(set(own)) == CHAINS
    assert step == np.median(own)
    lengths = step * statistics["num_steps"][:, adapted - WARMUP :]
    assert 0.5 * LENGTH <= lengths.min() < 0.6 * LENGTH  # rounded up to whole steps
    assert 1.4 * LENGTH < lengths.max() < 1.5 * LENGTH + step
    for state in after:
        np.testing.assert_array_equal(state.adapt_state.inverse_mass_matrix, 1.0)
