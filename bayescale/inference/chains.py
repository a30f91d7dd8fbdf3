"""Advance chains of NUTS or of plain HMC in standardised coordinates, each chain on its own core.

The coordinates y, with z = mode + root @ y, come from `bayescale.inference.laplace`: the density is close to standard
normal in them. One compiled function advances a chain by a block of iterations. The host sees the progress between
blocks; a callback from inside compiled code would show it too, but such code cannot be kept between processes.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, repeat
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer import NUTS
from numpyro.infer.util import ParamInfo

from bayescale.float64 import float64
from bayescale.inference.checkpoints import Record
from bayescale.inference.hmc import Sampler, ValueAndGrad, hmc
from bayescale.inference.laplace import Laplace
from bayescale.inference.log_density import Density

STATISTICS = ("num_steps", "diverging", "potential_energy", "accept_prob")  # NumPyro's names
BLOCK = 50  # iterations
TARGET_ACCEPTANCE = 0.95  # a target of 0.8 lets draws of several sweeps diverge
MAX_TREE_DEPTH = 9  # doublings of a NUTS trajectory

OnProgress = Callable[[int], None]  # takes a number of iterations


class Tuning(NamedTuple):
    """Settings of a chain.

    Attributes:
        warmup: iterations of adaptation, not kept.
        trajectory: None for NUTS. A number for plain HMC with this mean trajectory length; after the warm-up all chains
            continue with the median of their step sizes, because each has learned its own within a factor of 2.
        target_acceptance: mean acceptance probability that the step size is adapted to; higher means smaller steps.
        learn_scales: learn the scale of each coordinate in the warm-up, which needs hundreds of iterations, not tens.
    """

    warmup: int
    trajectory: float | None = None
    target_acceptance: float = TARGET_ACCEPTANCE
    learn_scales: bool = True


class Chain(NamedTuple):
    """The functions of a chain.

    Attributes:
        start: returns the chain's state at (mode, root, first point, key).
        compiled: waits for the compiler and returns the function that advances (leaves, mode, root, state) by a block.
        leaves: arrays of the observations that the chain is conditioned on.
        tuning: settings of the chain.
        structure: structure of the chain's state.
    """

    start: Callable[[Array, Array, ParamInfo, Array], Any]
    compiled: Callable[[], Callable[..., tuple[Any, tuple[Array, dict[str, Array]]]]]
    leaves: list[Array]
    tuning: Tuning
    structure: Any


@contextmanager
def on_cpu() -> Iterator[None]:
    """Run JAX on the CPU inside this block even if there is a GPU, unless JAX has no CPU backend.

    Chains are long sequences of small steps: one fit took 16 s on the CPU beside an H100, while on the H100 it had not
    finished after 110 s.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        yield
        return
    with jax.default_device(cpu):
        yield


def sampler_of(density: Density, observed: Any, mode: Array, root: Array, tuning: Tuning) -> Sampler:
    """Return a sampler of the standardised coordinates y, with z = mode + root @ y.

    Args:
        density: the density of z.
        observed: the observations that it is conditioned on.
        mode: the mode in z.
        root: a square root of the inverse curvature at the mode.
        tuning: settings of the chain.
    """
    if tuning.trajectory is None:
        return _nuts(lambda y: density.potential(observed, mode + root @ y), tuning)

    return hmc(
        standardised(density, observed, mode, root),
        warmup=tuning.warmup,
        trajectory=tuning.trajectory,
        target_acceptance=tuning.target_acceptance,
        learn_scales=tuning.learn_scales,
    )


def standardised(density: Density, observed: Any, mode: Array, root: Array) -> ValueAndGrad:
    """Return the potential and its gradient as a function of the standardised coordinates; see `sampler_of`."""

    def value_and_grad(y: Array) -> tuple[Array, Array]:
        value, gradient = density.value_and_grad(observed, mode + root @ y)
        return value, gradient @ root

    return value_and_grad


def _nuts(potential: Callable[[Array], Array], tuning: Tuning) -> Sampler:
    sampler = NUTS(potential_fn=potential, target_accept_prob=tuning.target_acceptance, max_tree_depth=MAX_TREE_DEPTH)

    def start(first: ParamInfo, key: Array) -> Any:
        return sampler.init(key, tuning.warmup, first, (), {})

    def step(state: Any) -> Any:
        start(ParamInfo(state.z, state.potential_energy, state.z_grad), jax.random.PRNGKey(0))  # prepares the sampler
        return sampler.sample(state, (), {})

    return Sampler(start, step)


