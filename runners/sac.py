"""Soft actor-critic (Haarnoja et al., 2018): clipped double Q, a tanh-Gaussian policy, a learned temperature.

`update` is the training step; `bayescale.runners.training` runs it on a task.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bayescale.runners.config import SACConfig
from bayescale.runners.networks import Layers, detached, init_layers, parameters, q_values, sample_action
from bayescale.runners.replay import Batch


@dataclass(frozen=True)
class SACState:
    """Everything that an update changes, in place."""

    actor: Layers
    critics: Layers  # both, stacked: (2, in, out)
    target_critics: Layers
    log_temperature: Tensor  # scalar
    critic_optimizer: torch.optim.Optimizer
    actor_optimizer: torch.optim.Optimizer  # of the actor and the temperature


class Losses(NamedTuple):
    """Losses of one update, before its optimiser steps."""

    critic: float
    actor: float


def init_state(config: SACConfig, observation_size: int, action_size: int, generator: torch.Generator) -> SACState:
    """A new agent with random networks and temperature 1."""
    hidden = [config.hidden_width] * config.depth
    actor = init_layers([observation_size, *hidden, 2 * action_size], generator)
    critics = init_layers([observation_size + action_size, *hidden, 1], generator, members=2)
    log_temperature = torch.zeros((), requires_grad=True)
    return SACState(
        actor=actor,
        critics=critics,
        target_critics=[(weight.detach().clone(), bias.detach().clone()) for weight, bias in critics],
        log_temperature=log_temperature,
        critic_optimizer=torch.optim.Adam(parameters(critics), lr=config.learning_rate, fused=True),
        actor_optimizer=torch.optim.Adam([*parameters(actor), log_temperature], lr=config.learning_rate, fused=True),
    )


def update(state: SACState, batch: Batch, generator: torch.Generator, gamma: float, tau: float) -> Losses:
    """Losses of one gradient update, which changes `state` in place.

    Critics: sum_i mean (Q_i(s, a) - y)^2, y = r + gamma (1 - terminated) (min_i Qtarget_i(s', a') - T log pi(a'|s')).
    Actor: mean T log pi(a|s) - min_i Q_i(s, a). Temperature: mean -T (log pi(a|s) + H), target entropy H = -|A|.

    Args:
        state: the agent.
        batch: transitions from the replay buffer.
        generator: noise of the sampled actions.
        gamma: discount per step.
        tau: share of the new critics that enters the targets.
    """
    temperature = math.exp(state.log_temperature.item())
    target_entropy = -batch.action.shape[-1]

    with torch.no_grad():
        next_action, next_log_density = sample_action(state.actor, batch.next_observation, generator)
        next_value = q_values(state.target_critics, batch.next_observation, next_action).amin(dim=0)
        next_value -= temperature * next_log_density
        target = batch.reward + gamma * (1.0 - batch.terminated) * next_value
    critic_loss = (q_values(state.critics, batch.observation, batch.action) - target).square().mean(dim=-1).sum()
    state.critic_optimizer.zero_grad()
    torch.autograd.backward(critic_loss)
    state.critic_optimizer.step()

    action, log_density = sample_action(state.actor, batch.observation, generator)
    value = q_values(detached(state.critics), batch.observation, action).amin(dim=0)
    actor_loss = (temperature * log_density - value).mean()
    temperature_loss = -state.log_temperature.exp() * (log_density.detach().mean() + target_entropy)
    state.actor_optimizer.zero_grad()
    torch.autograd.backward(actor_loss + temperature_loss)
    state.actor_optimizer.step()

    with torch.no_grad():
        torch._foreach_lerp_(parameters(state.target_critics), parameters(state.critics), tau)
    return Losses(critic_loss.item(), actor_loss.item())
