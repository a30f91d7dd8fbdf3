"""Dense layers of stacked networks, with gradients by hand; perceptrons and BroNets are made of them.

All activations have one memory layout: features run down and samples across, (network, feature, sample). A row of ones
lies below the inputs of every layer, and the bias is the last column of its weights. One batched matrix product then
adds the bias too, and its gradient comes with the gradient of the weights: neither needs a pass over the activations.
No network reads the memory of another network in its stack.
"""

import torch
from torch import Tensor

from bayescale.runners.networks.matmul import multiply

Layers = list[Tensor]  # parameters of a stack, a tensor (network, row, column) per shape
Shapes = list[tuple[int, int]]  # rows and columns of each of these tensors in one network

ALIGNMENT = 16  # floats in a cache line; each tensor of each network starts on one


def dense_shape(fan_in: int, fan_out: int) -> tuple[int, int]:
    """Return rows and columns of the weights of a dense layer, whose last column is the bias."""
    return fan_out, fan_in + 1


def parameter_count(shapes: Shapes) -> int:
    """Count the parameters of one network."""
    return sum(rows * columns for rows, columns in shapes)


def stored_count(shapes: Shapes) -> int:
    """Count the floats that store one network, including the gaps that align its tensors."""
    return sum(_aligned(rows * columns) for rows, columns in shapes)


def layers_of(stored: Tensor, shapes: Shapes) -> Layers:
    """Return views of the layers in `stored`, (network, stored_count(shapes))."""
    layers, start = [], 0
    for rows, columns in shapes:
        layers.append(stored[:, start : start + rows * columns].view(-1, rows, columns))
        start += _aligned(rows * columns)
    return layers


def copied(layers: Layers, networks: slice) -> Layers:
    """Copy some networks of a stack."""
    return [layer[networks].clone() for layer in layers]


class Dense:
    """One dense layer of every network in a stack: its inputs on a batch, and its matrix products.

    Fill `inputs`, (network, fan_in, sample), and call `forward`; `parameter_gradients` then reads the same inputs.
    """

    def __init__(self, networks: int, fan_in: int, fan_out: int, samples: int) -> None:
        self._above_ones = torch.empty(networks, fan_in + 1, samples)
        self._above_ones[:, -1] = 1.0
        self._scratch = torch.empty(networks, *dense_shape(fan_in, fan_out))
        self.inputs = self._above_ones[:, :-1]

    def forward(self, weights: Tensor, out: Tensor, *, relu: bool = False, scratch: Tensor | None = None) -> Tensor:
        """Write the outputs into `out`, (network, fan_out, sample), and return it; see `multiply` for the options."""
        return multiply(weights, self._above_ones, out, relu=relu, scratch=scratch)

    def parameter_gradients(self, output_gradients: Tensor, into: Tensor) -> None:
        """Write the gradients of weights and bias into `into`, (network, fan_out, fan_in + 1)."""
        multiply(output_gradients, self._above_ones.mT, into, scratch=self._scratch)


def input_gradients(weights: Tensor, output_gradients: Tensor, out: Tensor) -> Tensor:
    """Write the gradients of all inputs of a dense layer into `out`, (network, fan_in, sample), and return it."""
    if output_gradients.shape[1] == 1:  # an outer product takes twice as long as a matrix product
        return torch.mul(weights[..., :-1].mT, output_gradients, out=out)
    return multiply(weights[..., :-1].mT, output_gradients, out)


def first_input_gradients(weights: Tensor, output_gradients: Tensor, rows: slice) -> Tensor:
    """Return the gradients of some rows of the inputs of a dense layer, (network, row, sample)."""
    selected = weights[..., rows].mT
    return multiply(selected, output_gradients, torch.empty(*selected.shape[:2], output_gradients.shape[2]))


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
