"""Chains of NUTS or of plain HMC in coordinates whitened at the mode, each on a core of its own.

A chain is advanced a block of iterations at a time by one compiled function, so that the host sees its progress and
the compiled code can be kept between processes, which a callback out of it would prevent.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count, repeat
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer import HMC, NUTS
from numpyro.infer.util import ParamInfo

from bayescale.float64 import float64
from bayescale.inference.laplace import Laplace
from bayescale.inference.log_density import Density

FIELDS = ("num_steps", "diverging", "potential_energy", "accept_prob")
BLOCK = 50  # iterations between two looks at a chain
ACCEPTED = 0.95  # at 0.8 draws of several sweeps diverge
LENGTHS = (0.5, 1.5)  # of trajectories over their mean: a constant one would return where a direction's period fits it

Advanced = Callable[[int], None]


class Tuning(NamedTuple):
    """How a chain moves.

    Attributes:
        warmup: iterations of adaptation, not kept.
        trajectory: None is NUTS, which learns the scale of each whitened coordinate besides and wants hundreds of
            iterations for it. A number is plain HMC with trajectories of that mean length, for tens of iterations:
            the chains then go on with the median of their step sizes, as each has learned its own within a factor of 2.
        accepted: mean acceptance that the step size is adapted to; nearer to 1 steps are shorter.
    """

    warmup: int
    trajectory: float | None = None
    accepted: float = ACCEPTED


class Chain(NamedTuple):
    """One chain's functions.

    Attributes:
        start: the state at (mode, whiten, first point, key).
        compiled: waits for the function that advances (leaves, mode, whiten, state) by a block.
        leaves: of the observations that the chain is conditioned on.
        tuning: how it moves.
    """

    start: Callable[[Array, Array, ParamInfo, Array], Any]
    compiled: Callable[[], Callable[..., tuple[Any, tuple[Array, dict[str, Array]]]]]
    leaves: list[Array]
    tuning: Tuning


@contextmanager
def on_cpu() -> Iterator[None]:
    """Run JAX on the CPU inside this block even if there is a GPU, unless JAX has no CPU backend.

    Chains are long sequences of small steps: the CPU beside an H100 finished in 16 s what the H100 had not in 110 s.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        yield
        return
    with jax.default_device(cpu):
        yield


def kernel(potential: Callable[[Array], Array], mode: Array, whiten: Array, tuning: Tuning) -> HMC:
    """A sampler of whitened vectors, which start near 0 and have about unit scale."""

    def whitened(y: Array) -> Array:
        return potential(mode + whiten @ y)

    if tuning.trajectory is None:
        return NUTS(potential_fn=whitened, target_accept_prob=tuning.accepted, max_tree_depth=9)
    return HMC(
        potential_fn=whitened,
        target_accept_prob=tuning.accepted,
        adapt_mass_matrix=False,
        trajectory_length=tuning.trajectory,
    )


def compile_chain(density: Density, observations: Any, tuning: Tuning, pool: Executor) -> Chain:
    """The functions that start a chain and advance it by a block of iterations.

    They are traced here, as NumPyro traces on one thread at a time, and compiled on the pool.
    """
    vector, square = (jax.ShapeDtypeStruct((density.dimension,) * axes, jnp.float64) for axes in (1, 2))

    def begin(data: Any, mode: Array, whiten: Array, first: ParamInfo, key: Array) -> tuple[HMC, Any]:
        sampler = kernel(partial(density.potential, data), mode, whiten, tuning)
        return sampler, sampler.init(key, tuning.warmup, first, (), {})

    def start(mode: Array, whiten: Array, first: ParamInfo, key: Array) -> Any:
        return begin(observations, mode, whiten, first, key)[1]

    leaves, structure = jax.tree.flatten(observations)

    def advance(
        leaves: list[Array], mode: Array, whiten: Array, state: Any
    ) -> tuple[Any, tuple[Array, dict[str, Array]]]:
        data = jax.tree.unflatten(structure, leaves)
        first = ParamInfo(state.z, state.potential_energy, state.z_grad)
        sampler, _ = begin(data, mode, whiten, first, jax.random.PRNGKey(0))  # sets the kernel up

        def step(state: Any, _: None) -> tuple[Any, tuple[Array, dict[str, Array]]]:
            if tuning.trajectory is not None:
                share = jax.random.uniform(jax.random.fold_in(state.rng_key, 0), minval=LENGTHS[0], maxval=LENGTHS[1])
                state = state._replace(trajectory_length=share * tuning.trajectory)
            state = sampler.sample(state, (), {})
            return state, (state.z, {name: getattr(state, name) for name in FIELDS})

        return jax.lax.scan(step, state, length=BLOCK)

    point = ParamInfo(vector, jax.ShapeDtypeStruct((), vector.dtype), vector)
    state = jax.eval_shape(start, vector, square, point, jax.random.PRNGKey(0))
    lowered = jax.jit(advance).lower(leaves, vector, square, state)
    return Chain(jax.jit(start), pool.submit(float64()(lowered.compile)).result, leaves, tuning)


