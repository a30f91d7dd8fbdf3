"""Guess which keys of a tracker hold the columns of a learning-curve table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bayescale.data.curves import RUN_COLUMNS
from bayescale.data.tables.missing_columns import FOREIGN_NAMES
from bayescale.importers.run_logs import RunLog


def first_in_all(keys: Sequence[str], runs: Sequence[RunLog]) -> str | None:
    """Return the first key that has a value in every run's history, or None.

    Runs in which no key has a value, such as runs that crashed early, have no say.
    """
    having = [run for run in runs if any(_has_values(run, key) for key in keys)]
    return next((key for key in keys if having and all(_has_values(run, key) for run in having)), None)


def _has_values(run: RunLog, key: str) -> bool:
    return key in run.history and bool(run.history[key].notna().any())


def configured(candidates: Mapping[str, Sequence[str]], runs: Sequence[RunLog]) -> dict[str, str]:
    """Return, by column, the first candidate key that has a value in every run's config; other columns are absent.

    After the candidates come the name of the column and the names that other tools give it, as a pattern of paths may.
    Runs in which no candidate of a column has a value have no say; `as_table` names them.
    """
    found = {}
    for column, own in candidates.items():
        keys = (*own, column, *FOREIGN_NAMES.get(column, ()))
        having = [run for run in runs if any(run.config.get(key) is not None for key in keys)]
        key = next((key for key in keys if having and all(run.config.get(key) is not None for run in having)), None)
        if key is not None:
            found[column] = key
    return found


def varying(runs: Sequence[RunLog], *, but: Iterable[str]) -> dict[str, str]:
    """Return further config keys that differ between runs, so that the table shows settings that no column holds.

    Only keys that all runs have, with numbers, text or truth values, are returned. A key with the name of a column of
    settings holds that column.

    Args:
        runs: the runs.
        but: keys that are columns already or are no settings.
    """
    left_out = {*but, *RUN_COLUMNS}
    found = {}
    for key in runs[0].config if runs else ():
        values: list[Any] = [run.config.get(key) for run in runs]
        plain = key not in left_out and all(isinstance(value, int | float | str) for value in values)
        if plain and len(set(values)) > 1:
            found[key] = key
    return found


def sentences(columns: Mapping[str, str | None]) -> list[str]:
    """Return a sentence for each column that has a key, in the order given."""
    return [f"{column}: taken from {key}." for column, key in columns.items() if key is not None]
