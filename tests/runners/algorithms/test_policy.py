"""The tanh-Gaussian policy against torch's distributions and autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayescale.runners.algorithms.policy import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    explore,
    greedy,
    output_gradients,
    sample,
    squashed_log_density,
)
from tests.scaffolding.learner_twins import ACTION, stream

torch.set_num_threads(1)


@given(mean=st.floats(-3, 3), log_std=st.floats(-3, 1), noise=st.floats(-2, 2))
def test_log_density_against_torch_distributions(mean: float, log_std: float, noise: float) -> None:
    mu, s, z = (torch.tensor([[v], [0.3]], dtype=torch.float64) for v in (mean, log_std, noise))
    u = mu + s.exp() * z
    transform = torch.distributions.TanhTransform(cache_size=1)
    normal = torch.distributions.Normal(mu, s.exp())
    expected = torch.distributions.TransformedDistribution(normal, transform).log_prob(transform(u)).sum(-2)
    torch.testing.assert_close(squashed_log_density(u, z, s), expected)


def test_log_density_integrates_to_one_over_actions() -> None:
    actions = torch.linspace(-1, 1, 20_001, dtype=torch.float64)[None, 1:-1]
    log_std, mean = torch.full_like(actions, -0.4), 0.7
    u = torch.atanh(actions)
    density = squashed_log_density(u, (u - mean) / log_std.exp(), log_std).exp()
    assert torch.trapezoid(density, actions[0]).item() == pytest.approx(1.0, abs=1e-4)


def test_log_density_stays_finite_where_tanh_rounds_to_one() -> None:
    u = torch.tensor([[30.0, -30.0]])
    assert (torch.tanh(u).abs() == 1.0).all()
    log_density = squashed_log_density(u, torch.zeros(1, 2), torch.zeros(1, 2))
    # log N = -log sqrt(2 pi); log(1 - tanh^2) = log 4 - 2 |u|
    torch.testing.assert_close(log_density, torch.full((2,), -0.5 * math.log(2 * math.pi) - (math.log(4.0) - 60.0)))


@pytest.mark.usefixtures("doubles")
def test_policy_gradient_equals_autograd() -> None:
    outputs = 3 * torch.randn(2, 2 * ACTION, 50, generator=stream())
    outputs[0, ACTION] = LOG_STD_MAX + 1.0  # clamped, so no gradient passes through the log std
    outputs[1, ACTION] = LOG_STD_MIN - 1.0
    noise = torch.randn(2, ACTION, 50, generator=stream(1))
    weights = torch.randn(2, ACTION, 50, generator=stream(2))
    temperature = torch.tensor([0.7, 2.0])[:, None, None]
    sampled = sample(outputs, noise)

    leaf = outputs.clone().requires_grad_()
    mean, log_std = leaf.chunk(2, dim=1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    u = mean + log_std.exp() * noise
    loss = (weights * torch.tanh(u)).sum() + (temperature[..., 0] * squashed_log_density(u, noise, log_std)).sum()
    torch.autograd.backward(loss)
    assert leaf.grad is not None
    torch.testing.assert_close(output_gradients(sampled, weights, temperature), leaf.grad)
    assert (leaf.grad[:, ACTION] == 0.0).all()
    assert (leaf.grad[:, ACTION + 1] != 0.0).any()


def test_sampled_actions_follow_the_policy() -> None:
    outputs = torch.tensor([0.3, -0.5, 0.2, -1.0])[None, :, None].expand(1, 4, 20_000)
    noise = torch.randn(1, ACTION, 20_000, generator=stream())
    actions = explore(outputs, noise)
    torch.testing.assert_close(actions, sample(outputs, noise).action)
    u = torch.atanh(actions[0])
    # 4 standard errors at std 1.2
    torch.testing.assert_close(u.mean(-1), outputs[0, :ACTION, 0], atol=0.035, rtol=0.0)
    torch.testing.assert_close(u.std(-1), outputs[0, ACTION:, 0].exp(), atol=0.0, rtol=0.03)
    torch.testing.assert_close(greedy(outputs), torch.tanh(outputs[:, :ACTION]))
