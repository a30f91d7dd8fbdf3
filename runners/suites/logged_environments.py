"""Environments that can be led back to where they are: what follows a reset depends on its seeds and the actions alone.

This holds for any suite, whatever its simulator keeps inside. It costs the time of the steps once more, and the memory
of the actions: beyond `MOST_BYTES` the log is given up, and such environments cannot be led back.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bayescale.runners.suites.environments import BoolArray, Environments, FloatArray, Outcome

MOST_BYTES = 2**30


class LoggedEnvironments:
    """The environments, which must be reset once only, with a log of what was done to them."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self.observation_size, self.action_size = environments.observation_size, environments.action_size
        self._actions: list[FloatArray] = []
        self._running: list[BoolArray] = []
        self.complete = True

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """As `Environments.reset`."""
        return self._environments.reset(seeds)

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """As `Environments.step`."""
        if self.complete and len(self._actions) * actions.nbytes < MOST_BYTES:
            self._actions.append(actions.copy())
            self._running.append(running.copy())
        else:
            self.complete = False
            self._actions.clear()
        return self._environments.step(actions, running)

    def close(self) -> None:
        """As `Environments.close`."""
        self._environments.close()

    def log(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Actions, (step, environment, action), and which environments were running, (step, environment)."""
        return np.stack(self._actions), np.stack(self._running)

    def lead(
        self, seeds: Sequence[int], actions: NDArray[np.float32], running: NDArray[np.bool_]
    ) -> Iterator[tuple[FloatArray, FloatArray, Outcome]]:
        """Observations, actions in them and their outcome, of every step of a log, from a reset on."""
        observations = self.reset(seeds)
        for acted, ran in zip(actions, running, strict=True):
            outcome = self.step(acted, ran)
            yield observations, acted, outcome
            observations = outcome.observation
