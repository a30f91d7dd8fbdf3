"""Test training: probe environments with known values, numbers of updates, equal curves, divergence and errors."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from bayescale.data.curves import validate_curves
from bayescale.errors import InputError
from bayescale.runners import SACConfig, run_ensemble, train
from bayescale.runners.algorithms.sac import SAC, Agent
from bayescale.runners.config import updates_due
from bayescale.runners.suites.tasks import make_environments
from bayescale.runners.training import evaluation
from bayescale.runners.training.evaluation import FIRST_SEED, Evaluator
from bayescale.runners.training.results import RunStatus
from tests.scaffolding.learner_twins import entropy, slow_forward
from tests.scaffolding.probe_environments import ActionReward, trained_on

torch.set_num_threads(1)

PENDULUM = SACConfig(
    env_id="Pendulum-v1",
    utd=1.0,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=16,
    warmup_steps=40,
    buffer_size=100,
    evaluation_interval=40,
    evaluation_episodes=2,
)
PROBE = SACConfig(
    env_id="",
    utd=1.0,
    batch_size=32,
    learning_rate=5e-3,
    seed=0,
    env_steps=800,
    hidden_width=32,
    gamma=0.9,
    tau=0.1,
    warmup_steps=100,
    evaluation_interval=800,
    evaluation_episodes=4,
)


probe = functools.partial(trained_on, config=PROBE)


def values(agent: Agent, position: float) -> np.ndarray:
    """Return Q of both critics at an observation, for actions across the range: (critic, action)."""
    actions = torch.linspace(-0.9, 0.9, 7)[:, None]
    return slow_forward(agent.critics, torch.cat((torch.full_like(actions, position), actions), -1))[..., 0].numpy()


def entropy_bonus(agent: Agent, position: float) -> float:
    """Return T H, the temperature times the entropy of the policy at an observation."""
    mean, log_std = slow_forward(agent.actor, torch.tensor([[position]]))[0, 0]
    return math.exp(agent.log_temperature) * entropy(mean, log_std.exp())


def test_probe_constant_reward() -> None:
    for agent, curve in probe("ProbeConstantReward-v0"):
        np.testing.assert_allclose(values(agent, 0.0), 1.0, atol=0.03)
        assert curve["episode_return"].tolist() == [1.0, 1.0]


def test_probe_reward_seen_in_the_observation() -> None:
    for agent, _ in probe("ProbeObservedReward-v0"):
        np.testing.assert_allclose(values(agent, 1.0), 1.0, atol=0.05)
        np.testing.assert_allclose(values(agent, -1.0), -1.0, atol=0.05)


def test_probe_discounting_over_two_steps() -> None:
    for agent, _ in probe("ProbeDelayedReward-v0"):
        np.testing.assert_allclose(values(agent, 1.0), 1.0, atol=0.05)
        np.testing.assert_allclose(values(agent, 0.0), 0.9 * (1.0 + entropy_bonus(agent, 1.0)), atol=0.05)


def test_probe_reward_for_an_action_in_the_tasks_own_bounds() -> None:
    for agent, curve in probe("ProbeActionReward-v0", env_steps=1200):
        best = torch.tanh(slow_forward(agent.actor, torch.zeros(1, 1))[0, 0, 0])
        assert best.item() == pytest.approx(0.4, abs=0.1)
        assert curve["episode_return"].iloc[-1] > -0.01


def test_probe_truncation_is_not_termination() -> None:
    for agent, _ in probe("ProbeTruncated-v0", env_steps=1500):
        expected = (1.0 + 0.9 * entropy_bonus(agent, 0.0)) / (1.0 - 0.9)
        assert expected > 9.9  # the value would be 1 if truncation ended the return
        np.testing.assert_allclose(values(agent, 0.0), expected, rtol=0.05)


def test_the_action_probe_has_the_reward_and_end_that_its_test_assumes() -> None:
    """Check the reward and the end of an episode that the values in the tests above follow from."""
    env = ActionReward()
    env.reset(seed=0)
    assert env.step(np.array([2.0], np.float32))[1:4] == (-1.0, True, False)


@pytest.mark.parametrize(("utd", "after"), [(0.25, [0, 10, 20]), (1.0, [0, 40, 80]), (3.0, [0, 120, 240])])
def test_number_of_updates(utd: float, after: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    update = SAC.update

    def counted(*arguments: Any) -> Any:
        done.append(1)
        return update(*arguments)

    monkeypatch.setattr(SAC, "update", counted)
    config = dataclasses.replace(PENDULUM, utd=utd)
    curve = train(config)
    assert curve["env_steps"].tolist() == [0, 40, 80, 120]
    assert curve["gradient_updates"].tolist() == [0, *after]
    assert len(done) == after[-1] == config.gradient_updates


@given(
    numerator=st.integers(1, 99_999),
    denominator=st.sampled_from([1, 3, 7, 10, 100, 1_000, 4_096, 10_000]),
    env_steps=st.integers(1, 10_000_000),
    warmup=st.integers(0, 500),
)
@example(29, 100, 100, 0)
@example(1, 3, 300, 0)
def test_updates_are_the_floor_of_steps_times_utd(
    numerator: int, denominator: int, env_steps: int, warmup: int
) -> None:
    """Compare with integer arithmetic on the exact fraction; in floats 100 * 0.29 is 28.999999999999996."""
    due = updates_due(env_steps, warmup, numerator / denominator)
    assert due == max(0, (env_steps - warmup) * numerator // denominator)
    assert due <= updates_due(env_steps + 1, warmup, numerator / denominator)


def test_curve_is_a_valid_learning_curve_table() -> None:
    config = dataclasses.replace(PENDULUM, env_steps=100, utd=0.5)
    curve = train(config)
    pd.testing.assert_frame_equal(validate_curves(curve), curve, check_dtype=False)
    assert curve["env_steps"].tolist() == [0, 40, 80, 100]  # step 0, every 40 steps and the last
    # Two critics with layers of 4, 16, 16 and 1 have 2 (4*16 + 16 + 16*16 + 16 + 16 + 1) parameters.
    assert set(curve["model_size"]) == {738}
    assert curve["flops"].tolist() == [10.0 * 738 * 16 * updates for updates in (0, 0, 20, 30)]
    run_of = curve.iloc[0][["suite", "algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]].tolist()
    assert run_of == ["gym", "SAC", "Pendulum-v1", 0.5, 16, 1e-3, 0]


def test_equal_seeds_give_equal_curves_whatever_the_global_random_state() -> None:
    torch.manual_seed(1)
    first = train(PENDULUM)
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(train(PENDULUM), first, check_exact=True)
    other = train(dataclasses.replace(PENDULUM, seed=1))
    assert not (other["episode_return"] == first["episode_return"]).any()


def test_members_follow_the_runs_trained_alone() -> None:
    """Compare over a hundred updates, in which training amplifies rounding errors little."""
    config = dataclasses.replace(PENDULUM, env_steps=140)
    members = [
        dataclasses.replace(config, seed=seed, learning_rate=rate) for seed, rate in ((0, 1e-3), (1, 1e-3), (0, 3e-3))
    ]
    together = run_ensemble(members)
    for config, result in zip(members, together, strict=True):
        alone = train(config)
        pd.testing.assert_frame_equal(result.curve, alone, rtol=1e-3)
        assert (result.status, result.env_steps, result.gradient_updates) == (RunStatus.FINISHED, 140, 100)
    first, *others = (result.curve["episode_return"] for result in together)
    for other in others:
        assert not np.allclose(first.iloc[-1], other.iloc[-1], rtol=1e-2)
    for again, before in zip(run_ensemble(members), together, strict=True):
        pd.testing.assert_frame_equal(again.curve, before.curve, check_exact=True)


def test_evaluation_leaves_training_alone() -> None:
    often = train(dataclasses.replace(PENDULUM, evaluation_interval=20))
    seldom = train(dataclasses.replace(PENDULUM, evaluation_interval=60))
    shared = often[often["env_steps"].isin(seldom["env_steps"])]
    assert shared["episode_return"].tolist() == seldom["episode_return"].tolist()


def test_evaluation_against_one_episode_after_another() -> None:
    def policy(observations: np.ndarray, member: int) -> np.ndarray:
        return np.tanh((member + 1) * observations[..., 2:] - observations[..., :1])

    evaluator = Evaluator("gym", "Pendulum-v1", members=3, episodes=2)
    single, expected = make_environments("gym", "Pendulum-v1", 1), []
    for member, i in ((member, i) for member in (0, 2) for i in range(2)):
        observation, ended, total = single.reset([FIRST_SEED + i]), False, 0.0
        while not ended:
            outcome = single.step(policy(observation, member), np.array([True]))
            observation, ended = outcome.observation, bool(outcome.terminated[0] or outcome.truncated[0])
            total += outcome.reward[0]
        expected.append(total)

    def policies(observations: np.ndarray) -> np.ndarray:
        return np.stack([policy(observations[member], member) for member in range(3)])

    for _ in range(2):  # the start states are the same in every evaluation
        returns = evaluator.mean_returns(policies, np.array([True, False, True]))
        np.testing.assert_allclose(returns, [np.mean(expected[:2]), np.nan, np.mean(expected[2:])], rtol=1e-12)
    assert len(set(expected)) == 4


def test_an_episode_must_end(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Evaluator("gym", "ProbeClock-v0", members=2, episodes=2)  # episodes are truncated after 5 steps

    def returns() -> list[float]:
        return evaluator.mean_returns(np.ones_like, np.ones(2, np.bool_)).tolist()

    monkeypatch.setattr(evaluation, "MOST_STEPS", 5)
    assert returns() == [15.0, 15.0]
    monkeypatch.setattr(evaluation, "MOST_STEPS", 4)
    with pytest.raises(InputError, match=r"'ProbeClock-v0' .* not end within 4 steps\. Register it with max_episode"):
        returns()


def test_a_run_that_diverges_stops_and_leaves_the_others_alone() -> None:
    config = dataclasses.replace(PENDULUM, env_steps=200)
    wild = dataclasses.replace(config, learning_rate=1e30)
    diverged, sound = run_ensemble([wild, config])
    assert diverged.status is RunStatus.DIVERGED
    assert 40 < diverged.env_steps < 60
    assert diverged.curve["env_steps"].tolist() == [0, 40]
    assert np.isfinite(diverged.curve["episode_return"]).all()
    assert (sound.status, sound.env_steps, sound.gradient_updates) == (RunStatus.FINISHED, 200, 160)
    tame, same = run_ensemble([dataclasses.replace(wild, learning_rate=1e-4), config])
    assert tame.status is RunStatus.FINISHED
    pd.testing.assert_frame_equal(sound.curve, same.curve, check_exact=True)
    (alone,) = run_ensemble([wild])
    assert (alone.env_steps, alone.gradient_updates) == (diverged.env_steps, diverged.gradient_updates)


def test_members_must_be_alike() -> None:
    with pytest.raises(
        InputError, match=r"may differ in learning_rate, seed, gamma, tau only.*Train them in separate ensembles"
    ):
        run_ensemble([PENDULUM, dataclasses.replace(PENDULUM, utd=2.0)])
    with pytest.raises(InputError, match="configs of an ensemble must have at least one member; got none"):
        run_ensemble([])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"utd": 0.0}, r"utd must be positive and finite; got 0\.0"),
        ({"utd": math.nan}, "utd must be positive and finite; got nan"),
        ({"learning_rate": math.inf}, "learning_rate must be positive and finite; got inf"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"evaluation_episodes": 0}, "evaluation_episodes must be at least 1"),
        ({"gamma": 1.5}, r"gamma must lie in \(0, 1\]; got 1\.5"),
        ({"tau": 0.0}, "tau must lie in"),
        ({"seed": -1}, r"seed must lie in \[0, 2\*\*63\); got -1\. Number the seeds from 0"),
        ({"seed": 2**63}, r"seed must lie in \[0, 2\*\*63\); got 9223372036854775808"),
        (
            {"utd": 1e-9},
            r"utd 1e-09 makes 8e-08 gradient updates of the env_steps after warmup_steps; a run takes from 1",
        ),
        ({"utd": 1e308}, r"utd 1e\+308 makes inf gradient updates"),
        ({"batch_size": 101}, r"batch_size 101 is larger than buffer_size 100\. Raise buffer_size"),
        ({"batch_size": 41}, r"batch_size 41 is larger than warmup_steps 40.*Raise warmup_steps"),
        ({"env_steps": 40}, "env_steps 40 does not exceed warmup_steps 40"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataclasses.replace(PENDULUM, **changes)


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("Pendulun-v1", "env_id 'Pendulun-v1' is not a registered Gymnasium task.*Did you mean"),
        ("CartPole-v1", r"acts in Discrete\(2\); agents need a bounded continuous vector"),
    ],
)
def test_tasks_that_sac_cannot_do(env_id: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_environments("gym", env_id, 1)
