"""Make Gymnasium's tasks: classic control, MuJoCo, and any task that is registered with it.

A task that is registered with a vector environment is stepped by it where a member has several environments.
"""

import copy
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from bayescale.errors import InputError
from bayescale.runners.suites.environments import Environments, reason, refuse_repeats
from bayescale.runners.suites.single_environments import SingleEnvironments
from bayescale.runners.suites.vector_environments import VectorEnvironments


def make_environments(env_id: str, members: int, num_envs: int, action_repeat: int) -> Environments:
    """Return environments of a registered task; see `bayescale.runners.suites.tasks.make_environments`."""
    spec = _registered(env_id)
    if spec.vector_entry_point is not None and (num_envs > 1 or spec.entry_point is None):
        refuse_repeats(env_id, action_repeat)
        return VectorEnvironments(env_id, partial(gymnasium.make_vec, spec, num_envs=num_envs), members)
    episode_steps = spec.max_episode_steps
    # The wrappers that count steps and check the order of calls take a noticeable share of a cheap task's step.
    spec.max_episode_steps, spec.order_enforce = None, False

    def make() -> gymnasium.Env[Any, Any]:
        with _quiet_compiler(spec):
            return gymnasium.make(spec, disable_env_checker=True)

    return SingleEnvironments(env_id, make, members, num_envs, episode_steps, action_repeat)


@contextmanager
def _quiet_compiler(spec: EnvSpec) -> Iterator[None]:
    """Drop MuJoCo's warnings about Gymnasium's own model files, which it would print and log to a file."""
    if not str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        yield
        return
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _registered(env_id: str) -> EnvSpec:
    """Return a copy of the spec registered under the id; import first the module that the id names."""
    module, _, task = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:  # the module may raise anything
        raise InputError(
            f"env_id '{env_id}' names a module that cannot be imported ({reason(error)}). Correct it, or put its "
            "folder on PYTHONPATH."
        ) from error
    try:
        return copy.deepcopy(gymnasium.spec(task))
    except gymnasium.error.Error as error:
        raise InputError(f"env_id '{env_id}' is not a registered Gymnasium task: {error}") from None
