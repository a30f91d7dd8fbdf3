"""Random numbers of the members of an ensemble, each from a stream of its own, whoever else draws beside it.

On a CPU a stream is a generator of torch. On a GPU a call for every member would take longer than the update that it
serves, and a recorded update cannot ask a generator anew. There `BlockStreams` draws for all members and some updates
at once, by hashing the member's seed and a counter, and hands out the part of each update from where it lies.
"""

import math
from collections.abc import Sequence
from typing import overload

import torch
from torch import Generator, Tensor

from bayescale.errors import BayeScaleError

BLOCK = 32  # updates whose numbers are drawn before the first of them, by a few calls for all
_AT_ONCE = 2**24  # words, for which those calls need some hundred megabytes
_MOST_CALLS = 16  # of one update
_TOP = 2**63


class BlockStreams(Sequence[Generator]):
    """Streams of the updates on a GPU: numbers of an update depend on the member's seed and the update alone.

    As a sequence it is torch's generators on that device, one per member, for algorithms that draw by
    themselves.

    Args:
        seeds: of each member, in [0, 2**63).
        device: where to draw.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [Generator(device).manual_seed(seed) for seed in seeds]
        self._keys = torch.tensor(seeds, device=device)[:, None]
        self._at = torch.zeros(1, dtype=torch.int64, device=device)  # the update's place in the block
        self._update = -1
        self._calls = 0  # in this update
        self._blocks: list[Tensor] = []  # of each call, (update, member, ...)

    def advance(self) -> None:
        """Makes ready the numbers of the next update; to be called before each."""
        self._update += 1
        self._calls = 0
        self._at.fill_(self._update % BLOCK)
        if self._update % BLOCK == 0:
            for call, block in enumerate(self._blocks):
                self._fill(block, call)

    def draw(self, shape: Sequence[int], normal: bool) -> Tensor:
        """Numbers of this update, (member, *shape): standard normal, or whole ones uniform in [0, 2**63).

        An update must make the same calls in the same order as those before it, no more than 16.
        """
        call, self._calls = self._calls, self._calls + 1
        if call == len(self._blocks):
            if call == _MOST_CALLS:  # its numbers would be those of the next block
                raise BayeScaleError(f"an update draws more than {_MOST_CALLS} times. Draw more at once.")
            kind = torch.float32 if normal else torch.int64
            block = torch.empty(BLOCK, len(self), *shape, dtype=kind, device=self._at.device)
            self._blocks.append(block)
            self._fill(block, call)
        return self._blocks[call].index_select(0, self._at)[0]

    def _fill(self, block: Tensor, call: int) -> None:
        """Draws the numbers of all updates of this block."""
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
    """Tells the streams that another update begins."""
    for each in streams:
        if isinstance(each, BlockStreams):
            each.advance()


def normal_(out: Tensor, streams: Sequence[Generator]) -> Tensor:
    """Fills `out`, (member, ...), with standard normal numbers, and returns it."""
    if isinstance(streams, BlockStreams):
        return out.copy_(streams.draw(out.shape[1:], normal=True))
    for numbers, stream in zip(out, streams, strict=True):
        numbers.normal_(generator=stream)
    return out


def normal(shape: Sequence[int], streams: Sequence[Generator], device: torch.device) -> Tensor:
    """Standard normal numbers on the device, (member, *shape); the streams may be of another."""
    if isinstance(streams, BlockStreams):
        return streams.draw(shape, normal=True)
    return normal_(torch.empty(len(streams), *shape, device=streams[0].device), streams).to(device)


def random_words(keys: Tensor, first: int, count: int) -> Tensor:
    """Random 64-bit words, (member, count): those from number `first` on of the streams that `keys`, (member, 1), name.

    The mixing function of SplitMix64 (Steele et al., 2014) on the number, and once more on the result plus the key.
    """
    numbers = torch.arange(first, first + count, device=keys.device)
    return _mixed(_mixed(numbers * -0x61C8864680B583EB) + keys)


def normal_numbers(words: Tensor) -> Tensor:
    """Two standard normal numbers of each word, (..., 2 word), by Box and Muller (1958)."""
    radius = (((words >> 32) & 0xFFFFFFFF).float() + 0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (words & 0xFFFFFFFF).float().mul_(2.0 * math.pi * 2.0**-32)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), -1)


def _mixed(words: Tensor) -> Tensor:
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        words = (words ^ _shifted(words, shift)) * factor
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, places: int) -> Tensor:
    """Bits moved to the right, zeros from the left: torch has no unsigned words."""
    return torch.bitwise_and(torch.bitwise_right_shift(words, places), 2 ** (64 - places) - 1)
