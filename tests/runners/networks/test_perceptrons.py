"""Stacked perceptrons against autograd."""

import math

import pytest
import torch

from bayescale.runners.networks.dense import layers_of, parameter_count, stored_count
from bayescale.runners.networks.perceptrons import Perceptrons, perceptron_shapes
from tests.scaffolding.learner_twins import networks, slow_forward, stream

torch.set_num_threads(1)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("sizes", [[4, 1], [4, 8, 1], [3, 24, 17, 5]])
def test_forward_and_gradients_equal_autograd(sizes: list[int]) -> None:
    layers, passed = networks(sizes, count=3), Perceptrons(sizes, 3, 16)
    inputs = torch.randn(3, 16, sizes[0], generator=stream(1))
    passed.inputs[:] = inputs.mT
    outputs = passed.forward(layers)
    leaves = [layer.clone().requires_grad_() for layer in layers]
    leaf = inputs.clone().requires_grad_()
    expected = slow_forward(leaves, leaf)
    torch.testing.assert_close(outputs.mT, expected)

    weights = torch.randn(3, sizes[-1], 16, generator=stream(2))
    torch.autograd.backward((expected * weights.mT).sum())
    shapes = perceptron_shapes(sizes)
    gradients = layers_of(torch.full((3, stored_count(shapes)), torch.nan), shapes)
    passed.parameter_gradients(layers, weights, gradients)
    for ours, theirs in zip(gradients, leaves, strict=True):
        torch.testing.assert_close(ours, theirs.grad)
    of_inputs = passed.input_gradients(layers, weights, slice(1, sizes[0]))
    assert leaf.grad is not None
    torch.testing.assert_close(of_inputs.mT, leaf.grad[..., 1:])


def test_layers_cover_their_store_without_overlap() -> None:
    shapes = perceptron_shapes([3, 5, 2])
    stored = torch.zeros(4, stored_count(shapes))
    for layer in layers_of(stored, shapes):
        layer.add_(1.0)
    assert stored.sum().item() == 4 * parameter_count(shapes) == 4 * (4 * 5 + 6 * 2)
    assert stored.max().item() == 1.0


def test_first_parameters_fill_the_bounds() -> None:
    first, second = networks([100, 50, 10], count=2)
    for layer, bound in ((first, 0.1), (second, 1 / math.sqrt(50))):
        assert 0.99 * bound < layer.abs().max() <= bound
        assert layer.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
