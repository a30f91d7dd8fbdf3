"""Updates of SAC against the algorithm line by line, and members of an ensemble against agents alone.

`slow_updates` is the readable twin of `bayescale.runners.algorithms.sac`.
"""

import dataclasses

import pytest
import torch
from torch import Tensor

from bayescale.runners import SACConfig
from bayescale.runners.algorithms.learner import Batch
from bayescale.runners.algorithms.sac import SAC
from bayescale.runners.networks.dense import Layers
from tests.scaffolding.learner_twins import (
    ACTION,
    OBSERVATION,
    after_updates,
    assert_members_are_apart,
    batch_of,
    slow_forward,
    stream,
)

torch.set_num_threads(1)

CONFIG = SACConfig(
    env_id="Pendulum-v1",
    utd=1.0,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=16,
    warmup_steps=40,
)
MEMBERS = [
    CONFIG,
    dataclasses.replace(CONFIG, seed=1, learning_rate=3e-3),
    dataclasses.replace(CONFIG, seed=2, gamma=0.9, tau=0.1),
]


def new_sac(configs: list[SACConfig]) -> SAC:
    return SAC(configs, OBSERVATION, ACTION, [stream(config.seed) for config in configs])


def updated(configs: list[SACConfig], updates: int) -> SAC:
    """Return the ensemble after some updates on fixed batches, with a new batch for every update."""
    return after_updates(new_sac(configs), configs, updates)


def tensors(sac: SAC, member: int) -> list[Tensor]:
    agent = sac.agent(member)
    return [*agent.actor, *agent.critics, *agent.target_critics, torch.tensor(agent.log_temperature)]


def slow_updates(config: SACConfig, updates: int) -> list[Tensor]:
    """Train one agent as in Haarnoja et al., line by line, with autograd, torch.distributions and torch's Adam.

    Returns:
        Layers of the actor, of both critics and of both target critics, and the log temperature.
    """
    start = new_sac([config]).agent(0)
    actor, critics = ([layer.requires_grad_() for layer in layers] for layers in (start.actor, start.critics))
    targets = start.target_critics
    log_temperature = torch.zeros((), requires_grad=True)
    generator = stream(10 + config.seed)
    optimizers = [
        torch.optim.Adam(learned, lr=config.learning_rate, foreach=False)
        for learned in (critics, actor, [log_temperature])
    ]

    def act(observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = slow_forward(actor, observation[None])[0].chunk(2, -1)
        tanh = torch.distributions.TanhTransform(cache_size=1)
        policy = torch.distributions.TransformedDistribution(torch.distributions.Normal(mean, log_std.exp()), tanh)
        action = tanh(mean + log_std.exp() * noise)
        return action, policy.log_prob(action).sum(-1)

    def q(networks: Layers, observation: Tensor, action: Tensor) -> Tensor:
        return slow_forward(networks, torch.cat((observation, action), -1).expand(2, -1, -1))[..., 0]

    def descend(loss: Tensor, optimizer: torch.optim.Adam) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    for i in range(updates):
        batch = Batch(*(column[0] for column in batch_of([config.seed + 1000 * i])))
        s, a, s_next = batch.observation.T, batch.action.T, batch.next_observation.T
        noise, next_noise = torch.empty(ACTION, 2 * len(s)).normal_(generator=generator).T.chunk(2)
        temperature = log_temperature.detach().exp()
        next_action, next_log_density = act(s_next, next_noise)
        bootstrap = q(targets, s_next, next_action).amin(0) - temperature * next_log_density
        y = (batch.reward + batch.discount * bootstrap).detach()
        descend(((q(critics, s, a) - y) ** 2).mean(-1).sum(), optimizers[0])
        action, log_density = act(s, noise)
        descend((temperature * log_density - q(critics, s, action).amin(0)).mean(), optimizers[1])
        descend(-(log_temperature.exp() * (log_density.detach() - ACTION)).mean(), optimizers[2])
        for new, old in zip(critics, targets, strict=True):
            old.copy_((1 - config.tau) * old + config.tau * new.detach())
    return [*actor, *critics, *targets, log_temperature]


@pytest.mark.usefixtures("doubles")
def test_updates_equal_their_slow_twin() -> None:
    sac = updated(MEMBERS, updates=10)
    for i, config in enumerate(MEMBERS):
        for fast, slow in zip(tensors(sac, i), slow_updates(config, updates=10), strict=True):
            torch.testing.assert_close(fast, slow.detach(), atol=1e-9, rtol=1e-7)
    # The entropy lies above its target, so the temperature falls.
    assert sac.agent(0).log_temperature == pytest.approx(-0.01, rel=0.05)


@pytest.mark.parametrize("batch_size", [16, 31])
def test_a_member_equals_the_same_agent_alone_over_a_hundred_updates(batch_size: int) -> None:
    configs = [dataclasses.replace(config, batch_size=batch_size, warmup_steps=40) for config in MEMBERS]

    def after(members: list[SACConfig], updates: int) -> list[Tensor]:
        """Return the tensors of the last member after some updates."""
        sac, streams = new_sac(members), [stream(10 + config.seed) for config in members]
        for i in range(updates):
            sac.update(batch_of([config.seed + 1000 * i for config in members], batch_size), streams)
        return tensors(sac, len(members) - 1)

    for together, alone in zip(after(configs, 100), after(configs[-1:], 100), strict=True):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    other = after([dataclasses.replace(configs[-1], seed=3)], 100)
    assert not torch.allclose(other[0], after(configs, 100)[0], atol=1e-2)


def test_no_member_sees_another_ones_data_or_parameters() -> None:
    assert_members_are_apart(lambda: new_sac(MEMBERS), tensors)


def test_terminated_transitions_ignore_what_follows() -> None:
    batch = batch_of([0])
    for discount, same in ((torch.zeros(1, 16), True), (torch.ones(1, 16), False)):
        usual = batch._replace(discount=discount)
        strange = usual._replace(next_observation=1e3 * batch.next_observation)
        losses = [new_sac([CONFIG]).update(each, [stream()]).critic.item() for each in (usual, strange)]
        assert (losses[0] == losses[1]) is same


def test_acting_reads_each_members_own_actor() -> None:
    sac = new_sac(MEMBERS)
    observations = torch.randn(3, 5, OBSERVATION, generator=stream())
    modes = torch.stack([slow_forward([w[i : i + 1] for w in sac.actor], observations[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(sac.greedy(observations), torch.tanh(modes[..., :ACTION]))
    sampled = sac.explore(observations[:, :1], [stream(i) for i in range(3)])[:, 0]
    for i in range(3):
        mean, log_std = modes[i, 0].chunk(2)
        noise = torch.randn(ACTION, generator=stream(i))
        torch.testing.assert_close(sampled[i], torch.tanh(mean + log_std.exp() * noise))
