"""Fully connected networks as lists of (weight, bias), and the tanh-Gaussian policy on top of them.

The two critics are one network with a leading member axis, so that both run in one batched matrix product.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # as in Haarnoja et al. (2018), the authors' implementation


def init_layers(sizes: Sequence[int], generator: torch.Generator, members: int | None = None) -> Layers:
    """Layers of a network, weights and biases uniform in +-1/sqrt(fan_in).

    Args:
        sizes: width of the input, of each hidden layer and of the output.
        generator: where the random numbers come from.
        members: number of independent networks to stack along a leading axis; None for one without that axis.

    Returns:
        One (weight, bias) per layer: (in, out) and (out,), or (member, in, out) and (member, 1, out).
    """
    layers = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        bound = 1.0 / math.sqrt(fan_in)
        weight_shape = (fan_in, fan_out) if members is None else (members, fan_in, fan_out)
        bias_shape = (fan_out,) if members is None else (members, 1, fan_out)
        weight = torch.empty(weight_shape).uniform_(-bound, bound, generator=generator)
        bias = torch.empty(bias_shape).uniform_(-bound, bound, generator=generator)
        layers.append((weight.requires_grad_(), bias.requires_grad_()))
    return layers


def forward(layers: Layers, inputs: Tensor) -> Tensor:
    """Output of the network, ReLU between layers: (batch, out), or (member, batch, out) for stacked layers."""
    hidden = inputs
    for weight, bias in layers[:-1]:
        hidden = _affine(hidden, weight, bias).relu_()
    return _affine(hidden, *layers[-1])


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.ndim == 2:
        return torch.addmm(bias, inputs, weight)
    return torch.baddbmm(bias, inputs.expand(weight.shape[0], -1, -1), weight)


def parameters(layers: Layers) -> list[Tensor]:
    """All tensors of the network in a fixed order."""
    return [tensor for layer in layers for tensor in layer]


def detached(layers: Layers) -> Layers:
    """The same memory outside the graph: gradients pass through such a network to its inputs, not into its weights."""
    return [(weight.detach(), bias.detach()) for weight, bias in layers]


def q_values(critics: Layers, observation: Tensor, action: Tensor) -> Tensor:
    """Q of every critic, (member, batch)."""
    return forward(critics, torch.cat((observation, action), dim=-1)).squeeze(-1)


def sample_action(actor: Layers, observation: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A reparametrised action a = tanh(u), u ~ N(mean, std), and its log density.

    log p(a) = sum_i [ log N(u_i) - log(1 - tanh(u_i)^2) ]. The last term is taken as
    2 (log 2 - u - softplus(-2 u)), which stays finite where tanh rounds to 1.

    Returns:
        action (batch, action) in [-1, 1], log density (batch,).
    """
    mean, log_std = forward(actor, observation).chunk(2, dim=-1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    noise = torch.randn(mean.shape, generator=generator)
    pre_tanh = torch.addcmul(mean, log_std.exp(), noise)
    return torch.tanh(pre_tanh), squashed_log_density(pre_tanh, noise, log_std)


def squashed_log_density(pre_tanh: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Log density of tanh(u) at u = `pre_tanh` = mean + std * `noise`, summed over the action axis."""
    log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    log_slope = 2.0 * (math.log(2.0) - pre_tanh - torch.nn.functional.softplus(-2.0 * pre_tanh))
    return (log_normal - log_slope).sum(dim=-1)


def mean_action(actor: Layers, observation: Tensor) -> Tensor:
    """The deterministic action tanh(mean), (batch, action)."""
    return torch.tanh(forward(actor, observation).chunk(2, dim=-1)[0])
