"""The optimistic actor of BRO (Nauman et al., 2024): a second policy that explores and is never evaluated.

It shifts the means of the first policy, mean_o = mean + shift(s, mean), towards the critics' upper bound, and keeps the
KL divergence between the two policies near a target. Two adjustments adapt: above the target divergence, optimism
falls and the weight of the divergence rises.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bayescale.runners.config import BROConfig
from bayescale.runners.networks.adam import Adam
from bayescale.runners.networks.bronet import BroNets, bronet_shapes, bronet_sizes, init_bronets
from bayescale.runners.networks.dense import layers_of, stored_count

SPREAD = 0.75  # standard deviation of the exploring policy, relative to the first policy
DIVERGENCE = 0.05  # target KL divergence per action dimension
ADJUSTMENT_RATE, ADJUSTMENT_BETA_1 = 3e-5, 0.5
FIRST_OPTIMISM, FIRST_WEIGHT = 1.0, 0.25
LOG_MIN, LOG_MAX = -10.0, 7.5  # bounds of the log optimism and of the log weight of the KL divergence
HEAD_GAIN = 0.01  # a small first head lets the shift start near 0


class OptimisticActor:
    """One exploring policy per member.

    Args:
        configs: settings of the members.
        observation_size: width of an observation.
        action_size: width of an action.
        init_streams: source of each member's first parameters.
    """

    def __init__(
        self,
        configs: Sequence[BROConfig],
        observation_size: int,
        action_size: int,
        init_streams: Sequence[torch.Generator],
    ) -> None:
        members, shared = len(configs), configs[0]
        sizes = bronet_sizes(observation_size + action_size, shared.actor_width, shared.actor_depth, action_size)
        shapes = bronet_shapes(sizes)
        self._rows = torch.zeros(members, stored_count(shapes))
        self.layers = layers_of(self._rows, shapes)
        for i, stream in enumerate(init_streams):
            init_bronets([layer[i : i + 1] for layer in self.layers], stream, (HEAD_GAIN,))
        learning_rates = [config.learning_rate for config in configs]
        self._adam = Adam(self._rows, learning_rates, weight_decay=shared.weight_decay)
        self._gradients = layers_of(self._adam.gradients, shapes)
        first = torch.tensor([FIRST_OPTIMISM, FIRST_WEIGHT]).log()
        self._raw = torch.atanh(2.0 * (first - LOG_MIN) / (LOG_MAX - LOG_MIN) - 1.0).repeat(members, 1)
        self._signs = torch.tensor([1.0, -1.0])
        self._raw_adam = Adam(self._raw, [ADJUSTMENT_RATE] * members, ADJUSTMENT_BETA_1)
        self._acting = BroNets(sizes, members, 1)
        self._learning = BroNets(sizes, members, shared.batch_size)

    def explore(self, observations: Tensor, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Return actions in one observation of each member, (member, action, 1); the arguments have these axes too."""
        return torch.tanh(mean + self._shift(self._acting, observations, mean) + SPREAD * std * noise)

    def propose(self, observations: Tensor, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Return actions that the critics judge before `learn`, (member, action, batch), as are the arguments."""
        self._offset, self._std = self._shift(self._learning, observations, mean), std
        self._action = torch.tanh(mean + self._offset + SPREAD * std * noise)
        return self._action

    def quantile_gradients(self, quantiles: Tensor) -> Tensor:
        """Return the gradient of -mean [ mean_i q_i + optimism/2 |q_1 - q_2| ] by the quantiles.

        Args:
            quantiles: quantiles of both critics at the proposed actions, (member, 2, quantile, batch).
        """
        optimism = self.adjustments()[:, 0, None, None]
        sign = torch.sign(quantiles[:, 0] - quantiles[:, 1]) * optimism
        return torch.stack((1.0 + sign, 1.0 - sign), 1).mul_(-0.5 / (quantiles.shape[2] * quantiles.shape[3]))

    def learn(self, action_gradients: Tensor) -> None:
        """Take one step on the critics' upper bound and the divergence, and one step of both adjustments.

        Both policies have the same spread, so the divergence KL(o || first) is sum shift^2/(2 std^2).

        Args:
            action_gradients: gradients of the loss by the proposed actions, (member, action, batch).
        """
        adjusted = self.adjustments()
        scaled = self._offset / self._std.square()
        divergence = 0.5 * (self._offset * scaled).mean((1, 2))
        gradient = action_gradients * (1.0 - self._action.square())
        gradient += adjusted[:, 1, None, None] / scaled.shape[2] * scaled
        self._learning.parameter_gradients(self.layers, gradient, self._gradients)
        self._gradients[-1][..., -1] = 0.0  # the authors' head has no bias
        self._adam.step()
        excess = (divergence - DIVERGENCE)[:, None] * self._signs
        slope = adjusted * (0.5 * (LOG_MAX - LOG_MIN)) * (1.0 - torch.tanh(self._raw).square())
        torch.mul(excess, slope, out=self._raw_adam.gradients)
        self._raw_adam.step()

    def adjustments(self) -> Tensor:
        """Return optimism and weight of the divergence, (member, 2)."""
        return torch.exp(LOG_MIN + 0.5 * (LOG_MAX - LOG_MIN) * (1.0 + torch.tanh(self._raw)))

    def state_dict(self) -> dict[str, Any]:
        """Return all that training changes: parameters, adjustments and their optimisers."""
        return {
            "rows": self._rows,
            "adam": self._adam.state_dict(),
            "raw": self._raw,
            "raw_adam": self._raw_adam.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an equal actor."""
        self._rows.copy_(state["rows"])
        self._adam.load_state_dict(state["adam"])
        self._raw.copy_(state["raw"])
        self._raw_adam.load_state_dict(state["raw_adam"])

    def _shift(self, networks: BroNets, observations: Tensor, mean: Tensor) -> Tensor:
        networks.inputs[:, : observations.shape[1]] = observations
        networks.inputs[:, observations.shape[1] :] = mean
        return networks.forward(self.layers)