def compile_chain(density: Density, observed: Any, tuning: Tuning, pool: Executor) -> Chain:
    """Return the functions that start a chain and advance it by a block of iterations.

    This thread traces them, because NumPyro traces on one thread at a time. The pool compiles them.
    """
    vector, square = (jax.ShapeDtypeStruct((density.dimension,) * axes, jnp.float64) for axes in (1, 2))

    def sampler(data: Any, mode: Array, root: Array) -> Sampler:
        return sampler_of(density, data, mode, root, tuning)

    def start(mode: Array, root: Array, first: ParamInfo, key: Array) -> Any:
        return sampler(observed, mode, root).start(first, key)

    leaves, structure = jax.tree.flatten(observed)

    def advance(
        leaves: list[Array], mode: Array, root: Array, state: Any
    ) -> tuple[Any, tuple[Array, dict[str, Array]]]:
        advanced = sampler(jax.tree.unflatten(structure, leaves), mode, root).step

        def step(state: Any, _: None) -> tuple[Any, tuple[Array, dict[str, Array]]]:
            state = advanced(state)
            return state, (state.z, {name: getattr(state, name) for name in STATISTICS})

        return jax.lax.scan(step, state, length=BLOCK)

    point = ParamInfo(vector, jax.ShapeDtypeStruct((), vector.dtype), vector)
    state = jax.eval_shape(start, vector, square, point, jax.random.PRNGKey(0))
    lowered = jax.jit(advance).lower(leaves, vector, square, state)
    compiled = pool.submit(float64()(lowered.compile)).result
    return Chain(jax.jit(start), compiled, leaves, tuning, jax.tree.structure(state))


def run_chains(
    chain: Chain,
    value_and_grad: Callable[[np.ndarray], tuple[Array, Array]],
    approximation: Laplace,
    key: Array,
    chains: int,
    draws: int,
    on_progress: OnProgress,
    record: Record | None = None,
) -> Iterator[tuple[Float[np.ndarray, "chain draw dim"], dict[str, np.ndarray]]]:
    """Yield unconstrained draws and sampler statistics by name, chain axis first, then draw.

    The first round has `draws` per chain. Each further round adds as many and yields them together with those before,
    without end.

    Args:
        chain: the functions that `compile_chain` returned.
        value_and_grad: the potential that the chain was compiled for, and its gradient.
        approximation: the mode around which the chains start, and the root that defines their coordinates.
        key: source of randomness; the draws do not depend on the number of cores.
        chains: number of chains; as many run at the same time as there are cores.
        draws: draws kept per chain and round.
        on_progress: called from any thread with the number of iterations that a chain has just done.
        record: takes what the chains have done, block by block. If it holds chains already, they go on from there and
            yield the draws that they would have had without a break.
    """
    record = record or Record()
    mode, root = jax.device_put((approximation.mode, approximation.root))
    warmup = chain.tuning.warmup

    def first_state(key: Array) -> Any:
        key_first, key_chain = jax.random.split(key)
        y = np.asarray(jax.random.normal(key_first, mode.shape))
        value, gradient = value_and_grad(approximation.mode + approximation.root @ y)
        return chain.start(mode, root, ParamInfo(jnp.asarray(y), value, gradient @ root), key_chain)

    if not record.states:
        record.states.extend(first_state(one) for one in jax.random.split(key, chains))
        record.blocks.extend([] for _ in record.states)
    states, blocks = record.states, record.blocks
    advance = chain.compiled()
    interrupted = Event()

    def iterations(number: int) -> int:
        return sum(len(draws) for draws, _ in blocks[number])

    @float64()
    def run(number: int, until: int) -> None:
        while not interrupted.is_set() and iterations(number) < until:
            states[number], block = advance(chain.leaves, mode, root, states[number])
            blocks[number].append(jax.tree.map(np.asarray, block))
            on_progress(BLOCK)

    def run_all(until: int) -> None:
        with ThreadPoolExecutor(min(chains, os.cpu_count() or 1)) as pool:
            try:
                list(pool.map(run, range(chains), repeat(until)))
            except BaseException:  # Ctrl-C arrives in this thread, and the pool waits for its threads
                interrupted.set()
                raise

    if chain.tuning.trajectory is not None:
        run_all(warmup)
        states[:] = _with_one_step_size(states)
    for total in count(warmup + draws, draws):
        run_all(total)
        done = [jax.tree.map(lambda *parts: np.concatenate(parts), *own_blocks) for own_blocks in blocks]
        y = np.stack([one[warmup:total] for one, _ in done])
        statistics = {name: np.stack([own[name][warmup:total] for _, own in done]) for name in STATISTICS}
        yield approximation.mode + y @ approximation.root.T, statistics


def _with_one_step_size(states: list[Any]) -> list[Any]:
    """Return the states of chains with the median of their step sizes in place of each chain's step size."""
    median = jnp.asarray(np.median([state.adapt_state.step_size for state in states]))
    return [state._replace(adapt_state=state.adapt_state._replace(step_size=median)) for state in states]
