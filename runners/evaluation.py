"""Evaluation of a policy on environments of its own, from start states that are the same for every run."""

from collections.abc import Callable

import numpy as np

from bayescale.runners.environments import FloatArray, Task, make_task

FIRST_SEED = 1_000_000  # start state i comes from seed FIRST_SEED + i, far from the seeds of training environments


class Evaluator:
    """`episodes` environments that are stepped together and shared with nobody."""

    def __init__(self, env_id: str, episodes: int) -> None:
        self._tasks: list[Task] = [make_task(env_id) for _ in range(episodes)]

    def mean_return(self, policy: Callable[[FloatArray], FloatArray]) -> float:
        """Mean undiscounted return of one episode per environment.

        Args:
            policy: maps observations (episode, observation) to actions (episode, action) in [-1, 1].
        """
        observations = np.stack([task.reset(FIRST_SEED + i) for i, task in enumerate(self._tasks)])
        returns = np.zeros(len(self._tasks))
        running = list(range(len(self._tasks)))
        while running:
            actions = policy(observations)
            still_running = []
            for i in running:
                observations[i], reward, terminated, truncated = self._tasks[i].step(actions[i])
                returns[i] += reward
                if not (terminated or truncated):
                    still_running.append(i)
            running = still_running
        return float(returns.mean())

    def close(self) -> None:
        """Close all environments."""
        for task in self._tasks:
            task.env.close()
