"""Runs of BRO, from plans to agents whose values on probes are known."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bayescale.errors import InputError
from bayescale.runners import BROConfig, make_plan, run_ensemble, train
from bayescale.runners.algorithms.bro import Agent
from bayescale.runners.training.results import RunStatus
from tests.scaffolding.bro_twins import CONFIG, slow_forward
from tests.scaffolding.learner_twins import entropy
from tests.scaffolding.probe_environments import trained_on

torch.set_num_threads(1)

PROBE = dataclasses.replace(
    CONFIG,
    batch_size=32,
    learning_rate=3e-3,
    env_steps=800,
    hidden_width=32,
    actor_width=32,
    quantiles=8,
    depth=1,
    gamma=0.9,
    tau=0.1,
    warmup_steps=100,
    buffer_size=2_000,
    evaluation_interval=800,
    evaluation_episodes=4,
)


probe = functools.partial(trained_on, config=PROBE)


def values(agent: Agent, position: float) -> np.ndarray:
    """Return the mean Q of both critics at an observation, for actions across the range, (critic, action)."""
    actions = torch.linspace(-0.9, 0.9, 7)[:, None]
    inputs = torch.cat((torch.full_like(actions, position), actions), -1).expand(2, -1, -1)
    return slow_forward(agent.critics, inputs).mean(-1).numpy()


def entropy_bonus(agent: Agent, position: float) -> float:
    """Return T H, temperature times entropy of the policy at an observation."""
    mean, raw = slow_forward(agent.actor, torch.tensor([[[position]]]))[0, 0]
    return math.exp(agent.log_temperature) * entropy(mean, (6.0 * torch.tanh(raw) - 4.0).exp())


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
        np.testing.assert_allclose(values(agent, 0.0), 0.9 * (1.0 + entropy_bonus(agent, 1.0)), atol=0.08)


def test_probe_reward_for_an_action_in_the_tasks_own_bounds() -> None:
    for agent, curve in probe("ProbeActionReward-v0", env_steps=1200):
        best = torch.tanh(slow_forward(agent.actor, torch.zeros(1, 1, 1))[0, 0, 0])
        assert best.item() == pytest.approx(0.4, abs=0.1)
        assert curve["episode_return"].iloc[-1] > -0.01


def test_probe_truncation_is_not_termination() -> None:
    for agent, _ in probe("ProbeTruncated-v0", env_steps=1_100):
        expected = (1.0 + 0.9 * entropy_bonus(agent, 0.0)) / (1.0 - 0.9)
        assert expected > 9.0  # the value is 1 if truncation counts as termination
        np.testing.assert_allclose(values(agent, 0.0), expected, rtol=0.05)


def test_curves_name_the_algorithm_and_are_equal_for_equal_seeds() -> None:
    first = train(CONFIG)
    pd.testing.assert_frame_equal(train(CONFIG), first, check_exact=True)
    assert set(first["algorithm"]) == {"BRO"}
    # Both critics have 4 inputs, a stem, two blocks of width 12 and a head of 6 quantiles.
    assert set(first["model_size"]) == {2 * ((4 + 3) * 12 + 4 * (12 + 3) * 12 + 13 * 6)}
    other = train(dataclasses.replace(CONFIG, seed=1))
    assert not (other["episode_return"] == first["episode_return"]).any()


def test_members_follow_the_runs_trained_alone_through_a_reset() -> None:
    config = dataclasses.replace(CONFIG, env_steps=140, reset_interval=60)
    members = [dataclasses.replace(config, seed=seed, learning_rate=rate) for seed, rate in ((0, 1e-3), (1, 3e-3))]
    for member, result in zip(members, run_ensemble(members), strict=True):
        pd.testing.assert_frame_equal(result.curve, train(member), rtol=2e-3)
        assert (result.status, result.gradient_updates) == (RunStatus.FINISHED, 100)
    unbroken = train(dataclasses.replace(members[0], reset_interval=100))
    assert unbroken["episode_return"].iloc[-1] != train(members[0])["episode_return"].iloc[-1]


def test_plans_of_bro() -> None:
    content: dict[str, Any] = {
        "algorithm": "BRO",
        "env_id": "Pendulum-v1",
        "utd": [1],
        "batch_size": [16],
        "learning_rate": [1e-3],
        "seed": [0],
        "env_steps": 3_000,
        "hidden_width": [16, 32],
        "weight_decay": 0,
        "optimistic": False,
    }
    runs = make_plan(content).runs
    assert [(type(run), run.hidden_width, run.warmup_steps) for run in runs] == [
        (BROConfig, w, 2_500) for w in (16, 32)
    ]
    for changes, said in (
        ({"optimistic": 1}, "optimistic must be true or false; got 1"),
        ({"weight_decay": -1.0}, r"weight_decay must be 0 or more; got -1\.0"),
        ({"reset_interval": 0}, "reset_interval must be at least 1; got 0"),
        ({"quantile": 5}, "unknown key 'quantile'. Did you mean 'quantiles'"),
        ({"algorithm": "SAC"}, r"unknown key 'weight_decay'"),
    ):
        with pytest.raises(InputError, match=said):
            make_plan(content | changes)
    both = make_plan(
        {k: v for k, v in content.items() if k not in ("weight_decay", "optimistic")} | {"algorithm": ["SAC", "BRO"]}
    )
    assert [run.algorithm for run in both.runs] == ["SAC", "SAC", "BRO", "BRO"]
