"""The networks of BRO against autograd and torch's own layers."""

import pytest
import torch

from bayescale.runners.networks.bronet import BroNets, bronet_shapes, bronet_sizes, init_bronets
from bayescale.runners.networks.dense import layers_of, stored_count
from tests.scaffolding.bro_twins import slow_forward
from tests.scaffolding.learner_twins import stream

torch.set_num_threads(1)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 5])
def test_forward_and_gradients_equal_autograd(blocks: int, outputs: int) -> None:
    sizes = bronet_sizes(4, 9, blocks, outputs)
    shapes = bronet_shapes(sizes)
    stored = torch.randn(3, stored_count(shapes), generator=stream())
    layers, passed = layers_of(stored, shapes), BroNets(sizes, 3, 7)
    inputs = torch.randn(3, 7, 4, generator=stream(1))
    passed.inputs[:] = inputs.mT
    ours = passed.forward(layers)
    leaves = [layer.clone().requires_grad_() for layer in layers]
    leaf = inputs.clone().requires_grad_()
    expected = slow_forward(leaves, leaf)
    torch.testing.assert_close(ours.mT, expected)

    weights = torch.randn(3, 7, outputs, generator=stream(2))
    torch.autograd.backward((expected * weights).sum())
    gradients = layers_of(torch.full_like(stored, torch.nan), shapes)
    passed.parameter_gradients(layers, weights.mT, gradients)
    for gradient, twin in zip(gradients, leaves, strict=True):
        torch.testing.assert_close(gradient, twin.grad)
    assert leaf.grad is not None
    torch.testing.assert_close(passed.input_gradients(layers, weights.mT, slice(1, 4)).mT, leaf.grad[..., 1:])


def test_first_parameters_are_orthogonal() -> None:
    shapes = bronet_shapes(bronet_sizes(4, 9, 1, 6))
    layers = layers_of(torch.full((2, stored_count(shapes)), torch.nan), shapes)
    init_bronets(layers, stream(), head_gains=(0.5, 2.0))
    for network in range(2):
        *normalised, head = (layer[network] for layer in layers)
        for norm in normalised[1::2]:
            assert norm.T.tolist() == [[1.0] * 9, [0.0] * 9]  # gain, shift
        stem, first, second = normalised[::2]
        torch.testing.assert_close(stem[:, :-1].T @ stem[:, :-1], 2.0 * torch.eye(4))
        for layer in (first, second):
            torch.testing.assert_close(layer[:, :-1] @ layer[:, :-1].T, 2.0 * torch.eye(9), atol=1e-5, rtol=0.0)
        for layer in (stem, first, second, head):
            assert (layer[:, -1] == 0.0).all()  # bias
        for rows, gain in ((slice(3), 0.5), (slice(3, 6), 2.0)):
            torch.testing.assert_close(head[rows, :-1] @ head[rows, :-1].T, gain**2 * torch.eye(3), atol=1e-5, rtol=0.0)
    assert not torch.equal(layers[0][0], layers[0][1])
