"""Test environments of MuJoCo Playground, on a stand-in with its interface whose episodes are known by hand.

MuJoCo Playground is large and no development tool. The one test that needs it is skipped where it is not installed.
"""

import dataclasses
import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from bayescale.errors import InputError, MissingExtra
from bayescale.runners import PQLConfig, run_ensemble
from bayescale.runners.suites import playground
from bayescale.runners.suites.tasks import check_task, make_environments
from bayescale.runners.training.results import RunStatus

needs_playground = pytest.mark.skipif(
    importlib.util.find_spec("mujoco_playground") is None, reason="MuJoCo Playground is not installed"
)


class State(NamedTuple):
    obs: Any
    reward: jax.Array
    done: jax.Array
    steps: jax.Array


class Clock:
    """A task that observes a random number, drawn when the episode starts, and the number of steps since.

    The episode is done after 3 steps unless the action is above 0.5. An action below -0.5 breaks the simulation down.
    """

    action_size = 1

    def reset(self, key: jax.Array) -> State:
        observed = jnp.stack([jax.random.uniform(key), jnp.zeros(())])
        return State({"state": observed, "other": observed}, jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def step(self, state: State, action: jax.Array) -> State:
        steps = state.steps + 1
        now = jnp.where(action[0] < -0.5, jnp.nan, steps.astype(jnp.float32))
        observed = jnp.stack([state.obs["state"][0], now])
        done = ((steps >= 3) & (action[0] <= 0.5)).astype(jnp.float32)
        return State({"state": observed, "other": observed}, now, done, steps)


class Unloadable:
    def __init__(self) -> None:
        raise AttributeError("no such call")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"Clock": Clock, "Unloadable": Unloadable}
    module = ModuleType("mujoco_playground")
    module.registry = SimpleNamespace(  # type: ignore[attr-defined]
        ALL_ENVS=tuple(tasks),
        get_default_config=lambda _: SimpleNamespace(impl="warp", episode_length=5),
        load=lambda env_id, config: tasks[env_id]() if config.impl == "jax" else None,
    )
    monkeypatch.setitem(sys.modules, "mujoco_playground", module)
    monkeypatch.setattr(playground, "_load", playground._load.__wrapped__)


def everyone(rows: int) -> np.ndarray:
    return np.ones(rows, np.bool_)


def test_ends_of_episodes_and_final_observations(stand_in: None) -> None:
    clocks = make_environments("playground", "Clock", members=1, num_envs=2)
    starts = [clocks.reset([0])[:, 0]]
    actions = np.array(
        [[0.0], [1.0]], np.float32
    )  # the first clock ends after 3 steps, the second is truncated after 5
    played = [clocks.step(actions, everyone(2)) for _ in range(10)]
    assert [step.terminated.tolist() for step in played] == [[i % 3 == 0, False] for i in range(1, 11)]
    assert [step.truncated.tolist() for step in played] == [[False, i % 5 == 0] for i in range(1, 11)]
    final = np.stack([step.final_observation for step in played])
    following = np.stack([step.observation for step in played])
    np.testing.assert_array_equal(final[..., 1], [[(i % 3) + 1, (i % 5) + 1] for i in range(10)])
    np.testing.assert_array_equal(following[..., 1], [[(i + 1) % 3, (i + 1) % 5] for i in range(10)])
    np.testing.assert_array_equal(np.stack([step.reward for step in played]), final[..., 1])
    # A new episode draws a new start; within an episode the start stays.
    starts += list(following[:, :, 0])
    for i in range(10):
        np.testing.assert_array_equal(final[i, :, 0], starts[i])
        np.testing.assert_array_equal(starts[i + 1] == starts[i], ~(played[i].terminated | played[i].truncated))
    assert len(np.unique(np.stack(starts))) == 4 + 3


def test_an_episode_whose_physics_break_down_is_truncated(stand_in: None) -> None:
    clocks = make_environments("playground", "Clock", members=1, num_envs=2)
    clocks.reset([0])
    clocks.step(np.zeros((2, 1), np.float32), everyone(2))
    broken = clocks.step(np.array([[-1.0], [0.0]], np.float32), everyone(2))
    assert (broken.terminated.tolist(), broken.truncated.tolist()) == ([False, False], [True, False])
    assert (broken.reward.tolist(), broken.final_observation[:, 1].tolist()) == ([0.0, 2.0], [1.0, 2.0])
    assert broken.observation[:, 1].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # a CPU steps one member at a time, a GPU all members at once
def test_equal_seeds_give_equal_environments_and_members_share_nothing(
    stand_in: None, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setitem(sys.modules, "warp", None)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.4, 1.0, (30, 40, 1)).astype(np.float32)
    both, alone = (make_environments("playground", "Clock", members, num_envs=20) for members in (2, 1))
    first = both.reset([3, 2**32 - 1])
    played = [both.step(action, everyone(40)) for action in actions]
    assert len(np.unique(first[:, 0])) == 40
    np.testing.assert_array_equal(both.reset([3, 2**32 - 1]), first)
    np.testing.assert_array_equal(alone.reset([2**32 - 1]), first[20:])
    for action, before in zip(actions, played, strict=True):
        for part, again, single in zip(
            before, both.step(action, everyone(40)), alone.step(action[20:], everyone(20)), strict=True
        ):
            np.testing.assert_array_equal(again, part)
            np.testing.assert_array_equal(single, part[20:])


