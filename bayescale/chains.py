"""NUTS chains in coordinates whitened at the mode, each on a core of its own.

A chain is advanced a block of iterations at a time by one compiled function, so that the host sees its progress and
the compiled code can be kept between processes, which a callback out of it would prevent.
"""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer import NUTS
from numpyro.infer.util import ParamInfo

from bayescale.density import Density
from bayescale.mode import Laplace

FIELDS = ("num_steps", "diverging", "potential_energy", "accept_prob")
BLOCK = 50  # iterations between two looks at a chain

Advanced = Callable[[int], None]


class Tuning(NamedTuple):
    """How a chain moves.

    Attributes:
        warmup: iterations of adaptation, not kept.
        target_accept: mean acceptance that the step size is adapted to.
        adapt_scales: learn the scale of each whitened coordinate besides; wants hundreds of iterations.
    """

    warmup: int
    target_accept: float = 0.95
    adapt_scales: bool = True


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


def kernel(potential: Callable[[Array], Array], mode: Array, whiten: Array, tuning: Tuning) -> NUTS:
    """NUTS over whitened vectors, which start near 0 and have about unit scale."""
    return NUTS(
        potential_fn=lambda y: potential(mode + whiten @ y),
        target_accept_prob=tuning.target_accept,
        adapt_mass_matrix=tuning.adapt_scales,
        max_tree_depth=9,
    )


def compile_chain(density: Density, observations: Any, tuning: Tuning, pool: Executor) -> Chain:
    """The functions that start a chain and advance it by a block of iterations.

    They are traced here, as NumPyro traces on one thread at a time, and compiled on the pool.
    """
    shapes = jax.eval_shape(lambda *given: given, jnp.zeros(density.dimension), jnp.eye(density.dimension))

    def begin(data: Any, mode: Array, whiten: Array, first: ParamInfo, key: Array) -> tuple[NUTS, Any]:
        nuts = kernel(partial(density.potential, data), mode, whiten, tuning)
        return nuts, nuts.init(key, tuning.warmup, first, (), {})

    def start(mode: Array, whiten: Array, first: ParamInfo, key: Array) -> Any:
        return begin(observations, mode, whiten, first, key)[1]

    leaves, structure = jax.tree.flatten(observations)

    def advance(
        leaves: list[Array], mode: Array, whiten: Array, state: Any
    ) -> tuple[Any, tuple[Array, dict[str, Array]]]:
        data = jax.tree.unflatten(structure, leaves)
        first = ParamInfo(state.z, state.potential_energy, state.z_grad)
        nuts, _ = begin(data, mode, whiten, first, jax.random.PRNGKey(0))  # sets the kernel up

        def step(state: Any, _: None) -> tuple[Any, tuple[Array, dict[str, Array]]]:
            state = nuts.sample(state, (), {})
            return state, (state.z, {name: getattr(state, name) for name in FIELDS})

        return jax.lax.scan(step, state, length=BLOCK)

    point = ParamInfo(shapes[0], jax.ShapeDtypeStruct((), shapes[0].dtype), shapes[0])
    state = jax.eval_shape(start, *shapes, point, jax.random.PRNGKey(0))
    lowered = jax.jit(advance).lower(leaves, *shapes, state)
    return Chain(jax.jit(start), pool.submit(lowered.compile).result, leaves, tuning)


def run_chains(
    chain: Chain,
    value_and_grad: Callable[[np.ndarray], tuple[Array, Array]],
    at_mode: Laplace,
    key: Array,
    chains: int,
    draws: int,
    advanced: Advanced,
) -> tuple[Float[np.ndarray, "chain draw dim"], dict[str, np.ndarray]]:
    """Unconstrained draws and the sampler's statistics (`FIELDS`), chain axis first, then draw.

    Args:
        chain: what `compile_chain` made.
        value_and_grad: the potential that the chain was compiled for, and its gradient.
        at_mode: where the chains start around, and in which coordinates they move.
        key: of the whole computation; draws do not depend on the number of cores.
        chains: run side by side, as many at once as there are cores.
        draws: kept per chain.
        advanced: told how many iterations a chain has done since its last call; called from any thread.
    """
    mode, whiten = jax.device_put((at_mode.mode, at_mode.whiten))
    warmup, total = chain.tuning.warmup, chain.tuning.warmup + draws

    def first(key: Array) -> Any:
        key_first, key_chain = jax.random.split(key)
        y = np.asarray(jax.random.normal(key_first, mode.shape))
        value, gradient = value_and_grad(at_mode.mode + at_mode.whiten @ y)
        return chain.start(mode, whiten, ParamInfo(jnp.asarray(y), value, gradient @ whiten), key_chain)

    states = [first(one) for one in jax.random.split(key, chains)]
    advance = chain.compiled()

    def run(state: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        blocks = []
        for done in range(0, total, BLOCK):
            state, block = advance(chain.leaves, mode, whiten, state)
            blocks.append(jax.tree.map(np.asarray, block))
            advanced(min(BLOCK, total - done))
        y, fields = jax.tree.map(lambda *parts: np.concatenate(parts)[warmup:total], *blocks)
        return y, fields

    with ThreadPoolExecutor(min(chains, os.cpu_count() or 1)) as pool:
        done = list(pool.map(run, states))
    y = np.stack([one for one, _ in done])
    fields = {name: np.stack([field[name] for _, field in done]) for name in FIELDS}
    return at_mode.mode + y @ at_mode.whiten.T, fields