def run_chains(
    chain: Chain,
    value_and_grad: Callable[[np.ndarray], tuple[Array, Array]],
    at_mode: Laplace,
    key: Array,
    chains: int,
    draws: int,
    advanced: Advanced,
) -> Iterator[tuple[Float[np.ndarray, "chain draw dim"], dict[str, np.ndarray]]]:
    """Unconstrained draws and the sampler's statistics (`FIELDS`), chain axis first, then draw.

    First `draws` of each chain, then as many more with those before them, and so on without end.

    Args:
        chain: what `compile_chain` made.
        value_and_grad: the potential that the chain was compiled for, and its gradient.
        at_mode: where the chains start around, and in which coordinates they move.
        key: of the whole computation; draws do not depend on the number of cores.
        chains: run side by side, as many at once as there are cores.
        draws: kept per chain, each time.
        advanced: told how many iterations a chain has done since its last call, whole blocks; called from any thread.
    """
    mode, whiten = jax.device_put((at_mode.mode, at_mode.whiten))
    warmup = chain.tuning.warmup

    def first(key: Array) -> Any:
        key_first, key_chain = jax.random.split(key)
        y = np.asarray(jax.random.normal(key_first, mode.shape))
        value, gradient = value_and_grad(at_mode.mode + at_mode.whiten @ y)
        return chain.start(mode, whiten, ParamInfo(jnp.asarray(y), value, gradient @ whiten), key_chain)

    states = [first(one) for one in jax.random.split(key, chains)]
    blocks: list[list[Any]] = [[] for _ in states]
    advance = chain.compiled()

    interrupted = Event()

    @float64()
    def run(state: Any, own: list[Any], until: int) -> Any:
        while not interrupted.is_set() and BLOCK * len(own) < until:
            state, block = advance(chain.leaves, mode, whiten, state)
            own.append(jax.tree.map(np.asarray, block))
            advanced(BLOCK)
        return state

    def run_all(states: list[Any], until: int) -> list[Any]:
        with ThreadPoolExecutor(min(chains, os.cpu_count() or 1)) as pool:
            try:
                return list(pool.map(run, states, blocks, repeat(until)))
            except BaseException:  # Ctrl-C is raised here, and the pool waits for its threads
                interrupted.set()
                raise

    if chain.tuning.trajectory is not None:
        states = _with_one_step_size(run_all(states, warmup))
    for total in count(warmup + draws, draws):
        states = run_all(states, total)
        done = [jax.tree.map(lambda *parts: np.concatenate(parts), *own) for own in blocks]
        y = np.stack([one[warmup:total] for one, _ in done])
        fields = {name: np.stack([field[name][warmup:total] for _, field in done]) for name in FIELDS}
        yield at_mode.mode + y @ at_mode.whiten.T, fields


def _with_one_step_size(states: list[Any]) -> list[Any]:
    """The chains' states with the median of their step sizes."""
    median = jnp.asarray(np.median([state.adapt_state.step_size for state in states]))
    return [state._replace(adapt_state=state.adapt_state._replace(step_size=median)) for state in states]
