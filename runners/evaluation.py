"""Evaluation of policies on environments of their own, from start states that are the same for every run."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bayescale.runners.environments import Environments, FloatArray

FIRST_SEED = 1_000_000  # start state i comes from seed FIRST_SEED + i, far from the seeds of training environments


class Evaluator:
    """`episodes` environments per member, all stepped together and shared with nobody."""

    def __init__(self, env_id: str, members: int, episodes: int) -> None:
        self._members, self._episodes = members, episodes
        self._environments = Environments(env_id, members * episodes)

    def mean_returns(
        self, policy: Callable[[FloatArray], FloatArray], members: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Mean undiscounted return of every member over one episode per environment, (member,).

        NaN for members left out and for those whose actions are not finite.

        Args:
            policy: maps observations (member, episode, observation) to actions (member, episode, action) in [-1, 1].
            members: which members to evaluate, (member,).
        """
        shape = (self._members, self._episodes)
        observations = np.zeros((*shape, self._environments.observation_size), np.float32)
        flat = observations.reshape(len(self._environments), -1)  # the same memory, an environment per row
        running = np.repeat(members, self._episodes)
        for i in np.flatnonzero(running).tolist():
            flat[i] = self._environments.reset(i, seed=FIRST_SEED + i % self._episodes)
        returns = np.where(running, 0.0, np.nan)
        while running.any():
            actions = policy(observations).reshape(len(flat), -1)
            lost = running & ~np.isfinite(actions).all(axis=1)
            returns[lost] = np.nan
            running &= ~lost
            outcome = self._environments.step(actions, np.flatnonzero(running).tolist())
            flat[running] = outcome.observation[running]
            returns[running] += outcome.reward[running]
            running &= ~(outcome.terminated | outcome.truncated)
        means: NDArray[np.float64] = returns.reshape(shape).mean(axis=1)
        return means

    def close(self) -> None:
        """Close all environments."""
        self._environments.close()
