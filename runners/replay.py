"""The replay buffers of an ensemble: a table of transitions per member, overwritten from the oldest row when full."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float32]


class Batch(NamedTuple):
    """Transitions of every member. Only `terminated` ends the return; a truncated episode bootstraps."""

    observation: Tensor  # (member, observation, batch)
    action: Tensor  # (member, action, batch), in [-1, 1]
    reward: Tensor  # (member, batch)
    next_observation: Tensor  # (member, observation, batch)
    terminated: Tensor  # (member, batch), 0 or 1


class ReplayBuffer:
    """The last `capacity` transitions of each member; batches are drawn uniformly with replacement.

    All members store a transition at the same time, so they hold equally many.
    """

    def __init__(self, members: int, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._next_row = 0
        self._widths = [observation_size, action_size, 1, observation_size, 1]
        self._table = torch.zeros(members, capacity, sum(self._widths))
        self._rows = self._table.numpy()  # same memory: writing a row through numpy is cheaper
        self._first_rows = torch.arange(members)[:, None] * capacity

    def add(
        self,
        observation: FloatArray,
        action: FloatArray,
        reward: NDArray[np.float64],
        next_observation: FloatArray,
        terminated: NDArray[np.bool_],
    ) -> None:
        """Store one transition per member, in place of the oldest if the buffer is full; member axis first."""
        columns = (observation, action, reward[:, None], next_observation, terminated[:, None])
        np.concatenate(columns, axis=1, out=self._rows[:, self._next_row], casting="same_kind")
        self._next_row = (self._next_row + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def sample(self, batch_size: int, streams: Sequence[torch.Generator]) -> Batch:
        """A batch of each member's transitions, drawn from its own stream."""
        chosen = torch.empty(len(streams), batch_size, dtype=torch.int64)
        for row, stream in zip(chosen, streams, strict=True):
            torch.randint(self.size, (batch_size,), generator=stream, out=row)
        chosen += self._first_rows
        rows = self._table.flatten(0, 1).index_select(0, chosen.flatten())
        columns = torch.split(rows.view(*chosen.shape, -1).mT, self._widths, dim=1)
        observation, action, reward, next_observation, terminated = columns
        return Batch(observation, action, reward[:, 0], next_observation, terminated[:, 0])
