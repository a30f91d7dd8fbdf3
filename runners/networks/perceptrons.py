"""Stacked perceptrons with gradients by hand: one batched matrix product serves a layer of all networks of a stack.

Features run down and samples across, (network, feature, sample). A row of ones lies below the input of every layer
and the bias is the last column of its weight, so that the product and its gradients hold the bias too and no pass over
the activations is spent on it. The products are of one network each: none sees what its neighbours in a stack hold.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bayescale.runners.networks.matmul import multiply

Layers = list[Tensor]  # one (network, out, in + 1) per layer

ALIGNMENT = 16  # floats: a cache line, and the widest vector; each layer of each network starts on one

_relu_backward = torch.ops.aten.threshold_backward.grad_input


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of one network; `sizes` are the widths of its input, hidden layers and output."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def stored_count(sizes: Sequence[int]) -> int:
    """Floats that hold one network, with the gaps that align its layers."""
    return sum(_aligned((fan_in + 1) * fan_out) for fan_in, fan_out in itertools.pairwise(sizes))


def layers_of(stored: Tensor, sizes: Sequence[int]) -> Layers:
    """Views of the layers in `stored`, (network, stored_count(sizes))."""
    layers, start = [], 0
    for fan_in, fan_out in itertools.pairwise(sizes):
        count = (fan_in + 1) * fan_out
        layers.append(stored[:, start : start + count].view(-1, fan_out, fan_in + 1))
        start += _aligned(count)
    return layers


def init_layers(layers: Layers, generator: torch.Generator) -> None:
    """Draws weights and biases uniform in +-1/sqrt(fan_in)."""
    for layer in layers:
        bound = 1.0 / math.sqrt(layer.shape[2] - 1)
        drawn = torch.empty(layer.mT.shape, device=generator.device).uniform_(-bound, bound, generator=generator)
        layer.mT.copy_(drawn)


def copied(layers: Layers, networks: slice) -> Layers:
    """Copies of some networks of a stack."""
    return [layer[networks].clone() for layer in layers]


class Perceptrons:
    """The activations of `networks` perceptrons of one shape, ReLU between layers, on batches of one size.

    Fill `inputs`, run `forward`, then ask for gradients with the same layers.
    """

    def __init__(self, sizes: Sequence[int], networks: int, batch_size: int) -> None:
        self._activations = [_above_ones(networks, width, batch_size) for width in sizes[:-1]]
        self._gradients = [torch.empty(networks, width, batch_size) for width in sizes[1:-1]]
        self._outputs = torch.empty(networks, sizes[-1], batch_size)
        self._products = [torch.empty(networks, above, below + 1) for below, above in itertools.pairwise(sizes)]
        self.inputs = self._activations[0][:, :-1]  # (network, in, batch)

    def forward(self, layers: Layers) -> Tensor:
        """Outputs of the networks, (network, out, batch); the next call overwrites them."""
        below = self._activations[0]
        for layer, above, free in zip(layers[:-1], self._activations[1:], self._gradients, strict=True):
            multiply(layer, below, above[:, :-1], relu=True, scratch=free)
            below = above
        return multiply(layers[-1], below, self._outputs)

    def parameter_gradients(self, layers: Layers, output_gradients: Tensor, into: Layers) -> None:
        """Writes the gradient of every layer.

        Args:
            layers: the networks of the last `forward`.
            output_gradients: (network, out, batch).
            into: where the gradients go, shaped as `layers`.
        """
        for depth, gradient in self._backward(layers, output_gradients):
            multiply(gradient, self._activations[depth].mT, into[depth], scratch=self._products[depth])

    def input_gradients(self, layers: Layers, output_gradients: Tensor, rows: slice) -> Tensor:
        """Gradients of the given rows of `inputs`, (network, row, batch); arguments as in `parameter_gradients`."""
        *_, (_, gradient) = self._backward(layers, output_gradients)
        weights = layers[0][..., rows].mT
        return multiply(weights, gradient, torch.empty(*weights.shape[:2], gradient.shape[2]))

    def _backward(self, layers: Layers, gradient: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Each layer's number, last first, and the gradient of its output before the ReLU."""
        for depth in reversed(range(len(layers))):
            yield depth, gradient
            if depth > 0:
                below, buffer = self._activations[depth][:, :-1], self._gradients[depth - 1]
                if gradient.shape[1] == 1:  # an outer product, which a matrix product takes twice as long for
                    torch.mul(layers[depth][..., :-1].mT, gradient, out=buffer)
                else:
                    multiply(layers[depth][..., :-1].mT, gradient, buffer)
                gradient = _relu_backward(buffer, below, 0, grad_input=buffer)


def _above_ones(networks: int, width: int, batch_size: int) -> Tensor:
    activations = torch.empty(networks, width + 1, batch_size)
    activations[:, -1] = 1.0
    return activations


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
