"""Soft actor-critic (Haarnoja et al., 2018): clipped double Q, a tanh-Gaussian policy, a learned temperature.

One learner trains an ensemble of agents that differ in seed and scalar hyperparameters; `training/loop.py` runs it on a
task. Gradients are written by hand, because autograd costs more than the small matrix products that it tracks.

To read the algorithm first without stacking and hand-written gradients, see `slow_updates` in
`tests/runners/algorithms/test_sac.py`: the same update for one agent, line by line with autograd. A test holds both
equal.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bayescale.runners.algorithms.learner import Batch, Losses
from bayescale.runners.algorithms.policy import Sampled, explore, greedy, output_gradients, sample
from bayescale.runners.config import SACConfig
from bayescale.runners.networks.adam import Adam
from bayescale.runners.networks.cuda_graphs import recorded
from bayescale.runners.networks.dense import ALIGNMENT, Layers, copied, layers_of, parameter_count, stored_count
from bayescale.runners.networks.flops import forward_flops, input_gradient_flops, parameter_gradient_flops
from bayescale.runners.networks.perceptrons import Perceptrons, init_perceptrons, perceptron_shapes
from bayescale.runners.networks.random_streams import normal, normal_


class Agent(NamedTuple):
    """The parameters of one member: layers of one actor and of two critics, (network, out, in + 1), the bias last."""

    actor: Layers
    critics: Layers
    target_critics: Layers
    log_temperature: float


class SAC:
    """Agents with random networks and temperature 1, one per configuration, stacked along a leading member axis.

    Args:
        configs: settings of the members, which share batch size, width and depth.
        observation_size: width of an observation.
        action_size: width of an action.
        init_streams: source of each member's first parameters.
    """

    def __init__(
        self,
        configs: Sequence[SACConfig],
        observation_size: int,
        action_size: int,
        init_streams: Sequence[torch.Generator],
    ) -> None:
        members, batch_size = len(configs), configs[0].batch_size
        hidden = [configs[0].hidden_width] * configs[0].depth
        self._actor_sizes = [observation_size, *hidden, 2 * action_size]
        self._critic_sizes = [observation_size + action_size, *hidden, 1]
        self._actor_shapes = perceptron_shapes(self._actor_sizes)
        self._critic_shapes = perceptron_shapes(self._critic_sizes)
        self._action_size = action_size
        self._observed = slice(observation_size)
        self._acted = slice(observation_size, observation_size + action_size)
        self.model_size = 2 * parameter_count(self._critic_shapes)  # critic parameters of one member
        self.matrix_product_flops = (
            forward_flops(self._actor_sizes, 2 * batch_size)  # passes in s and in s'
            + 6 * forward_flops(self._critic_sizes, batch_size)  # targets, critics, critics in the actor loss; two each
            + 2 * parameter_gradient_flops(self._critic_sizes, batch_size)
            + 2 * input_gradient_flops(self._critic_sizes, batch_size, action_size)
            + parameter_gradient_flops(self._actor_sizes, batch_size)
        )

        # Each member has one row: actor and log temperature; both critics, one after the other; their targets.
        self._actor_rows = torch.zeros(members, stored_count(self._actor_shapes) + ALIGNMENT)
        self._critic_rows = torch.zeros(members, 2 * stored_count(self._critic_shapes))
        self.actor, self.log_temperature = self._actor_in(self._actor_rows)
        self.critics = self._critics_in(self._critic_rows)
        for i, stream in enumerate(init_streams):
            init_perceptrons([layer[i : i + 1] for layer in self.actor], stream)
            init_perceptrons([layer[2 * i : 2 * i + 2] for layer in self.critics], stream)
        self._target_rows = self._critic_rows.clone()
        self.target_critics = self._critics_in(self._target_rows)
        self._taus = torch.tensor([[config.tau] for config in configs])

        learning_rates = [config.learning_rate for config in configs]
        self._actor_adam = Adam(self._actor_rows, learning_rates)
        self._critic_adam = Adam(self._critic_rows, learning_rates)
        self._actor_gradients, self._temperature_gradient = self._actor_in(self._actor_adam.gradients)
        self._critic_gradients = self._critics_in(self._critic_adam.gradients)

        self._noise = torch.empty(members, action_size, 2 * batch_size)
        # One pass in s and one in s': the activations of both together would not stay in the core's cache.
        self._now_pass, self._then_pass = (Perceptrons(self._actor_sizes, members, batch_size) for _ in range(2))
        self._critic_pass = Perceptrons(self._critic_sizes, 2 * members, batch_size)
        self._critic_inputs = self._critic_pass.inputs.view(members, 2, -1, batch_size)
        self._acting: dict[int, Perceptrons] = {}  # keys: numbers of observations
        self._update = recorded(self._updated, torch.device(configs[0].device))

    def update(self, batch: Batch, streams: Sequence[torch.Generator]) -> Losses:
        """Do one gradient update of every member in place and return its losses.

        Critics: sum_i mean (Q_i(s, a) - y)^2, with the target
        y = r + discount (min_i Qtarget_i(s', a') - T log pi(a'|s')).
        Actor: mean T log pi(a|s) - min_i Q_i(s, a). Temperature: mean -T (log pi(a|s) + H), target entropy H = -|A|.

        Args:
            batch: transitions from the replay buffer.
            streams: source of each member's action noise.
        """
        return self._update(batch, streams)

    def _updated(self, batch: Batch, streams: Sequence[torch.Generator]) -> Losses:
        now, then = self._sample_actions(batch, streams)
        temperature = self.log_temperature.exp()
        critic_loss = self._update_critics(batch, then, temperature)
        actor_loss = self._update_actor(batch, now, temperature)
        self._target_rows.lerp_(self._critic_rows, self._taus)
        return Losses(critic_loss, actor_loss)

    def explore(self, observations: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
        """Return sampled actions, (member, n, action), in n observations of each member, (member, n, observation)."""
        shape = (self._action_size, observations.shape[1])
        noise = normal(shape, streams, observations.device)
        return explore(self._actor_outputs(observations), noise).mT

    def greedy(self, observations: Tensor) -> Tensor:
        """Return the policies' modes, (member, n, action), in n observations of each, (member, n, observation)."""
        return greedy(self._actor_outputs(observations)).mT

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
        """Return all that training changes: parameters, targets and both optimisers."""
        return {
            "actor": self._actor_rows,
            "critics": self._critic_rows,
            "targets": self._target_rows,
            "actor_adam": self._actor_adam.state_dict(),
            "critic_adam": self._critic_adam.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an equal learner."""
        self._actor_rows.copy_(state["actor"])
        self._critic_rows.copy_(state["critics"])
        self._target_rows.copy_(state["targets"])
        self._actor_adam.load_state_dict(state["actor_adam"])
        self._critic_adam.load_state_dict(state["critic_adam"])

    def _sample_actions(self, batch: Batch, streams: Sequence[torch.Generator]) -> tuple[Sampled, Sampled]:
        """Return actions in s and in s', drawn together because the actor does not change in between."""
        normal_(self._noise, streams)
        size = batch.reward.shape[-1]
        self._now_pass.inputs[:] = batch.observation
        self._then_pass.inputs[:] = batch.next_observation
        outputs = torch.cat((self._now_pass.forward(self.actor), self._then_pass.forward(self.actor)), dim=-1)
        both = sample(outputs, self._noise)
        return Sampled(*(values[..., :size] for values in both)), Sampled(*(values[..., size:] for values in both))

    def _update_critics(self, batch: Batch, then: Sampled, temperature: Tensor) -> Tensor:
        next_value = self._q_values(self.target_critics, batch.next_observation, then.action).amin(1)
        next_value -= temperature * then.log_density
        target = batch.reward + batch.discount * next_value
        error = self._q_values(self.critics, batch.observation, batch.action) - target[:, None]
        q_gradients = error * (2.0 / error.shape[-1])
        self._critic_pass.parameter_gradients(self.critics, _per_critic(q_gradients), self._critic_gradients)
        self._critic_adam.step()
        return error.square().mean(-1).sum(-1)

    def _update_actor(self, batch: Batch, now: Sampled, temperature: Tensor) -> Tensor:
        q = self._q_values(self.critics, batch.observation, now.action)
        smaller, which = q.min(1, keepdim=True)
        actor_loss = (temperature * now.log_density - smaller[:, 0]).mean(-1)
        share = 1.0 / q.shape[-1]
        q_gradients = torch.zeros_like(q).scatter_(1, which, -share)
        by_critic = self._critic_pass.input_gradients(self.critics, _per_critic(q_gradients), self._acted)
        gradients = output_gradients(
            now, by_critic.view(len(q), 2, -1, q.shape[-1]).sum(1), share * temperature[..., None]
        )
        self._now_pass.parameter_gradients(self.actor, gradients, self._actor_gradients)
        entropy_gap = now.log_density.mean(-1, keepdim=True) - self._action_size  # log pi + H
        torch.mul(-temperature, entropy_gap, out=self._temperature_gradient)
        self._actor_adam.step()
        return actor_loss

    def _q_values(self, critics: Layers, observation: Tensor, action: Tensor) -> Tensor:
        """Return Q of both critics, (member, 2, batch); the next call overwrites it."""
        self._critic_inputs[:, :, self._observed] = observation[:, None]
        self._critic_inputs[:, :, self._acted] = action[:, None]
        return self._critic_pass.forward(critics).view(len(action), 2, -1)

    def _actor_outputs(self, observations: Tensor) -> Tensor:
        members, size, _ = observations.shape
        if size not in self._acting:
            self._acting[size] = Perceptrons(self._actor_sizes, members, size)
        self._acting[size].inputs[:] = observations.mT
        return self._acting[size].forward(self.actor)

    def _actor_in(self, rows: Tensor) -> tuple[Layers, Tensor]:
        """Return the actor's layers and the log temperature, (member, 1)."""
        end = stored_count(self._actor_shapes)
        return layers_of(rows[:, :end], self._actor_shapes), rows[:, end : end + 1]

    def _critics_in(self, rows: Tensor) -> Layers:
        """Return the layers of all critics, both of one member side by side: (2 member, out, in + 1)."""
        return layers_of(rows.view(2 * len(rows), -1), self._critic_shapes)


def _per_critic(values: Tensor) -> Tensor:
    """Reshape (member, 2, batch) to (2 member, 1, batch)."""
    return values.flatten(0, 1)[:, None]
