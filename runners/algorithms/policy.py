"""The tanh-Gaussian policy on top of the actor's outputs, with its gradient by hand."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # the bounds in the implementation of Haarnoja et al. (2018)


class Sampled(NamedTuple):
    """Actions a = tanh(u), u = mean + std * noise, and the values that their gradient needs."""

    action: Tensor  # (member, action, batch), in [-1, 1]
    log_density: Tensor  # (member, batch)
    spread: Tensor  # std * noise, (member, action, batch)
    unclamped: Tensor  # (member, action, batch), False where the log std hit a bound and passes no gradient


def sample(outputs: Tensor, noise: Tensor) -> Sampled:
    """Return reparametrised actions and their log densities.

    log p(a) = sum_i [ log N(u_i) - log(1 - tanh(u_i)^2) ]. The last term is computed as
    2 (log 2 - u - softplus(-2 u)), which stays finite where tanh rounds to 1.

    Args:
        outputs: outputs of the actor, (member, 2 action, batch), means first, then log stds.
        noise: standard normal, (member, action, batch).
    """
    mean, raw_log_std = outputs.chunk(2, dim=1)
    log_std = raw_log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    spread = log_std.exp().mul_(noise)
    pre_tanh = mean + spread
    log_density = squashed_log_density(pre_tanh, noise, log_std)
    return Sampled(torch.tanh(pre_tanh), log_density, spread, raw_log_std == log_std)


def squashed_log_density(pre_tanh: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Return the log density of tanh(u) at u = `pre_tanh` = mean + std * `noise`, summed over actions, axis -2."""
    log_slope = 2.0 * (math.log(2.0) - pre_tanh - torch.nn.functional.softplus(-2.0 * pre_tanh))
    log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    return (log_normal - log_slope).sum(dim=-2)


def output_gradients(sampled: Sampled, action_gradients: Tensor, log_density_gradient: Tensor) -> Tensor:
    """Return the gradient of the actor's outputs, (member, 2 action, batch).

    The chain rule uses d log p/du = 2 tanh(u), d tanh(u)/du = 1 - tanh(u)^2 and du/d log std = std * noise.

    Args:
        sampled: the actions at which the gradient is evaluated.
        action_gradients: gradients of the loss by the actions, without the path through their log densities,
            (member, action, batch).
        log_density_gradient: gradient of the loss by every log density, (member, 1, 1).
    """
    action = sampled.action
    mean_gradients = action_gradients * (1.0 - action.square()) + 2.0 * log_density_gradient * action
    log_std_gradients = (mean_gradients * sampled.spread - log_density_gradient) * sampled.unclamped
    return torch.cat((mean_gradients, log_std_gradients), dim=1)


def explore(outputs: Tensor, noise: Tensor) -> Tensor:
    """Return sampled actions without their densities, (member, action, batch); for the arguments see `sample`."""
    mean, log_std = outputs.chunk(2, dim=1)
    return torch.tanh(torch.addcmul(mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp(), noise))


def greedy(outputs: Tensor) -> Tensor:
    """Return the deterministic actions tanh(mean), (member, action, batch)."""
    return torch.tanh(outputs.chunk(2, dim=1)[0])
