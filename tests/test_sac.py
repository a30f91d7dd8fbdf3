import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayescale.runners import SACConfig
from bayescale.runners.adam import Adam
from bayescale.runners.networks import Layers, Perceptrons, init_layers, layers_of, parameter_count, stored_count
from bayescale.runners.policy import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    explore,
    greedy,
    output_gradients,
    sample,
    squashed_log_density,
)
from bayescale.runners.replay import Batch
from bayescale.runners.sac import SAC

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
OBSERVATION, ACTION = 3, 2


@pytest.fixture
def doubles() -> Iterator[None]:
    """Twins are compared in float64, where rounding leaves room for no mistake."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_sac(configs: list[SACConfig]) -> SAC:
    return SAC(configs, OBSERVATION, ACTION, [stream(config.seed) for config in configs])


def batch_of(seeds: list[int], size: int = 16) -> Batch:
    """Each member's batch depends on its own seed only."""

    def one(seed: int) -> Batch:
        generator = stream(100 + seed)
        return Batch(
            observation=torch.randn(OBSERVATION, size, generator=generator),
            action=torch.rand(ACTION, size, generator=generator) * 2 - 1,
            reward=torch.randn(size, generator=generator),
            next_observation=torch.randn(OBSERVATION, size, generator=generator),
            discount=0.95 * (torch.rand(size, generator=generator) > 0.3).to(torch.get_default_dtype()),
        )

    return Batch(*(torch.stack(column) for column in zip(*map(one, seeds), strict=True)))


def updated(configs: list[SACConfig], updates: int) -> SAC:
    """The ensemble after some updates on fixed batches, new ones for every update."""
    sac, streams = new_sac(configs), [stream(10 + config.seed) for config in configs]
    for i in range(updates):
        sac.update(batch_of([config.seed + 1000 * i for config in configs]), streams)
    return sac


def tensors(sac: SAC, member: int) -> list[Tensor]:
    agent = sac.agent(member)
    return [*agent.actor, *agent.critics, *agent.target_critics, torch.tensor(agent.log_temperature)]


# The networks


def slow_forward(layers: Layers, inputs: Tensor) -> Tensor:
    """(network, batch, out) from (network, batch, in), with the bias added as such."""
    for layer in layers[:-1]:
        inputs = torch.relu(inputs @ layer[:, :-1] + layer[:, -1:])
    return inputs @ layers[-1][:, :-1] + layers[-1][:, -1:]


def networks(sizes: list[int], count: int) -> Layers:
    layers = layers_of(torch.zeros(count, stored_count(sizes)), sizes)
    init_layers(layers, stream())
    return layers


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("samples", [16, 9])
@pytest.mark.parametrize("sizes", [[4, 1], [4, 8, 1], [3, 24, 17, 5]])
def test_forward_and_gradients_equal_autograd(sizes: list[int], samples: int) -> None:
    layers, passed = networks(sizes, count=3), Perceptrons(sizes, 3, 16)
    inputs = torch.randn(3, 16, sizes[0], generator=stream(1))
    passed.inputs[:] = inputs.mT
    outputs = passed.forward(layers)
    leaves = [layer.clone().requires_grad_() for layer in layers]
    leaf = inputs.clone().requires_grad_()
    expected = slow_forward(leaves, leaf)
    torch.testing.assert_close(outputs.mT, expected)

    weights = torch.randn(3, sizes[-1], samples, generator=stream(2))
    torch.autograd.backward((expected[:, :samples] * weights.mT).sum())
    gradients = layers_of(torch.full((3, stored_count(sizes)), torch.nan), sizes)
    passed.parameter_gradients(layers, weights, gradients)
    for ours, theirs in zip(gradients, leaves, strict=True):
        torch.testing.assert_close(ours, theirs.grad)
    of_inputs = passed.input_gradients(layers, weights, slice(1, sizes[0]))
    assert leaf.grad is not None
    torch.testing.assert_close(of_inputs.mT, leaf.grad[:, :samples, 1:])


def test_layers_cover_their_store_without_overlap() -> None:
    sizes = [3, 5, 2]
    stored = torch.zeros(4, stored_count(sizes))
    for layer in layers_of(stored, sizes):
        layer.add_(1.0)
    assert stored.sum().item() == 4 * parameter_count(sizes) == 4 * (4 * 5 + 6 * 2)
    assert stored.max().item() == 1.0


def test_first_parameters_fill_the_bounds() -> None:
    first, second = networks([100, 50, 10], count=2)
    for layer, bound in ((first, 0.1), (second, 1 / math.sqrt(50))):
        assert 0.99 * bound < layer.abs().max() <= bound
        assert layer.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


# The policy


@given(mean=st.floats(-3, 3), log_std=st.floats(-3, 1), noise=st.floats(-2, 2))
def test_log_density_against_torch_distributions(mean: float, log_std: float, noise: float) -> None:
    mu, s, z = (torch.tensor([[v], [0.3]], dtype=torch.float64) for v in (mean, log_std, noise))
    u = mu + s.exp() * z
    transform = torch.distributions.TanhTransform(cache_size=1)
    normal = torch.distributions.Normal(mu, s.exp())
    expected = torch.distributions.TransformedDistribution(normal, transform).log_prob(transform(u)).sum(-2)
    torch.testing.assert_close(squashed_log_density(u, z, s), expected)


