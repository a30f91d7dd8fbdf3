"""Random numbers for the members of an ensemble: one stream per member, independent of the other members.

On a CPU a stream is a torch generator. On a GPU one call per member would take longer than the update that needs the
numbers, and a recorded update cannot call a generator again. There `BlockStreams` draws the numbers of all members and
of several updates at once, by hashing the member's seed and a counter, and hands out one update's numbers at a time.
"""

import math
from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Generator, Tensor

from bayescale.errors import BayeScaleError

BLOCK = 32  # updates whose numbers are drawn together, by a few calls
_AT_ONCE = 2**24  # words per call, which need some hundred megabytes
_MOST_CALLS = 16  # draws per update
_TOP = 2**63


class BlockStreams(Sequence[Generator]):
    """Streams for the updates on a GPU: the numbers depend on the member's seed and the update alone.

    As a sequence it holds one torch generator per member on that device, for algorithms that draw by themselves.

    Args:
        seeds: seed of each member, in [0, 2**63).
        device: GPU to draw on.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [Generator(device).manual_seed(seed) for seed in seeds]
        self._keys = torch.tensor(seeds, device=device)[:, None]
        self._at = torch.zeros(1, dtype=torch.int64, device=device)  # place of the update in its block
        self._update = -1
        self._calls = 0  # draws so far in this update
        self._blocks: list[Tensor] = []  # one (update, member, ...) per draw

    def advance(self) -> None:
        """Prepare the numbers of the next update; call this before each update."""
        self._update += 1
        self._calls = 0
        self._at.fill_(self._update % BLOCK)
        if self._update % BLOCK == 0:
            for call, block in enumerate(self._blocks):
                self._fill(block, call)

    def draw(self, shape: Sequence[int], normal: bool) -> Tensor:
        """Return numbers of this update, (member, *shape): standard normal, or integers uniform in [0, 2**63).

        Every update must make the same calls in the same order, at most 16 of them.
        """
        call, self._calls = self._calls, self._calls + 1
        if call == len(self._blocks):
            if call == _MOST_CALLS:  # further draws would repeat the numbers of the next block
                raise BayeScaleError(f"an update draws more than {_MOST_CALLS} times. Draw more at once.")
            kind = torch.float32 if normal else torch.int64
            block = torch.empty(BLOCK, len(self), *shape, dtype=kind, device=self._at.device)
            self._blocks.append(block)
            self._fill(block, call)
        return self._blocks[call].index_select(0, self._at)[0]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of the update and the states of the generators."""
        return {"update": self._update, "generators": [generator.get_state() for generator in self._generators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the update that `state` names; the blocks are drawn again when an update asks for them."""
        self._update = state["update"]
        self._blocks.clear()
        _load_generators(self._generators, state["generators"])

    def _fill(self, block: Tensor, call: int) -> None:
        """Draw the numbers of all updates of this block."""
        normal, count = block.is_floating_point(), block[0, 0].numel()
        words_each = -(-count // 2) if normal else count
        first = (self._update // BLOCK * _MOST_CALLS + call) << 32
        for part in torch.split(block, max(1, _AT_ONCE // (len(self) * words_each))):
            words = random_words(self._keys, first, len(part) * words_each).view(len(self), len(part), words_each)
            numbers = normal_numbers(words)[..., :count] if normal else words & (_TOP - 1)
            part.copy_(numbers.transpose(0, 1).reshape(part.shape))
            first += len(part) * words_each

    def __len__(self) -> int:
        return len(self._generators)

    @overload
    def __getitem__(self, index: int) -> Generator: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Generator]: ...
    def __getitem__(self, index: int | slice) -> Generator | Sequence[Generator]:
        return self._generators[index]


def advance(*streams: Sequence[Generator]) -> None:
    """Tell the streams that another update begins."""
    for each in streams:
        if isinstance(each, BlockStreams):
            each.advance()


def stream_states(streams: Sequence[Generator]) -> dict[str, Any]:
    """Return the state of all streams."""
    if isinstance(streams, BlockStreams):
        return streams.state_dict()
    return {"generators": [stream.get_state() for stream in streams]}


def load_stream_states(streams: Sequence[Generator], state: dict[str, Any]) -> None:
    """Set equally many streams of the same kind to a state."""
    if isinstance(streams, BlockStreams):
        streams.load_state_dict(state)
    else:
        _load_generators(streams, state["generators"])


def normal_(out: Tensor, streams: Sequence[Generator]) -> Tensor:
    """Fill `out`, (member, ...), with standard normal numbers and return it."""
    if isinstance(streams, BlockStreams):
        return out.copy_(streams.draw(out.shape[1:], normal=True))
    for numbers, stream in zip(out, streams, strict=True):
        numbers.normal_(generator=stream)
    return out


def normal(shape: Sequence[int], streams: Sequence[Generator], device: torch.device) -> Tensor:
    """Return standard normal numbers on `device`, (member, *shape); the streams may draw on another device."""
    if isinstance(streams, BlockStreams):
        return streams.draw(shape, normal=True)
    return normal_(torch.empty(len(streams), *shape, device=streams[0].device), streams).to(device)


def random_words(keys: Tensor, first: int, count: int) -> Tensor:
    """Return `count` random 64-bit words from each stream, (member, count), starting at word number `first`.

    Each number passes through the mixing function of SplitMix64 (Steele et al., 2014), then, with the key added, once
    more.

    Args:
        keys: key of each stream, (member, 1).
        first: number of the first word.
        count: words per stream.
    """
    numbers = torch.arange(first, first + count, device=keys.device)
    return _mixed(_mixed(numbers * -0x61C8864680B583EB) + keys)


def normal_numbers(words: Tensor) -> Tensor:
    """Return two standard normal numbers per word, (..., 2 word), by Box and Muller (1958)."""
    radius = (((words >> 32) & 0xFFFFFFFF).float() + 0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (words & 0xFFFFFFFF).float().mul_(2.0 * math.pi * 2.0**-32)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), -1)


def _mixed(words: Tensor) -> Tensor:
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        words = (words ^ _shifted(words, shift)) * factor
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, places: int) -> Tensor:
    """Shift bits to the right and fill with zeros; torch has no unsigned words."""
    return torch.bitwise_and(torch.bitwise_right_shift(words, places), 2 ** (64 - places) - 1)


def _load_generators(generators: Sequence[Generator], states: Sequence[Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
