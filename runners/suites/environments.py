"""The tasks of all suites behind one interface: many environments, acted on in [-1, 1] and stepped together.

| suite | `env_id` | environments |
|---|---|---|
| gym | a Gymnasium id; `module:Id-v0` imports the module that registers it | one by one, or as registered |
| dmc | a task of the DeepMind Control suite, `domain-task` | one by one |
| playground | a task of MuJoCo Playground | a group at once, in JAX |

The environments come in groups, which share nothing: a group belongs to one member of an ensemble. A suite is an entry
in `config.SUITES` and a module of its name with a function `make_environments(env_id, groups, each, action_repeat)`.
A module that an id names is imported by every process that makes the task: put its folder on PYTHONPATH.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, Protocol, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bayescale.errors import BayeScaleError, InputError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

SLOW_TO_START = ("playground",)  # suites whose first step compiles for a minute, too long for a check


class Outcome(NamedTuple):
    """What one step brought, a row per environment; stale where it was not stepped.

    Where an episode ended, `observation` already belongs to the next one and `final_observation` is where the step led;
    elsewhere the two are equal. A truncated episode was cut off: its return goes on beyond `final_observation`.
    """

    observation: FloatArray  # (environment, observation), to act on next
    final_observation: FloatArray  # (environment, observation)
    reward: NDArray[np.float64]  # (environment,)
    terminated: BoolArray  # (environment,)
    truncated: BoolArray  # (environment,)


class Environments(Protocol):
    """Groups of equally many environments of one task, rows group by group."""

    observation_size: int
    action_size: int

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """First observations, (environment, observation), of new episodes; all that follows depends on the seeds alone.

        Args:
            seeds: one per group; the environments of a group start in different states.
        """

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """The outcome of the actions; an environment whose episode ends starts the next.

        Args:
            actions: (environment, action), in [-1, 1].
            running: (environment,); the others need not be stepped, and their actions need not be finite.
        """

    def close(self) -> None:
        """Closes all environments."""


def make_environments(suite: str, env_id: str, groups: int, each: int = 1, action_repeat: int = 1) -> Environments:
    """`groups` times `each` environments of a task, which repeat every action, up to `action_repeat` times in all.

    Raises:
        InputError: the suite has no such task, or it cannot be made here, or it has no vector to observe or no bounded
            vector to act with, or its environments are not stepped one by one and actions were to be repeated.
        MissingExtra: the suite's package is not installed.
    """
    module = importlib.import_module(f"bayescale.runners.suites.{suite}")
    with _naming(env_id):
        return cast("Environments", module.make_environments(env_id, groups, each, action_repeat))


def check_task(suite: str, env_id: str, each: int = 1, action_repeat: int = 1) -> None:
    """Raises what `make_environments` would, and InputError if `each` environments cannot be reset and stepped."""
    environments = make_environments(suite, env_id, 1, each, action_repeat)
    with _naming(env_id), closing(environments):
        if suite not in SLOW_TO_START:
            environments.reset([0])
            environments.step(np.zeros((each, environments.action_size), np.float32), np.ones(each, np.bool_))


@contextmanager
def _naming(env_id: str) -> Iterator[None]:
    """Whatever goes wrong in the code of a task is an InputError that names it."""
    try:
        yield
    except BayeScaleError:
        raise
    except Exception as error:
        raise InputError(
            f"env_id '{env_id}' does not run here ({reason(error)}). Install or correct what is missing, or choose "
            "another task."
        ) from error


def reason(error: Exception) -> str:
    """Kind and text of an error from foreign code, to stand within a sentence."""
    return f"{type(error).__name__}: {error}".rstrip(".")


def refuse_repeats(env_id: str, action_repeat: int) -> None:
    """Raises InputError if actions are to be repeated; for environments that start new episodes on their own."""
    if action_repeat != 1:
        raise InputError(
            f"action_repeat {action_repeat} would run from one episode of '{env_id}' into the next: its environments "
            "are stepped a group at once. Leave it out."
        )


class ActionBounds:
    """The bounds of a task's actions, onto which [-1, 1] is stretched."""

    def __init__(self, low: NDArray[Any], high: NDArray[Any]) -> None:
        self._low, self._high = low.astype(np.float32), high.astype(np.float32)
        self._half_span = 0.5 * (self._high - self._low)

    def stretch(self, actions: FloatArray) -> FloatArray:
        """Actions of the task, of the same shape."""
        # Rounding can lift the highest action above its bound, none below the lowest.
        stretched: FloatArray = np.minimum(self._low + (actions + 1.0) * self._half_span, self._high)
        return stretched


def vector_spaces(
    env_id: str, observed: gymnasium.Space[object], acted: gymnasium.Space[object]
) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """The spaces of one environment, if they are what the agents need.

    Raises:
        InputError: they are not.
    """
    if not isinstance(observed, gymnasium.spaces.Box) or len(observed.shape) != 1:
        raise InputError(f"env_id '{env_id}' observes {observed}; agents need a vector. Wrap it in FlattenObservation.")
    if not isinstance(acted, gymnasium.spaces.Box) or len(acted.shape) != 1 or not _bounded(acted):
        raise InputError(
            f"env_id '{env_id}' acts in {acted}; agents need a bounded continuous vector. Choose another task."
        )
    return observed, acted


def _bounded(space: gymnasium.spaces.Box) -> bool:
    """Whether the space has bounds between which [-1, 1] can be stretched in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        span = space.high.astype(np.float32) - space.low.astype(np.float32)
    return bool(np.isfinite(span).all())
