import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import huber_loss, layer_norm

from bayescale.errors import InputError
from bayescale.runners import BROConfig, make_plan, run_ensemble, train
from bayescale.runners.bro import BRO, Agent
from bayescale.runners.bronet import BroNets, Layers, init_layers, layers_of, parameter_count, shapes
from bayescale.runners.optimism import DIVERGENCE, SPREAD
from bayescale.runners.quantiles import huber_gradients, midpoints
from bayescale.runners.replay import Batch
from bayescale.runners.training import RunStatus
from tests import probe_environments
from tests.learner_twins import ACTION, OBSERVATION, batch_of, stream

assert probe_environments.Probe  # its import registers the probes

torch.set_num_threads(1)

CONFIG = BROConfig(
    env_id="Pendulum-v1",
    utd=1.0,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=12,
    warmup_steps=40,
    buffer_size=100,
    evaluation_interval=40,
    evaluation_episodes=2,
    actor_width=10,
    quantiles=6,
)
MEMBERS = [
    CONFIG,
    dataclasses.replace(CONFIG, seed=1, learning_rate=3e-3),
    dataclasses.replace(CONFIG, seed=2, gamma=0.9, tau=0.1),
]


def new_bro(configs: list[BROConfig]) -> BRO:
    return BRO(configs, OBSERVATION, ACTION, [stream(config.seed) for config in configs])


def updated(configs: list[BROConfig], updates: int) -> BRO:
    """The ensemble after some updates on fixed batches, new ones for every update."""
    bro, streams = new_bro(configs), [stream(10 + config.seed) for config in configs]
    for i in range(updates):
        bro.update(batch_of([config.seed + 1000 * i for config in configs]), streams)
    return bro


def explorer(bro: BRO, member: int) -> Layers:
    assert bro.optimist is not None
    return [layer[member : member + 1].clone() for layer in bro.optimist.layers]


def tensors(bro: BRO, member: int) -> list[Tensor]:
    agent, optimist = bro.agent(member), bro.optimist
    learned = [*agent.actor, *agent.critics, *agent.target_critics, torch.tensor(agent.log_temperature)]
    return learned if optimist is None else [*learned, *explorer(bro, member), optimist.adjustments()[member]]


# The networks


def slow_dense(layer: Tensor, inputs: Tensor) -> Tensor:
    """Dense and torch's own LayerNorm of one network."""
    weights, (bias, gain, shift) = layer[:-3], layer[-3:]
    return layer_norm(inputs @ weights + bias, bias.shape, gain, shift, eps=1e-6)


def slow_forward(layers: Layers, inputs: Tensor) -> Tensor:
    """(network, sample, out) of (network, sample, in), a network at a time."""
    outputs = []
    for network in range(len(inputs)):
        stem, *inner, head = (layer[network] for layer in layers)
        x = torch.relu(slow_dense(stem, inputs[network]))
        for first, second in zip(inner[::2], inner[1::2], strict=True):
            x = x + slow_dense(second, torch.relu(slow_dense(first, x)))
        outputs.append(x @ head[:-1] + head[-1])
    return torch.stack(outputs)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_forward_and_gradients_equal_autograd(blocks: int) -> None:
    layer_shapes = shapes(4, 9, blocks, 5)
    stored = torch.randn(3, parameter_count(layer_shapes), generator=stream())
    layers, passed = layers_of(stored, layer_shapes), BroNets(layer_shapes, 3, 7)
    inputs = torch.randn(3, 7, 4, generator=stream(1))
    passed.inputs[:] = inputs
    outputs = passed.forward(layers)
    leaves = [layer.clone().requires_grad_() for layer in layers]
    leaf = inputs.clone().requires_grad_()
    expected = slow_forward(leaves, leaf)
    torch.testing.assert_close(outputs, expected)

    weights = torch.randn(3, 7, 5, generator=stream(2))
    torch.autograd.backward((expected * weights).sum())
    gradients = layers_of(torch.full_like(stored, torch.nan), layer_shapes)
    passed.parameter_gradients(layers, weights, gradients)
    for ours, theirs in zip(gradients, leaves, strict=True):
        torch.testing.assert_close(ours, theirs.grad)
    assert leaf.grad is not None
    torch.testing.assert_close(passed.input_gradients(layers, weights, slice(1, 4)), leaf.grad[..., 1:])


