"""Test environments of Gymnasium and DeepMind Control, stepped one by one and as vectors."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from dm_control import suite
from dm_control.rl.control import PhysicsError
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from hypothesis import example, given
from hypothesis import strategies as st

from bayescale.errors import InputError
from bayescale.runners import config, make_plan, train
from bayescale.runners.suites import dmc
from bayescale.runners.suites.environments import ActionBounds, Environments, Outcome
from bayescale.runners.suites.tasks import SUITES, make_environments
from bayescale.runners.suites.vector_environments import VectorEnvironments
from tests.scaffolding.probe_environments import clocks_at_once

TASKS = [("gym", "Pendulum-v1"), ("gym", "InvertedPendulum-v5"), ("dmc", "cartpole-swingup"), ("dmc", "reacher-easy")]


def play(environments: Environments, rows: int, steps: int, seed: int = 0) -> list[Outcome]:
    """Return the outcomes of random actions."""
    rng, everyone = np.random.default_rng(seed), np.ones(rows, np.bool_)
    shape = (rows, environments.action_size)
    return [environments.step(rng.uniform(-1, 1, shape).astype(np.float32), everyone) for _ in range(steps)]


def assert_equal(ours: list[Outcome], theirs: list[Outcome]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        for our_part, their_part in zip(our, their, strict=True):
            np.testing.assert_array_equal(our_part, their_part)


def test_every_suite_that_settings_accept_has_environments() -> None:
    assert tuple(SUITES) == config.SUITES


def test_ends_of_episodes_and_final_observations() -> None:
    clocks = make_environments("gym", "ProbeClock-v0", members=1, num_envs=2)
    np.testing.assert_array_equal(clocks.reset([0]), np.zeros((2, 1)))
    # Negative actions end the first clock's episodes after 3 steps; the second clock's are truncated after 5.
    actions, both = np.array([[-1.0], [1.0]], np.float32), np.ones(2, np.bool_)
    played = [clocks.step(actions, both) for _ in range(10)]
    assert [step.terminated.tolist() for step in played] == [[i % 3 == 0, False] for i in range(1, 11)]
    assert [step.truncated.tolist() for step in played] == [[False, i % 5 == 0] for i in range(1, 11)]
    final = np.stack([step.final_observation[:, 0] for step in played])
    np.testing.assert_allclose(final[:, 0], [0.1, 0.2, 0.3] * 3 + [0.1])
    np.testing.assert_allclose(final[:, 1], [0.1, 0.2, 0.3, 0.4, 0.5] * 2)
    following = np.stack([step.observation for step in played])[..., 0]
    np.testing.assert_allclose(following[:, 0], [0.1, 0.2, 0.0] * 3 + [0.1])
    np.testing.assert_allclose(following[:, 1], [0.1, 0.2, 0.3, 0.4, 0.0] * 2)
    np.testing.assert_allclose([step.reward[1] for step in played], [1, 2, 3, 4, 5] * 2)


def test_environments_that_do_not_run_keep_their_state() -> None:
    clocks = make_environments("gym", "ProbeClock-v0", members=2)
    clocks.reset([0, 1])
    actions = np.array([[1.0], [np.nan]], np.float32)
    for _ in range(2):
        clocks.step(actions, np.array([True, False]))
    assert clocks.step(np.ones((2, 1), np.float32), np.ones(2, np.bool_)).reward.tolist() == [3.0, 1.0]


def test_repeated_actions_sum_rewards_and_stop_at_the_ends_of_episodes() -> None:
    clocks = make_environments("gym", "ProbeClock-v0", members=1, num_envs=2, action_repeat=2)
    clocks.reset([0])
    # The first clock's episodes end after 3 steps, in the middle of the second action; the other's end after 5.
    actions, both = np.array([[-1.0], [1.0]], np.float32), np.ones(2, np.bool_)
    played = [clocks.step(actions, both) for _ in range(6)]
    assert [step.reward[0] for step in played] == [1 + 2, 3] * 3
    assert [step.reward[1] for step in played] == [1 + 2, 3 + 4, 5] * 2
    assert [step.terminated.tolist() for step in played] == [[i % 2 == 0, False] for i in range(1, 7)]
    assert [step.truncated.tolist() for step in played] == [[False, i % 3 == 0] for i in range(1, 7)]
    final = np.stack([step.final_observation[:, 0] for step in played])
    np.testing.assert_allclose(final, [[0.2, 0.2], [0.3, 0.4], [0.2, 0.5], [0.3, 0.2], [0.2, 0.4], [0.3, 0.5]])
    np.testing.assert_allclose(played[1].observation, [[0.0], [0.4]])
    # Without repeats the same actions lead to other rewards and ends.
    clocks = make_environments("gym", "ProbeClock-v0", members=1, num_envs=2, action_repeat=1)
    clocks.reset([0])
    single = [clocks.step(actions, both) for _ in range(6)]
    assert [step.reward[0] for step in single] == [1, 2, 3] * 2
    assert [step.truncated.any() for step in single] == [False] * 4 + [True, False]


@pytest.mark.parametrize(("name", "env_id"), TASKS)
def test_repeated_actions_against_repeating_them_by_hand(name: str, env_id: str) -> None:
    ours = make_environments(name, env_id, members=1, action_repeat=3)
    twin = make_environments(name, env_id, members=1)
    np.testing.assert_array_equal(ours.reset([5]), twin.reset([5]))
    rng, one, ends = np.random.default_rng(0), np.ones(1, np.bool_), 0
    for _ in range(400):
        action = rng.uniform(-1, 1, (1, ours.action_size)).astype(np.float32)
        decision, total = ours.step(action, one), 0.0
        for _ in range(3):
            step = twin.step(action, one)
            total += step.reward[0]
            if step.terminated[0] or step.truncated[0]:
                ends += 1
                break
        assert_equal([decision], [step._replace(reward=np.array([total]))])
    assert ends


@given(bounds=st.tuples(*[st.floats(-(2.0**126), 2.0**126, width=32)] * 2), action=st.floats(-1, 1, width=32))
@example(bounds=(-3.03, 3.15), action=1.0)  # rounding leads to the next float32 above the bound
def test_actions_stay_within_their_bounds(bounds: tuple[float, float], action: float) -> None:
    low, high = np.array([[min(bounds)], [max(bounds)]], np.float32)
    stretched = ActionBounds(low, high).stretch(np.array([[action]], np.float32))
    assert stretched.dtype == np.float32
    assert low <= stretched[0] <= high
    exact = low.astype(float) + 0.5 * (action + 1.0) * (high.astype(float) - low)
    np.testing.assert_allclose(stretched[0], exact, rtol=0, atol=1e-6 * max(abs(low[0]), abs(high[0]), 1e-30))


def test_pendulum_is_truncated_where_gymnasium_does_it() -> None:
    environments = make_environments("gym", "Pendulum-v1", 1)
    environments.reset([0])
    assert [bool(step.truncated[0]) for step in play(environments, 1, 400)] == ([False] * 199 + [True]) * 2


@pytest.mark.parametrize(("name", "env_id"), TASKS)
def test_equal_seeds_give_equal_environments_and_members_share_nothing(name: str, env_id: str) -> None:
    environments = make_environments(name, env_id, members=2, num_envs=2)
    first = environments.reset([3, 4])
    played = play(environments, 4, 30)
    np.testing.assert_array_equal(environments.reset([3, 4]), first)
    assert_equal(play(environments, 4, 30), played)
    # Environment j of a member has its seed + j: the first member's second one equals the second member's first one.
    np.testing.assert_array_equal(first[1], first[2])
    assert not (first[0] == first[1]).all()
    assert not (first[2] == first[3]).all()
    alone = make_environments(name, env_id, members=1)
    np.testing.assert_array_equal(alone.reset([5]), first[3:])
    rng = np.random.default_rng(0)
    for step in played:
        actions = rng.uniform(-1, 1, (4, environments.action_size)).astype(np.float32)
        single = alone.step(actions[3:], np.ones(1, np.bool_))
        np.testing.assert_array_equal(single.observation[0], step.observation[3])
        assert single.reward[0] == step.reward[3]


class Tensors(gymnasium.vector.VectorWrapper):
    """A vector environment that returns tensors, as simulators on a GPU do."""

    def step(self, actions: Any) -> Any:
        *parts, infos = super().step(actions)
        if "final_obs" in infos:
            rows = [np.zeros(1) if row is None else row for row in infos["final_obs"]]
            infos = {"final_obs": torch.tensor(np.stack(rows))}
        return *map(torch.from_numpy, parts), infos


@pytest.mark.parametrize("form", ["same step", "disabled", "tensors"])
def test_vector_environments_against_environments_stepped_one_by_one(form: str) -> None:
    mode = AutoresetMode.DISABLED if form == "disabled" else AutoresetMode.SAME_STEP

    def make() -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        clocks = clocks_at_once(3, mode)
        return Tensors(clocks) if form == "tensors" else clocks

    ours = VectorEnvironments("ProbeClock-v0", make, members=2)
    twin = make_environments("gym", "ProbeClock-v0", members=2, num_envs=3)
    np.testing.assert_array_equal(ours.reset([0, 1]), twin.reset([0, 1]))
    played = play(ours, 6, 60)
    assert_equal(played, play(twin, 6, 60))
    assert all(sum(getattr(step, end).sum() for step in played) > 5 for end in ("terminated", "truncated"))


def test_a_task_registered_with_a_vector_environment_is_stepped_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EnvSpec("ProbeClocks-v0", entry_point=None, vector_entry_point=clocks_at_once)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    environments = make_environments("gym", spec.id, members=2, num_envs=3)
    assert isinstance(environments, VectorEnvironments)
    assert environments.reset([0, 1]).shape == (6, 1)


def test_a_vector_environment_without_final_observations_is_refused() -> None:
    class Silent(gymnasium.vector.VectorWrapper):
        def step(self, actions: Any) -> Any:
            return *super().step(actions)[:4], {}

    silent = VectorEnvironments("Silent-v0", lambda: Silent(clocks_at_once(2)), members=1)
    silent.reset([0])
    with pytest.raises(InputError, match=r"env_id 'Silent-v0' ended episodes without final_obs in its infos.*Add it"):
        play(silent, 2, 5)


@pytest.mark.parametrize("env_id", ["cartpole-swingup", "point_mass-easy"])
def test_deepmind_control_against_dm_control_by_hand(env_id: str) -> None:
    def flat(observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([np.atleast_1d(part).ravel() for part in observation.values()]).astype(np.float32)

    environments = make_environments("dmc", env_id, members=1)
    env = suite.load(*env_id.split("-"), task_kwargs={"random": 7})
    np.testing.assert_array_equal(environments.reset([7])[0], flat(env.reset().observation))
    rng, total, ends = np.random.default_rng(0), 0.0, []
    for i in range(1, 2003):
        action = (
            rng.integers(-64, 65, (1, environments.action_size)).astype(np.float32) / 64
        )  # multiples of 1/64 are stretched without rounding
        ours, theirs = environments.step(action, np.ones(1, np.bool_)), env.step(action[0])
        assert ours.reward[0] == theirs.reward
        np.testing.assert_array_equal(ours.final_observation[0], flat(theirs.observation))
        total += theirs.reward
        if theirs.last():
            ends.append(i)
            assert (ours.terminated[0], ours.truncated[0], theirs.discount) == (False, True, 1.0)
            np.testing.assert_array_equal(ours.observation[0], flat(env.reset().observation))
        else:
            assert (ours.terminated[0], ours.truncated[0]) == (False, False)
            np.testing.assert_array_equal(ours.observation, ours.final_observation)
    assert ends == [1000, 2000]
    assert 0.0 < total < 2000.0


def test_deepmind_control_terminates_where_the_discount_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    task = dmc.DeepMindTask("cartpole", "swingup")
    task.reset(seed=0)
    action = np.zeros(1, np.float32)
    assert task.step(action)[2:4] == (False, False)
    for discount, ended in ((0.0, (True, False)), (1.0, (False, True))):
        monkeypatch.setattr(task._env.task, "get_termination", lambda _, discount=discount: discount)
        assert task.step(action)[2:4] == ended
        task.reset()


def test_an_episode_whose_physics_break_down_is_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    task = dmc.DeepMindTask("cartpole", "swingup")
    task.reset(seed=0)
    sound, *_ = task.step(np.ones(1, np.float32))

    def broken(action: np.ndarray) -> None:
        raise PhysicsError("mjWARN_BADQACC")

    monkeypatch.setattr(task._env, "step", broken)
    observation, reward, terminated, truncated, _ = task.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(observation, sound)
    assert (reward, terminated, truncated) == (0.0, False, True)


def test_importing_deepmind_control_needs_no_display_and_keeps_mujoco_gl() -> None:
    code = (
        "import os, sys; from bayescale.runners.suites.tasks import check_task; before = 'dm_control' in sys.modules;"
        "check_task('dmc', 'cartpole-balance'); sys.exit(before or 'MUJOCO_GL' in os.environ)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, env=clean
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_mujocos_warnings_about_gymnasiums_models_are_neither_printed_nor_logged(tmp_path: Path) -> None:
    code = "from bayescale.runners.suites.tasks import check_task; check_task('gym', 'HalfCheetah-v5')"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action_repeat", [1, 8])
def test_agents_train_on_deepmind_control(action_repeat: int) -> None:
    content = {"suite": "dmc", "env_id": "cartpole-balance", "utd": [0.1], "batch_size": [16], "learning_rate": [1e-3]}
    rest = {"seed": [0], "env_steps": 1_100, "evaluation_interval": 1_000, "evaluation_episodes": 1, "hidden_width": 8}
    (run,) = make_plan(content | rest | {"action_repeat": action_repeat}).runs
    curve = train(run)
    assert set(curve["suite"]) == {"dmc"}
    assert curve["gradient_updates"].tolist() == [0, 0, 10]
    assert curve["episode_return"].between(50, 1000).all()  # actions of zero return about 350 in 1,000 steps
    pd.testing.assert_frame_equal(train(run), curve, check_exact=True)
