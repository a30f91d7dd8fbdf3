"""List the runs of a tracker before their histories are read, and read only the keys that the mapping needs.

A tracker may hold millions of rows with hundreds of keys. A listed run has its config, and a history that suffices to
guess the mapping: often one row, the last value of each key.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from bayescale.importers.run_folders import Unusable
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, Skipped

Progress = Callable[[int, int], None]  # histories that are read, and all


class Rows(NamedTuple):
    """The rows of a run, and whether they show that it was resumed."""

    history: pd.DataFrame
    resumed: bool = False


@dataclass(frozen=True, kw_only=True)
class ListedRun(RunLog):
    """One run of whose history some rows are known, at least the last value of each key.

    Attributes:
        read: function that returns the rows that have the step counter and the return, the first two of the given keys,
            and those that have a further key; raises `Unusable`.
    """

    read: Callable[[Sequence[str]], Rows]


def read_histories(
    logs: Logs, mapping: ColumnMapping, *, workers: int = 1, on_progress: Progress | None = None
) -> Logs:
    """Return the runs with the rows of the keys that the mapping names; runs that cannot be read are skipped.

    Args:
        logs: runs, of which those that are listed are read. Listed runs without step counter or return are left as
            they are; `as_table` leaves them out.
        mapping: the mapping that will be applied.
        workers: number of histories that are read at a time.
        on_progress: function that is called after each history that was read.
    """
    wanted = [(place, run, mapping.keys_of(run)) for place, run in enumerate(logs.runs) if isinstance(run, ListedRun)]
    needed = (mapping.env_steps or "env_steps", mapping.episode_return or "episode_return")
    wanted = [one for one in wanted if set(needed) <= set(one[2])]
    runs: list[RunLog | None] = list(logs.runs)
    skipped = list(logs.skipped)

    def read(run: ListedRun, keys: Sequence[str]) -> RunLog | Skipped:
        try:
            rows = run.read(keys)
        except Unusable as reason:
            return Skipped(run.name, str(reason))
        return RunLog(run.name, run.config, rows.history, run.status, rows.resumed, run.label)

    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda one: read(*one[1:]), wanted)
        try:
            for done, ((place, _, _), result) in enumerate(zip(wanted, results, strict=True), start=1):
                if isinstance(result, Skipped):
                    skipped.append(result)
                    runs[place] = None
                else:
                    runs[place] = result
                if on_progress is not None:
                    on_progress(done, len(wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # an interrupt or an error ends the other downloads
            raise
    return Logs([run for run in runs if run is not None], skipped)
