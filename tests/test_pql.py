import dataclasses
import functools
import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bayescale.errors import InputError
from bayescale.runners import PQLConfig, make_plan, run_ensemble
from bayescale.runners.networks import Layers
from bayescale.runners.normalization import SMALLEST_VARIANCE, Normalizer
from bayescale.runners.pql import PQL, Agent
from bayescale.runners.replay import Batch
from bayescale.runners.training import RunStatus
from tests import learner_twins
from tests.learner_twins import ACTION, OBSERVATION, slow_forward, stream

importlib.import_module("tests.probe_environments")  # registers them
torch.set_num_threads(1)

CONFIG = PQLConfig(
    env_id="Pendulum-v1",
    utd=0.5,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=16,
    depth=2,
    num_envs=4,
    warmup_steps=40,
    evaluation_interval=40,
    evaluation_episodes=2,
)
MEMBERS = [
    CONFIG,
    dataclasses.replace(CONFIG, seed=1, learning_rate=3e-3),
    dataclasses.replace(CONFIG, seed=2, gamma=0.9, tau=0.2),
]
batch_of = functools.partial(learner_twins.batch_of, reward_scale=10.0)  # so that some gradients are cut


def new_pql(configs: list[PQLConfig]) -> PQL:
    return PQL(configs, OBSERVATION, ACTION, [stream(config.seed) for config in configs])


def tensors(pql: PQL, member: int) -> list[Tensor]:
    agent = pql.agent(member)
    return [*agent.actor, *agent.critics, *agent.target_critics, agent.mean, agent.std]


# One update


def slow_updates(agent: Agent, config: PQLConfig, updates: int) -> tuple[Layers, Layers, Layers, list[float]]:
    """Actor, critics, targets and gradient norms of one agent after updates by autograd and torch's own optimiser."""
    generator = stream(config.seed + 10)
    actor, critics = ([layer.clone().requires_grad_() for layer in part] for part in (agent.actor, agent.critics))
    targets = [layer.clone() for layer in agent.target_critics]
    optimizers = [
        torch.optim.AdamW(layers, config.learning_rate, weight_decay=config.weight_decay) for layers in (critics, actor)
    ]
    norms = []

    def act(observation: Tensor) -> Tensor:
        return torch.tanh(slow_forward(actor, observation[None])[0])

    def q(networks: Layers, observation: Tensor, action: Tensor) -> Tensor:
        return slow_forward(networks, torch.cat((observation, action), -1).expand(2, -1, -1))[..., 0]

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer, layers: Layers) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        norms.append(torch.nn.utils.clip_grad_norm_(layers, config.gradient_norm).item())
        optimizer.step()

    for i in range(updates):
        batch = Batch(*(column[0] for column in batch_of([config.seed + 1000 * i])))
        s, s_next = ((part.T - agent.mean) / agent.std for part in (batch.observation, batch.next_observation))
        noise = torch.empty(ACTION, len(s)).normal_(generator=generator).T * config.target_noise
        next_action = (act(s_next) + noise.clamp(-config.target_noise_bound, config.target_noise_bound)).clamp(-1, 1)
        y = (batch.reward + batch.discount * q(targets, s_next, next_action).amin(0)).detach()
        descend(((q(critics, s, batch.action.T) - y) ** 2).mean(-1).sum(), optimizers[0], critics)
        for new, old in zip(critics, targets, strict=True):
            old.copy_((1 - config.tau) * old + config.tau * new.detach())
        if (i + 1) % config.critic_actor_ratio == 0:
            descend(-q(critics, s, act(s)).amin(0).mean(), optimizers[1], actor)
    return actor, critics, targets, norms


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_updates_against_autograd(ratio: int) -> None:
    members = [dataclasses.replace(config, critic_actor_ratio=ratio) for config in MEMBERS]
    pql = new_pql(members)
    pql.normalizer.see(3 + 2 * torch.randn(3, 50, OBSERVATION, generator=stream()))
    before = [pql.agent(i) for i in range(3)]
    noise = [stream(config.seed + 10) for config in members]
    for i in range(7):
        losses = pql.update(batch_of([config.seed + 1000 * i for config in members]), noise)
    assert losses.critic.shape == losses.actor.shape == (3,)
    cut = []
    for i, config in enumerate(members):
        with torch.enable_grad():
            *expected, norms = slow_updates(before[i], config, 7)
        ours = pql.agent(i)
        for part, layers in zip((ours.actor, ours.critics, ours.target_critics), expected, strict=True):
            for layer, twin in zip(part, layers, strict=True):
                torch.testing.assert_close(layer, twin.detach(), rtol=1e-6, atol=1e-9)
        cut += [norm > config.gradient_norm for norm in norms]
    assert any(cut)
    assert not all(cut)


def test_no_member_sees_another() -> None:
    sound, spoilt = new_pql(MEMBERS), new_pql(MEMBERS)
    for layer in spoilt.critics:
        layer[2:4] = torch.nan
    for i in range(3):
        batch = batch_of([config.seed + 1000 * i for config in MEMBERS])
        broken = Batch(*(column.clone() for column in batch))
        broken.observation[1] = torch.nan
        observations = torch.randn(3, 4, OBSERVATION, generator=stream(i))
        strange = observations.clone()
        strange[1] = torch.nan
        for pql, seen, drawn in ((sound, observations, batch), (spoilt, strange, broken)):
            pql.explore(seen, [stream(j) for j in range(3)])
            losses = pql.update(drawn, [stream(j) for j in range(3)])
    for member in (0, 2):
        for ours, theirs in zip(tensors(sound, member), tensors(spoilt, member), strict=True):
            torch.testing.assert_close(ours, theirs, atol=0.0, rtol=0.0)
    assert torch.isnan(losses.critic[1])
    assert torch.isnan(tensors(spoilt, 1)[0]).any()


