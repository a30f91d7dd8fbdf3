"""Flops of the matrix products of stacked networks, exactly as `dense.Dense` does them, biases included.

A product of (m, k) and (k, n) counts 2 m k n. Elementwise operations, such as activations, LayerNorm and optimiser
steps, count nothing. A learner's `matrix_product_flops` is a sum of these counts. It differs from the training flops
C = 10 N B per update of a learning curve.
"""

import itertools
from collections.abc import Sequence


def forward_flops(sizes: Sequence[int], samples: int) -> int:
    """Count one forward pass of one network; `sizes` are the widths of its input, inner layers and output."""
    return 2 * samples * sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def parameter_gradient_flops(sizes: Sequence[int], samples: int) -> int:
    """Count the gradients of all parameters from the gradient of the outputs."""
    return forward_flops(sizes, samples) + _backward_flops(sizes, samples)


def input_gradient_flops(sizes: Sequence[int], samples: int, rows: int) -> int:
    """Count the gradient of `rows` of the inputs from the gradient of the outputs."""
    return _backward_flops(sizes, samples) + 2 * samples * rows * sizes[1]


def _backward_flops(sizes: Sequence[int], samples: int) -> int:
    """Count the way back to the outputs of the first layer; from a single output the first step is elementwise."""
    return 2 * samples * sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes[1:]) if fan_out > 1)
