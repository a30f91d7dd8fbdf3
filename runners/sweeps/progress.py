"""Tell how far a sweep is, and how long the rest will take."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bayescale.runners.sweeps.jobs import floats_touched
from bayescale.runners.training.ensembles import Ensemble


@dataclass(frozen=True)
class Progress:
    """The state of a sweep at one moment."""

    runs_done: int
    runs: int
    share: float  # share of the work of all runs that is done, 0 to 1
    seconds: float  # time since this process began with the sweep
    seconds_left: float | None  # expected at the pace so far; None before any work is done


class Tally:
    """A count of the work that is done.

    Args:
        ensembles: the ensembles of all jobs, by number.
        finished: numbers of the jobs that an earlier process finished.
    """

    def __init__(self, ensembles: Sequence[Ensemble], finished: Collection[int]) -> None:
        self._sizes = [len(ensemble) for ensemble in ensembles]
        self._work = [floats_touched(ensemble) for ensemble in ensembles]
        self._finished = set(finished)
        self._shares = [float(number in finished) for number in range(len(ensembles))]
        self._before = self._work_done()
        self._start = time.monotonic()

    def advance(self, number: int, share: float) -> None:
        """Note that the job with this number has done this share of its env steps."""
        self._shares[number] = share

    def finish(self, number: int) -> None:
        """Note that the results of the job with this number are written."""
        self._shares[number] = 1.0
        self._finished.add(number)

    def now(self) -> Progress:
        """Return the present state."""
        seconds, total, done = time.monotonic() - self._start, sum(self._work), self._work_done()
        done_here = done - self._before
        return Progress(
            runs_done=sum(self._sizes[number] for number in self._finished),
            runs=sum(self._sizes),
            share=done / total,
            seconds=seconds,
            seconds_left=seconds * (total - done) / done_here if done_here > 0 else None,
        )

    def _work_done(self) -> float:
        return sum(share * work for share, work in zip(self._shares, self._work, strict=True))
