"""Stacked perceptrons with gradients by hand: dense layers with ReLU between them.

Memory layout and parameters are described in `dense`: a network has one matrix (out, in + 1) per layer.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bayescale.runners.networks.dense import (
    Dense,
    Layers,
    Shapes,
    dense_shape,
    first_input_gradients,
    input_gradients,
)

_relu_backward = torch.ops.aten.threshold_backward.grad_input


def perceptron_shapes(sizes: Sequence[int]) -> Shapes:
    """Return the shape of every layer; `sizes` are the widths of input, hidden layers and output."""
    return [dense_shape(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(sizes)]


def init_perceptrons(layers: Layers, generator: torch.Generator) -> None:
    """Draw weights and biases uniformly from +-1/sqrt(fan_in)."""
    for layer in layers:
        bound = 1.0 / math.sqrt(layer.shape[2] - 1)
        drawn = torch.empty(layer.mT.shape, device=generator.device).uniform_(-bound, bound, generator=generator)
        layer.mT.copy_(drawn)


class Perceptrons:
    """The activations of `networks` perceptrons of one shape on batches of one size.

    Fill `inputs`, (network, in, sample), call `forward`, then ask for gradients with the same layers.
    """

    def __init__(self, sizes: Sequence[int], networks: int, samples: int) -> None:
        self._dense = [Dense(networks, fan_in, fan_out, samples) for fan_in, fan_out in itertools.pairwise(sizes)]
        self._gradients = [torch.empty(networks, width, samples) for width in sizes[1:-1]]
        self._outputs = torch.empty(networks, sizes[-1], samples)
        self.inputs = self._dense[0].inputs

    def forward(self, layers: Layers) -> Tensor:
        """Return the outputs of the networks, (network, out, sample); the next call overwrites them."""
        for i, scratch in enumerate(self._gradients):
            self._dense[i].forward(layers[i], self._dense[i + 1].inputs, relu=True, scratch=scratch)
        return self._dense[-1].forward(layers[-1], self._outputs)

    def parameter_gradients(self, layers: Layers, output_gradients: Tensor, into: Layers) -> None:
        """Write the gradients of all parameters.

        Args:
            layers: the networks of the last `forward`.
            output_gradients: gradients of the outputs, (network, out, sample).
            into: room for the gradients, shaped as `layers`.
        """
        for i, gradient in self._backward(layers, output_gradients):
            self._dense[i].parameter_gradients(gradient, into[i])

    def input_gradients(self, layers: Layers, output_gradients: Tensor, rows: slice) -> Tensor:
        """Return the gradients of some rows of `inputs`, (network, row, sample), from those of the outputs."""
        *_, (_, gradient) = self._backward(layers, output_gradients)
        return first_input_gradients(layers[0], gradient, rows)

    def _backward(self, layers: Layers, gradient: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of each layer, last first, and the gradient of its output before the ReLU."""
        for i in reversed(range(len(layers))):
            yield i, gradient
            if i > 0:
                buffer = input_gradients(layers[i], gradient, self._gradients[i - 1])
                gradient = _relu_backward(buffer, self._dense[i].inputs, 0, grad_input=buffer)
