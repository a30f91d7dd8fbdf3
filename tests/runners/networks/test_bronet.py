"""The networks of BRO against autograd and torch's own layers."""

import pytest
import torch

from bayescale.runners.networks.bronet import BroNets, init_layers, layers_of, parameter_count, shapes
from tests.scaffolding.bro_twins import slow_forward
from tests.scaffolding.learner_twins import stream

torch.set_num_threads(1)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_forward_and_gradients_equal_autograd(blocks: int) -> None:
    layer_shapes = shapes(4, 9, blocks, 5)
    stored = torch.randn(3, parameter_count(layer_shapes), generator=stream())
    layers, passed = layers_of(stored, layer_shapes), BroNets(layer_shapes, 3, 7)
    inputs = torch.randn(3, 7, 4, generator=stream(1))
    passed.inputs[:] = inputs
    outputs = passed.forward(layers)
    leaves = [layer.clone().requires_grad_() for layer in layers]
    leaf = inputs.clone().requires_grad_()
    expected = slow_forward(leaves, leaf)
    torch.testing.assert_close(outputs, expected)

    weights = torch.randn(3, 7, 5, generator=stream(2))
    torch.autograd.backward((expected * weights).sum())
    gradients = layers_of(torch.full_like(stored, torch.nan), layer_shapes)
    passed.parameter_gradients(layers, weights, gradients)
    for ours, theirs in zip(gradients, leaves, strict=True):
        torch.testing.assert_close(ours, theirs.grad)
    assert leaf.grad is not None
    torch.testing.assert_close(passed.input_gradients(layers, weights, slice(1, 4)), leaf.grad[..., 1:])


def test_first_parameters_are_orthogonal() -> None:
    layer_shapes = shapes(4, 9, 1, 6)
    layers = layers_of(torch.full((2, parameter_count(layer_shapes)), torch.nan), layer_shapes)
    init_layers(layers, stream(), head_gains=(0.5, 2.0))
    for network in range(2):
        stem, first, second, head = (layer[network] for layer in layers)
        torch.testing.assert_close(stem[:-3] @ stem[:-3].T, 2.0 * torch.eye(4))
        for layer in (first, second):
            torch.testing.assert_close(layer[:-3] @ layer[:-3].T, 2.0 * torch.eye(9), atol=1e-5, rtol=0.0)
            assert layer[-3:].tolist() == [[0.0] * 9, [1.0] * 9, [0.0] * 9]
        for columns, gain in ((slice(3), 0.5), (slice(3, 6), 2.0)):
            torch.testing.assert_close(
                head[:-1, columns].T @ head[:-1, columns], gain**2 * torch.eye(3), atol=1e-5, rtol=0.0
            )
        assert (head[-1] == 0.0).all()
    assert not torch.equal(layers[0][0], layers[0][1])
