"""Parallel Q-learning (Li et al., 2023): deterministic policies and clipped double Q on thousands of environments.

The authors run three processes that exchange networks and data: an actor that steps all environments, a value learner
and a policy learner, with fixed ratios between their speeds. Here one process does the three in turn at exactly these
ratios: `utd` times `num_envs` critic updates after every step of all environments (8 at the defaults), and one actor
update after every `critic_actor_ratio` critic updates, on the observations of the same batch. Concurrency changes how
soon a curve is ready and how old the exchanged networks are; without concurrency the same seed gives the same curve.

Shared with the authors: returns over `n_step` steps, exploration noise that grows from environment to environment,
clipped noise on the target actions and no target actor (TD3; Fujimoto et al., 2018), observations scaled by running
statistics, AdamW, and gradients clipped to a largest norm. Different: ReLU layers of one width in place of ELU layers
of 512, 256 and 128, and statistics of the observations that the policy acted on, without those of the warm-up.

`slow_updates` in `tests/runners/algorithms/test_pql.py` repeats the update for one agent with autograd.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bayescale.runners.algorithms.learner import Batch, Losses
from bayescale.runners.algorithms.normalization import Normalizer
from bayescale.runners.config import PQLConfig
from bayescale.runners.networks.adam import Adam
from bayescale.runners.networks.cuda_graphs import recorded
from bayescale.runners.networks.dense import Layers, copied, layers_of, parameter_count, stored_count
from bayescale.runners.networks.flops import forward_flops, input_gradient_flops, parameter_gradient_flops
from bayescale.runners.networks.perceptrons import Perceptrons, init_perceptrons, perceptron_shapes
from bayescale.runners.networks.random_streams import normal, normal_


class Agent(NamedTuple):
    """The parameters of one member: layers of one actor and of two critics, (network, out, in + 1), the bias last."""

    actor: Layers
    critics: Layers
    target_critics: Layers
    mean: Tensor  # mean of the observations, (observation,)
    std: Tensor  # their standard deviation, (observation,)


class PQL:
    """Agents with random networks, one per configuration, stacked along a leading member axis.

    Args:
        configs: settings of the members, which share all but learning rate, seed, gamma and tau.
        observation_size: width of an observation.
        action_size: width of an action.
        init_streams: source of each member's first parameters.
    """

    def __init__(
        self,
        configs: Sequence[PQLConfig],
        observation_size: int,
        action_size: int,
        init_streams: Sequence[torch.Generator],
    ) -> None:
        members, self._shared = len(configs), configs[0]
        batch_size = self._shared.batch_size
        hidden = [self._shared.hidden_width] * self._shared.depth
        self._actor_sizes = [observation_size, *hidden, action_size]
        self._critic_sizes = [observation_size + action_size, *hidden, 1]
        self._actor_shapes = perceptron_shapes(self._actor_sizes)
        self._critic_shapes = perceptron_shapes(self._critic_sizes)
        self._observed = slice(observation_size)
        self._acted = slice(observation_size, observation_size + action_size)
        self.model_size = 2 * parameter_count(self._critic_shapes)  # critic parameters of one member
        critic_flops = (
            forward_flops(self._actor_sizes, batch_size)  # one pass in s'
            + 4 * forward_flops(self._critic_sizes, batch_size)  # two target critics, two critics
            + 2 * parameter_gradient_flops(self._critic_sizes, batch_size)
        )
        actor_flops = (
            forward_flops(self._actor_sizes, batch_size)
            + 2 * forward_flops(self._critic_sizes, batch_size)
            + 2 * input_gradient_flops(self._critic_sizes, batch_size, action_size)
            + parameter_gradient_flops(self._actor_sizes, batch_size)
        )
        self.matrix_product_flops = critic_flops + actor_flops // self._shared.critic_actor_ratio  # mean over updates

        # Each member has one row: the actor; both critics, one after the other; their targets.
        self._actor_rows = torch.zeros(members, stored_count(self._actor_shapes))
        self._critic_rows = torch.zeros(members, 2 * stored_count(self._critic_shapes))
        self.actor, self.critics = layers_of(self._actor_rows, self._actor_shapes), self._critics_in(self._critic_rows)
        for i, stream in enumerate(init_streams):
            init_perceptrons([layer[i : i + 1] for layer in self.actor], stream)
            init_perceptrons([layer[2 * i : 2 * i + 2] for layer in self.critics], stream)
        self._target_rows = self._critic_rows.clone()
        self.target_critics = self._critics_in(self._target_rows)
        self._taus = torch.tensor([[config.tau] for config in configs])
        self.normalizer = Normalizer(members, observation_size)

        learning_rates = [config.learning_rate for config in configs]
        self._actor_adam, self._critic_adam = (
            Adam(rows, learning_rates, weight_decay=self._shared.weight_decay)
            for rows in (self._actor_rows, self._critic_rows)
        )
        self._actor_gradients = layers_of(self._actor_adam.gradients, self._actor_shapes)
        self._critic_gradients = self._critics_in(self._critic_adam.gradients)

        self._noise = torch.empty(members, action_size, batch_size)
        self._actor_pass = Perceptrons(self._actor_sizes, members, batch_size)
        self._critic_pass = Perceptrons(self._critic_sizes, 2 * members, batch_size)
        self._critic_inputs = self._critic_pass.inputs.view(members, 2, -1, batch_size)
        self._acting: dict[int, Perceptrons] = {}  # keys: numbers of observations
        self._exploration = torch.linspace(self._shared.noise_low, self._shared.noise_high, self._shared.num_envs)
        self._updates = 0
        self._actor_loss = torch.zeros(members)
        self._update = recorded(self._updated, torch.device(self._shared.device))

    def update(self, batch: Batch, streams: Sequence[torch.Generator]) -> Losses:
        """Do one critic update of every member in place; return its losses and those of the last actor update.

        Critics: sum_i mean (Q_i(s, a) - y)^2, with the target y = r + discount min_i Qtarget_i(s', a'), where
        a' = pi(s') + noise, and r, s' and discount span `n_step` steps. Actor: mean -min_i Q_i(s, pi(s)).

        Args:
            batch: transitions from the replay buffer.
            streams: source of each member's noise on the target actions.
        """
        self._updates += 1
        return self._update(batch, streams, self._updates % self._shared.critic_actor_ratio == 0)

    def _updated(self, batch: Batch, streams: Sequence[torch.Generator], with_actor: bool) -> Losses:
        observation, next_observation = self.normalizer(batch.observation), self.normalizer(batch.next_observation)
        normal_(self._noise, streams)
        bound = self._shared.target_noise_bound
        noise = (self._noise * self._shared.target_noise).clamp_(-bound, bound)
        next_action = (self._act(next_observation) + noise).clamp_(-1.0, 1.0)
        next_value = self._q_values(self.target_critics, next_observation, next_action).amin(1)
        target = batch.reward + batch.discount * next_value
        error = self._q_values(self.critics, observation, batch.action) - target[:, None]
        q_gradients = error * (2.0 / error.shape[-1])
        self._critic_pass.parameter_gradients(self.critics, _per_critic(q_gradients), self._critic_gradients)
        self._step(self._critic_adam)
        self._target_rows.lerp_(self._critic_rows, self._taus)
        if with_actor:
            self._actor_loss.copy_(self._update_actor(observation))
        return Losses(error.square().mean(-1).sum(-1), self._actor_loss)

    def explore(self, observations: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
        """Return actions to train on, (member, num_envs, action), and add the observations to the statistics.

        The noise of environment j has the j-th of equally spaced standard deviations from `noise_low` to `noise_high`.
        """
        self.normalizer.see(observations)
        actions = self.greedy(observations)
        noise = normal(actions.shape[1:], streams, observations.device)
        return (actions + self._exploration[:, None] * noise).clamp_(-1.0, 1.0)

    def greedy(self, observations: Tensor) -> Tensor:
        """Return the policies' actions, (member, n, action), in n observations of each, (member, n, observation)."""
        members, size, _ = observations.shape
        if size not in self._acting:
            self._acting[size] = Perceptrons(self._actor_sizes, members, size)
        self._acting[size].inputs[:] = self.normalizer(observations.mT)
        return torch.tanh(self._acting[size].forward(self.actor)).mT

    def agent(self, member: int) -> Agent:
        """Return a copy of one member's parameters."""
        both = slice(2 * member, 2 * member + 2)
        return Agent(
            actor=copied(self.actor, slice(member, member + 1)),
            critics=copied(self.critics, both),
            target_critics=copied(self.target_critics, both),
            mean=self.normalizer.mean[member].clone(),
            std=self.normalizer.std[member].clone(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that training changes, including the statistics of the observations."""
        return {
            "updates": self._updates,
            "actor": self._actor_rows,
            "critics": self._critic_rows,
            "targets": self._target_rows,
            "actor_adam": self._actor_adam.state_dict(),
            "critic_adam": self._critic_adam.state_dict(),
            "actor_loss": self._actor_loss,
            "normalizer": self.normalizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an equal learner."""
        self._updates = state["updates"]
        self._actor_rows.copy_(state["actor"])
        self._critic_rows.copy_(state["critics"])
        self._target_rows.copy_(state["targets"])
        self._actor_adam.load_state_dict(state["actor_adam"])
        self._critic_adam.load_state_dict(state["critic_adam"])
        self._actor_loss.copy_(state["actor_loss"])
        self.normalizer.load_state_dict(state["normalizer"])

    def _update_actor(self, observation: Tensor) -> Tensor:
        action = self._act(observation)
        smaller, which = self._q_values(self.critics, observation, action).min(1, keepdim=True)
        size = smaller.shape[-1]
        q_gradients = torch.zeros(len(action), 2, size).scatter_(1, which, -1.0 / size)
        by_critic = self._critic_pass.input_gradients(self.critics, _per_critic(q_gradients), self._acted)
        gradients = by_critic.view(len(action), 2, -1, size).sum(1) * (1.0 - action.square())  # through tanh
        self._actor_pass.parameter_gradients(self.actor, gradients, self._actor_gradients)
        self._step(self._actor_adam)
        return -smaller[:, 0].mean(-1)

    def _step(self, adam: Adam) -> None:
        """Take one step, with each member's gradient clipped to the largest norm."""
        norm = adam.gradients.norm(dim=1, keepdim=True)
        adam.gradients.mul_((self._shared.gradient_norm / (norm + 1e-6)).clamp_(max=1.0))
        adam.step()

    def _act(self, observation: Tensor) -> Tensor:
        """Return the policies' actions, (member, action, batch), in scaled observations."""
        self._actor_pass.inputs[:] = observation
        return torch.tanh(self._actor_pass.forward(self.actor))

    def _q_values(self, critics: Layers, observation: Tensor, action: Tensor) -> Tensor:
        """Return Q of both critics in scaled observations, (member, 2, batch); the next call overwrites it."""
        self._critic_inputs[:, :, self._observed] = observation[:, None]
        self._critic_inputs[:, :, self._acted] = action[:, None]
        return self._critic_pass.forward(critics).view(len(action), 2, -1)

    def _critics_in(self, rows: Tensor) -> Layers:
        """Return the layers of all critics, both of one member side by side: (2 member, out, in + 1)."""
        return layers_of(rows.view(2 * len(rows), -1), self._critic_shapes)


def _per_critic(values: Tensor) -> Tensor:
    """Reshape (member, 2, batch) to (2 member, 1, batch)."""
    return values.flatten(0, 1)[:, None]
