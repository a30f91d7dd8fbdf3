"""Read tables from CSV and Parquet files."""

import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from bayescale.data.tables import Table, columns_from_index, require_frame
from bayescale.errors import InputError

PARQUET_MAGIC = b"PAR1"  # the first and the last four bytes of every Parquet file

# A learning rate read from CSV must equal its copy in a Parquet file. From pandas 3.1 on, exact reading is the default
# and the option is deprecated.
EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


def read_table(path: str | os.PathLike[str], text_columns: Sequence[str] = ()) -> Table:
    """Return the table in a .csv, .csv.gz or .parquet file, unchecked.

    Args:
        path: the file.
        text_columns: columns of a CSV file to read as text even if they look like numbers.

    Raises:
        InputError: the file does not exist, is a folder, is empty, damaged or unreadable, or has another extension.
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


def as_table(name: str, given: object) -> Table:
    """Return a frame, or the table in a file with a column env_id, as a `Table`.

    Args:
        name: name of a frame in error messages.
        given: a path or a frame.

    Raises:
        InputError: `given` is neither a path nor a frame, or the file cannot be read, see `read_table`.
    """
    if isinstance(given, str | os.PathLike):
        return read_table(given, ("env_id",))
    return Table(require_frame(name, given), name)


def _read_parquet(path: Path) -> Table:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(path.stat().st_size - 4, 0))
        tail = file.read(4)
    if head != PARQUET_MAGIC:
        raise InputError(f"{path} is not a Parquet file, despite its name. Write it again with to_parquet.")
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
            warnings.simplefilter(
                "error", pd.errors.ParserWarning
            )  # otherwise pandas cuts rows that are longer than the header
            frame = pd.read_csv(
                path,
                compression=compression,
                encoding="utf-8-sig",
                dtype=dict.fromkeys(text_columns, str),
                index_col=False,
                skipinitialspace=True,
                skip_blank_lines=False,  # keeps the index equal to the line numbers
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
