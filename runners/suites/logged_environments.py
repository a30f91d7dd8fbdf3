"""Log the actions of environments, so that new environments can be replayed to the same state.

After a reset, observations depend on the seeds and the actions alone, so replaying the log restores the state of any
simulator. A replay takes the time of all steps once more, and the log takes the memory of the actions. Beyond
`MOST_BYTES` the log is dropped, and a replay is no longer possible.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bayescale.runners.suites.environments import BoolArray, Environments, FloatArray, Outcome

MOST_BYTES = 2**30


class LoggedEnvironments:
    """Environments with a log of the actions since their only reset."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self.observation_size, self.action_size = environments.observation_size, environments.action_size
        self._actions: list[FloatArray] = []
        self._running: list[BoolArray] = []
        self.complete = True

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """See `Environments`."""
        return self._environments.reset(seeds)

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """See `Environments`."""
        if self.complete and len(self._actions) * actions.nbytes < MOST_BYTES:
            self._actions.append(actions.copy())
            self._running.append(running.copy())
        else:
            self.complete = False
            self._actions.clear()
        return self._environments.step(actions, running)

    def close(self) -> None:
        """See `Environments`."""
        self._environments.close()

    def log(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the actions, (step, environment, action), and which environments ran, (step, environment)."""
        return np.stack(self._actions), np.stack(self._running)

    def replay(
        self, seeds: Sequence[int], actions: NDArray[np.float32], running: NDArray[np.bool_]
    ) -> Iterator[tuple[FloatArray, FloatArray, Outcome]]:
        """Reset, repeat the steps of a log, and yield for each step its observations, actions and outcome."""
        observations = self.reset(seeds)
        for acted, ran in zip(actions, running, strict=True):
            outcome = self.step(acted, ran)
            yield observations, acted, outcome
            observations = outcome.observation