def test_exploration_grows_from_environment_to_environment() -> None:
    pql = new_pql([dataclasses.replace(CONFIG, num_envs=5, env_steps=200, warmup_steps=80, noise_high=0.85)] * 2)
    observations = torch.zeros(2, 5, OBSERVATION)
    noise = torch.stack([pql.explore(observations, [stream(i), stream(i + 500)]) for i in range(400)])
    free = noise - pql.greedy(observations)
    inside = noise.abs() < 1.0  # the others were cut
    assert noise.abs().max() == 1.0
    spread = torch.stack([free[:, 0, j][inside[:, 0, j]].std() for j in range(5)])
    assert spread[0] == pytest.approx(0.05, rel=0.1)
    assert (spread.diff() > 0.05).all()
    first = torch.randn(5, ACTION, generator=stream(0))
    sizes = torch.tensor([0.05, 0.25, 0.45, 0.65, 0.85])[:, None]
    torch.testing.assert_close(noise[0, 0], (pql.greedy(observations)[0] + sizes * first).clamp(-1, 1))
    assert not torch.equal(noise[0, 0], noise[0, 1])


def test_observations_are_scaled_by_all_that_were_acted_on() -> None:
    normalizer, seen = Normalizer(2, 3), []
    fresh = torch.randn(2, 3, 7, generator=stream(1))
    torch.testing.assert_close(normalizer(fresh), fresh)
    for i in range(4):
        seen.append(100 + (i + 1) * torch.randn(2, 5 + i, 3, generator=stream(i)))
        normalizer.see(seen[-1])
    seen_at_once = torch.cat(seen, 1).double()
    mean, variance = seen_at_once.mean(1), seen_at_once.var(1, correction=0) + SMALLEST_VARIANCE
    torch.testing.assert_close(normalizer.mean, mean.float())
    torch.testing.assert_close(normalizer.std, variance.sqrt().float())
    expected = (fresh - mean.float()[..., None]) / variance.sqrt().float()[..., None]
    torch.testing.assert_close(normalizer(fresh), expected)


# Training

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


def probe(env_id: str, **changes: Any) -> list[tuple[Agent, pd.DataFrame]]:
    """The agents after runs of two seeds on a probe, and their curves."""
    config = dataclasses.replace(PROBE, env_id=env_id, **changes)
    results = run_ensemble([config, dataclasses.replace(config, seed=1)])
    assert [result.status for result in results] == [RunStatus.FINISHED] * 2
    return [(result.agent, result.curve) for result in results]


def values(agent: Agent, position: float) -> np.ndarray:
    """Q of both critics at an observation, for actions across the range: (critic, action)."""
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
    """Every step is cut off, so all transitions are shorter than n_step, and the value is 1 + 0.9 + 0.81 + ... ."""
    for agent, _ in probe("ProbeTruncated-v0"):
        np.testing.assert_allclose(values(agent, 0.0), 10.0, rtol=0.05)


def test_steps_and_updates_are_counted_over_all_environments() -> None:
    (result,) = run_ensemble([CONFIG])
    assert result.curve["env_steps"].tolist() == [0, 40, 80, 120]
    assert result.curve["gradient_updates"].tolist() == [0, 0, 20, 40]
    assert (result.env_steps, result.gradient_updates) == (120, CONFIG.gradient_updates)
    assert set(result.curve["algorithm"]) == {"PQL"}


def test_members_follow_the_runs_trained_alone() -> None:
    """Over the first hundred updates to rounding; equal seeds give equal curves."""
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
def test_flops_of_an_update_are_those_that_torch_counts(ratio: int) -> None:
    config, counted = dataclasses.replace(CONFIG, env_id="ProbeConstantReward-v0", critic_actor_ratio=ratio), []
    for utd in (0.5, 1.0):
        with FlopCounterMode(display=False) as counter:
            (result,) = run_ensemble([dataclasses.replace(config, utd=utd)])
        counted.append(counter.get_total_flops())
    assert counted[1] - counted[0] == 40 * result.update_flops > 0


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
        assert end > -250  # about -150 is the best there is


def test_a_plan_can_ask_for_pql() -> None:
    content = {
        "algorithm": "PQL",
        "suite": "playground",
        "env_id": "CartpoleSwingup",
        "utd": [0.002],
        "batch_size": [8_192],
        "learning_rate": [5e-4],
        "seed": [0],
        "env_steps": 4_096_000,
    }
    (run,) = make_plan(content).runs
    assert isinstance(run, PQLConfig)
    assert run.utd * run.num_envs == pytest.approx(8.0, rel=0.03)  # critic updates per step of all environments
    assert run.gradient_updates == int((4_096_000 - 32 * 4_096) * 0.002)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env_steps": 121}, r"env_steps 121 is not a multiple of num_envs 4.*Give 124\."),
        ({"warmup_steps": 42}, r"warmup_steps 42 is not a multiple of num_envs 4.*Give 44\."),
        ({"evaluation_interval": 10}, r"evaluation_interval 10 is not a multiple of num_envs 4.*Give 12\."),
        ({"n_step": 11}, r"warmup_steps 40 is less than n_step 11 times num_envs 4.*Raise warmup_steps"),
        ({"buffer_size": 16, "num_envs": 20}, r"num_envs 20 is larger than buffer_size 16\. Raise buffer_size"),
        ({"noise_low": -0.1}, r"noise_low must be 0 or more; got -0\.1"),
        ({"gradient_norm": 0.0}, r"gradient_norm must be positive; got 0\.0"),
        ({"critic_actor_ratio": 0}, "critic_actor_ratio must be at least 1; got 0"),
    ],
)
def test_settings_that_make_no_run(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataclasses.replace(CONFIG, **changes)
