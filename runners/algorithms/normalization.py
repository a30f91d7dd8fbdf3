"""Running means and variances of each member's observations, which scale the inputs of its networks."""

from typing import Any

import torch
from torch import Tensor

SMALLEST_VARIANCE = 1e-5  # added to every variance, so that a constant observation becomes 0


class Normalizer:
    """Statistics of all observations so far, updated in parallel (Chan et al., 1983); the identity at the start."""

    def __init__(self, members: int, observation_size: int) -> None:
        self._count = 0
        self._mean = torch.zeros(members, observation_size, dtype=torch.float64)
        self._squares = torch.zeros(members, observation_size, dtype=torch.float64)  # sum of squared deviations
        self.mean = torch.zeros(members, observation_size)
        self.std = torch.ones(members, observation_size)

    def see(self, observations: Tensor) -> None:
        """Add observations of every member, (member, n, observation), to the statistics."""
        new = observations.double()
        number, mean = new.shape[1], new.mean(1)
        total, shift = self._count + number, mean - self._mean
        self._squares += (new - mean[:, None]).square().sum(1) + shift.square() * (self._count * number / total)
        self._mean += shift * (number / total)
        self._count = total
        self.mean.copy_(self._mean)
        self.std.copy_((self._squares / total + SMALLEST_VARIANCE).sqrt())

    def __call__(self, observations: Tensor) -> Tensor:
        """Return (observation - mean)/std, shaped as the argument, (member, observation, n)."""
        return (observations - self.mean[..., None]) / self.std[..., None]

    def state_dict(self) -> dict[str, Any]:
        """Return count, means, sums of squares and the scale in use."""
        return {
            "count": self._count,
            "running_mean": self._mean,
            "squares": self._squares,
            "mean": self.mean,
            "std": self.std,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the statistics of an equal normalizer."""
        self._count = state["count"]
        self._mean.copy_(state["running_mean"])
        self._squares.copy_(state["squares"])
        self.mean.copy_(state["mean"])
        self.std.copy_(state["std"])
