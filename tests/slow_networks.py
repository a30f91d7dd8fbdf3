"""Networks for the learners' twins: random streams, first parameters, and a forward pass in plain torch."""

import torch
from torch import Tensor

from bayescale.runners.networks import Layers, init_layers, layers_of, stored_count


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_forward(layers: Layers, inputs: Tensor) -> Tensor:
    """(network, batch, out) from (network, batch, in), with the bias added as such."""
    for layer in layers[:-1]:
        inputs = torch.relu(inputs @ layer[:, :-1] + layer[:, -1:])
    return inputs @ layers[-1][:, :-1] + layers[-1][:, -1:]


def networks(sizes: list[int], count: int) -> Layers:
    layers = layers_of(torch.zeros(count, stored_count(sizes)), sizes)
    init_layers(layers, stream())
    return layers
