"""Test that a sweep refuses tasks that do not exist, do not run, or cannot be run as the plan asks."""

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bayescale.errors import InputError, MissingExtra
from bayescale.runners import make_plan
from bayescale.runners.suites.tasks import check_task
from bayescale.runners.sweeps.checks import check_tasks
from tests.scaffolding.probe_environments import Clock, clocks_at_once
from tests.scaffolding.small_sweep import CONTENT

Register = Callable[..., str]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Return a function that registers a task for the length of a test and returns its id."""

    def added(entry_point: Any = None, vector_entry_point: Any = None, **settings: Any) -> str:
        spec = EnvSpec("Own-v0", entry_point=entry_point, vector_entry_point=vector_entry_point, **settings)
        monkeypatch.setitem(gymnasium.registry, spec.id, spec)
        return spec.id

    return added


def next_step_clocks(num_envs: int) -> SyncVectorEnv:
    return clocks_at_once(num_envs, AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize(
    ("name", "env_id", "said"),
    [
        ("dmc", "cartpole_swingup", r"not a task of the DeepMind Control suite\. Did you mean 'cartpole-swingup'\?"),
        ("dmc", "Ant-v5", r"Tasks are named domain-task"),
    ],
)
def test_tasks_that_do_not_exist(name: str, env_id: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_task(name, env_id)


def test_a_missing_suite_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(MissingExtra, match=r"'dm_control'; install it with: pip install 'bayescale\[dmc\]'"):
        check_task("dmc", "cartpole-swingup")


class Unmade(Clock):
    def __init__(self) -> None:
        raise FileNotFoundError("no model.xml")


class Unstarted(Clock):
    def start(self) -> float:
        raise RuntimeError("No OpenGL rendering backend is available.")


class Unmoved(Clock):
    def outcome(self) -> Any:
        raise NotImplementedError("later")


class Unbounded(Clock):
    largest = np.finfo(np.float32).max
    action_space = gymnasium.spaces.Box(-largest, largest, (1,), np.float32)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"entry_point": Unmade}, r"does not run here \(FileNotFoundError: no model\.xml\)\. Install or correct"),
        ({"entry_point": Unstarted}, r"\(RuntimeError: No OpenGL rendering backend is available\)\. Install"),
        ({"entry_point": Unmoved}, r"\(NotImplementedError: later\)"),
        ({"entry_point": "no_such_module:Task"}, r"\(ModuleNotFoundError: No module named 'no_such_module'\)"),
        ({"entry_point": Unbounded}, r"acts in Box.* agents need a bounded continuous vector"),
        ({"vector_entry_point": clocks_at_once, "max_episode_steps": 5}, r"\(TypeError: .*'max_episode_steps'\)"),
    ],
)
def test_tasks_that_do_not_run(settings: dict[str, Any], said: str, register: Register) -> None:
    env_id = register(**settings)
    with pytest.raises(InputError, match=rf"^env_id '{env_id}' .*{said}"):
        check_task("gym", env_id)


@pytest.mark.parametrize("env_id", ["lqr-lqr_2_1", "lqr-lqr_6_2"])
def test_tasks_of_deepmind_control_without_a_time_limit(env_id: str) -> None:
    with pytest.raises(InputError, match=rf"env_id '{env_id}' has episodes without end\. Choose a task with"):
        check_task("dmc", env_id)


def test_environments_that_step_at_once_do_not_repeat_actions(register: Register) -> None:
    for name, env_id in (("gym", register(vector_entry_point=clocks_at_once)), ("playground", "CartpoleSwingup")):
        with pytest.raises(InputError, match=rf"action_repeat 2 would run .*'{env_id}'.*Leave it out"):
            check_task(name, env_id, action_repeat=2)


@pytest.mark.parametrize(
    ("vector_entry_point", "changes", "said"),
    [
        (next_step_clocks, {}, r"mode AutoresetMode.NEXT_STEP, in which some steps.*Register it with SAME_STEP"),
        (clocks_at_once, {"action_repeat": 2}, r"action_repeat 2 would run from one episode"),
    ],
)
def test_environments_for_several_at_once_are_checked_where_they_are_used(
    vector_entry_point: Any, changes: dict[str, Any], said: str, register: Register
) -> None:
    env_id = register(Clock, vector_entry_point)
    plan = CONTENT | changes | {"env_id": env_id}
    check_tasks(make_plan(plan | {"evaluation_episodes": 1}).runs)
    with pytest.raises(InputError, match=said):
        check_tasks(make_plan(plan | {"evaluation_episodes": 3}).runs)
    parallel = {"algorithm": "PQL", "num_envs": 10, "utd": [0.5], "env_steps": 90, "evaluation_episodes": 1}
    with pytest.raises(InputError, match=said):
        check_tasks(make_plan(plan | parallel).runs)
