"""Stacked BroNets (Nauman et al., 2024) with gradients by hand: Dense-LayerNorm-ReLU, residual blocks, a linear head.

A block is Dense-LayerNorm-ReLU-Dense-LayerNorm around a skip. Samples run down and features across, (network, sample,
feature), so that LayerNorm reads rows; the products are of one network each. A normalised layer is kept as one
matrix whose last three rows are the bias of its product and the gain and shift of its LayerNorm, the head's last row is
its bias.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bayescale.runners.networks.matmul import multiply

Layers = list[Tensor]  # (network, in + 3, width) for the stem and two a block, then (network, in + 1, out) for the head

EPSILON = 1e-6  # of LayerNorm, as in the authors' library
EXTRA_ROWS = 3
GAIN = math.sqrt(2.0)  # of the first weights, unless said otherwise

_layer_norm_backward = torch.ops.aten.native_layer_norm_backward
_relu_backward = torch.ops.aten.threshold_backward.grad_input


def shapes(inputs: int, width: int, blocks: int, outputs: int) -> list[tuple[int, int]]:
    """Rows and columns of every layer."""
    inner = [(width + EXTRA_ROWS, width)] * (2 * blocks)
    return [(inputs + EXTRA_ROWS, width), *inner, (width + 1, outputs)]


def parameter_count(layer_shapes: Sequence[tuple[int, int]]) -> int:
    """Parameters of one network."""
    return sum(rows * columns for rows, columns in layer_shapes)


def forward_flops(layer_shapes: Sequence[tuple[int, int]], samples: int) -> int:
    """Flops of the matrix products of one pass of one network."""
    return 2 * samples * sum(_weights(layer_shapes))


def parameter_gradient_flops(layer_shapes: Sequence[tuple[int, int]], samples: int) -> int:
    """Flops of the products of the gradients of all layers."""
    return forward_flops(layer_shapes, samples) + forward_flops(layer_shapes[1:], samples)


def input_gradient_flops(layer_shapes: Sequence[tuple[int, int]], samples: int, columns: int) -> int:
    """Flops of the products of the gradient of so many columns of the inputs."""
    return forward_flops(layer_shapes[1:], samples) + 2 * samples * columns * layer_shapes[0][1]


def layers_of(stored: Tensor, layer_shapes: Sequence[tuple[int, int]]) -> Layers:
    """Views of the layers in `stored`, (network, parameter)."""
    pieces = torch.split(stored, [rows * columns for rows, columns in layer_shapes], dim=1)
    return [piece.view(-1, *shape) for piece, shape in zip(pieces, layer_shapes, strict=True)]


def init_layers(layers: Layers, generator: torch.Generator, head_gains: Sequence[float] = (GAIN,)) -> None:
    """Draws orthogonal weights; biases and shifts are 0, the gains of LayerNorm 1.

    Args:
        layers: to be filled.
        generator: where the weights come from.
        head_gains: scale of the weights of each head; the columns of the last layer are shared out evenly among heads.
    """
    for layer in layers:
        head = layer is layers[-1]
        extra, gains = (1, head_gains) if head else (EXTRA_ROWS, (GAIN,))
        for network in layer:
            for weights, gain in zip(network[:-extra].chunk(len(gains), 1), gains, strict=True):
                drawn = torch.empty(weights.shape, device=generator.device)
                weights.copy_(torch.nn.init.orthogonal_(drawn, gain, generator))
        layer[:, -extra:] = 0.0
        if not head:
            layer[:, -2] = 1.0


class BroNets:
    """The activations of stacked networks of one shape on batches of one size.

    Fill `inputs`, run `forward`, then ask for gradients with the same layers.
    """

    def __init__(self, layer_shapes: Sequence[tuple[int, int]], networks: int, samples: int) -> None:
        self.inputs = torch.empty(networks, samples, layer_shapes[0][0] - EXTRA_ROWS)
        width = layer_shapes[0][1]
        self._entered = [self.inputs, *(torch.empty(networks, samples, width) for _ in layer_shapes[1:])]
        self._products = [torch.empty(networks, samples, width) for _ in layer_shapes[:-1]]
        self._normal = [torch.empty(networks, samples, width) for _ in layer_shapes[:-1]]
        self._moments: dict[int, tuple[Tensor, Tensor]] = {}  # means of the products of a layer and inverse spreads
        self._gradients = [torch.empty(networks, samples, width) for _ in range(3)]
        self.outputs = torch.empty(networks, samples, layer_shapes[-1][1])

    def forward(self, layers: Layers) -> Tensor:
        """Outputs of the networks, (network, sample, out); the next call overwrites them."""
        for i, layer in enumerate(layers[:-1]):
            product, after = self._products[i], self._entered[i + 1]
            multiply(self._entered[i], layer[:, :-EXTRA_ROWS], product, bias=layer[:, -3:-2])
            self._moments[i] = self._normalise(product, self._normal[i])
            torch.addcmul(layer[:, -1:], self._normal[i], layer[:, -2:-1], out=after)
            if _ends_block(i):
                after += self._entered[i - 1]
            else:
                after.relu_()
        return multiply(self._entered[-1], layers[-1][:, :-1], self.outputs, bias=layers[-1][:, -1:])

    def parameter_gradients(self, layers: Layers, output_gradients: Tensor, into: Layers) -> None:
        """Writes the gradient of every layer.

        Args:
            layers: the networks of the last `forward`.
            output_gradients: (network, sample, out).
            into: where the gradients go, shaped as `layers`.
        """
        self._backward(layers, output_gradients, into)

    def input_gradients(self, layers: Layers, output_gradients: Tensor, columns: slice) -> Tensor:
        """Gradients of the given columns of `inputs`, (network, sample, column); arguments as above."""
        gradient, weights = self._backward(layers, output_gradients, None), layers[0][:, columns].mT
        return multiply(gradient, weights, torch.empty(*gradient.shape[:2], weights.shape[2]))

    def _normalise(self, product: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse spread of every row of `product`; five plain passes cost half of torch's one over rows."""
        mean = product.mean(-1, keepdim=True)
        torch.sub(product, mean, out=out)
        variance = torch.mul(out, out, out=self._gradients[0]).mean(-1, keepdim=True)
        inverse_spread = variance.add_(EPSILON).rsqrt_()
        out *= inverse_spread
        return mean, inverse_spread

    def _backward(self, layers: Layers, output_gradients: Tensor, into: Layers | None) -> Tensor:
        """Gradient of the first product; fills `into` if there is one."""
        if into is not None:
            multiply(self._entered[-1].mT, output_gradients, into[-1][:, :-1])
            torch.sum(output_gradients, 1, keepdim=True, out=into[-1][:, -1:])
        gradient, skipped, scratch = self._gradients
        before = gradient
        multiply(output_gradients, layers[-1][:, :-1].mT, gradient)
        for i in reversed(range(len(layers) - 1)):
            layer, (mean, inverse_spread) = layers[i], self._moments[i]
            if _ends_block(i):
                skipped.copy_(gradient)
            else:
                _relu_backward(gradient, self._entered[i + 1], 0, grad_input=gradient)
            if into is not None:
                torch.sum(torch.mul(gradient, self._normal[i], out=scratch), 1, keepdim=True, out=into[i][:, -2:-1])
                torch.sum(gradient, 1, keepdim=True, out=into[i][:, -1:])
            gradient *= layer[:, -2:-1]
            before, _, _ = _layer_norm_backward(
                gradient, self._products[i], gradient.shape[-1:], mean, inverse_spread, None, None, [True, False, False]
            )
            if into is not None:
                multiply(self._entered[i].mT, before, into[i][:, :-EXTRA_ROWS])
                torch.sum(before, 1, keepdim=True, out=into[i][:, -3:-2])
            if i > 0:
                multiply(before, layer[:, :-EXTRA_ROWS].mT, gradient)
            if i > 0 and not _ends_block(i):
                gradient += skipped
        return before


def _weights(layer_shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Entries of the weight matrix of every layer, of which the last is the head."""
    *normalised, (rows, columns) = layer_shapes
    return [(rows - EXTRA_ROWS) * columns for rows, columns in normalised] + [(rows - 1) * columns]


def _ends_block(layer: int) -> bool:
    """Whether a skip from before the layer above ends at this one: layer 0 is the stem, then two make a block."""
    return layer > 0 and layer % 2 == 0
