"""Read CSV files: the header, the names and the whole numbers stay as the file has them.

Columns that `columns` does not name keep their text and their digits too: a mapping may name them later.
"""

import gzip
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from bayescale.data.tables.columns import Column, Table, require_columns
from bayescale.data.tables.csv_layout import decimal_of, encoding_of, require_no_points, separator_of, warn_of_layout
from bayescale.data.tables.missing_columns import FOREIGN_NAMES, MONITOR, looks_like_data, missing_columns
from bayescale.errors import InputError

# A learning rate read from CSV must equal its copy in a Parquet file. From pandas 3.1 on, exact reading is the default
# and the option is deprecated.
EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
# Cells of number columns and of further columns that count as missing; names such as "NA" stay text.
NO_NUMBER = ("nan", "NaN", "-nan", "-NaN", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN")
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "null", "NULL", "None", *NO_NUMBER)
CHUNK = 2**20  # bytes; the first line of a CSV file must be shorter
MOST_UNPACKED = 4 * 2**30  # bytes of an unpacked .csv.gz
DEFLATE = 1032  # bytes that one byte of a gzip file unpacks to at most
EXACT_BELOW = 2.0**53  # a float holds every whole number below this


class _Layout(NamedTuple):
    """The encoding of a file and the signs that separate its fields and its decimals."""

    encoding: str
    separator: str
    decimal: str = "."


def read_csv(path: Path, columns: Sequence[Column], most_columns: int) -> Table:
    """Return the table in a .csv or .csv.gz file; the index holds the line numbers, and blank lines are left out.

    Args:
        path: the file, which is not empty.
        columns: rules for the columns that will be used.
        most_columns: a file with more columns is read for the columns of `columns` alone.

    Raises:
        InputError: the file is empty, damaged, too large or has another encoding or layout.
    """
    try:
        head = _head(path)
        known = {name for column in columns for name in (column.name, *FOREIGN_NAMES.get(column.name, ()))}
        encoding = encoding_of(head)
        layout = _Layout(encoding, separator_of(str(path), head.decode(encoding, "replace"), known))
        names = _names(path, layout, columns)
        wanted = None
        if len(names) > most_columns:
            wanted = [column.name for column in columns if column.name in names]
            warn_left_out(path, len(names) - len(wanted))
        frame = _frame(path, layout, names, columns, wanted)
        _refuse_second_header(path, frame, columns)
        frame, layout = _with_decimals(path, frame, layout, names, columns)
        frame = _with_lost_text(path, frame, layout, names, columns)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty. Write it again or leave it out.") from None
    except pd.errors.ParserWarning:
        raise InputError(f"{path}: its rows have more fields than its header. Name every column.") from None
    except UnicodeError as error:
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


def _head(path: Path) -> bytes:
    """Return the beginning of the file; raise InputError if it is no text or too large, before pandas reads it."""
    with _open(path) as file:
        head = file.read(CHUNK)
    if b"\0" in head and encoding_of(head) != "utf-16":
        raise InputError(f"{path} is not a readable CSV file (it holds NUL bytes). Save it as UTF-8, or copy it again.")
    if len(head) == CHUNK and b"\n" not in head and b"\r" not in head:
        raise InputError(
            f"{path} is not a readable CSV file (its first line has over a million letters). Copy it again."
        )
    if head.startswith(b"#{"):
        raise InputError(f"{path} {MONITOR}")
    if _compression(path) and path.stat().st_size * DEFLATE > MOST_UNPACKED:
        _check_unpacked_size(path)
    return head


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


def _names(path: Path, layout: _Layout, columns: Sequence[Column]) -> list[str]:
    """Return the column names of the first line, each of which is unique."""
    line = pd.read_csv(
        path,
        compression=_compression(path),
        encoding=layout.encoding,
        sep=layout.separator,
        header=None,
        nrows=1,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        skip_blank_lines=False,
    )
    names = line.iloc[0].fillna("").str.strip().tolist()
    known = [column.name for column in columns]
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
    path: Path,
    layout: _Layout,
    names: list[str],
    columns: Sequence[Column],
    wanted: list[str] | None,
    text: bool = False,
) -> pd.DataFrame:
    """Return the rows of the file, one row for each line.

    Args:
        path: the file.
        layout: its encoding and its separators.
        names: names of its columns.
        columns: rules for the columns that will be used.
        wanted: the columns to read; None reads all.
        text: read all columns as text, of which only blank cells are missing.
    """
    texts = {column.name for column in columns if column.kind == "text" and column.name in names}
    with warnings.catch_warnings():
        # Otherwise pandas cuts rows that are longer than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = pd.read_csv(
            path,
            compression=_compression(path),
            encoding=layout.encoding,
            sep=layout.separator,
            decimal=layout.decimal,
            header=0,
            names=names,
            usecols=wanted,
            dtype=str if text else dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: [""] if text or name in texts else list(MISSING) for name in wanted or names},
            index_col=False,
            skipinitialspace=True,
            skip_blank_lines=False,  # keeps the index equal to the line numbers
            low_memory=False,
            **EXACT,
        )
    return frame