def test_log_density_integrates_to_one_over_actions() -> None:
    actions = torch.linspace(-1, 1, 20_001, dtype=torch.float64)[None, 1:-1]
    log_std, mean = torch.full_like(actions, -0.4), 0.7
    u = torch.atanh(actions)
    density = squashed_log_density(u, (u - mean) / log_std.exp(), log_std).exp()
    assert torch.trapezoid(density, actions[0]).item() == pytest.approx(1.0, abs=1e-4)


def test_log_density_stays_finite_where_tanh_rounds_to_one() -> None:
    u = torch.tensor([[30.0, -30.0]])
    assert (torch.tanh(u).abs() == 1.0).all()
    log_density = squashed_log_density(u, torch.zeros(1, 2), torch.zeros(1, 2))
    # log N = -log sqrt(2 pi); log(1 - tanh^2) = log 4 - 2 |u|
    torch.testing.assert_close(log_density, torch.full((2,), -0.5 * math.log(2 * math.pi) - (math.log(4.0) - 60.0)))


@pytest.mark.usefixtures("doubles")
def test_policy_gradient_equals_autograd() -> None:
    outputs = 3 * torch.randn(2, 2 * ACTION, 50, generator=stream())
    outputs[0, ACTION] = LOG_STD_MAX + 1.0  # clamped: no gradient through the log std
    outputs[1, ACTION] = LOG_STD_MIN - 1.0
    noise = torch.randn(2, ACTION, 50, generator=stream(1))
    weights = torch.randn(2, ACTION, 50, generator=stream(2))
    temperature = torch.tensor([0.7, 2.0])[:, None, None]
    sampled = sample(outputs, noise)

    leaf = outputs.clone().requires_grad_()
    mean, log_std = leaf.chunk(2, dim=1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    u = mean + log_std.exp() * noise
    loss = (weights * torch.tanh(u)).sum() + (temperature[..., 0] * squashed_log_density(u, noise, log_std)).sum()
    torch.autograd.backward(loss)
    assert leaf.grad is not None
    torch.testing.assert_close(output_gradients(sampled, weights, temperature), leaf.grad)
    assert (leaf.grad[:, ACTION] == 0.0).all()
    assert (leaf.grad[:, ACTION + 1] != 0.0).any()


def test_sampled_actions_follow_the_policy() -> None:
    outputs = torch.tensor([0.3, -0.5, 0.2, -1.0])[None, :, None].expand(1, 4, 20_000)
    noise = torch.randn(1, ACTION, 20_000, generator=stream())
    actions = explore(outputs, noise)
    torch.testing.assert_close(actions, sample(outputs, noise).action)
    u = torch.atanh(actions[0])
    # 4 standard errors at std 1.2
    torch.testing.assert_close(u.mean(-1), outputs[0, :ACTION, 0], atol=0.035, rtol=0.0)
    torch.testing.assert_close(u.std(-1), outputs[0, ACTION:, 0].exp(), atol=0.0, rtol=0.03)
    torch.testing.assert_close(greedy(outputs), torch.tanh(outputs[:, :ACTION]))


# The optimiser


@pytest.mark.usefixtures("doubles")
def test_adam_of_each_member_equals_torch() -> None:
    rates = [1e-3, 3e-2, 1e-3]
    ours = torch.randn(3, 40, generator=stream())
    theirs = [row.clone().requires_grad_() for row in ours]
    adam = Adam(ours, rates)
    optimizers = [torch.optim.Adam([row], lr=rate, foreach=False) for row, rate in zip(theirs, rates, strict=True)]
    for step in range(20):
        gradients = torch.randn(3, 40, generator=stream(step)) * 10.0 ** (step % 5 - 3)
        adam.gradients.copy_(gradients)
        adam.step()
        for row, gradient, optimizer in zip(theirs, gradients, optimizers, strict=True):
            row.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, torch.stack([row.detach() for row in theirs]))
    assert not torch.allclose(ours[0], ours[1])


# The update


def slow_updates(config: SACConfig, updates: int) -> list[Tensor]:
    """Haarnoja et al. line by line for one agent: autograd, densities by torch.distributions, Adam of torch.optim."""
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
    # entropy above its target: less temperature
    assert sac.agent(0).log_temperature == pytest.approx(-0.01, rel=0.05)


@pytest.mark.parametrize("batch_size", [16, 31])
def test_a_member_equals_the_same_agent_alone_over_a_hundred_updates(batch_size: int) -> None:
    configs = [dataclasses.replace(config, batch_size=batch_size, warmup_steps=40) for config in MEMBERS]

    def after(members: list[SACConfig], updates: int) -> list[Tensor]:
        """Of the last of the members."""
        sac, streams = new_sac(members), [stream(10 + config.seed) for config in members]
        for i in range(updates):
            sac.update(batch_of([config.seed + 1000 * i for config in members], batch_size), streams)
        return tensors(sac, len(members) - 1)

    for together, alone in zip(after(configs, 100), after(configs[-1:], 100), strict=True):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    other = after([dataclasses.replace(configs[-1], seed=3)], 100)
    assert not torch.allclose(other[0], after(configs, 100)[0], atol=1e-2)


def test_no_member_sees_another_ones_data_or_parameters() -> None:
    """All that a member reads of its neighbours is set to NaN, which would spread."""
    sound, streams = new_sac(MEMBERS), [stream(i) for i in range(3)]
    spoilt, spoilt_streams = new_sac(MEMBERS), [stream(i) for i in range(3)]
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
