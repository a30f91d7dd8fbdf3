"""The replay buffers of an ensemble: a table of transitions per member, overwritten from the oldest row when full."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bayescale.runners.returns import Transitions


class Batch(NamedTuple):
    """Transitions of every member."""

    observation: Tensor  # (member, observation, batch)
    action: Tensor  # (member, action, batch), in [-1, 1]
    reward: Tensor  # (member, batch), of one step or the discounted sum of several
    next_observation: Tensor  # (member, observation, batch), after them
    discount: Tensor  # (member, batch), of the value there: gamma^steps, 0 where the episode terminated


class ReplayBuffer:
    """The last `capacity` transitions of each member; batches are drawn uniformly with replacement.

    All members store equally many transitions at the same time.
    """

    def __init__(self, members: int, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._next_row = 0
        self._widths = [observation_size, action_size, 1, observation_size, 1]
        self._table = torch.zeros(members, capacity, sum(self._widths))
        self._rows = self._table.numpy()  # same memory: writing a row through numpy is cheaper
        self._first_rows = torch.arange(members)[:, None] * capacity

    def add(self, transitions: Transitions) -> None:
        """Store transitions of every member, at most `capacity`, in place of the oldest if the buffer is full."""
        count = transitions.reward.shape[1]
        fitting = min(count, self.capacity - self._next_row)
        for part, first in ((slice(fitting), self._next_row), (slice(fitting, count), 0)):
            if part.start != part.stop:
                columns = [column[:, part] for column in transitions]
                to = self._rows[:, first : first + columns[0].shape[1]]
                np.concatenate(columns, axis=2, out=to, casting="same_kind")
        self._next_row = (self._next_row + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, batch_size: int, streams: Sequence[torch.Generator]) -> Batch:
        """A batch of each member's transitions, drawn from its own stream."""
        chosen = torch.empty(len(streams), batch_size, dtype=torch.int64)
        for row, stream in zip(chosen, streams, strict=True):
            torch.randint(self.size, (batch_size,), generator=stream, out=row)
        chosen += self._first_rows
        rows = self._table.flatten(0, 1).index_select(0, chosen.flatten())
        columns = torch.split(rows.view(*chosen.shape, -1).mT, self._widths, dim=1)
        observation, action, reward, next_observation, discount = columns
        return Batch(observation, action, reward[:, 0], next_observation, discount[:, 0])
