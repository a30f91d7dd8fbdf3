"""Make tasks of DeepMind Control (Tunyasuvunakool et al., 2020); needs the extra `dmc`.

A task is named `domain-task`, such as cartpole-swingup. Its observations are concatenated to one vector. Rewards lie in
[0, 1] and nearly all episodes take 1,000 steps, so returns lie in [0, 1000], with actions repeated or not. An episode
that ends with discount 1, as at the time limit, is truncated; one that ends with discount 0 is terminated. No renderer
is loaded unless MUJOCO_GL names one, such as egl; quadruped-escape is the only task that needs one.
"""

import difflib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from bayescale.errors import InputError, MissingExtra
from bayescale.runners.suites.environments import Environments, FloatArray
from bayescale.runners.suites.single_environments import SingleEnvironments


class DeepMindTask(gymnasium.Env[FloatArray, FloatArray]):
    """A task of the suite with Gymnasium's interface."""

    def __init__(self, domain: str, task: str) -> None:
        from dm_control import suite
        from dm_control.rl.control import PhysicsError

        self._physics_error = PhysicsError
        self._env = suite.load(domain, task)
        if math.isinf(self._env._step_limit):  # no public attribute shows the limit
            raise InputError(f"env_id '{domain}-{task}' has episodes without end. Choose a task with a time limit.")
        size = sum(int(np.prod(spec.shape)) for spec in self._env.observation_spec().values())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        bounds = self._env.action_spec()
        self.action_space = gymnasium.spaces.Box(
            bounds.minimum.astype(np.float32), bounds.maximum.astype(np.float32), dtype=np.float32
        )
        self._last = np.zeros(size, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode; return its first observation and an empty dict."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._env.task.random.seed(seed % 2**32)
        self._last = _flat(self._env.reset().observation)
        return self._last, {}

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Return the observation, reward, terminated, truncated, and an empty dict.

        An episode whose simulation breaks down is truncated at its last finite observation.
        """
        try:
            step = self._env.step(action)
        except self._physics_error:
            return self._last, 0.0, False, True, {}
        self._last = _flat(step.observation)
        terminated = step.last() and step.discount == 0.0
        return self._last, float(step.reward), terminated, step.last() and not terminated, {}

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()


def make_environments(env_id: str, members: int, num_envs: int, action_repeat: int) -> Environments:
    """Return environments of a task of the suite; see `bayescale.runners.suites.tasks.make_environments`."""
    with _no_renderer():
        try:
            from dm_control import suite
        except ModuleNotFoundError as error:
            if error.name != "dm_control":
                raise
            raise MissingExtra("dm_control", "dmc") from None
    tasks = ["-".join(task) for task in suite.ALL_TASKS]
    if env_id not in tasks:
        close = difflib.get_close_matches(env_id, tasks, n=1)
        remedy = f"Did you mean '{close[0]}'?" if close else "Tasks are named domain-task, as in 'cartpole-swingup'."
        raise InputError(f"env_id '{env_id}' is not a task of the DeepMind Control suite. {remedy}")
    domain, _, task = env_id.partition("-")
    make = partial(DeepMindTask, domain, task)
    return SingleEnvironments(env_id, make, members, num_envs, action_repeat=action_repeat)


def _flat(observation: dict[str, Any]) -> FloatArray:
    return np.concatenate([np.ravel(part) for part in observation.values()], dtype=np.float32, casting="same_kind")


@contextmanager
def _no_renderer() -> Iterator[None]:
    """Load no renderer in this block unless MUJOCO_GL names one; the suite would warn where there is no display."""
    chosen = "MUJOCO_GL" in os.environ
    if not chosen:
        os.environ["MUJOCO_GL"] = "off"
    try:
        yield
    finally:
        if not chosen:
            del os.environ["MUJOCO_GL"]