def test_environments_that_do_not_run_need_no_actions(stand_in: None) -> None:
    clocks = make_environments("playground", "Clock", members=2, num_envs=1)
    clocks.reset([0, 1])
    outcome = clocks.step(np.array([[0.0], [np.nan]], np.float32), np.array([True, False]))
    assert np.isfinite(outcome.observation).all()


def test_agents_train_on_playground(stand_in: None) -> None:
    config = PQLConfig(
        suite="playground",
        env_id="Clock",
        utd=0.5,
        batch_size=8,
        learning_rate=1e-3,
        seed=0,
        env_steps=80,
        hidden_width=8,
        depth=1,
        num_envs=4,
        warmup_steps=40,
        evaluation_interval=40,
        evaluation_episodes=2,
    )
    first, second = run_ensemble([config, dataclasses.replace(config, seed=1)])
    assert {first.status, second.status} == {
        RunStatus.FINISHED
    }  # random actions broke the simulation down several times
    assert first.curve["gradient_updates"].tolist() == [0, 0, 20]
    assert first.curve["episode_return"].between(0, 15).all()  # 1 + 2 + 3 + 4 + 5 in a whole episode
    (alone,) = run_ensemble([config])
    pd.testing.assert_frame_equal(alone.curve, first.curve)


@pytest.mark.parametrize(
    ("backend", "warp_installed", "physics"), [("cpu", True, "jax"), ("gpu", False, "jax"), ("gpu", True, "warp")]
)
def test_the_task_chooses_its_physics_only_where_that_runs(
    stand_in: None, monkeypatch: pytest.MonkeyPatch, backend: str, warp_installed: bool, physics: str
) -> None:
    chosen = []

    def load(env_id: str, config: SimpleNamespace) -> Clock:
        chosen.append(config.impl)
        return Clock()

    monkeypatch.setattr(sys.modules["mujoco_playground"].registry, "load", load)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setitem(
        sys.modules, "warp", np if warp_installed else None
    )  # any module serves: it is looked for, and not used
    make_environments("playground", "Clock", members=1, num_envs=1)
    assert chosen == [physics]


def test_matrix_products_of_the_physics_are_precise(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    precisions = []

    def noting(call: Any) -> Any:
        def noted(*args: Any) -> Any:
            precisions.append(jax.config.jax_default_matmul_precision)
            return call(*args)

        return noted

    clocks = make_environments("playground", "Clock", members=1, num_envs=1)
    monkeypatch.setattr(Clock, "reset", noting(Clock.reset))
    monkeypatch.setattr(Clock, "step", noting(Clock.step))
    clocks.reset([0])
    clocks.step(np.zeros((1, 1), np.float32), everyone(1))
    assert precisions == ["highest", "highest"]


def test_a_missing_playground_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "_load", playground._load.__wrapped__)
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(MissingExtra, match=r"'playground'; install it with: pip install 'bayescale\[playground\]'"):
        check_task("playground", "CartpoleSwingup")


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("Clok", r"env_id 'Clok' is not a task of MuJoCo Playground\. Did you mean 'Clock'\?"),
        ("cartpole-swingup", "Tasks are named as in 'CartpoleSwingup'"),
        ("Unloadable", r"does not run here \(AttributeError: no such call\)\."),
    ],
)
def test_tasks_that_are_not_there(stand_in: None, env_id: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_task("playground", env_id)


@needs_playground
@pytest.mark.filterwarnings("ignore:JAXopt is no longer maintained:DeprecationWarning")  # imported by Playground's Brax
def test_playground_against_its_own_step_one_environment_at_a_time() -> None:
    from mujoco_playground import registry

    env = registry.load("CartpoleBalance", config_overrides={"impl": "jax"})
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    environments = make_environments("playground", "CartpoleBalance", members=1, num_envs=3)
    observation = environments.reset([5])
    rng = np.random.default_rng(0)
    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.PRNGKey(5), 3)
        states = [reset(jax.random.fold_in(key, 1)) for key in keys]
        np.testing.assert_allclose(observation, np.stack([state.obs for state in states]), atol=1e-6)
        for i in range(1, 1003):
            actions = rng.uniform(-1, 1, (3, 1)).astype(np.float32)
            outcome = environments.step(actions, everyone(3))
            if i <= 50:  # later, rounding errors have grown too much
                states = [step(state, action) for state, action in zip(states, actions, strict=True)]
                np.testing.assert_allclose(outcome.observation, np.stack([s.obs for s in states]), atol=1e-3)
                np.testing.assert_allclose(outcome.reward, [s.reward for s in states], atol=1e-4)
            assert outcome.truncated.all() == (i == 1000)
            assert not outcome.terminated.any()
            assert (outcome.observation == outcome.final_observation).all() == (i != 1000)
