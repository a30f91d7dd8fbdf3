"""The quantile Huber loss against autograd; its descent finds quantiles."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayescale.runners.algorithms.quantiles import huber_gradients
from tests.scaffolding.bro_twins import slow_quantile_huber
from tests.scaffolding.learner_twins import stream

torch.set_num_threads(1)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("chunk", [1, 300, 2**20])
def test_quantile_gradients_equal_autograd(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayescale.runners.algorithms.quantiles.CHUNK", chunk)
    quantiles = (2.0 * torch.randn(3, 2, 11, 6, generator=stream())).requires_grad_()
    targets = 2.0 * torch.randn(3, 11, 6, generator=stream(1))
    torch.autograd.backward(slow_quantile_huber(quantiles, targets[:, None]).sum())
    torch.testing.assert_close(huber_gradients(quantiles.detach().mT, targets.mT).mT, quantiles.grad)


@given(count=st.integers(2, 40))
def test_descent_on_the_quantile_loss_finds_the_quantiles(count: int) -> None:
    """Far beyond kappa = 1 the loss equals that of quantile regression, with gradient 0 between order statistics."""
    targets = 1e4 * torch.randperm(count, generator=stream(count)).to(torch.float64)[None, None]
    right = (1e4 * torch.arange(count, dtype=torch.float64)).expand(1, 2, 1, count)
    gradients = huber_gradients(right.mT, targets.mT)
    assert (gradients.abs() <= 0.5 / count + 1e-6).all()
    too_high = huber_gradients(right.mT + 1.5e4, targets.mT)
    assert (too_high >= 0.5 / count - 1e-6).all()
