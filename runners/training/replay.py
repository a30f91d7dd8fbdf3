"""Store the transitions of an ensemble, one table per member; a full table is overwritten from its oldest row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bayescale.runners.algorithms.learner import Batch
from bayescale.runners.networks.cuda_graphs import recorded
from bayescale.runners.networks.random_streams import BlockStreams
from bayescale.runners.training.n_step import Transitions

CPU = torch.device("cpu")


class ReplayBuffer:
    """The last `capacity` transitions of each member; batches are drawn uniformly with replacement.

    All members store equally many transitions at the same time. On a GPU the next batch overwrites the last one.
    """

    def __init__(
        self,
        members: int,
        capacity: int,
        observation_size: int,
        action_size: int,
        device: torch.device = CPU,
    ) -> None:
        self.capacity = capacity
        self.size = 0
        self._next_row = 0
        self._widths = [observation_size, action_size, 1, observation_size, 1]
        self._table = torch.zeros(members, capacity, sum(self._widths), device=device)
        self._rows = None if device.type == "cuda" else self._table.numpy()  # the same memory; NumPy writes faster
        self._first_rows = torch.arange(members, device=device)[:, None] * capacity
        self._held = torch.zeros(
            (), dtype=torch.int64, device=device
        )  # `size` as a tensor, which a recorded `sample` reads anew
        self._sample = recorded(self._sampled, device)

    def add(self, transitions: Transitions) -> None:
        """Store transitions of every member, at most `capacity`; the oldest are overwritten if the buffer is full."""
        count = transitions.reward.shape[1]
        fitting = min(count, self.capacity - self._next_row)
        for part, first in ((slice(fitting), self._next_row), (slice(fitting, count), 0)):
            if part.start != part.stop:
                columns = [column[:, part] for column in transitions]
                to = slice(first, first + columns[0].shape[1])
                if self._rows is not None:
                    np.concatenate(columns, axis=2, out=self._rows[:, to], casting="same_kind")
                else:
                    rows = np.concatenate(columns, axis=2, dtype=np.float32, casting="same_kind")
                    self._table[:, to] = torch.from_numpy(rows)
        self._next_row = (self._next_row + count) % self.capacity
        self.size = min(self.size + count, self.capacity)
        self._held.fill_(self.size)

    def sample(self, batch_size: int, streams: Sequence[torch.Generator]) -> Batch:
        """Return a batch of each member's transitions, drawn with the member's random stream."""
        return self._sample(batch_size, streams)

    def state_dict(self) -> dict[str, Any]:
        """Return the table, the number of transitions in it, and the row to write next."""
        return {"table": self._table, "size": self.size, "next_row": self._next_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the transitions of an equal buffer."""
        self._table.copy_(state["table"])
        self.size, self._next_row = state["size"], state["next_row"]
        self._held.fill_(self.size)

    def _sampled(self, batch_size: int, streams: Sequence[torch.Generator]) -> Batch:
        if isinstance(streams, BlockStreams):
            chosen = streams.draw((batch_size,), normal=False).remainder_(self._held)
        else:
            chosen = torch.empty(len(streams), batch_size, dtype=torch.int64)
            for row, stream in zip(chosen, streams, strict=True):
                torch.randint(self.size, (batch_size,), generator=stream, out=row)
        chosen += self._first_rows
        rows = self._table.flatten(0, 1).index_select(0, chosen.flatten())
        columns = torch.split(rows.view(*chosen.shape, -1).mT, self._widths, dim=1)
        observation, action, reward, next_observation, discount = columns
        return Batch(observation, action, reward[:, 0], next_observation, discount[:, 0])
