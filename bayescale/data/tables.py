"""Tables of numbers and text from files and frames, checked column by column; a bad table gets one sentence."""

import difflib
import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from bayescale.errors import InputError

# What other tools call our columns; a suggestion only, nothing is renamed silently.
FOREIGN_NAMES = {
    "algorithm": ("algo", "agent", "method"),
    "env_id": ("env", "environment", "task", "env_name", "game"),
    "utd": ("utd_ratio", "replay_ratio", "rr", "sigma", "gradient_steps"),
    "batch_size": ("batch", "bs"),
    "learning_rate": ("lr", "step_size", "eta"),
    "env_steps": ("step", "steps", "timesteps", "global_step", "total_timesteps"),
    "episode_return": ("return", "returns", "reward", "score", "episode_reward", "episodic_return"),
}


PARQUET_MAGIC = b"PAR1"  # the first and the last four bytes of every Parquet file


# A learning rate read from CSV must equal its copy in a Parquet file; pandas 3.1 reads exactly by itself and says so.
EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


@dataclass(frozen=True)
class Column:
    """What a column must hold: values > `above` and >= `at_least`; `identifies`: rows are matched by its value."""

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
    """A frame as it came: `source` names it in errors; its index holds the file's line or row numbers."""

    frame: pd.DataFrame
    source: str
    place: Literal["line", "row"] = "row"

    def where(self, bad: np.ndarray) -> str:
        """'at line 3' or 'at lines 3, 7, 9 (3 in all)' for the rows where `bad` is true."""
        labels = [str(label) for label in self.frame.index[bad][:5]]
        count = int(bad.sum())
        if count == 1:
            return f"at {self.place} {labels[0]}"
        return f"at {self.place}s {', '.join(labels)}{', ...' if count > 5 else ''} ({count} in all)"


def read_table(path: str | os.PathLike[str], text_columns: Sequence[str] = ()) -> Table:
    """The table in a file, unchecked; the extension says the format: .csv, .csv.gz or .parquet.

    Args:
        path: the file.
        text_columns: columns of a CSV file to read as text even if they look like numbers.

    Raises:
        InputError: not found, a folder, unreadable, empty, damaged, or of another format.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet")):
        kind = "is a folder" if path.is_dir() else f"has the extension '{path.suffix}'"
        remedy = f"Give its files, as in '{path}/*.parquet'." if path.is_dir() else "Convert it to one of these."
        raise InputError(f"{path} {kind}; tables are read from .csv, .csv.gz and .parquet. {remedy}")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes). Write it again or leave it out.")
        return _read_parquet(path) if name.endswith(".parquet") else _read_csv(path, text_columns)
    except FileNotFoundError:
        raise InputError(f"{path} was not found. Check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check its type and permissions.") from None


def _read_parquet(path: Path) -> Table:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(path.stat().st_size - 4, 0))
        tail = file.read(4)
    if head != PARQUET_MAGIC:
        raise InputError(f"{path} is not a Parquet file, whatever its name says. Write it again with to_parquet.")
    if tail != PARQUET_MAGIC or path.stat().st_size < 12:
        raise InputError(f"{path} is truncated: the end of the Parquet file is missing. Write or copy it again.")
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is a damaged Parquet file ({_reason(error)}). Write or copy it again.") from None
    return Table(columns_from_index(frame).reset_index(drop=True), str(path))


def _read_csv(path: Path, text_columns: Sequence[str]) -> Table:
    compression: Literal["gzip"] | None = "gzip" if path.name.lower().endswith(".gz") else None
    try:
        header = pd.read_csv(path, compression=compression, encoding="utf-8-sig", header=None, nrows=1, dtype=str)
        names = header.iloc[0].dropna().str.strip()
        for separator, separators in ((";", "semicolons"), ("\t", "tabs")):
            if len(names) == 1 and separator in names.iloc[0]:
                raise InputError(f"{path} is separated by {separators}. Write it with commas, and numbers with points.")
        if names.duplicated().any():
            repeated = names[names.duplicated()].iloc[0]
            raise InputError(f"{path} has the column '{repeated}' twice. Keep one of them.")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header lose fields otherwise
            frame = pd.read_csv(
                path,
                compression=compression,
                encoding="utf-8-sig",
                dtype=dict.fromkeys(text_columns, str),
                index_col=False,
                skipinitialspace=True,
                skip_blank_lines=False,  # so that the index counts the file's lines
                low_memory=False,
                **EXACT,
            )
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty. Write it again or leave it out.") from None
    except pd.errors.ParserWarning:
        raise InputError(f"{path}: its rows have more fields than its header. Name every column.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a readable CSV file ({_reason(error)}). Save it as UTF-8, or copy it again."
        ) from None
    except (pd.errors.ParserError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a readable CSV file ({_reason(error)}). Write or copy it again.") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{path} is a damaged gzip file ({error}). Write or copy it again.") from None
    frame.columns = frame.columns.str.strip()
    frame.index = frame.index + 2  # the header is line 1
    return Table(frame[~frame.isna().all(axis=1)], str(path), "line")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def as_table(name: str, given: object) -> Table:
    """A file with tasks, read, or a frame, called by `name` in errors.

    Raises:
        InputError: neither of them, or as `read_table`.
    """
    if isinstance(given, str | os.PathLike):
        return read_table(given, ("env_id",))
    return Table(require_frame(name, given), name)


def require_frame(name: str, frame: object) -> pd.DataFrame:
    """The frame; InputError if it is none."""
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{name} must be a pandas DataFrame; got {type(frame).__name__}. Read or convert it first.")
    return frame


def columns_from_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the named levels of its index as columns."""
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=named) if named else frame


def check_columns(table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """The frame with `columns` first, as str, int64 or float64, then the further columns as they came; index kept.

    Raises:
        InputError: naming the source, the column, the rows and the remedy, for the first column that is not as told.
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
    """Numbers from text or objects; text only from a CSV file, which holds nothing else."""
    kinds = (Real, Decimal, str) if table.place == "line" else (Real, Decimal)
    fit = values.map(lambda value: isinstance(value, kinds) and not isinstance(value, bool))
    number = pd.to_numeric(values.astype(object).where(fit), errors="coerce").astype(np.float64)
    remedy = "Convert the column with pandas.to_numeric." if table.place == "row" else None
    _refuse(table, column, (number.isna() & values.notna()).to_numpy(bool), "a number", remedy)
    return number


def _shortest_decimals(array: np.ndarray) -> np.ndarray:
    """Float32 settings as the decimals that were meant: 1e-4 in float32 is 9.9999997e-05 in float64."""
    unique, inverse = np.unique(array.astype(np.float32), return_inverse=True)
    return np.array([float(str(value)) for value in unique])[inverse]