def test_first_parameters_are_orthogonal() -> None:
    layer_shapes = shapes(4, 9, 1, 6)
    layers = layers_of(torch.full((2, parameter_count(layer_shapes)), torch.nan), layer_shapes)
    init_layers(layers, stream(), head_gains=(0.5, 2.0))
    for network in range(2):
        stem, first, second, head = (layer[network] for layer in layers)
        torch.testing.assert_close(stem[:-3] @ stem[:-3].T, 2.0 * torch.eye(4))
        for layer in (first, second):
            torch.testing.assert_close(layer[:-3] @ layer[:-3].T, 2.0 * torch.eye(9), atol=1e-5, rtol=0.0)
            assert layer[-3:].tolist() == [[0.0] * 9, [1.0] * 9, [0.0] * 9]
        for columns, gain in ((slice(3), 0.5), (slice(3, 6), 2.0)):
            torch.testing.assert_close(
                head[:-1, columns].T @ head[:-1, columns], gain**2 * torch.eye(3), atol=1e-5, rtol=0.0
            )
        assert (head[-1] == 0.0).all()
    assert not torch.equal(layers[0][0], layers[0][1])


# The quantiles


def slow_quantile_huber(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Losses (...,) of quantiles (..., batch, i) with targets (..., batch, j), by torch's own Huber loss."""
    q, y = torch.broadcast_tensors(quantiles[..., :, None], targets[..., None, :])
    weights = (midpoints(q.shape[-2])[:, None] - (y < q).to(q.dtype)).abs()
    return (weights * huber_loss(q, y, reduction="none")).sum(-2).mean((-1, -2))


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("chunk", [1, 300, 2**20])
def test_quantile_gradients_equal_autograd(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayescale.runners.quantiles.CHUNK", chunk)
    quantiles = (2.0 * torch.randn(3, 2, 11, 6, generator=stream())).requires_grad_()
    targets = 2.0 * torch.randn(3, 11, 6, generator=stream(1))
    torch.autograd.backward(slow_quantile_huber(quantiles, targets[:, None]).sum())
    torch.testing.assert_close(huber_gradients(quantiles.detach(), targets), quantiles.grad)


@given(count=st.integers(2, 40))
def test_descent_on_the_quantile_loss_finds_the_quantiles(count: int) -> None:
    """Far beyond kappa = 1 the loss is that of quantile regression: 0 gradient between the right order statistics."""
    targets = 1e4 * torch.randperm(count, generator=stream(count)).to(torch.float64)[None, None]
    right = (1e4 * torch.arange(count, dtype=torch.float64)).expand(1, 2, 1, count)
    gradients = huber_gradients(right, targets)
    assert (gradients.abs() <= 0.5 / count + 1e-6).all()
    too_high = huber_gradients(right + 1.5e4, targets)
    assert (too_high >= 0.5 / count - 1e-6).all()


# The update


def slow_updates(config: BROConfig, updates: int) -> list[Tensor]:
    """Nauman et al. line by line for one agent: autograd, densities by torch.distributions, AdamW of torch.optim."""
    bro = new_bro([config])
    start = bro.agent(0)
    actor, critics, optimist = (
        [layer.requires_grad_() for layer in layers] for layers in (start.actor, start.critics, explorer(bro, 0))
    )
    targets = start.target_critics
    log_temperature = torch.zeros((), requires_grad=True)
    low, high = -10.0, 7.5

    def adjusted(raw: Tensor) -> Tensor:
        return (low + (high - low) * 0.5 * (1 + torch.tanh(raw))).exp()

    optimism, weight = (
        torch.tensor(math.atanh((math.log(first) - low) / (0.5 * (high - low)) - 1.0)).requires_grad_()
        for first in (1.0, 0.25)
    )
    generator = stream(10 + config.seed)
    decayed = [
        torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay, foreach=False)
        for learned in (critics, actor, optimist)
    ]
    of_temperature = torch.optim.Adam([log_temperature], lr=config.learning_rate, betas=(0.5, 0.999))
    of_adjustments = torch.optim.Adam([optimism, weight], lr=3e-5, betas=(0.5, 0.999))

    def policy(observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = slow_forward(actor, observation[None])[0].chunk(2, -1)
        return mean, (-10.0 + 12.0 * 0.5 * (1 + torch.tanh(raw))).exp()

    def act(observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = policy(observation)
        tanh = torch.distributions.TanhTransform(cache_size=1)
        squashed = torch.distributions.TransformedDistribution(torch.distributions.Normal(mean, std), tanh)
        action = tanh(mean + std * torch.randn(mean.shape, generator=generator))
        return action, squashed.log_prob(action).sum(-1)

    def z(networks: Layers, observation: Tensor, action: Tensor) -> Tensor:
        return slow_forward(networks, torch.cat((observation, action), -1).expand(2, -1, -1))

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    for i in range(updates):
        batch = Batch(*(column[0] for column in batch_of([config.seed + 1000 * i])))
        s, a, s_next = batch.observation.T, batch.action.T, batch.next_observation.T
        temperature = log_temperature.detach().exp()
        next_action, next_log_density = act(s_next)
        bootstrap = z(targets, s_next, next_action).mean(0) - temperature * next_log_density[:, None]
        y = (batch.reward[:, None] + batch.discount[:, None] * bootstrap).detach()
        descend(slow_quantile_huber(z(critics, s, a), y).sum(), decayed[0])
        for new, old in zip(critics, targets, strict=True):
            old.copy_((1 - config.tau) * old + config.tau * new.detach())
        action, log_density = act(s)
        descend((temperature * log_density - z(critics, s, action).mean((0, -1))).mean(), decayed[1])
        mean, std = (each.detach() for each in policy(s))
        shift = slow_forward(optimist, torch.cat((s, mean), -1)[None])[0]
        proposed = torch.tanh(mean + shift + SPREAD * std * torch.randn(mean.shape, generator=generator))
        both = z(critics, s, proposed)
        upper = both.mean(0) + adjusted(optimism).detach() * (both[0] - both[1]).abs() / 2
        first, second = (torch.distributions.Normal(center, std) for center in (mean + shift, mean))
        divergence = torch.distributions.kl_divergence(first, second).sum(-1).mean()
        optimist[-1].register_hook(
            lambda gradient: torch.cat((gradient[:, :-1], torch.zeros_like(gradient[:, -1:])), 1)
        )
        descend(-upper.mean() + adjusted(weight).detach() * divergence, decayed[2])
        excess = divergence.detach() / ACTION - DIVERGENCE
        descend(adjusted(optimism) * excess - adjusted(weight) * excess, of_adjustments)
        descend(log_temperature.exp() * (-log_density.mean().detach() + ACTION / 2), of_temperature)
    adjustments = torch.stack((adjusted(optimism), adjusted(weight)))
    return [*actor, *critics, *targets, log_temperature, *optimist, adjustments]


@pytest.mark.usefixtures("doubles")
def test_updates_equal_their_slow_twin() -> None:
    members = [dataclasses.replace(config, weight_decay=0.1) for config in MEMBERS]
    bro = updated(members, updates=10)
    for i, config in enumerate(members):
        for fast, slow in zip(tensors(bro, i), slow_updates(config, updates=10), strict=True):
            torch.testing.assert_close(fast, slow.detach(), atol=1e-9, rtol=1e-7)
    assert bro.optimist is not None
    optimism, weight = bro.optimist.adjustments()[0]
    assert optimism < 1.0  # the policies differ more than they should as yet
    assert weight > 0.25


@pytest.mark.usefixtures("doubles")
def test_without_the_optimist_the_rest_learns_alike_but_for_its_noise() -> None:
    plain = updated([dataclasses.replace(CONFIG, optimistic=False)], updates=1)
    assert plain.optimist is None
    for ours, theirs in zip(tensors(plain, 0), tensors(updated([CONFIG], updates=1), 0), strict=False):
        torch.testing.assert_close(ours, theirs, atol=0.0, rtol=0.0)


def test_a_member_equals_the_same_agent_alone_over_a_hundred_updates() -> None:
    together, (alone,) = updated(MEMBERS, 100), [updated(MEMBERS[-1:], 100)]
    for ours, theirs in zip(tensors(together, 2), tensors(alone, 0), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    other = updated([dataclasses.replace(MEMBERS[-1], seed=3)], 100)
    assert not torch.allclose(tensors(other, 0)[0], tensors(together, 2)[0], atol=1e-2)


def test_no_member_sees_another_ones_data_or_parameters() -> None:
    """All that a member reads of its neighbours is set to NaN, which would spread."""
    sound, streams = new_bro(MEMBERS), [stream(i) for i in range(3)]
    spoilt, spoilt_streams = new_bro(MEMBERS), [stream(i) for i in range(3)]
    for layer in spoilt.actor:
        layer[1] = torch.nan
    for i in range(3):
        batch = batch_of([i, i + 10, i + 20])
        losses = sound.update(batch, streams)
        broken = Batch(*(column.clone() for column in batch))
        for column in broken:
            column[1] = torch.nan
        spoilt_losses = spoilt.update(broken, spoilt_streams)
    for member in (0, 2):
        assert losses.critic[member] == spoilt_losses.critic[member]
        for ours, theirs in zip(tensors(sound, member), tensors(spoilt, member), strict=True):
            torch.testing.assert_close(ours, theirs, atol=0.0, rtol=0.0)
    assert torch.isnan(spoilt_losses.critic[1])
    assert torch.isnan(tensors(spoilt, 1)[0]).any()


def test_a_reset_starts_afresh_and_only_then() -> None:
    """After two updates the third is the first of a new agent, drawn from where the stream stands."""
    config = dataclasses.replace(CONFIG, reset_interval=2)
    bro, streams = new_bro([config]), [stream(5)]
    for i in range(2):
        bro.update(batch_of([i]), streams)
    learned = tensors(bro, 0)
    init = stream(config.seed)
    old = BRO([config], OBSERVATION, ACTION, [init])
    new = BRO([config], OBSERVATION, ACTION, [init])
    assert not torch.allclose(learned[0], old.actor[0])
    assert not torch.allclose(new.actor[0], old.actor[0])
    now = [torch.Generator().set_state(each.get_state()) for each in streams]
    bro.update(batch_of([7]), streams)
    new.update(batch_of([7]), now)
    for ours, theirs in zip(tensors(bro, 0), tensors(new, 0), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.0, rtol=0.0)


def test_acting_reads_each_members_own_actors() -> None:
    bro = updated(MEMBERS, 3)
    observations = torch.randn(3, 5, OBSERVATION, generator=stream())
    outputs = torch.stack([slow_forward(bro.agent(i).actor, observations[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(bro.greedy(observations), torch.tanh(outputs[..., :ACTION]))
    sampled = bro.explore(observations[:, :1], [stream(i) for i in range(3)])[:, 0]
    plain = new_bro([dataclasses.replace(config, optimistic=False) for config in MEMBERS])
    for ours, theirs in zip(plain.actor, bro.actor, strict=True):
        ours.copy_(theirs)
    plain_sampled = plain.explore(observations[:, :1], [stream(i) for i in range(3)])[:, 0]
    for i in range(3):
        mean, raw = outputs[i, 0].chunk(2)
        spread = (6.0 * torch.tanh(raw) - 4.0).exp() * torch.randn(ACTION, generator=stream(i))
        shift = slow_forward(explorer(bro, i), torch.cat((observations[i, 0], mean))[None, None])[0, 0]
        torch.testing.assert_close(sampled[i], torch.tanh(mean + shift + SPREAD * spread))
        torch.testing.assert_close(plain_sampled[i], torch.tanh(mean + spread))


# Training

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


def probe(env_id: str, **changes: Any) -> list[tuple[Agent, pd.DataFrame]]:
    """The agents after runs of two seeds on a probe, and their curves."""
    config = dataclasses.replace(PROBE, env_id=env_id, **changes)
    results = run_ensemble([config, dataclasses.replace(config, seed=1)])
    assert [result.status for result in results] == [RunStatus.FINISHED] * 2
    return [(result.agent, result.curve) for result in results]


def values(agent: Agent, position: float) -> np.ndarray:
    """Mean Q of both critics at an observation, for actions across the range: (critic, action)."""
    actions = torch.linspace(-0.9, 0.9, 7)[:, None]
    inputs = torch.cat((torch.full_like(actions, position), actions), -1).expand(2, -1, -1)
    return slow_forward(agent.critics, inputs).mean(-1).numpy()


def entropy_bonus(agent: Agent, position: float) -> float:
    """T H, temperature times entropy of the policy at an observation."""
    mean, raw = slow_forward(agent.actor, torch.tensor([[[position]]]))[0, 0]
    std = (6.0 * torch.tanh(raw) - 4.0).exp()
    u = mean + std * torch.randn(4096, generator=stream())
    log_density = torch.distributions.Normal(mean, std).log_prob(u) - torch.log(1 - torch.tanh(u) ** 2)
    return float(-math.exp(agent.log_temperature) * log_density.mean())


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
        assert expected > 9.0  # far from 1, the value if truncation ended the return
        np.testing.assert_allclose(values(agent, 0.0), expected, rtol=0.05)


def test_curves_name_the_algorithm_and_are_equal_for_equal_seeds() -> None:
    first = train(CONFIG)
    pd.testing.assert_frame_equal(train(CONFIG), first, check_exact=True)
    assert set(first["algorithm"]) == {"BRO"}
    # two critics of 4 inputs, a stem, two blocks of width 12 and a head of 6 quantiles
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
