"""Step environments with Gymnasium's interface one by one."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from bayescale.runners.suites.environments import ActionBounds, BoolArray, FloatArray, Outcome, vector_spaces

Env = gymnasium.Env[Any, Any]


class SingleEnvironments:
    """Environments of one task, each a `gymnasium.Env`; environment j of a member is seeded with its seed + j.

    Args:
        env_id: the task, for messages.
        make: makes one environment; it must not limit the steps itself if `episode_steps` is given.
        members: number of members.
        num_envs: environments of each member.
        episode_steps: steps after which an episode is truncated; None if the environment truncates it.
        action_repeat: steps per action, fewer where the episode ends; their rewards are summed.
    """

    def __init__(
        self,
        env_id: str,
        make: Callable[[], Env],
        members: int,
        num_envs: int,
        episode_steps: int | None = None,
        action_repeat: int = 1,
    ) -> None:
        self._envs = [make() for _ in range(members * num_envs)]
        self._num_envs, self._episode_steps, self._action_repeat = num_envs, episode_steps, action_repeat
        observed, acted = vector_spaces(env_id, self._envs[0].observation_space, self._envs[0].action_space)
        self.observation_size, self.action_size = observed.shape[0], acted.shape[0]
        self._bounds = ActionBounds(acted.low, acted.high)
        self._steps = [0] * len(self._envs)

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """See `Environments`."""
        firsts = np.zeros((len(self._envs), self.observation_size), np.float32)
        for i in range(len(self._envs)):
            firsts[i] = self._first(i, seeds[i // self._num_envs] + i % self._num_envs)
        return firsts

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """See `Environments`."""
        count = len(self._envs)
        stretched = self._bounds.stretch(actions)
        final, reward = np.zeros((count, self.observation_size), np.float32), np.zeros(count)
        terminated, truncated = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        for i in np.flatnonzero(running).tolist():
            for _ in range(self._action_repeat):
                final[i], gained, terminated[i], cut, _ = self._envs[i].step(stretched[i])
                reward[i] += gained
                self._steps[i] += 1
                truncated[i] = cut or self._steps[i] == self._episode_steps
                if terminated[i] or truncated[i]:
                    break
        observation = final
        ended = np.flatnonzero(terminated | truncated).tolist()
        if ended:
            observation = final.copy()
            for i in ended:
                observation[i] = self._first(i)
        return Outcome(observation, final, reward, terminated, truncated)

    def close(self) -> None:
        """See `Environments`."""
        for env in self._envs:
            env.close()

    def _first(self, i: int, seed: int | None = None) -> FloatArray:
        first, _ = self._envs[i].reset(seed=seed)
        self._steps[i] = 0
        return np.asarray(first, np.float32)
