"""What the learners' twins share: random streams, batches, first parameters, and a forward pass in plain torch."""

import torch
from torch import Tensor

from bayescale.runners.networks import Layers, init_layers, layers_of, stored_count
from bayescale.runners.replay import Batch

OBSERVATION, ACTION = 3, 2  # sizes


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(seeds: list[int], size: int = 16, reward_scale: float = 1.0) -> Batch:
    """Each member's batch depends on its own seed only."""

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
    """(network, batch, out) from (network, batch, in), with the bias added as such."""
    for layer in layers[:-1]:
        inputs = torch.relu(inputs @ layer[:, :-1] + layer[:, -1:])
    return inputs @ layers[-1][:, :-1] + layers[-1][:, -1:]


def networks(sizes: list[int], count: int) -> Layers:
    layers = layers_of(torch.zeros(count, stored_count(sizes)), sizes)
    init_layers(layers, stream())
    return layers
