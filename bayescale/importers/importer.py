"""Bundle the functions of one kind of source, and read a table with them in one call."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bayescale.importers.curve_table import as_table
from bayescale.importers.path_patterns import with_path_settings
from bayescale.importers.run_logs import ColumnMapping, Logs, Skipped


class Importer(NamedTuple):
    """Functions that read sources and guess the mapping of the runs in them.

    Attributes:
        log: reads sources.
        guess: returns the mapping that the logs suggest, and sentences about it.
        runs: chooses the rows of each run, or splits the logs into runs, by the mapping; None if there is no need to.
    """

    log: Callable[..., Logs]
    guess: Callable[[Logs], tuple[ColumnMapping, list[str]]]
    runs: Callable[[Logs, ColumnMapping], Logs] | None = None


def read_with(importer: Importer, sources: Sequence[Any], mapping: ColumnMapping | None) -> pd.DataFrame:
    """Return the validated learning-curve table of the sources, and warn of what was left out.

    Args:
        importer: functions of the kind of the sources.
        sources: what `importer.log` reads.
        mapping: keys and constants by column; they add to the guesses, and replace them where both name a column.

    Raises:
        InputError: a source does not exist, no run can be used, or the table is not valid.
    """
    logs = with_path_settings(importer.log(*sources), mapping.path_pattern if mapping else None)
    guess, guesses = importer.guess(logs)
    full = guess.with_answers(mapping)
    if importer.runs is not None:
        logs = importer.runs(logs, full)
    imported = as_table(logs, full, sources=sources, guesses=guesses)
    _warn_of(imported.skipped)
    return imported.curves


def _warn_of(skipped: Sequence[Skipped]) -> None:
    if skipped:
        number, first = len(skipped), skipped[0]
        said = "1 file or run" if number == 1 else f"{number:,} files or runs"
        warnings.warn(f"{said} left out or cut short; the first is {first.name}: {first.reason}", stacklevel=4)
