"""Gymnasium tasks with a vector observation and a bounded continuous action, acted on in [-1, 1]."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bayescale.errors import InputError

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """An environment and the affine map from [-1, 1] to its action bounds."""

    env: gymnasium.Env[Any, Any]
    observation_size: int
    action_low: FloatArray
    action_high: FloatArray

    @property
    def action_size(self) -> int:
        return self.action_low.size

    def reset(self, seed: int | None = None) -> FloatArray:
        """The first observation of an episode."""
        observation, _ = self.env.reset(seed=seed)
        return np.array(observation, dtype=np.float32)

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool]:
        """Observation, reward, terminated, truncated after `action`, (action,) in [-1, 1]."""
        scaled = self.action_low + 0.5 * (action + 1.0) * (self.action_high - self.action_low)
        observation, reward, terminated, truncated, _ = self.env.step(scaled)
        return np.array(observation, dtype=np.float32), float(reward), bool(terminated), bool(truncated)


def check_env_id(env_id: str) -> None:
    """Raises InputError unless Gymnasium knows `env_id`."""
    try:
        gymnasium.spec(env_id)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise InputError(f"env_id '{env_id}' is not a registered Gymnasium task: {error}") from None


def make_task(env_id: str) -> Task:
    """The task, or InputError where SAC cannot act on it."""
    check_env_id(env_id)
    try:
        env = gymnasium.make(env_id, disable_env_checker=True)
    except gymnasium.error.DependencyNotInstalled as error:
        raise InputError(f"env_id '{env_id}' needs a package that is not installed: {error}") from None
    observed, acted = env.observation_space, env.action_space
    if not isinstance(observed, gymnasium.spaces.Box) or len(observed.shape) != 1:
        raise InputError(f"env_id '{env_id}' observes {observed}; SAC needs a vector. Wrap it in FlattenObservation.")
    if not isinstance(acted, gymnasium.spaces.Box) or len(acted.shape) != 1 or not acted.is_bounded():
        raise InputError(
            f"env_id '{env_id}' acts in {acted}; SAC needs a bounded continuous vector. Choose another task."
        )
    return Task(env, observed.shape[0], acted.low.astype(np.float32), acted.high.astype(np.float32))
