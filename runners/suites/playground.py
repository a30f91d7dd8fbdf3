"""MuJoCo Playground (Zakka et al., 2025): thousands of environments of a task in one call, in JAX; extra `playground`.

Tasks of its DeepMind Control collection are in the package: CartpoleSwingup and the like. Those of locomotion and
manipulation fetch robot models when they are first loaded. Actions are taken as they are, in [-1, 1]; of observations
with several parts the agents see the one called "state". An episode is truncated after the task's `episode_length`; it
is terminated where the task is done. On a CPU the physics is MJX in JAX, elsewhere what the task chooses.

Functions are compiled for a group at once, so that a group behaves to the last bit as it does alone; on a GPU, which
takes about as long for one group as for all, for all at once, and to rounding. On a CPU compilation takes a minute or
more in each process; with JAX_COMPILATION_CACHE_DIR in the environment, only in the first.
"""

import difflib
import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from bayescale.errors import InputError, MissingExtra
from bayescale.runners.suites.environments import BoolArray, Environments, FloatArray, Outcome, refuse_repeats

RESTARTS = 8  # calls that restart a whole group: one call restarts an eighth of it, so that few ends cost little
PRECISION = "highest"  # of matrix products: GPUs' default, factors of 10 bits, is too coarse for physics
State = Any  # of a group of environments: arrays with a row per environment


class Task(NamedTuple):
    """What a task's environments share, compiled once per process and size of a group."""

    observation_size: int
    action_size: int
    episode_steps: int
    state_shapes: Any  # of one environment
    step: Callable[[State, FloatArray], State]
    restart: Callable[[State, NDArray[np.uint32], NDArray[np.int32], NDArray[np.int32]], State]


class PlaygroundEnvironments:
    """`groups` times `each` environments of one task; episode k of environment j of a group has its own random key."""

    def __init__(self, env_id: str, groups: int, each: int) -> None:
        self._task = _load(env_id)
        self.observation_size, self.action_size = self._task.observation_size, self._task.action_size
        self._per_seed = each
        if jax.default_backend() == "gpu":
            groups, each = 1, groups * each
        self._groups, self._each = groups, each  # as they are stepped
        self._states: list[State] = []
        self._keys = np.zeros((groups, each, 2), np.uint32)
        self._begun = np.zeros((groups, each), np.int32)  # episodes
        self._steps = np.zeros((groups, each), np.int32)
        self._observation = np.zeros((groups, each, self.observation_size), np.float32)

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """See `Environments`."""
        blank = jax.tree.map(lambda one: np.zeros((self._each, *one.shape), one.dtype), self._task.state_shapes)
        self._states = [blank] * self._groups
        self._begun[:] = 0
        with jax.enable_x64(False):
            keys = [jax.random.split(jax.random.PRNGKey(np.uint32(seed % 2**32)), self._per_seed) for seed in seeds]
            self._keys = np.concatenate(keys).reshape(self._keys.shape)
            self._restart(np.ones((self._groups, self._each), np.bool_))
        return self._flat(self._observation.copy())

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """See `Environments`; an episode whose simulation breaks down is cut off at the last sound observation."""
        by_group = np.where(running[:, None], actions, 0.0).astype(np.float32).reshape(self._groups, self._each, -1)
        with jax.enable_x64(False):
            self._states = [self._task.step(*pair) for pair in zip(self._states, by_group, strict=True)]
            final = np.stack([_observed(state) for state in self._states])
            reward, done = (
                np.stack([np.asarray(getattr(state, name), np.float64) for state in self._states])
                for name in ("reward", "done")
            )
            broken = ~(np.isfinite(final).all(axis=-1) & np.isfinite(reward))
            final[broken], reward[broken] = self._observation[broken], 0.0
            self._steps += 1
            terminated = (done > 0) & ~broken
            truncated = ~terminated & (broken | (self._steps >= self._task.episode_steps))
            self._observation = final.copy()
            self._restart(terminated | truncated)
        rows = (self._observation.copy(), final, reward, terminated, truncated)
        return Outcome(*(self._flat(values) for values in rows))

    def close(self) -> None:
        """Frees the simulation."""
        self._states.clear()

    def _restart(self, ended: BoolArray) -> None:
        """Starts new episodes where `ended`, (group, environment)."""
        self._steps[ended] = 0
        self._begun[ended] += 1
        size = -(-self._each // RESTARTS)
        for group in np.flatnonzero(ended.any(axis=1)).tolist():
            rows = np.flatnonzero(ended[group])
            for start in range(0, len(rows), size):
                # Rows beyond the last are none: what is written to them is dropped.
                some = np.full(size, self._each, np.int32)
                some[: len(rows[start : start + size])] = rows[start : start + size]
                self._states[group] = self._task.restart(
                    self._states[group], self._keys[group], self._begun[group], some
                )
            self._observation[group][rows] = _observed(self._states[group])[rows]

    def _flat(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(-1, *values.shape[2:])


def make_environments(env_id: str, groups: int, each: int, action_repeat: int) -> Environments:
    """`groups` times `each` environments; errors as in `bayescale.runners.suites.environments`."""
    refuse_repeats(env_id, action_repeat)
    return PlaygroundEnvironments(env_id, groups, each)


@cache
def _load(env_id: str) -> Task:
    # Else JAX, when it first meets a GPU, takes three quarters of its memory, and torch needs some.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        from mujoco_playground import registry
    except ModuleNotFoundError as error:
        if error.name != "mujoco_playground":
            raise
        raise MissingExtra("playground", "playground") from None
    if env_id not in registry.ALL_ENVS:
        close = difflib.get_close_matches(env_id, registry.ALL_ENVS, n=1)
        remedy = f"Did you mean '{close[0]}'?" if close else "Tasks are named as in 'CartpoleSwingup'."
        raise InputError(f"env_id '{env_id}' is not a task of MuJoCo Playground. {remedy}")
    with jax.enable_x64(False):
        config = registry.get_default_config(env_id)
        if jax.default_backend() != "gpu" or importlib.util.find_spec("warp") is None:
            config.impl = "jax"
        env = registry.load(env_id, config)
        shapes = jax.eval_shape(env.reset, jax.random.PRNGKey(0))
        observed = _part(shapes.obs).shape
        if len(observed) != 1:
            raise InputError(f"env_id '{env_id}' observes {shapes.obs}; agents need a vector. Choose another task.")

    def step(state: State, action: jax.Array) -> State:
        with jax.default_matmul_precision(PRECISION):
            return jax.vmap(env.step)(state, action)

    def restart(state: State, keys: jax.Array, begun: jax.Array, rows: jax.Array) -> State:
        with jax.default_matmul_precision(PRECISION):
            fresh = jax.vmap(env.reset)(jax.vmap(jax.random.fold_in)(keys[rows], begun[rows]))
        return jax.tree.map(lambda old, new: old.at[rows].set(new, mode="drop"), state, fresh)

    return Task(observed[0], env.action_size, config.episode_length, shapes, jax.jit(step), jax.jit(restart))


def _part(observation: Any) -> Any:
    return observation["state"] if isinstance(observation, dict) else observation


def _observed(state: State) -> FloatArray:
    return np.array(_part(state.obs), np.float32)
