"""BRO (Nauman et al., 2024, "Bigger, Regularized, Optimistic"): soft actor-critic with large regularised critics.

Two BroNet critics of quantiles whose mean, not minimum, is believed; AdamW; fresh networks and optimisers after every
`reset_interval` updates, with the replay kept; an optimistic second actor that explores. Stacked along a leading member
axis as in `sac.py`; gradients are written by hand.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bayescale.runners.algorithms.learner import Batch, Losses
from bayescale.runners.algorithms.optimism import OptimisticActor
from bayescale.runners.algorithms.policy import Sampled, output_gradients, sample
from bayescale.runners.algorithms.quantiles import huber_gradients
from bayescale.runners.config import BROConfig
from bayescale.runners.networks.adam import Adam
from bayescale.runners.networks.bronet import (
    GAIN,
    BroNets,
    Layers,
    forward_flops,
    init_layers,
    input_gradient_flops,
    layers_of,
    parameter_count,
    parameter_gradient_flops,
    shapes,
)
from bayescale.runners.networks.cuda_graphs import recorded
from bayescale.runners.networks.perceptrons import copied
from bayescale.runners.networks.random_streams import normal

LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0
LOG_STD_HEAD_GAIN = 1.0
TEMPERATURE_BETA_1 = 0.5


class Agent(NamedTuple):
    """The parameters of one member: layers of one actor and of two critics, as in `bronet.py`."""

    actor: Layers
    critics: Layers
    target_critics: Layers
    log_temperature: float


class BRO:
    """Agents with random networks and temperature 1, one per configuration, stacked along a leading member axis.

    Args:
        configs: of the members, which share all but learning rate, seed, gamma and tau.
        observation_size: width of an observation.
        action_size: width of an action.
        init_streams: where each member's parameters come from, at the start and after every reset.
    """

    def __init__(
        self,
        configs: Sequence[BROConfig],
        observation_size: int,
        action_size: int,
        init_streams: Sequence[torch.Generator],
    ) -> None:
        self._configs, self._shared, self._init_streams = configs, configs[0], init_streams
        self._sizes = observation_size, action_size
        shared, members = self._shared, len(configs)
        self._actor_shapes = shapes(observation_size, shared.actor_width, shared.actor_depth, 2 * action_size)
        critic_inputs = observation_size + action_size
        self._critic_shapes = shapes(critic_inputs, shared.hidden_width, shared.depth, shared.quantiles)
        self.model_size = 2 * parameter_count(self._critic_shapes)  # critic parameters of one member
        self.update_flops = self._update_flops()
        self._actor_pass = BroNets(self._actor_shapes, members, shared.batch_size)
        self._critic_pass = BroNets(self._critic_shapes, 2 * members, shared.batch_size)
        self._critic_inputs = self._critic_pass.inputs.view(members, 2, shared.batch_size, -1)
        self._acting: dict[int, BroNets] = {}  # by number of observations
        # The actor's loss falls by the mean over critics, quantiles and samples.
        share = -1.0 / (2 * shared.quantiles * shared.batch_size)
        self._mean_gradients = torch.full((2 * members, shared.batch_size, shared.quantiles), share)
        self._updates = 0
        self._start()

    def update(self, batch: Batch, streams: Sequence[torch.Generator]) -> Losses:
        """Losses of one gradient update of every member, which changes all parameters in place.

        Critics: the quantile Huber loss of each with the targets, quantile by quantile,
        y = r + discount (mean_i Qtarget_i(s', a') - T log pi(a'|s')).
        Actor: mean T log pi(a|s) - mean_i Q_i(s, a). Temperature: mean -T (log pi(a|s) + H), target entropy H = -|A|/2.
        The critics' loss that is returned is the squared error of the mean values: their own would cost another pass.

        Args:
            batch: transitions from the replay buffer.
            streams: of each member, for the noise of its actions.
        """
        if self._updates and self._updates % self._shared.reset_interval == 0:
            self._start()
        self._updates += 1
        return self._update(batch, streams)

    def _updated(self, batch: Batch, streams: Sequence[torch.Generator]) -> Losses:
        critic_loss = self._update_critics(batch, self._sample_actions(batch.next_observation, streams))
        self._target_rows.lerp_(self._critic_rows, self._taus)
        now = self._sample_actions(batch.observation, streams)
        actor_loss = self._update_actor(batch, now)
        if self.optimist is not None:
            self._update_optimist(self.optimist, batch, streams)
        self._update_temperature(now)
        return Losses(critic_loss, actor_loss)

    def explore(self, observations: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
        """Actions to train on, (member, 1, action), in one observation of each member, (member, 1, observation)."""
        mean, std = self._policy(self._acting_in(observations))
        noise = normal((1, self._sizes[1]), streams, observations.device)
        if self.optimist is not None:
            return self.optimist.explore(observations, mean, std, noise)
        return torch.tanh(mean + std * noise)

    def greedy(self, observations: Tensor) -> Tensor:
        """The policies' modes, (member, n, action), in n observations of each member, (member, n, observation)."""
        mean, _ = self._policy(self._acting_in(observations))
        return torch.tanh(mean)

    def agent(self, member: int) -> Agent:
        """A copy of one member's parameters."""
        both = slice(2 * member, 2 * member + 2)
        return Agent(
            actor=copied(self.actor, slice(member, member + 1)),
            critics=copied(self.critics, both),
            target_critics=copied(self.target_critics, both),
            log_temperature=self.log_temperature[member].item(),
        )

    def _update_flops(self) -> int:
        (observed, acted), shared, samples = self._sizes, self._shared, self._shared.batch_size
        actor, critic = self._actor_shapes, self._critic_shapes
        judged = forward_flops(critic, samples) + input_gradient_flops(critic, samples, acted)
        flops = (
            2 * forward_flops(actor, samples)  # in s' and in s
            + parameter_gradient_flops(actor, samples)
            + 2 * (2 * forward_flops(critic, samples) + parameter_gradient_flops(critic, samples) + judged)
        )
        if shared.optimistic:
            optimist = shapes(observed + acted, shared.actor_width, shared.actor_depth, acted)
            learned = forward_flops(optimist, samples) + parameter_gradient_flops(optimist, samples)
            flops += forward_flops(actor, samples) + learned + 2 * judged
        return flops

    def _start(self) -> None:
        """Fresh networks, temperatures and optimisers."""
        members, shared = len(self._configs), self._shared
        learning_rates = [config.learning_rate for config in self._configs]
        actor_rows = torch.zeros(members, parameter_count(self._actor_shapes))
        critic_rows = torch.zeros(members, self.model_size)
        self.actor = layers_of(actor_rows, self._actor_shapes)
        self.critics = self._critics_in(critic_rows)
        for i, stream in enumerate(self._init_streams):
            init_layers([layer[i : i + 1] for layer in self.actor], stream, (GAIN, LOG_STD_HEAD_GAIN))
            init_layers([layer[2 * i : 2 * i + 2] for layer in self.critics], stream)
        target_rows = critic_rows.clone()
        self.target_critics = self._critics_in(target_rows)
        self._target_rows, self._critic_rows = target_rows, critic_rows
        self._taus = torch.tensor([[config.tau] for config in self._configs])
        self.log_temperature = torch.zeros(members, 1)
        self._actor_adam = Adam(actor_rows, learning_rates, weight_decay=shared.weight_decay)
        self._critic_adam = Adam(critic_rows, learning_rates, weight_decay=shared.weight_decay)
        self._temperature_adam = Adam(self.log_temperature, learning_rates, TEMPERATURE_BETA_1)
        self._actor_gradients = layers_of(self._actor_adam.gradients, self._actor_shapes)
        self._critic_gradients = self._critics_in(self._critic_adam.gradients)
        self.optimist = (
            OptimisticActor(
                self._sizes,
                shared.actor_width,
                shared.actor_depth,
                shared.batch_size,
                learning_rates,
                shared.weight_decay,
                self._init_streams,
            )
            if shared.optimistic
            else None
        )
        self._update = recorded(self._updated, torch.device(shared.device))  # anew, for the new tensors

    def _sample_actions(self, observation: Tensor, streams: Sequence[torch.Generator]) -> Sampled:
        self._actor_pass.inputs[:] = observation.mT
        mean, raw = self._actor_pass.forward(self.actor).mT.chunk(2, dim=1)
        return sample(torch.cat((mean, _log_std(raw)), 1), self._noise(streams).mT)

    def _update_critics(self, batch: Batch, then: Sampled) -> Tensor:
        temperature = self.log_temperature.exp()
        next_value = self._quantiles(self.target_critics, batch.next_observation.mT, then.action.mT).mean(1)
        next_value -= (temperature * then.log_density)[..., None]
        target = next_value.mul_(batch.discount[..., None]).add_(batch.reward[..., None])
        quantiles = self._quantiles(self.critics, batch.observation.mT, batch.action.mT)
        gradients = huber_gradients(quantiles, target).flatten(0, 1)
        self._critic_pass.parameter_gradients(self.critics, gradients, self._critic_gradients)
        self._critic_adam.step()
        return (quantiles.mean(-1) - target.mean(-1)[:, None]).square().mean(-1).sum(-1)

    def _update_actor(self, batch: Batch, now: Sampled) -> Tensor:
        temperature = self.log_temperature.exp()
        value = self._quantiles(self.critics, batch.observation.mT, now.action.mT).mean((1, 3))
        by_action = self._action_gradients(self._mean_gradients)
        gradients = output_gradients(now, by_action.mT, temperature[..., None] / value.shape[-1])
        raw = self._actor_pass.outputs.mT[:, self._sizes[1] :]
        gradients[:, self._sizes[1] :] *= (0.5 * (LOG_STD_MAX - LOG_STD_MIN)) * (1.0 - torch.tanh(raw).square())
        self._actor_pass.parameter_gradients(self.actor, gradients.mT, self._actor_gradients)
        self._actor_adam.step()
        return (temperature * now.log_density - value).mean(-1)

    def _update_optimist(self, optimist: OptimisticActor, batch: Batch, streams: Sequence[torch.Generator]) -> None:
        observation = batch.observation.mT
        self._actor_pass.inputs[:] = observation
        mean, std = self._policy(self._actor_pass.forward(self.actor))
        action = optimist.propose(observation, mean, std, self._noise(streams))
        quantiles = self._quantiles(self.critics, observation, action)
        optimist.learn(self._action_gradients(optimist.quantile_gradients(quantiles).flatten(0, 1)))

    def _update_temperature(self, now: Sampled) -> None:
        entropy_gap = now.log_density.mean(-1, keepdim=True) - 0.5 * self._sizes[1]  # log pi + H
        torch.mul(-self.log_temperature.exp(), entropy_gap, out=self._temperature_adam.gradients)
        self._temperature_adam.step()

    def _quantiles(self, critics: Layers, observation: Tensor, action: Tensor) -> Tensor:
        """Quantiles of both critics, (member, 2, batch, quantile); the next call overwrites them.

        The arguments are (member, batch, observation) and (member, batch, action).
        """
        self._critic_inputs[..., : self._sizes[0]] = observation[:, None]
        self._critic_inputs[..., self._sizes[0] :] = action[:, None]
        outputs = self._critic_pass.forward(critics)
        return outputs.view(len(action), 2, *outputs.shape[1:])

    def _action_gradients(self, quantile_gradients: Tensor) -> Tensor:
        """Gradients by the actions of the last pass, summed over both critics, (member, batch, action)."""
        acted = slice(self._sizes[0], sum(self._sizes))
        by_critic = self._critic_pass.input_gradients(self.critics, quantile_gradients, acted)
        return by_critic.view(-1, 2, *by_critic.shape[1:]).sum(1)

    def _policy(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means before the tanh and standard deviations, both (member, n, action)."""
        mean, raw = outputs.chunk(2, dim=-1)
        return mean, _log_std(raw).exp()

    def _acting_in(self, observations: Tensor) -> Tensor:
        members, size, _ = observations.shape
        if size not in self._acting:
            self._acting[size] = BroNets(self._actor_shapes, members, size)
        self._acting[size].inputs[:] = observations
        return self._acting[size].forward(self.actor)

    def _noise(self, streams: Sequence[torch.Generator]) -> Tensor:
        """Standard normal, (member, batch, action)."""
        return normal((self._shared.batch_size, self._sizes[1]), streams, self._mean_gradients.device)

    def _critics_in(self, rows: Tensor) -> Layers:
        """The layers of all critics, both of one member side by side: (2 member, in, out)."""
        return layers_of(rows.view(2 * len(rows), -1), self._critic_shapes)


def _log_std(raw: Tensor) -> Tensor:
    return LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (1.0 + torch.tanh(raw))
