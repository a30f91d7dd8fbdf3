"""Run chains on a normal density with an asymmetric root: draws, statistics and progress belong together."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import ParamInfo

from bayescale.errors import InputError
from bayescale.inference.chains import (
    BLOCK,
    STATISTICS,
    Chain,
    Tuning,
    compile_chain,
    run_chains,
)
from bayescale.inference.checkpoints import Checkpoint, Record
from bayescale.inference.laplace import Laplace
from bayescale.inference.log_density import Density

CENTRE, ROOT = np.array([3.0, -1.0]), np.array([[2.0, 0.0], [5.0, 0.5]])
WARMUP, DRAWS, CHAINS = 70, 45, 3
BLOCKS = 4  # blocks of a chain's warm-up and two rounds: 160 iterations
LENGTH = 6.0  # mean trajectory length


def potential(centre: jax.Array, z: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum((jnp.linalg.inv(ROOT) @ (z - centre)) ** 2)


DENSITY = Density(potential, jax.jit(jax.value_and_grad(potential, argnums=1)), lambda z: {"z": z}, 2)


def compiled(tuning: Tuning) -> Chain:
    with ThreadPoolExecutor(1) as pool:
        return compile_chain(DENSITY, jnp.asarray(CENTRE), tuning, pool)


def two_rounds(chain: Chain, progress: list[int]) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Return the draws after the first round and after the second."""
    value_and_grad = partial(DENSITY.value_and_grad, jnp.asarray(CENTRE))
    approximation = Laplace(CENTRE, ROOT, 0.0)
    key = jax.random.PRNGKey(0)
    return list(islice(run_chains(chain, value_and_grad, approximation, key, CHAINS, DRAWS, progress.append), 2))


@pytest.mark.usefixtures("jax_float64")
@pytest.mark.parametrize("trajectory", [None, LENGTH])
def test_draws_their_statistics_and_the_reported_progress_belong_together(trajectory: float | None) -> None:
    chain = compiled(Tuning(WARMUP, trajectory, target_acceptance=0.99))
    starts: list[ParamInfo] = []

    def start(mode: jax.Array, root: jax.Array, first: ParamInfo, key: jax.Array) -> Any:
        starts.append(first)
        return chain.start(mode, root, first, key)

    progress: list[int] = []
    first, second = two_rounds(chain._replace(start=start), progress)
    assert len({float(point.z[0]) for point in starts}) == CHAINS
    for point in starts:  # the potential is y'y / 2 in standardised coordinates, and its gradient is y
        assert float(point.potential_energy) == pytest.approx(0.5 * float(point.z @ point.z))
        np.testing.assert_allclose(point.z_grad, point.z)
    assert first[0].shape == (CHAINS, DRAWS, 2)
    assert second[0].shape == (CHAINS, 2 * DRAWS, 2)
    assert progress == [BLOCK] * CHAINS * BLOCKS
    for draws, statistics in (first, second):
        assert set(statistics) == set(STATISTICS)
        energy = 0.5 * (np.linalg.solve(ROOT, np.swapaxes(draws - CENTRE, 1, 2)) ** 2).sum(axis=1)
        np.testing.assert_allclose(statistics["potential_energy"], energy)
    assert second[1]["accept_prob"].mean() > 0.96
    np.testing.assert_array_equal(second[0][:, :DRAWS], first[0])
    assert len(np.unique(second[0][:, -1, 0])) == CHAINS


@pytest.mark.usefixtures("jax_float64")
def test_hmc_chains_share_the_median_step_size_and_vary_the_trajectory_length_around_its_mean() -> None:
    chain = compiled(Tuning(WARMUP, LENGTH, target_acceptance=0.99, learn_scales=False))
    advance, before, after = chain.compiled(), [], []

    def watched(leaves: list[jax.Array], mode: jax.Array, root: jax.Array, state: Any) -> Any:
        before.append(state)
        state, block = advance(leaves, mode, root, state)
        after.append(state)
        return state, block

    _, statistics = two_rounds(chain._replace(compiled=lambda: watched), [])[1]
    adapted = 2 * BLOCK  # iterations: the warm-up in whole blocks
    own = [float(state.adapt_state.step_size) for state in after if state.i == adapted]
    (step,) = {float(state.adapt_state.step_size) for state in before if state.i >= adapted}
    assert len(set(own)) == CHAINS
    assert step == np.median(own)
    lengths = step * statistics["num_steps"][:, adapted - WARMUP :]
    assert 0.5 * LENGTH <= lengths.min() < 0.6 * LENGTH  # rounded up to whole steps
    assert 1.4 * LENGTH < lengths.max() < 1.5 * LENGTH + step
    for state in after:
        np.testing.assert_array_equal(state.adapt_state.inverse_mass_matrix, 1.0)


@pytest.mark.usefixtures("jax_float64")
@pytest.mark.parametrize("trajectory", [None, LENGTH])
def test_chains_that_go_on_from_a_checkpoint_have_the_draws_of_chains_without_a_break(
    trajectory: float | None, tmp_path: Path
) -> None:
    """The chains are interrupted in the warm-up, where it ends, and among the draws."""
    chain = compiled(Tuning(WARMUP, trajectory, target_acceptance=0.99))
    whole = two_rounds(chain, [])
    value_and_grad = partial(DENSITY.value_and_grad, jnp.asarray(CENTRE))
    approximation, checkpoint = Laplace(CENTRE, ROOT, 0.0), Checkpoint(tmp_path / "kept.npz", {"data": "this"})

    def run(record: Record, on_progress: Any) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
        key = jax.random.PRNGKey(0)
        chains = run_chains(chain, value_and_grad, approximation, key, CHAINS, DRAWS, on_progress, record)
        return list(islice(chains, 2))

    for calls in (1, 5, 8):
        heard: list[int] = []

        def interrupt(done: int, heard: list[int] = heard, calls: int = calls) -> None:
            heard.append(done)
            if len(heard) == calls:
                raise KeyboardInterrupt

        record = Record()
        with pytest.raises(KeyboardInterrupt):
            run(record, interrupt)
        assert BLOCK <= record.iterations < BLOCK * CHAINS * BLOCKS
        checkpoint.write("full", approximation, record)
        kept = checkpoint.read()
        assert kept.stage == "full"
        np.testing.assert_array_equal(kept.approximation.root, ROOT)
        resumed = run(kept.record(chain.structure), lambda _: None)
        for (draws, statistics), (same, same_statistics) in zip(whole, resumed, strict=True):
            np.testing.assert_array_equal(same, draws)
            for name in STATISTICS:
                np.testing.assert_array_equal(same_statistics[name], statistics[name])


def test_a_checkpoint_that_is_missing_damaged_or_of_another_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.npz"
    with pytest.raises(InputError, match=r"there is no checkpoint .*kept.npz; leave out resume \(--resume\)"):
        Checkpoint(path, {}).read()
    record = Record([np.zeros(2)], [[(np.zeros((3, 2)), {"diverging": np.zeros(3, bool)})]])
    Checkpoint(path, {"model": "a", "sampler options": "b"}).write("full", Laplace(CENTRE, ROOT, 0.0), record)
    for name, other in (("model", {"model": "z"}), ("sampler options", {"model": "a", "sampler options": "z"})):
        with pytest.raises(InputError, match=f"is of a fit with other {name}; give the same {name}, or leave out"):
            Checkpoint(path, other).read()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged or is no checkpoint; remove it"):
        Checkpoint(path, {"model": "a"}).read()
    assert list(tmp_path.iterdir()) == [path]
    Checkpoint(path, {}).remove()
    assert list(tmp_path.iterdir()) == []