def _refuse_second_header(path: Path, frame: pd.DataFrame, columns: Sequence[Column]) -> None:
    kinds = {column.name: column.kind for column in columns if column.name in frame}
    texts = [name for name, kind in kinds.items() if kind == "text"]
    if not texts or all(kind == "text" or frame[name].dtype.kind in "biuf" for name, kind in kinds.items()):
        return
    again = np.flatnonzero(np.logical_and.reduce([frame[name] == name for name in texts]))
    if len(again):
        raise InputError(
            f"{path} has its header again at line {again[0] + 2}, where two files were joined. Remove that line."
        )


def _with_decimals(
    path: Path, frame: pd.DataFrame, layout: _Layout, names: list[str], columns: Sequence[Column]
) -> tuple[pd.DataFrame, _Layout]:
    """Return the rows of a file, read with its decimals, and warn of its layout.

    Between commas, only known columns of numbers tell decimal commas, which are quoted there; "64,64" may be a list.
    """
    kinds = {column.name: column.kind for column in columns if column.name in frame}
    numbers = [name for name, kind in kinds.items() if kind != "text"]
    others = [name for name in frame if name not in kinds and layout.separator != ","]
    if layout.separator == "," and all(frame[name].dtype.kind in "biuf" for name in numbers):
        return frame, layout
    decimal = decimal_of(str(path), frame[numbers], frame[others])
    if decimal == ",":
        layout = layout._replace(decimal=decimal)
        frame = _frame(path, layout, names, columns, [str(name) for name in frame.columns])
        require_no_points(str(path), frame[numbers])
    warn_of_layout(str(path), layout.separator, decimal)
    return frame, layout


def _with_lost_text(
    path: Path, frame: pd.DataFrame, layout: _Layout, names: list[str], columns: Sequence[Column]
) -> pd.DataFrame:
    """Return the rows with the digits of whole numbers and the names such as "NA" that a first reading loses."""
    kinds = {column.name: column.kind for column in columns}
    present = [str(name) for name in frame.columns]
    whole = [name for name in present if kinds.get(name) == "integer" and _lost_digits(frame[name])]
    further = [
        name for name in present if name not in kinds and (_lost_digits(frame[name]) or _lost_names(frame[name]))
    ]
    if not whole and not further:
        return frame
    texts = _frame(path, layout, names, columns, [*whole, *further], text=True)
    exact: dict[str, pd.Series] = {name: texts[name] for name in whole}
    exact |= {name: _with_text(frame[name], texts[name]) for name in further}
    return frame.assign(**exact)


def _lost_digits(values: pd.Series) -> bool:
    """Return True if whole numbers were read as floats that cannot hold all their digits."""
    return bool(values.dtype.kind == "f" and (values.abs() >= EXACT_BELOW).any() and np.isfinite(values.abs().max()))


def _lost_names(values: pd.Series) -> bool:
    """Return True if a column of text, or one without a value, may hold names such as "NA"."""
    return bool(values.isna().any() and (values.dtype.kind not in "biuf" or values.isna().all()))


def _with_text(values: pd.Series, texts: pd.Series) -> pd.Series:
    """Return a further column with every digit of its whole numbers, or with names such as "NA"."""
    cells = texts.dropna()
    if values.dtype.kind == "f" and values.notna().any():
        if not cells.str.fullmatch(r"[+-]?\d+").all():
            return values
        try:
            return texts.astype("Int64")
        except (OverflowError, ValueError):
            return texts  # more than 64 bits
    return values if cells.isin(NO_NUMBER).any() else texts


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
