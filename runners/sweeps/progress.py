"""How far a sweep is, and how long the rest will take."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bayescale.runners.sweeps.jobs import work
from bayescale.runners.training.ensembles import Ensemble


@dataclass(frozen=True)
class Progress:
    """The state of a sweep at one moment."""

    runs_done: int
    runs: int
    share: float  # of the work of all runs, 0 to 1
    seconds: float  # since this process began with it
    seconds_left: float | None  # at the pace so far; None while there is none


class Tally:
    """Progress of the groups; those in `finished`, by number, were done before."""

    def __init__(self, groups: Sequence[Ensemble], finished: Collection[int]) -> None:
        self._sizes = [len(group) for group in groups]
        self._work = [work(group) for group in groups]
        self._finished = set(finished)
        self._shares = [float(number in finished) for number in range(len(groups))]
        self._before = self._work_done()
        self._start = time.monotonic()

    def advance(self, number: int, share: float) -> None:
        """The group of this number has done `share` of its steps."""
        self._shares[number] = share

    def finish(self, number: int) -> None:
        """The group of this number is kept."""
        self._shares[number] = 1.0
        self._finished.add(number)

    def now(self) -> Progress:
        """The state now."""
        seconds, total, done = time.monotonic() - self._start, sum(self._work), self._work_done()
        own = done - self._before
        return Progress(
            runs_done=sum(self._sizes[number] for number in self._finished),
            runs=sum(self._sizes),
            share=done / total,
            seconds=seconds,
            seconds_left=seconds * (total - done) / own if own > 0 else None,
        )

    def _work_done(self) -> float:
        return sum(share * size for share, size in zip(self._shares, self._work, strict=True))
