"""The replay buffer: one preallocated table of transitions, overwritten from its oldest row when full."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Batch(NamedTuple):
    """Transitions, batch axis first. Only `terminated` ends the return; a truncated episode bootstraps."""

    observation: Tensor  # (batch, observation)
    action: Tensor  # (batch, action), in [-1, 1]
    reward: Tensor  # (batch,)
    next_observation: Tensor  # (batch, observation)
    terminated: Tensor  # (batch,), 0 or 1


class ReplayBuffer:
    """The last `capacity` transitions; batches are drawn uniformly with replacement."""

    def __init__(self, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._next_row = 0
        self._widths = [observation_size, action_size, 1, observation_size, 1]
        self._table = torch.zeros(capacity, sum(self._widths))
        self._rows = self._table.numpy()  # same memory: writing a row through numpy is cheaper

    def add(
        self,
        observation: NDArray[np.floating],
        action: NDArray[np.floating],
        reward: float,
        next_observation: NDArray[np.floating],
        terminated: bool,
    ) -> None:
        """Store one transition, in place of the oldest if the buffer is full."""
        row = self._rows[self._next_row]
        np.concatenate((observation, action, (reward,), next_observation, (terminated,)), out=row, casting="same_kind")
        self._next_row = (self._next_row + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """A batch of stored transitions."""
        chosen = torch.randint(self.size, (batch_size,), generator=generator)
        columns = torch.split(self._table.index_select(0, chosen), self._widths, dim=-1)
        observation, action, reward, next_observation, terminated = columns
        return Batch(observation, action, reward.squeeze(-1), next_observation, terminated.squeeze(-1))
