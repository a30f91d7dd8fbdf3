"""Stacked BroNets (Nauman et al., 2024) with gradients by hand: Dense-LayerNorm-ReLU, residual blocks, a linear head.

A block is Dense-LayerNorm-ReLU-Dense-LayerNorm around a skip. Memory layout and dense layers are described in `dense`.
The parameters of a network alternate: the weights (out, in + 1) of a dense layer, then gain and shift, (out, 2), of its
LayerNorm; the head has weights only. LayerNorm reads down the features, with one mean and spread per sample.
"""

import itertools
import math
from collections.abc import Sequence

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

EPSILON = 1e-6  # added to the variance in LayerNorm, as in the authors' library
GAIN = math.sqrt(2.0)  # default scale of the first weights

_relu_backward = torch.ops.aten.threshold_backward.grad_input


def bronet_sizes(inputs: int, width: int, blocks: int, outputs: int) -> list[int]:
    """Return the widths of input, of every normalised layer and of the output."""
    return [inputs, *[width] * (1 + 2 * blocks), outputs]


def bronet_shapes(sizes: Sequence[int]) -> Shapes:
    """Return the shape of every tensor of one network."""
    shapes = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        shapes += [dense_shape(fan_in, fan_out), (fan_out, 2)]
    return shapes[:-1]


def init_bronets(layers: Layers, generator: torch.Generator, head_gains: Sequence[float] = (GAIN,)) -> None:
    """Draw orthogonal weights; set biases and shifts to 0, the gains of LayerNorm to 1.

    Args:
        layers: the tensors to fill.
        generator: source of the weights.
        head_gains: scale of the weights of each head; the heads share the rows of the last layer evenly.
    """
    for layer in layers[0::2]:
        gains = head_gains if layer is layers[-1] else (GAIN,)
        for network in layer:
            for weights, gain in zip(network[:, :-1].chunk(len(gains)), gains, strict=True):
                drawn = torch.empty(weights.T.shape, device=generator.device)
                weights.copy_(torch.nn.init.orthogonal_(drawn, gain, generator).T)
        layer[..., -1] = 0.0
    for norm in layers[1::2]:
        norm[..., 0], norm[..., 1] = 1.0, 0.0


class BroNets:
    """The activations of `networks` BroNets of one shape on batches of one size.

    Fill `inputs`, (network, in, sample), call `forward`, then ask for gradients with the same layers.
    """

    def __init__(self, sizes: Sequence[int], networks: int, samples: int) -> None:
        self._dense = [Dense(networks, fan_in, fan_out, samples) for fan_in, fan_out in itertools.pairwise(sizes)]
        self._normal = [torch.empty(networks, width, samples) for width in sizes[1:-1]]
        self._inverse_spread = [torch.empty(networks, 1, samples) for _ in self._normal]
        self._gradients = [torch.empty(networks, sizes[1], samples) for _ in range(3)]
        self.inputs = self._dense[0].inputs
        self.outputs = torch.empty(networks, sizes[-1], samples)

    def forward(self, layers: Layers) -> Tensor:
        """Return the outputs of the networks, (network, out, sample); the next call overwrites them."""
        for i, normal in enumerate(self._normal):
            gain, shift = layers[2 * i + 1].chunk(2, -1)
            after = self._dense[i + 1].inputs
            self._dense[i].forward(layers[2 * i], normal)
            self._normalise(i)
            torch.mul(normal, gain, out=after)
            after += shift
            if _ends_block(i):
                after += self._dense[i - 1].inputs
            else:
                after.relu_()
        return self._dense[-1].forward(layers[-1], self.outputs)

    def parameter_gradients(self, layers: Layers, output_gradients: Tensor, into: Layers) -> None:
        """Write the gradients of all parameters.

        Args:
            layers: the networks of the last `forward`.
            output_gradients: gradients of the outputs, (network, out, sample).
            into: room for the gradients, shaped as `layers`.
        """
        self._backward(layers, output_gradients, into)

    def input_gradients(self, layers: Layers, output_gradients: Tensor, rows: slice) -> Tensor:
        """Return the gradients of some rows of `inputs`, (network, row, sample), from those of the outputs."""
        return first_input_gradients(layers[0], self._backward(layers, output_gradients, None), rows)

    def _normalise(self, i: int) -> None:
        """Scale every sample of layer i to mean 0 and spread 1, in place, and keep the inverse spread."""
        normal, scratch = self._normal[i], self._gradients[0]
        normal -= normal.mean(1, keepdim=True)
        variance = torch.mul(normal, normal, out=scratch).mean(1, keepdim=True)
        torch.rsqrt(variance.add_(EPSILON), out=self._inverse_spread[i])
        normal *= self._inverse_spread[i]

    def _backward(self, layers: Layers, output_gradients: Tensor, into: Layers | None) -> Tensor:
        """Return the gradient of the first product; write all parameter gradients if `into` is given."""
        if into is not None:
            self._dense[-1].parameter_gradients(output_gradients, into[-1])
        gradient, skipped, scratch = self._gradients
        input_gradients(layers[-1], output_gradients, gradient)
        for i in reversed(range(len(self._normal))):
            normal = self._normal[i]
            if _ends_block(i):
                skipped.copy_(gradient)
            else:
                _relu_backward(gradient, self._dense[i + 1].inputs, 0, grad_input=gradient)
            if into is not None:
                torch.sum(torch.mul(gradient, normal, out=scratch), 2, keepdim=True, out=into[2 * i + 1][..., :1])
                torch.sum(gradient, 2, keepdim=True, out=into[2 * i + 1][..., 1:])
            gradient *= layers[2 * i + 1][..., :1]
            # Through LayerNorm: (g - mean g - n mean(g n)) / spread, for normal form n and means over the features.
            along = torch.mul(gradient, normal, out=scratch).mean(1, keepdim=True)
            gradient -= gradient.mean(1, keepdim=True)
            gradient.addcmul_(normal, along, value=-1.0)
            gradient *= self._inverse_spread[i]
            if into is not None:
                self._dense[i].parameter_gradients(gradient, into[2 * i])
            if i > 0:
                gradient, scratch = input_gradients(layers[2 * i], gradient, scratch), gradient
            if i > 0 and not _ends_block(i):
                gradient += skipped
        return gradient


def _ends_block(layer: int) -> bool:
    """Return whether a skip is added after this layer: layer 0 is the stem, then two layers make a block."""
    return layer > 0 and layer % 2 == 0
