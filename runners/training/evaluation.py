"""Evaluate policies in separate environments, from start states that are equal for all runs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bayescale.errors import InputError
from bayescale.runners.suites.environments import FloatArray
from bayescale.runners.suites.tasks import make_environments

FIRST_SEED = 1_000_000  # every member gets this seed, so all start in the same states, unlike those of training
MOST_STEPS = 100_000  # env steps per episode; the longest usual limit, 108,000 frames of Atari, is 27,000 env steps


class Evaluator:
    """Environments for evaluation, `episodes` per member, separate from those of training and stepped together."""

    def __init__(self, suite: str, env_id: str, members: int, episodes: int, action_repeat: int = 1) -> None:
        self._env_id, self._members, self._episodes = env_id, members, episodes
        self._environments = make_environments(suite, env_id, members, episodes, action_repeat)

    def mean_returns(
        self, policy: Callable[[FloatArray], FloatArray], members: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the mean undiscounted return of every member over its episodes, (member,).

        The mean is NaN for members that are left out and for members whose actions are not finite.

        Args:
            policy: maps observations (member, episode, observation) to actions (member, episode, action) in [-1, 1].
            members: true for the members to evaluate, (member,).

        Raises:
            InputError: an episode does not end within `MOST_STEPS` steps.
        """
        observations = self._environments.reset([FIRST_SEED] * self._members)
        running = np.repeat(members, self._episodes)
        returns = np.where(running, 0.0, np.nan)
        steps = 0
        while running.any():
            if steps == MOST_STEPS:
                raise InputError(
                    f"env_id '{self._env_id}' has an episode that does not end within {MOST_STEPS:,} steps. Register "
                    "it with max_episode_steps."
                )
            steps += 1
            by_member = observations.reshape(self._members, self._episodes, -1)
            actions = policy(by_member).reshape(len(running), -1)
            lost = running & ~np.isfinite(actions).all(axis=1)
            returns[lost] = np.nan
            running &= ~lost
            outcome = self._environments.step(actions, running)
            observations = outcome.observation
            returns[running] += outcome.reward[running]
            running &= ~(outcome.terminated | outcome.truncated)
        means: NDArray[np.float64] = returns.reshape(self._members, self._episodes).mean(axis=1)
        return means

    def close(self) -> None:
        """Close all environments."""
        self._environments.close()
