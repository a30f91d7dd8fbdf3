"""Read CSV files: the header, the names and the whole numbers stay as the file has them."""

import gzip
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import pandas as pd

from bayescale.data.tables.columns import Column, Table, require_columns
from bayescale.data.tables.missing_columns import MONITOR, looks_like_data, missing_columns
from bayescale.errors import InputError

# A learning rate read from CSV must equal its copy in a Parquet file. From pandas 3.1 on, exact reading is the default
# and the option is deprecated.
EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
# Cells of number columns and of further columns that count as missing; names such as "NA" stay text.
MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "nan", "NaN", "-nan", "-NaN", "null", "NULL", "None",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
CHUNK = 2**20  # bytes; the first line of a CSV file must be shorter
MOST_UNPACKED = 4 * 2**30  # bytes of an unpacked .csv.gz
DEFLATE = 1032  # bytes that one byte of a gzip file unpacks to at most
EXACT_BELOW = 2.0**53  # a float holds every whole number below this


def read_csv(path: Path, columns: Sequence[Column], most_columns: int) -> Table:
    """Return the table in a .csv or .csv.gz file; the index holds the line numbers, and blank lines are left out.

    Args:
        path: the file, which is not empty.
        columns: rules for the columns that will be used.
        most_columns: a file with more columns is read for the columns of `columns` alone.

    Raises:
        InputError: the file is empty, damaged, too large or has another separator, encoding or layout.
    """
    try:
        _check_head(path)
        names = _names(path, columns)
        wanted = None
        if len(names) > most_columns:
            wanted = [column.name for column in columns if column.name in names]
            warn_left_out(path, len(names) - len(wanted))
        frame = _frame(path, names, columns, wanted)
        for column in columns:
            if column.kind == "integer" and column.name in frame and _lost_digits(frame[column.name]):
                frame[column.name] = _frame(path, names, columns, [column.name], text=True)[column.name]
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
    frame.index = frame.index + 2  # the header is line 1
    return Table(frame[~frame.isna().all(axis=1)], str(path), "line")


def warn_left_out(path: Path, count: int) -> None:
    """Warn that columns of a wide table are left out."""
    warnings.warn(
        f"{path}: {count:,} further columns are not read. If runs differ in a setting among them, write that setting "
        "and the columns of the curves to a table of fewer columns.",
        stacklevel=2,
    )


def _compression(path: Path) -> Literal["gzip"] | None:
    return "gzip" if path.name.lower().endswith(".gz") else None


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if _compression(path) else path.open("rb")


def _check_head(path: Path) -> None:
    """Raise InputError if the file is no text, or too large, before pandas reads it."""
    with _open(path) as file:
        head = file.read(CHUNK)
    if b"\0" in head:
        raise InputError(f"{path} is not a readable CSV file (it holds NUL bytes). Save it as UTF-8, or copy it again.")
    if len(head) == CHUNK and b"\n" not in head and b"\r" not in head:
        raise InputError(
            f"{path} is not a readable CSV file (its first line has over a million letters). Copy it again."
        )
    if head.startswith(b"#{"):
        raise InputError(f"{path} {MONITOR}")
    if _compression(path) and path.stat().st_size * DEFLATE > MOST_UNPACKED:
        _check_unpacked_size(path)


def _check_unpacked_size(path: Path) -> None:
    size = 0
    with _open(path) as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MOST_UNPACKED:
                raise InputError(
                    f"{path} unpacks to more than {MOST_UNPACKED // 2**30} GiB, which is not read. Write the table as "
                    "Parquet, or split it."
                )


def _names(path: Path, columns: Sequence[Column]) -> list[str]:
    """Return the column names of the first line, each of which is unique."""
    line = pd.read_csv(
        path,
        compression=_compression(path),
        encoding="utf-8-sig",
        header=None,
        nrows=1,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        skip_blank_lines=False,
    )
    names = line.iloc[0].fillna("").str.strip().tolist()
    known = [column.name for column in columns]
    for separator, separators in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise InputError(f"{path} is separated by {separators}. Write it with commas, and numbers with points.")
    if columns and looks_like_data(names, known):
        needed = [column.name for column in columns if not column.optional]
        raise InputError(missing_columns(str(path), names, needed, known))
    named = pd.Series(names)[pd.Series(names) != ""]
    if named.duplicated().any():
        repeated = named[named.duplicated()].iloc[0]
        raise InputError(f"{path} has the column '{repeated}' twice. Keep one of them.")
    require_columns(str(path), [*named], columns)
    return [name or f"Unnamed: {position}" for position, name in enumerate(names)]


def _frame(
    path: Path, names: list[str], columns: Sequence[Column], wanted: list[str] | None, text: bool = False
) -> pd.DataFrame:
    """Return the rows of the file, one row for each line.

    Args:
        path: the file.
        names: names of its columns.
        columns: rules for the columns that will be used.
        wanted: the columns to read; None reads all.
        text: read all columns as text.
    """
    texts = {column.name for column in columns if column.kind == "text" and column.name in names}
    with warnings.catch_warnings():
        # Otherwise pandas cuts rows that are longer than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = pd.read_csv(
            path,
            compression=_compression(path),
            encoding="utf-8-sig",
            header=0,
            names=names,
            usecols=wanted,
            dtype=str if text else dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: [""] if name in texts else list(MISSING) for name in wanted or names},
            index_col=False,
            skipinitialspace=True,
            skip_blank_lines=False,  # keeps the index equal to the line numbers
            low_memory=False,
            **EXACT,
        )
    return frame


def _lost_digits(values: pd.Series) -> bool:
    """Return True if whole numbers were read as floats that cannot hold all their digits."""
    return bool(values.dtype.kind == "f" and (values.abs() >= EXACT_BELOW).any() and np.isfinite(values.abs().max()))


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
