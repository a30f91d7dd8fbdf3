"""Declare rules for the columns of a table, and tables that have not been checked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from bayescale.data.tables.missing_columns import missing_columns
from bayescale.errors import InputError


@dataclass(frozen=True)
class Column:
    """Rules for the values of one column.

    Attributes:
        name: name of the column.
        kind: type of its values.
        above: values must be > this.
        at_least: values must be >= this.
        optional: the table may lack the column.
        identifies: rows are matched by the value, so float32 values are read as the decimals that they print as.
        may_be_infinite: inf is a valid value.
        may_be_missing: NaN is a valid value of a real column.
        meaning: sentence on the column's meaning in errors about values out of range.
        remedy: next step in error messages about a wrong value.
    """

    name: str
    kind: Literal["text", "integer", "real"]
    above: float | None = None
    at_least: float | None = None
    optional: bool = False
    identifies: bool = False
    may_be_infinite: bool = False
    may_be_missing: bool = False
    meaning: str = ""
    remedy: str = "Correct or remove these rows."


@dataclass(frozen=True)
class Table:
    """A table that has not been checked.

    Attributes:
        frame: the table; its index holds line or row numbers of the file.
        source: name of the table in error messages.
        place: word for a number of the index.
    """

    frame: pd.DataFrame
    source: str
    place: Literal["line", "row"] = "row"

    def where(self, bad: np.ndarray) -> str:
        """Return the place of the rows where `bad` is true: 'at line 3' or 'at lines 3, 7, 9 (3 in all)'."""
        labels = [str(label) for label in self.frame.index[bad][:5]]
        count = int(bad.sum())
        if count == 1:
            return f"at {self.place} {labels[0]}"
        return f"at {self.place}s {', '.join(labels)}{', ...' if count > 5 else ''} ({count} in all)"


def require_frame(name: str, frame: object) -> pd.DataFrame:
    """Return the frame, or raise InputError if it is not a pandas DataFrame."""
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{name} must be a pandas DataFrame; got {type(frame).__name__}. Read or convert it first.")
    return frame


def columns_from_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the named levels of its index as columns."""
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=named) if named else frame


def require_columns(source: str, names: Collection[str], columns: Sequence[Column]) -> None:
    """Raise InputError unless `names` holds every column that is not optional.

    Args:
        source: name of the table in the error message.
        names: columns of the table.
        columns: rules for its columns.
    """
    missing = [column.name for column in columns if not column.optional and column.name not in names]
    if missing:
        raise InputError(missing_columns(source, list(names), missing, [column.name for column in columns]))
