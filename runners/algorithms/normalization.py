"""Running means and variances of each member's observations, by which its networks' inputs are scaled."""

import torch
from torch import Tensor

SMALLEST_VARIANCE = 1e-5  # added to all, so that a constant observation passes as 0


class Normalizer:
    """Statistics of all observations seen, updated in parallel (Chan et al., 1983); before any, it changes nothing."""

    def __init__(self, members: int, observation_size: int) -> None:
        self._count = 0
        self._mean = torch.zeros(members, observation_size, dtype=torch.float64)
        self._squares = torch.zeros(members, observation_size, dtype=torch.float64)  # sum of squared deviations
        self.mean = torch.zeros(members, observation_size)
        self.std = torch.ones(members, observation_size)

    def see(self, observations: Tensor) -> None:
        """Adds observations of every member, (member, n, observation), to the statistics."""
        new = observations.double()
        number, mean = new.shape[1], new.mean(1)
        total, shift = self._count + number, mean - self._mean
        self._squares += (new - mean[:, None]).square().sum(1) + shift.square() * (self._count * number / total)
        self._mean += shift * (number / total)
        self._count = total
        self.mean.copy_(self._mean)
        self.std.copy_((self._squares / total + SMALLEST_VARIANCE).sqrt())

    def __call__(self, observations: Tensor) -> Tensor:
        """(member, observation, n) in units of the standard deviation around the mean."""
        return (observations - self.mean[..., None]) / self.std[..., None]
