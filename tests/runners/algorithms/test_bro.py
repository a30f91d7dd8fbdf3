"""Updates of BRO against a slow twin, line by line, and the independence of an ensemble's members."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from bayescale.runners import BROConfig
from bayescale.runners.algorithms.bro import BRO
from bayescale.runners.algorithms.learner import Batch
from bayescale.runners.algorithms.optimism import DIVERGENCE, SPREAD
from bayescale.runners.networks.dense import Layers
from tests.scaffolding.bro_twins import (
    CONFIG,
    MEMBERS,
    explorer,
    new_bro,
    slow_forward,
    slow_quantile_huber,
    tensors,
    updated,
)
from tests.scaffolding.learner_twins import ACTION, OBSERVATION, assert_members_are_apart, batch_of, stream

torch.set_num_threads(1)


def slow_updates(config: BROConfig, updates: int) -> list[Tensor]:
    """Train one agent as in Nauman et al., line by line, with autograd, torch.distributions and torch's AdamW."""
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
            lambda gradient: torch.cat((gradient[..., :-1], torch.zeros_like(gradient[..., -1:])), -1)
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
    assert optimism < 1.0  # the divergence still lies above its target
    assert weight > 0.25


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("divergence", [0.04, 0.06])
def test_the_optimist_starts_beside_the_policy_and_grows_bolder_below_a_divergence_alone(divergence: float) -> None:
    optimist = new_bro(MEMBERS).optimist
    assert optimist is not None
    observations = torch.randn(3, 16, OBSERVATION, generator=stream()).mT
    zero = torch.zeros(3, ACTION, 16)
    shift = torch.atanh(optimist.propose(observations, zero, zero, zero))
    assert shift.abs().max() < 0.1
    optimist.propose(observations, zero, shift.abs() / math.sqrt(2 * divergence), zero)  # shift^2/(2 std^2) each
    optimist.learn(zero)
    optimism, weight = optimist.adjustments().T
    assert (optimism > 1.0).tolist() == (weight < 0.25).tolist() == [divergence < 0.05] * 3


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
    assert_members_are_apart(lambda: new_bro(MEMBERS), tensors)


def test_a_reset_starts_afresh_and_only_then() -> None:
    """The third update, after a reset, equals the first of a new agent drawn from the same stream."""
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
