"""The optimistic actor of BRO (Nauman et al., 2024): a second policy that explores and never evaluates.

It shifts the means of the first policy, mean_o = mean + shift(s, mean), towards the upper bound of the critics, and
keeps the policies' divergence near a target. The strength of optimism and the weight of the divergence adjust
themselves: the one falls and the other rises where the divergence is above the target.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bayescale.runners.networks.adam import Adam
from bayescale.runners.networks.bronet import BroNets, init_layers, layers_of, parameter_count, shapes

SPREAD = 0.75  # std of the exploring policy over that of the first
DIVERGENCE = 0.05  # KL divergence per action that it settles at
ADJUSTMENT_RATE, ADJUSTMENT_BETA_1 = 3e-5, 0.5
FIRST_OPTIMISM, FIRST_WEIGHT = 1.0, 0.25
LOG_MIN, LOG_MAX = -10.0, 7.5  # of both
HEAD_GAIN = 0.01  # the shift starts near 0


class OptimisticActor:
    """One exploring policy per member.

    Args:
        sizes: observation, action.
        width: of its BroNet.
        blocks: of its BroNet.
        batch_size: samples of an update.
        learning_rates: of each member.
        weight_decay: of AdamW.
        streams: where each member's first parameters come from.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        width: int,
        blocks: int,
        batch_size: int,
        learning_rates: Sequence[float],
        weight_decay: float,
        streams: Sequence[torch.Generator],
    ) -> None:
        members, (observed, acted) = len(streams), sizes
        layer_shapes = shapes(observed + acted, width, blocks, acted)
        rows = torch.zeros(members, parameter_count(layer_shapes))
        self.layers = layers_of(rows, layer_shapes)
        for i, stream in enumerate(streams):
            init_layers([layer[i : i + 1] for layer in self.layers], stream, (HEAD_GAIN,))
        self._adam = Adam(rows, learning_rates, weight_decay=weight_decay)
        self._gradients = layers_of(self._adam.gradients, layer_shapes)
        first = torch.tensor([FIRST_OPTIMISM, FIRST_WEIGHT]).log()
        self._raw = torch.atanh(2.0 * (first - LOG_MIN) / (LOG_MAX - LOG_MIN) - 1.0).repeat(members, 1)
        self._signs = torch.tensor([1.0, -1.0])
        self._raw_adam = Adam(self._raw, [ADJUSTMENT_RATE] * members, ADJUSTMENT_BETA_1)
        self._acting = BroNets(layer_shapes, members, 1)
        self._learning = BroNets(layer_shapes, members, batch_size)

    def explore(self, observations: Tensor, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Actions in one observation of each member, (member, 1, action); the arguments have these three axes too."""
        return torch.tanh(mean + self._shift(self._acting, observations, mean) + SPREAD * std * noise)

    def propose(self, observations: Tensor, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Actions to be judged by the critics before `learn`, (member, batch, action), and so are the arguments."""
        self._offset, self._std = self._shift(self._learning, observations, mean), std
        self._action = torch.tanh(mean + self._offset + SPREAD * std * noise)
        return self._action

    def quantile_gradients(self, quantiles: Tensor) -> Tensor:
        """Gradient of -mean [ mean_i q_i + optimism/2 |q_1 - q_2| ] by the quantiles, (member, 2, batch, quantile)."""
        optimism = self.adjustments()[:, 0, None, None]
        sign = torch.sign(quantiles[:, 0] - quantiles[:, 1]) * optimism
        return torch.stack((1.0 + sign, 1.0 - sign), 1).mul_(-0.5 / (quantiles.shape[2] * quantiles.shape[3]))

    def learn(self, action_gradients: Tensor) -> None:
        """One step on the critics' upper bound and the divergence, and one of both adjustments.

        With equal spreads the divergence KL(o || first) is sum shift^2/(2 std^2).

        Args:
            action_gradients: of the loss by the proposed actions, (member, batch, action).
        """
        adjusted = self.adjustments()
        scaled = self._offset / self._std.square()
        divergence = 0.5 * (self._offset * scaled).mean((1, 2))
        gradient = action_gradients * (1.0 - self._action.square())
        gradient += adjusted[:, 1, None, None] / scaled.shape[1] * scaled
        self._learning.parameter_gradients(self.layers, gradient, self._gradients)
        self._gradients[-1][:, -1:] = 0.0  # the authors' head has no bias
        self._adam.step()
        excess = (divergence - DIVERGENCE)[:, None] * self._signs
        slope = adjusted * (0.5 * (LOG_MAX - LOG_MIN)) * (1.0 - torch.tanh(self._raw).square())
        torch.mul(excess, slope, out=self._raw_adam.gradients)
        self._raw_adam.step()

    def adjustments(self) -> Tensor:
        """Optimism and weight of the divergence, (member, 2)."""
        return torch.exp(LOG_MIN + 0.5 * (LOG_MAX - LOG_MIN) * (1.0 + torch.tanh(self._raw)))

    def _shift(self, networks: BroNets, observations: Tensor, mean: Tensor) -> Tensor:
        networks.inputs[..., : observations.shape[-1]] = observations
        networks.inputs[..., observations.shape[-1] :] = mean
        return networks.forward(self.layers)
