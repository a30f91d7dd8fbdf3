"""Random streams, batches, updates and plain torch networks for the slow twins of learners."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bayescale.runners.algorithms.learner import Batch
from bayescale.runners.config import RunConfig
from bayescale.runners.networks.dense import Layers, layers_of, stored_count
from bayescale.runners.networks.perceptrons import init_perceptrons, perceptron_shapes

OBSERVATION, ACTION = 3, 2  # widths of an observation and an action


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(seeds: list[int], size: int = 16, reward_scale: float = 1.0) -> Batch:
    """Return batches that depend, for each member, on its own seed only."""

    def one(seed: int) -> Batch:
        generator = stream(100 + seed)
        return Batch(
            observation=torch.randn(OBSERVATION, size, generator=generator),
            action=torch.rand(ACTION, size, generator=generator) * 2 - 1,
            reward=reward_scale * torch.randn(size, generator=generator),
            next_observation=torch.randn(OBSERVATION, size, generator=generator),
            discount=0.95 * (torch.rand(size, generator=generator) > 0.3).to(torch.get_default_dtype()),
        )

    return Batch(*(torch.stack(column) for column in zip(*map(one, seeds), strict=True)))


def slow_forward(layers: Layers, inputs: Tensor) -> Tensor:
    """Return outputs, (network, batch, out), from inputs, (network, batch, in), with an explicit bias."""
    for layer in layers:
        inputs = inputs @ layer[..., :-1].mT + layer[..., -1:].mT
        if layer is not layers[-1]:
            inputs = torch.relu(inputs)
    return inputs


def after_updates(learner: Any, configs: Sequence[RunConfig], updates: int) -> Any:
    """Return the learner after some updates on fixed batches, with a new batch for every update."""
    streams = [stream(10 + config.seed) for config in configs]
    for i in range(updates):
        learner.update(batch_of([config.seed + 1000 * i for config in configs]), streams)
    return learner


def assert_members_are_apart(new: Callable[[], Any], tensors: Callable[[Any, int], list[Tensor]]) -> None:
    """Check that NaN in one of three members does not reach the other two."""
    sound, streams = new(), [stream(i) for i in range(3)]
    spoilt, spoilt_streams = new(), [stream(i) for i in range(3)]
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


def entropy(mean: Tensor, std: Tensor) -> float:
    """Return the entropy of a normal action squashed by tanh, from its density at 4,096 samples."""
    u = mean + std * torch.randn(4096, generator=stream())
    log_density = torch.distributions.Normal(mean, std).log_prob(u) - torch.log(1 - torch.tanh(u) ** 2)
    return -log_density.mean().item()


def networks(sizes: list[int], count: int) -> Layers:
    shapes = perceptron_shapes(sizes)
    layers = layers_of(torch.zeros(count, stored_count(shapes)), shapes)
    init_perceptrons(layers, stream())
    return layers
