"""Make tasks of MuJoCo Playground (Zakka et al., 2025); needs the extra `playground`.

JAX steps thousands of environments in one call. The tasks of its DeepMind Control collection, such as CartpoleSwingup,
are in the package; locomotion and manipulation tasks download robot models when they are first loaded. Actions are
passed on unchanged, in [-1, 1]. Of observations with several parts the agents see the part called "state". An episode
is truncated after the task's `episode_length`, and terminated where the task is done. On a CPU the physics is MJX in
JAX; on a GPU the task chooses it.

On a CPU the functions are compiled for the environments of one member, so a member gets the same numbers alone and
beside others, bit by bit. A GPU takes about as long for one member as for all, so there the functions are compiled for
all members, and numbers agree to rounding. On a CPU each process compiles for a minute or more; if
JAX_COMPILATION_CACHE_DIR is set, only the first process does.
"""

import difflib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from bayescale.errors import InputError, MissingExtra
from bayescale.runners.suites.environments import BoolArray, Environments, FloatArray, Outcome, refuse_repeats

RESTARTS = 8  # one call restarts an eighth of a stack, so that restarting few environments costs little
PRECISION = "highest"  # precision of matrix products; a GPU's default, factors of 10 bits, is too coarse for physics


class State(Protocol):
    """The state of some environments: a tree of arrays with a row per environment."""

    obs: jax.Array | Mapping[str, jax.Array]
    reward: jax.Array
    done: jax.Array


class Task(NamedTuple):
    """A task and its compiled functions, made once per process; JAX compiles them once per stack size."""

    observation_size: int
    action_size: int
    episode_steps: int
    state_shapes: State  # shapes and types of one environment's state
    step: Callable[[State, FloatArray], State]
    restart: Callable[[State, NDArray[np.uint32], NDArray[np.int32], NDArray[np.int32]], State]


class PlaygroundEnvironments:
    """Environments of one task, stepped in stacks: a stack per member on a CPU, one stack for all on a GPU.

    Every episode of every environment has its own random key, which follows from the member's seed.
    """

    def __init__(self, env_id: str, members: int, num_envs: int) -> None:
        self._task = _load(env_id)
        self.observation_size, self.action_size = self._task.observation_size, self._task.action_size
        self._num_envs = num_envs
        stacks, size = (1, members * num_envs) if jax.default_backend() == "gpu" else (members, num_envs)
        self._stacks, self._stack_size = stacks, size
        self._states: list[State] = []
        self._keys = np.zeros((stacks, size, 2), np.uint32)
        self._begun = np.zeros((stacks, size), np.int32)  # number of episodes begun
        self._steps = np.zeros((stacks, size), np.int32)  # steps of the present episode
        self._observation = np.zeros((stacks, size, self.observation_size), np.float32)

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """See `Environments`."""
        blank = jax.tree.map(lambda one: np.zeros((self._stack_size, *one.shape), one.dtype), self._task.state_shapes)
        self._states = [blank] * self._stacks
        self._begun[:] = 0
        with jax.enable_x64(False):
            keys = [jax.random.split(jax.random.PRNGKey(np.uint32(seed % 2**32)), self._num_envs) for seed in seeds]
            self._keys = np.concatenate(keys).reshape(self._keys.shape)
            self._restart(np.ones((self._stacks, self._stack_size), np.bool_))
        return self._flat(self._observation.copy())

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """See `Environments`; an episode whose simulation breaks down is truncated at its last finite observation."""
        by_stack = np.where(running[:, None], actions, 0.0).astype(np.float32)
        by_stack = by_stack.reshape(self._stacks, self._stack_size, -1)
        with jax.enable_x64(False):
            self._states = [self._task.step(*pair) for pair in zip(self._states, by_stack, strict=True)]
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
        """Free the simulation."""
        self._states.clear()

    def _restart(self, ended: BoolArray) -> None:
        """Start new episodes where `ended`, (stack, environment), is true."""
        self._steps[ended] = 0
        self._begun[ended] += 1
        size = -(-self._stack_size // RESTARTS)
        for stack in np.flatnonzero(ended.any(axis=1)).tolist():
            rows = np.flatnonzero(ended[stack])
            for start in range(0, len(rows), size):
                # Row numbers beyond the last row fill the array up; JAX drops what is written to them.
                some = np.full(size, self._stack_size, np.int32)
                some[: len(rows[start : start + size])] = rows[start : start + size]
                self._states[stack] = self._task.restart(
                    self._states[stack], self._keys[stack], self._begun[stack], some
                )
            self._observation[stack][rows] = _observed(self._states[stack])[rows]

    def _flat(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(-1, *values.shape[2:])


def make_environments(env_id: str, members: int, num_envs: int, action_repeat: int) -> Environments:
    """Return environments of a task of Playground; see `bayescale.runners.suites.tasks.make_environments`."""
    refuse_repeats(env_id, action_repeat)
    return PlaygroundEnvironments(env_id, members, num_envs)


@cache
def _load(env_id: str) -> Task:
    # By default JAX takes three quarters of a GPU's memory on first use, and torch needs some of it.
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
            following: State = jax.vmap(env.step)(state, action)
        return following

    def restart(state: State, keys: jax.Array, begun: jax.Array, rows: jax.Array) -> State:
        with jax.default_matmul_precision(PRECISION):
            fresh = jax.vmap(env.reset)(jax.vmap(jax.random.fold_in)(keys[rows], begun[rows]))
        restarted: State = jax.tree.map(lambda old, new: old.at[rows].set(new, mode="drop"), state, fresh)
        return restarted

    return Task(observed[0], env.action_size, config.episode_length, shapes, jax.jit(step), jax.jit(restart))


def _part(observation: jax.Array | Mapping[str, jax.Array]) -> jax.Array:
    return observation["state"] if isinstance(observation, Mapping) else observation


def _observed(state: State) -> FloatArray:
    return np.array(_part(state.obs), np.float32)
