"""Gymnasium tasks with a vector observation and a bounded continuous action, acted on in [-1, 1]."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bayescale.errors import InputError

FloatArray = NDArray[np.float32]


class Outcome(NamedTuple):
    """What one step of several environments brought; a row per environment, stale where it was not stepped."""

    observation: FloatArray  # (environment, observation)
    reward: NDArray[np.float64]  # (environment,)
    terminated: NDArray[np.bool_]  # (environment,)
    truncated: NDArray[np.bool_]  # (environment,)


class Environments:
    """`count` environments of one task, each in an episode of its own; the caller resets those that have ended."""

    def __init__(self, env_id: str, count: int) -> None:
        spec = _spec(env_id)
        self._length = spec.max_episode_steps
        # Without the wrappers that count steps and check the order of calls: they cost a share of a cheap task's step.
        spec.max_episode_steps, spec.order_enforce = None, False
        try:
            self._envs: list[gymnasium.Env[Any, Any]] = [
                gymnasium.make(spec, disable_env_checker=True) for _ in range(count)
            ]
        except gymnasium.error.DependencyNotInstalled as error:
            raise InputError(f"env_id '{env_id}' needs a package that is not installed: {error}") from None
        observed, acted = self._envs[0].observation_space, self._envs[0].action_space
        if not isinstance(observed, gymnasium.spaces.Box) or len(observed.shape) != 1:
            raise InputError(
                f"env_id '{env_id}' observes {observed}; SAC needs a vector. Wrap it in FlattenObservation."
            )
        if not isinstance(acted, gymnasium.spaces.Box) or len(acted.shape) != 1 or not acted.is_bounded():
            raise InputError(
                f"env_id '{env_id}' acts in {acted}; SAC needs a bounded continuous vector. Choose another task."
            )
        self.observation_size, self.action_size = observed.shape[0], acted.shape[0]
        self._action_low, self._action_high = acted.low.astype(np.float32), acted.high.astype(np.float32)
        self._steps = [0] * count

    def __len__(self) -> int:
        return len(self._envs)

    def reset(self, i: int, seed: int | None = None) -> FloatArray:
        """The first observation of an episode of environment `i`."""
        observation, _ = self._envs[i].reset(seed=seed)
        self._steps[i] = 0
        return np.asarray(observation, dtype=np.float32)

    def step(self, actions: FloatArray, which: Sequence[int]) -> Outcome:
        """The outcome of `actions`, (environment, action) in [-1, 1], in the environments `which`."""
        count = len(self._envs)
        scaled = self._action_low + 0.5 * (actions + 1.0) * (self._action_high - self._action_low)
        outcome = Outcome(
            np.zeros((count, self.observation_size), np.float32),
            np.zeros(count),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )
        for i in which:
            observation, reward, terminated, truncated, _ = self._envs[i].step(scaled[i])
            self._steps[i] += 1
            outcome.observation[i] = observation
            outcome.reward[i] = reward
            outcome.terminated[i] = terminated
            outcome.truncated[i] = truncated or self._steps[i] == self._length
        return outcome

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()


def check_task(env_id: str) -> None:
    """Raises InputError where SAC cannot act on the task."""
    Environments(env_id, 1).close()


def _spec(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    try:
        return copy.deepcopy(gymnasium.spec(env_id))
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise InputError(f"env_id '{env_id}' is not a registered Gymnasium task: {error}") from None
