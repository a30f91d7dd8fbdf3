"""Flops of the matrix products of stacked perceptrons, exactly as `networks.Perceptrons` does them, biases included.

A product of (m, k) and (k, n) counts 2 m k n; what is elementwise, such as activations and optimiser steps, counts
nothing. An algorithm's `update_flops` adds these up.
"""

import itertools
from collections.abc import Sequence


def forward_flops(sizes: Sequence[int], samples: int) -> int:
    """Of one forward pass of one network; `sizes` are the widths of its input, hidden layers and output."""
    return 2 * samples * sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def parameter_gradient_flops(sizes: Sequence[int], samples: int) -> int:
    """Of the gradients of all layers, from the gradient of the outputs."""
    return forward_flops(sizes, samples) + _backward_flops(sizes, samples)


def input_gradient_flops(sizes: Sequence[int], samples: int, rows: int) -> int:
    """Of the gradient of `rows` of the inputs, from the gradient of the outputs."""
    return _backward_flops(sizes, samples) + 2 * samples * rows * sizes[1]


def _backward_flops(sizes: Sequence[int], samples: int) -> int:
    """Down to the outputs of the first layer; with one output the last layer's part is elementwise."""
    return 2 * samples * sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes[1:]) if fan_out > 1)
