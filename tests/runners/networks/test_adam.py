"""The optimiser of stacked members against torch's."""

import pytest
import torch

from bayescale.runners.networks.adam import Adam
from tests.scaffolding.learner_twins import stream

torch.set_num_threads(1)


@pytest.mark.usefixtures("doubles")
def test_adam_of_each_member_equals_torch() -> None:
    rates = [1e-3, 3e-2, 1e-3]
    ours = torch.randn(3, 40, generator=stream())
    theirs = [row.clone().requires_grad_() for row in ours]
    adam = Adam(ours, rates)
    optimizers = [torch.optim.Adam([row], lr=rate, foreach=False) for row, rate in zip(theirs, rates, strict=True)]
    for step in range(20):
        gradients = torch.randn(3, 40, generator=stream(step)) * 10.0 ** (step % 5 - 3)
        adam.gradients.copy_(gradients)
        adam.step()
        for row, gradient, optimizer in zip(theirs, gradients, optimizers, strict=True):
            row.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, torch.stack([row.detach() for row in theirs]))
    assert not torch.allclose(ours[0], ours[1])
