"""Stacked perceptrons with gradients by hand: one batched matrix product serves a layer of all networks of a stack.

Features run down and samples across, (network, feature, sample). A row of ones lies below the input of every layer
and the bias is the last row of its weight, so that the product and its gradients hold the bias too and no pass over
the activations is spent on it. The products are of one network each: none sees what its neighbours in a stack hold.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Layers = list[Tensor]  # one (network, in + 1, out) per layer

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
        layers.append(stored[:, start : start + count].view(-1, fan_in + 1, fan_out))
        start += _aligned(count)
    return layers


def init_layers(layers: Layers, generator: torch.Generator) -> None:
    """Draws weights and biases uniform in +-1/sqrt(fan_in)."""
    for layer in layers:
        bound = 1.0 / math.sqrt(layer.shape[1] - 1)
        layer.uniform_(-bound, bound, generator=generator)


class Perceptrons:
    """The activations of `networks` perceptrons of one shape, ReLU between layers, on batches of one size.

    Fill `inputs`, run `forward`, then ask for gradients with the same layers.
    """

    def __init__(self, sizes: Sequence[int], networks: int, batch_size: int) -> None:
        self._activations = [_above_ones(networks, width, batch_size) for width in sizes[:-1]]
        self._gradients = [torch.empty(networks, width, batch_size) for width in sizes[1:-1]]
        self._outputs = torch.empty(networks, sizes[-1], batch_size)
        self._products = [torch.empty(networks, below + 1, above) for below, above in itertools.pairwise(sizes)]
        self.inputs = self._activations[0][:, :-1]  # (network, in, batch)

    def forward(self, layers: Layers) -> Tensor:
        """Outputs of the networks, (network, out, batch); the next call overwrites them."""
        hidden = [activations[:, :-1] for activations in self._activations[1:]]
        for layer, below, above in zip(layers, self._activations, [*hidden, self._outputs], strict=True):
            torch.bmm(layer.transpose(1, 2), below, out=above)
            if above is not self._outputs:
                above.relu_()
        return self._outputs

    def parameter_gradients(self, layers: Layers, output_gradients: Tensor, into: Layers) -> None:
        """Writes the gradient of every layer.

        Args:
            layers: the networks of the last `forward`.
            output_gradients: (network, out, n), for the first n samples of the batch; the others count nothing.
            into: where the gradients go, shaped as `layers`.
        """
        for depth, gradient in self._backward(layers, output_gradients):
            below = self._activations[depth][..., : gradient.shape[-1]]
            # Into one block and from there: a product into layers that lie apart is done network by network.
            into[depth].copy_(torch.bmm(below, gradient.transpose(1, 2), out=self._products[depth]))

    def input_gradients(self, layers: Layers, output_gradients: Tensor, rows: slice) -> Tensor:
        """Gradients of the given rows of `inputs`, (network, row, n); arguments as in `parameter_gradients`."""
        *_, (_, gradient) = self._backward(layers, output_gradients)
        return torch.bmm(layers[0][:, rows], gradient)

    def _backward(self, layers: Layers, gradient: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Each layer's number, last first, and the gradient of its output before the ReLU."""
        samples = gradient.shape[-1]
        for depth in reversed(range(len(layers))):
            yield depth, gradient
            if depth > 0:
                below = self._activations[depth][:, :-1, :samples]
                buffer = self._gradients[depth - 1][..., :samples]
                outer = gradient.shape[1] == 1  # an outer product, which a matrix product takes twice as long for
                gradient = (torch.mul if outer else torch.bmm)(layers[depth][:, :-1], gradient, out=buffer)
                _relu_backward(gradient, below, 0, grad_input=gradient)


def _above_ones(networks: int, width: int, batch_size: int) -> Tensor:
    activations = torch.empty(networks, width + 1, batch_size)
    activations[:, -1] = 1.0
    return activations


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
