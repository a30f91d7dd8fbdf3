"""BRO (Nauman et al., 2024, "Bigger, Regularized, Optimistic"): soft actor-critic with large regularised critics.

Two BroNet critics predict quantiles, and their mean, not their minimum, is the value. AdamW trains all networks.
Networks and optimisers start afresh after every `reset_interval` updates, while the replay is kept. A second,
optimistic actor explores. Members are stacked along a leading axis, as in `sac.py`; gradients are written by hand.
`tests/runners/algorithms/test_bro.py` repeats every update line by line with autograd.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bayescale.runners.algorithms.learner import Batch, Losses
from bayescale.runners.algorithms.optimism import OptimisticActor
from bayescale.runners.algorithms.policy import Sampled, output_gradients, sample
from bayescale.runners.algorithms.quantiles import huber_gradients
from bayescale.runners.config import BROConfig
from bayescale.runners.networks.adam import Adam
from bayescale.runners.networks.bronet import GAIN, BroNets, bronet_shapes, bronet_sizes, init_bronets
from bayescale.runners.networks.cuda_graphs import recorded
from bayescale.runners.networks.dense import Layers, copied, layers_of, parameter_count, stored_count
from bayescale.runners.networks.flops import forward_flops, input_gradient_flops, parameter_gradient_flops
from bayescale.runners.networks.random_streams import load_stream_states, normal, stream_states

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
        configs: settings of the members, which share all but learning rate, seed, gamma and tau.
        observation_size: width of an observation.
        action_size: width of an action.
        init_streams: source of each member's parameters, at the start and after every reset.
    """

    def __init__(
        self,
        configs: Sequence[BROConfig],
        observation_size: int,
        action_size: int,
        init_streams: Sequence[torch.Generator],
    ) -> None:
        self._configs, self._shared, self._init_streams = configs, configs[0], init_streams
        self._observation_size, self._action_size = observation_size, action_size
        shared, members = self._shared, len(configs)
        self._actor_sizes = bronet_sizes(observation_size, shared.actor_width, shared.actor_depth, 2 * action_size)
        self._critic_sizes = bronet_sizes(
            observation_size + action_size, shared.hidden_width, shared.depth, shared.quantiles
        )
        self._actor_shapes, self._critic_shapes = bronet_shapes(self._actor_sizes), bronet_shapes(self._critic_sizes)
        self.model_size = 2 * parameter_count(self._critic_shapes)  # critic parameters of one member
        self.matrix_product_flops = self._matrix_product_flops()
        self._actor_pass = BroNets(self._actor_sizes, members, shared.batch_size)
        self._critic_pass = BroNets(self._critic_sizes, 2 * members, shared.batch_size)
        self._critic_inputs = self._critic_pass.inputs.view(members, 2, -1, shared.batch_size)
        self._acting: dict[int, BroNets] = {}  # keys: numbers of observations
        # The actor's loss falls by the mean over critics, quantiles and samples.
        share = -1.0 / (2 * shared.quantiles * shared.batch_size)
        self._mean_gradients = torch.full((2 * members, shared.quantiles, shared.batch_size), share)
        self._updates = 0
        self._start()

    def update(self, batch: Batch, streams: Sequence[torch.Generator]) -> Losses:
        """Do one gradient update of every member in place and return its losses.

        Critics: the quantile Huber loss of each with the targets, quantile by quantile,
        y = r + discount (mean_i Qtarget_i(s', a') - T log pi(a'|s')).
        Actor: mean T log pi(a|s) - mean_i Q_i(s, a). Temperature: mean -T (log pi(a|s) + H), target entropy H = -|A|/2.
        The returned critic loss is the squared error of the mean values: the Huber loss would cost another pass.

        Args:
            batch: transitions from the replay buffer.
            streams: source of each member's action noise.
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
        """Return actions to train on, (member, 1, action), in one observation of each, (member, 1, observation)."""
        mean, std = self._policy(self._actor_outputs(observations))
        noise = normal((1, self._action_size), streams, observations.device).mT
        if self.optimist is not None:
            return self.optimist.explore(observations.mT, mean, std, noise).mT
        return torch.tanh(mean + std * noise).mT

    def greedy(self, observations: Tensor) -> Tensor:
        """Return the policies' modes, (member, n, action), in n observations of each, (member, n, observation)."""
        mean, _ = self._policy(self._actor_outputs(observations))
        return torch.tanh(mean).mT

    def agent(self, member: int) -> Agent:
        """Return a copy of one member's parameters."""
        both = slice(2 * member, 2 * member + 2)
        return Agent(
            actor=copied(self.actor, slice(member, member + 1)),
            critics=copied(self.critics, both),
            target_critics=copied(self.target_critics, both),
            log_temperature=self.log_temperature[member].item(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that training changes; `init_streams` belong to it, for the resets to come."""
        return {
            "updates": self._updates,
            "actor": self._actor_rows,
            "critics": self._critic_rows,
            "targets": self._target_rows,
            "log_temperature": self.log_temperature,
            "actor_adam": self._actor_adam.state_dict(),
            "critic_adam": self._critic_adam.state_dict(),
            "temperature_adam": self._temperature_adam.state_dict(),
            "optimist": {} if self.optimist is None else self.optimist.state_dict(),
            "init_streams": stream_states(self._init_streams),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an equal learner."""
        self._updates = state["updates"]
        self._actor_rows.copy_(state["actor"])
        self._critic_rows.copy_(state["critics"])
        self._target_rows.copy_(state["targets"])
        self.log_temperature.copy_(state["log_temperature"])
        self._actor_adam.load_state_dict(state["actor_adam"])
        self._critic_adam.load_state_dict(state["critic_adam"])
        self._temperature_adam.load_state_dict(state["temperature_adam"])
        if self.optimist is not None:
            self.optimist.load_state_dict(state["optimist"])
        load_stream_states(self._init_streams, state["init_streams"])

    def _matrix_product_flops(self) -> int:
        samples, action_size = self._shared.batch_size, self._action_size
        actor, critic = self._actor_sizes, self._critic_sizes
        judged = forward_flops(critic, samples) + input_gradient_flops(critic, samples, action_size)
        flops = (
            2 * forward_flops(actor, samples)  # passes in s' and in s
            + parameter_gradient_flops(actor, samples)
            + 2 * (2 * forward_flops(critic, samples) + parameter_gradient_flops(critic, samples) + judged)
        )
        if self._shared.optimistic:
            width, blocks = self._shared.actor_width, self._shared.actor_depth
            optimist = bronet_sizes(self._observation_size + action_size, width, blocks, action_size)
            learned = forward_flops(optimist, samples) + parameter_gradient_flops(optimist, samples)
            flops += forward_flops(actor, samples) + learned + 2 * judged
        return flops

    def _start(self) -> None:
        """Make fresh networks, temperatures and optimisers."""
        members, shared = len(self._configs), self._shared
        learning_rates = [config.learning_rate for config in self._configs]
        self._actor_rows = torch.zeros(members, stored_count(self._actor_shapes))
        self._critic_rows = torch.zeros(members, 2 * stored_count(self._critic_shapes))
        self.actor, self.critics = layers_of(self._actor_rows, self._actor_shapes), self._critics_in(self._critic_rows)
        for i, stream in enumerate(self._init_streams):
            init_bronets([layer[i : i + 1] for layer in self.actor], stream, (GAIN, LOG_STD_HEAD_GAIN))
            init_bronets([layer[2 * i : 2 * i + 2] for layer in self.critics], stream)
        self._target_rows = self._critic_rows.clone()
        self.target_critics = self._critics_in(self._target_rows)
        self._taus = torch.tensor([[config.tau] for config in self._configs])
        self.log_temperature = torch.zeros(members, 1)
        self._actor_adam = Adam(self._actor_rows, learning_rates, weight_decay=shared.weight_decay)
        self._critic_adam = Adam(self._critic_rows, learning_rates, weight_decay=shared.weight_decay)
        self._temperature_adam = Adam(self.log_temperature, learning_rates, TEMPERATURE_BETA_1)
        self._actor_gradients = layers_of(self._actor_adam.gradients, self._actor_shapes)
        self._critic_gradients = self._critics_in(self._critic_adam.gradients)
        sizes = self._observation_size, self._action_size
        self.optimist = OptimisticActor(self._configs, *sizes, self._init_streams) if shared.optimistic else None
        self._update = recorded(self._updated, torch.device(shared.device))  # a graph holds the old tensors

    def _sample_actions(self, observation: Tensor, streams: Sequence[torch.Generator]) -> Sampled:
        self._actor_pass.inputs[:] = observation
        mean, raw = self._actor_pass.forward(self.actor).chunk(2, dim=1)
        return sample(torch.cat((mean, _log_std(raw)), 1), self._noise(streams))

    def _update_critics(self, batch: Batch, then: Sampled) -> Tensor:
        temperature = self.log_temperature.exp()
        next_value = self._quantiles(self.target_critics, batch.next_observation, then.action).mean(1)
        next_value -= (temperature * then.log_density)[:, None]
        target = next_value.mul_(batch.discount[:, None]).add_(batch.reward[:, None])
        quantiles = self._quantiles(self.critics, batch.observation, batch.action)
        gradients = huber_gradients(quantiles, target).flatten(0, 1)
        self._critic_pass.parameter_gradients(self.critics, gradients, self._critic_gradients)
        self._critic_adam.step()
        return (quantiles.mean(2) - target.mean(1)[:, None]).square().mean(-1).sum(-1)

    def _update_actor(self, batch: Batch, now: Sampled) -> Tensor:
        temperature = self.log_temperature.exp()
        value = self._quantiles(self.critics, batch.observation, now.action).mean((1, 2))
        by_action = self._action_gradients(self._mean_gradients)
        gradients = output_gradients(now, by_action, temperature[..., None] / value.shape[-1])
        raw = self._actor_pass.outputs[:, self._action_size :]
        gradients[:, self._action_size :] *= (0.5 * (LOG_STD_MAX - LOG_STD_MIN)) * (1.0 - torch.tanh(raw).square())
        self._actor_pass.parameter_gradients(self.actor, gradients, self._actor_gradients)
        self._actor_adam.step()
        return (temperature * now.log_density - value).mean(-1)

    def _update_optimist(self, optimist: OptimisticActor, batch: Batch, streams: Sequence[torch.Generator]) -> None:
        self._actor_pass.inputs[:] = batch.observation
        mean, std = self._policy(self._actor_pass.forward(self.actor))
        action = optimist.propose(batch.observation, mean, std, self._noise(streams))
        quantiles = self._quantiles(self.critics, batch.observation, action)
        optimist.learn(self._action_gradients(optimist.quantile_gradients(quantiles).flatten(0, 1)))

    def _update_temperature(self, now: Sampled) -> None:
        entropy_gap = now.log_density.mean(-1, keepdim=True) - 0.5 * self._action_size  # log pi + H
        torch.mul(-self.log_temperature.exp(), entropy_gap, out=self._temperature_adam.gradients)
        self._temperature_adam.step()

    def _quantiles(self, critics: Layers, observation: Tensor, action: Tensor) -> Tensor:
        """Return quantiles of both critics, (member, 2, quantile, batch); the next call overwrites them."""
        self._critic_inputs[:, :, : self._observation_size] = observation[:, None]
        self._critic_inputs[:, :, self._observation_size :] = action[:, None]
        outputs = self._critic_pass.forward(critics)
        return outputs.view(len(action), 2, *outputs.shape[1:])

    def _action_gradients(self, quantile_gradients: Tensor) -> Tensor:
        """Return gradients by the actions of the last pass, summed over both critics, (member, action, batch)."""
        acted = slice(self._observation_size, self._observation_size + self._action_size)
        by_critic = self._critic_pass.input_gradients(self.critics, quantile_gradients, acted)
        return by_critic.view(-1, 2, *by_critic.shape[1:]).sum(1)

    def _policy(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return means before the tanh and standard deviations, both (member, action, n)."""
        mean, raw = outputs.chunk(2, dim=1)
        return mean, _log_std(raw).exp()

    def _actor_outputs(self, observations: Tensor) -> Tensor:
        members, size, _ = observations.shape
        if size not in self._acting:
            self._acting[size] = BroNets(self._actor_sizes, members, size)
        self._acting[size].inputs[:] = observations.mT
        return self._acting[size].forward(self.actor)

    def _noise(self, streams: Sequence[torch.Generator]) -> Tensor:
        """Return standard normal numbers, (member, action, batch), drawn sample by sample."""
        return normal((self._shared.batch_size, self._action_size), streams, self._mean_gradients.device).mT

    def _critics_in(self, rows: Tensor) -> Layers:
        """Return the layers of all critics, both of one member side by side: (2 member, row, column)."""
        return layers_of(rows.view(2 * len(rows), -1), self._critic_shapes)


def _log_std(raw: Tensor) -> Tensor:
    return LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (1.0 + torch.tanh(raw))
