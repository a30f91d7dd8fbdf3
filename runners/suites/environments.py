"""The interface to environments of all suites: those of all members of an ensemble, stepped together.

Actions lie in [-1, 1]. Each member has equally many environments, and the environments of different members share
nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bayescale.errors import InputError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class Outcome(NamedTuple):
    """The result of one step, a row per environment; rows of environments that were not stepped are stale.

    Where an episode ended, `observation` is the first one of the next episode, and `final_observation` the last one of
    the episode that ended; elsewhere the two are equal. A truncated episode was cut off: its return goes on beyond
    `final_observation`.
    """

    observation: FloatArray  # (environment, observation), the input of the next actions
    final_observation: FloatArray  # (environment, observation)
    reward: NDArray[np.float64]  # (environment,)
    terminated: BoolArray  # (environment,)
    truncated: BoolArray  # (environment,)


class Environments(Protocol):
    """Environments of one task for all members of an ensemble; rows are ordered member by member."""

    observation_size: int
    action_size: int

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """Start new episodes and return their first observations, (environment, observation).

        All later observations and rewards depend on the seeds and the actions alone.

        Args:
            seeds: one seed per member; the environments of a member start in different states.
        """

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """Act once; an environment whose episode ends starts the next one.

        Args:
            actions: (environment, action), in [-1, 1].
            running: (environment,); environments where it is false may be left alone, and their actions may be NaN.
        """

    def close(self) -> None:
        """Free the simulators."""


class ActionBounds:
    """The bounds of a task's actions, to which [-1, 1] is stretched."""

    def __init__(self, low: NDArray[Any], high: NDArray[Any]) -> None:
        self._low, self._high = low.astype(np.float32), high.astype(np.float32)
        self._half_span = 0.5 * (self._high - self._low)

    def stretch(self, actions: FloatArray) -> FloatArray:
        """Return the actions in the task's bounds, with the same shape."""
        # Rounding can lift the highest action above its bound, but puts none below the lowest.
        stretched: FloatArray = np.minimum(self._low + (actions + 1.0) * self._half_span, self._high)
        return stretched


def vector_spaces(
    env_id: str, observed: gymnasium.Space[object], acted: gymnasium.Space[object]
) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Return the observation and action spaces of one environment as boxes.

    Raises:
        InputError: the observations are no vector, or the actions no bounded vector.
    """
    if not isinstance(observed, gymnasium.spaces.Box) or len(observed.shape) != 1:
        raise InputError(f"env_id '{env_id}' observes {observed}; agents need a vector. Wrap it in FlattenObservation.")
    if not isinstance(acted, gymnasium.spaces.Box) or len(acted.shape) != 1 or not _bounded(acted):
        raise InputError(
            f"env_id '{env_id}' acts in {acted}; agents need a bounded continuous vector. Choose another task."
        )
    return observed, acted


def _bounded(space: gymnasium.spaces.Box) -> bool:
    """Return whether [-1, 1] can be stretched to the bounds in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        span = space.high.astype(np.float32) - space.low.astype(np.float32)
    return bool(np.isfinite(span).all())


def refuse_repeats(env_id: str, action_repeat: int) -> None:
    """Raise InputError if actions are to be repeated in environments that start new episodes by themselves."""
    if action_repeat != 1:
        raise InputError(
            f"action_repeat {action_repeat} would run from one episode of '{env_id}' into the next: its environments "
            "are stepped together. Leave it out."
        )


def reason(error: Exception) -> str:
    """Return the kind and text of an error from foreign code, to stand within a sentence."""
    return f"{type(error).__name__}: {error}".rstrip(".")
