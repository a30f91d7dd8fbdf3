"""Check tables column by column; one sentence says what is wrong with a table."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Literal

import numpy as np
import pandas as pd

from bayescale.errors import InputError

# Names that other tools give these columns. An error suggests the renaming; no column is renamed silently.
FOREIGN_NAMES = {
    "algorithm": ("algo", "agent", "method"),
    "env_id": ("env", "environment", "task", "env_name", "game"),
    "utd": ("utd_ratio", "replay_ratio", "rr", "sigma", "gradient_steps"),
    "batch_size": ("batch", "bs"),
    "learning_rate": ("lr", "step_size", "eta"),
    "env_steps": ("step", "steps", "timesteps", "global_step", "total_timesteps"),
    "episode_return": ("return", "returns", "reward", "score", "episode_reward", "episodic_return"),
}


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
        remedy: next step in error messages about a wrong value.
    """

    name: str
    kind: Literal["text", "integer", "real"]
    above: float | None = None
    at_least: float | None = None
    optional: bool = False
    identifies: bool = False
    may_be_infinite: bool = False
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


def check_columns(table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the frame with `columns` first, as str, int64 or float64, then its further columns unchanged.

    The index is kept, but for named levels, which become columns.

    Raises:
        InputError: a column breaks its rules. The message is about the first such column and names the source, the
            column, the rows and the remedy.
    """
    frame = columns_from_index(require_frame(table.source, table.frame))
    table = Table(frame, table.source, table.place)
    if frame.columns.nlevels > 1:
        raise InputError(f"{table.source} has column names of several levels. Give each column one name.")
    if frame.columns.has_duplicates:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"{table.source} has the column '{repeated}' twice. Keep one of them.")
    for column in columns:
        if column.name not in frame.columns and not column.optional:
            raise InputError(_missing_column(table, column.name))
    if frame.empty:
        raise InputError(f"{table.source} has no rows. Write it again or leave it out.")
    present = [column for column in columns if column.name in frame.columns]
    checked = {column.name: _checked(table, column) for column in present}
    return frame.assign(**checked)[list(checked) + [name for name in frame.columns if name not in checked]]


def _missing_column(table: Table, name: str) -> str:
    came = [str(c) for c in table.frame.columns]
    foreign = [c for c in came if c.lower() in FOREIGN_NAMES.get(name, ())]
    close = foreign or difflib.get_close_matches(name, came, n=1, cutoff=0.6)
    remedy = f"Did you mean '{close[0]}'? Rename it." if close else "Add it."
    return f"{table.source} has no column '{name}'; its columns are {', '.join(came) or 'none'}. {remedy}"


def _checked(table: Table, column: Column) -> pd.Series:
    values = table.frame[column.name]
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    return _text(table, column, values) if column.kind == "text" else _numbers(table, column, values)


def _refuse(table: Table, column: Column, bad: np.ndarray, rule: str, remedy: str | None = None) -> None:
    if bad.any():
        came = ", ".join(dict.fromkeys(str(v) for v in table.frame[column.name][bad][:3]))
        raise InputError(
            f"{table.source}: {column.name} must be {rule}; got {came} {table.where(bad)}. {remedy or column.remedy}"
        )


def _text(table: Table, column: Column, values: pd.Series) -> pd.Series:
    missing = values.isna().to_numpy()
    _refuse(table, column, missing, "filled in")
    if not isinstance(values.dtype, pd.StringDtype):
        other = ~values.map(lambda value: isinstance(value, str)).to_numpy(bool)
        _refuse(table, column, other, "text", "Convert it with astype(str).")
        values = values.astype(str)
    _refuse(table, column, (values == "").to_numpy(bool), "filled in")
    return values.astype(str)


def _numbers(table: Table, column: Column, values: pd.Series) -> pd.Series:
    if values.dtype.kind not in "iuf":
        values = _parsed(table, column, values)
    if values.dtype.kind == "f" or values.isna().any():
        array = values.to_numpy(np.float64, na_value=np.nan)
        _refuse(table, column, np.isnan(array), "filled in")
        if not column.may_be_infinite:
            _refuse(table, column, np.isinf(array), "finite")
        if column.identifies and values.dtype == np.float32:
            array = _shortest_decimals(array)
    else:
        array = values.to_numpy()
    if column.kind == "integer":
        if array.dtype.kind != "i":
            _refuse(table, column, (array != np.rint(array)) | (np.abs(array) >= 2.0**63), "a whole number of 64 bits")
        array = array.astype(np.int64)
    else:
        array = array.astype(np.float64)
    if column.above is not None:
        _refuse(table, column, array <= column.above, f"> {column.above:g}")
    if column.at_least is not None:
        _refuse(table, column, array < column.at_least, f">= {column.at_least:g}")
    return pd.Series(array, values.index)


def _parsed(table: Table, column: Column, values: pd.Series) -> pd.Series:
    """Return numbers from objects, and from text if the table comes from a CSV file, where all values are text."""
    kinds = (Real, Decimal, str) if table.place == "line" else (Real, Decimal)
    convertible = values.map(lambda value: isinstance(value, kinds) and not isinstance(value, bool))
    number = pd.to_numeric(values.astype(object).where(convertible), errors="coerce").astype(np.float64)
    remedy = "Convert the column with pandas.to_numeric." if table.place == "row" else None
    _refuse(table, column, (number.isna() & values.notna()).to_numpy(bool), "a number", remedy)
    return number


def _shortest_decimals(array: np.ndarray) -> np.ndarray:
    """Return float32 settings as their shortest decimals: 1e-4 in float32 is 9.9999997e-05 in float64."""
    unique, inverse = np.unique(array.astype(np.float32), return_inverse=True)
    return np.array([float(str(value)) for value in unique])[inverse]
