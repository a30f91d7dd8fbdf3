"""Runs of PQL: agents whose values on probes are known, counts of steps, updates and flops."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bayescale.runners import PQLConfig, run_ensemble
from bayescale.runners.algorithms.pql import Agent
from bayescale.runners.networks import matmul as products
from tests.scaffolding.learner_twins import slow_forward
from tests.scaffolding.pql_twins import CONFIG
from tests.scaffolding.probe_environments import trained_on

torch.set_num_threads(1)

PROBE = dataclasses.replace(
    CONFIG,
    batch_size=32,
    learning_rate=3e-3,
    env_steps=8_000,
    hidden_width=32,
    gamma=0.9,
    num_envs=8,
    utd=0.1,
    warmup_steps=160,
    evaluation_interval=8_000,
    weight_decay=0.0,
)


probe = functools.partial(trained_on, config=PROBE)


def values(agent: Agent, position: float) -> np.ndarray:
    """Return Q of both critics at an observation, for actions across the range, (critic, action)."""
    actions = torch.linspace(-0.9, 0.9, 7)[:, None]
    observations = (torch.full_like(actions, position) - agent.mean) / agent.std
    return slow_forward(agent.critics, torch.cat((observations, actions), -1).expand(2, -1, -1))[..., 0].numpy()


def test_probe_reward_seen_in_the_observation() -> None:
    for agent, _ in probe("ProbeObservedReward-v0"):
        np.testing.assert_allclose(values(agent, 1.0), 1.0, atol=0.05)
        np.testing.assert_allclose(values(agent, -1.0), -1.0, atol=0.05)


@pytest.mark.parametrize("n_step", [1, 3])
def test_probe_discounting_over_two_steps(n_step: int) -> None:
    for agent, curve in probe("ProbeDelayedReward-v0", n_step=n_step):
        np.testing.assert_allclose(values(agent, 1.0), 1.0, atol=0.05)
        np.testing.assert_allclose(values(agent, 0.0), 0.9, atol=0.05)
        assert curve["episode_return"].tolist() == [1.0, 1.0]


def test_probe_reward_for_an_action_in_the_tasks_own_bounds() -> None:
    for agent, curve in probe("ProbeActionReward-v0"):
        best = torch.tanh(slow_forward(agent.actor, -agent.mean / agent.std * torch.ones(1, 1, 1)))
        assert best.item() == pytest.approx(0.4, abs=0.15)
        assert curve["episode_return"].iloc[-1] > -0.025


def test_probe_truncation_is_not_termination() -> None:
    """Every step is truncated, so all transitions are shorter than n_step; the value is 1 + 0.9 + 0.81 + ... ."""
    for agent, _ in probe("ProbeTruncated-v0"):
        np.testing.assert_allclose(values(agent, 0.0), 10.0, rtol=0.05)


def test_steps_and_updates_are_counted_over_all_environments() -> None:
    (result,) = run_ensemble([CONFIG])
    assert result.curve["env_steps"].tolist() == [0, 40, 80, 120]
    assert result.curve["gradient_updates"].tolist() == [0, 0, 20, 40]
    assert (result.env_steps, result.gradient_updates) == (120, CONFIG.gradient_updates)
    assert set(result.curve["algorithm"]) == {"PQL"}
    # Both critics have widths 4, 16, 16, 1, so 2 (4*16 + 16 + 16*16 + 16 + 16 + 1) parameters.
    assert set(result.curve["model_size"]) == {738}


def test_members_follow_the_runs_trained_alone() -> None:
    """Curves agree to rounding over the first hundred updates; equal seeds give equal curves."""
    config = dataclasses.replace(CONFIG, env_steps=240)
    members = [
        dataclasses.replace(config, seed=seed, learning_rate=rate) for seed, rate in ((0, 1e-3), (1, 1e-3), (0, 3e-3))
    ]
    together = run_ensemble(members)
    for member, result in zip(members, together, strict=True):
        (alone,) = run_ensemble([member])
        pd.testing.assert_frame_equal(result.curve, alone.curve, rtol=1e-3)
        assert result.gradient_updates == alone.gradient_updates == 100
    first, *others = (result.curve["episode_return"] for result in together)
    for other in others:
        assert not np.allclose(first.iloc[-1], other.iloc[-1], rtol=1e-2)
    for again, before in zip(run_ensemble(members), together, strict=True):
        pd.testing.assert_frame_equal(again.curve, before.curve, check_exact=True)


@pytest.mark.parametrize("ratio", [1, 2])
def test_flops_of_an_update_are_those_that_torch_counts(ratio: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "BY_NUMPY", False)  # torch does not count the products of NumPy
    config, counted = dataclasses.replace(CONFIG, env_id="ProbeConstantReward-v0", critic_actor_ratio=ratio), []
    for utd in (0.5, 1.0):
        with FlopCounterMode(display=False) as counter:
            (result,) = run_ensemble([dataclasses.replace(config, utd=utd)])
        counted.append(counter.get_total_flops())
    assert counted[1] - counted[0] == 40 * result.matrix_product_flops > 0


def test_pendulum_is_learned_at_a_low_utd() -> None:
    config = PQLConfig(
        env_id="Pendulum-v1",
        utd=0.04,
        batch_size=256,
        learning_rate=1e-3,
        seed=0,
        env_steps=64_000,
        hidden_width=64,
        depth=2,
        num_envs=64,
        warmup_steps=32 * 64,
        evaluation_interval=64_000,
    )
    for result in run_ensemble([config, dataclasses.replace(config, seed=1)]):
        start, end = result.curve["episode_return"]
        assert start < -900
        assert end > -250  # the optimum is about -150
