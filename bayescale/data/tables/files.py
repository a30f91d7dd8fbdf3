"""Read tables from CSV and Parquet files.

A table of more than 256 columns is read for the columns that BayeScale knows; its other columns are left out, with a
warning. Files that would unpack to more than the limits below are refused before they are read.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bayescale.data.tables.columns import Column, Table, columns_from_index, require_columns, require_frame
from bayescale.data.tables.csv_files import read_csv, warn_left_out
from bayescale.data.tables.datasets import is_partitioned, is_url, read_dataset
from bayescale.data.tables.foreign_files import no_table, require_plain_file
from bayescale.data.tables.paths import usable_path
from bayescale.errors import InputError

PARQUET_MAGIC = b"PAR1"  # the first and the last four bytes of every Parquet file
MOST_COLUMNS = 256  # columns up to which a table is read whole
MOST_ROWS = 200_000_000  # rows of a Parquet file
INDEX_COLUMN = "__index_level_"  # prefix of the name under which pandas stores an index without a name


def read_table(path: str | os.PathLike[str], columns: Sequence[Column] = ()) -> Table:
    """Return the table in a .csv, .csv.gz or .parquet file, or in partitions; its values are not checked.

    Args:
        path: the file; or a folder of partitions or a URL, see `bayescale.data.tables.datasets`.
        columns: rules for the columns that will be used. Text columns of a CSV file are read as text even if their
            values look like numbers or like missing values.

    Raises:
        InputError: the file does not exist, is a folder, is empty, damaged, too large or unreadable, has another
            extension or lacks a column.
    """
    if is_url(path):
        return read_dataset(str(path), columns, most_rows=MOST_ROWS, most_columns=MOST_COLUMNS)
    path = usable_path(path)
    name = path.name.lower()
    try:
        if path.is_dir() and is_partitioned(path):
            return read_dataset(path, columns, most_rows=MOST_ROWS, most_columns=MOST_COLUMNS)
        if not name.endswith((".csv", ".csv.gz", ".parquet")):
            raise InputError(no_table(path))
        not_plain = require_plain_file(path)
        if not_plain:
            raise InputError(not_plain)
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes). Write it again or leave it out.")
        if name.endswith(".parquet"):
            return _read_parquet(path, columns)
        return read_csv(path, columns, MOST_COLUMNS)
    except FileNotFoundError:
        raise InputError(f"{path} was not found. Check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check its type and permissions.") from None


def as_table(name: str, given: object, columns: Sequence[Column]) -> Table:
    """Return a frame, or the table in a file, as a `Table`.

    Args:
        name: name of a frame in error messages.
        given: a path or a frame.
        columns: rules for the columns that will be used.

    Raises:
        InputError: `given` is neither a path nor a frame, or the file cannot be read, see `read_table`.
    """
    if isinstance(given, str | os.PathLike):
        return read_table(given, columns)
    return Table(require_frame(name, given), name)


def _read_parquet(path: Path, columns: Sequence[Column]) -> Table:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(path.stat().st_size - 4, 0))
        tail = file.read(4)
    if head != PARQUET_MAGIC:
        raise InputError(f"{path} is not a Parquet file, despite its name. Write it again with to_parquet.")
    if tail != PARQUET_MAGIC or path.stat().st_size < 12:
        raise InputError(f"{path} is truncated: the end of the Parquet file is missing. Write or copy it again.")
    try:
        schema = pq.read_schema(path)
        names = [name for name in schema.names if not name.startswith(INDEX_COLUMN)]
        kinds = dict(zip(schema.names, schema.types, strict=True))
        texts = [column.name for column in columns if column.kind == "text" and _is_text(kinds.get(column.name))]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            rows = file.metadata.num_rows
            require_columns(str(path), names, columns)
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise InputError(f"{path} has the column '{repeated[0]}' twice. Keep one of them.")
            if rows > MOST_ROWS:
                raise InputError(
                    f"{path} has {rows:,} rows; at most {MOST_ROWS:,} are read. Keep only the rows of evaluations."
                )
            if len(names) > MOST_COLUMNS:
                wanted = [column.name for column in columns if column.name in names]
                warn_left_out(path, len(names) - len(wanted))
                names = wanted
            frame = _frame(file, names)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from None
    return Table(frame, str(path))


def _is_text(kind: pa.DataType | None) -> bool:
    return kind is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _frame(file: pq.ParquetFile, names: Sequence[str]) -> pd.DataFrame:
    """Return the columns, and the named levels of the index as columns; one is read at a time, to spare memory."""
    index = columns_from_index(file.read(columns=[]).to_pandas()).reset_index(drop=True)
    found: dict[Any, pd.Series] = {name: index[name] for name in index}
    for name in names:
        part = columns_from_index(file.read(columns=[name]).to_pandas(split_blocks=True, self_destruct=True))
        found |= {own: part[own].array for own in part if str(own) == name}
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(found, range(file.metadata.num_rows), copy=False)


def _damaged(path: Path, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return InputError(f"{path} is a damaged Parquet file ({reason}). Write or copy it again.")
