"""Make the environments of a task, by the name of its suite and its `env_id`.

| suite | `env_id` | how environments are stepped |
|---|---|---|
| gym | a Gymnasium id; `module:Id-v0` imports the module that registers it | one by one, or as registered |
| dmc | a task of the DeepMind Control suite, `domain-task` | one by one |
| playground | a task of MuJoCo Playground | all environments of a member at once, in JAX |

To add a suite, write its `MakeEnvironments` in a module, and add it to `SUITES` here and to `config.SUITES`.
Every process that makes a task imports the module that its id names, so the module's folder must be on PYTHONPATH.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Protocol

import numpy as np

from bayescale.errors import BayeScaleError, InputError
from bayescale.runners.suites import dmc, gym
from bayescale.runners.suites.environments import Environments, reason


class MakeEnvironments(Protocol):
    """The function of a suite that makes the environments of one of its tasks."""

    def __call__(self, env_id: str, members: int, num_envs: int, action_repeat: int) -> Environments:
        """Return `num_envs` environments for each of `members` members; raise as `make_environments` does."""


def _make_playground(env_id: str, members: int, num_envs: int, action_repeat: int) -> Environments:
    from bayescale.runners.suites import playground  # imports JAX

    return playground.make_environments(env_id, members, num_envs, action_repeat)


SUITES: dict[str, MakeEnvironments] = {
    "gym": gym.make_environments,
    "dmc": dmc.make_environments,
    "playground": _make_playground,
}
SLOW_TO_START = ("playground",)  # suites whose first step compiles for a minute, too long for a check


def make_environments(suite: str, env_id: str, members: int, num_envs: int = 1, action_repeat: int = 1) -> Environments:
    """Return environments of a task for the members of an ensemble.

    Args:
        suite: a key of `SUITES`.
        env_id: the task, as its suite names it.
        members: number of members.
        num_envs: environments of each member.
        action_repeat: simulator steps per action; fewer where the episode ends.

    Raises:
        InputError: the suite has no such task; the task cannot be made here; it lacks a vector to observe or a bounded
            vector to act with; or actions are to be repeated and its environments are not stepped one by one.
        MissingExtra: the suite's package is not installed.
    """
    with _task_errors(env_id):
        return SUITES[suite](env_id, members, num_envs, action_repeat)


def check_task(suite: str, env_id: str, num_envs: int = 1, action_repeat: int = 1) -> None:
    """Raise what `make_environments` raises, and InputError if the environments cannot be reset and stepped."""
    environments = make_environments(suite, env_id, 1, num_envs, action_repeat)
    with _task_errors(env_id), closing(environments):
        if suite not in SLOW_TO_START:
            environments.reset([0])
            actions = np.zeros((num_envs, environments.action_size), np.float32)
            environments.step(actions, np.ones(num_envs, np.bool_))


@contextmanager
def _task_errors(env_id: str) -> Iterator[None]:
    """Turn any exception from the code of a task into an InputError that names the task."""
    try:
        yield
    except BayeScaleError:
        raise
    except Exception as error:
        raise InputError(
            f"env_id '{env_id}' does not run here ({reason(error)}). Install or correct what is missing, or choose "
            "another task."
        ) from error
