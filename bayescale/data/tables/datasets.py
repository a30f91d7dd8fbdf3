"""Read Parquet tables that lie in many files or on other machines.

A folder may hold a table in partitions, `env_id=Ant-v4/utd=2/part-0.parquet`: the names of the folders become columns.
A URL such as `s3://bucket/curves.parquet` is opened through fsspec; it names a file or such a folder. Only the columns
that are needed are read.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa

from bayescale.data.tables.columns import Column, Table, columns_from_index, require_columns
from bayescale.errors import InputError, MissingExtra

MOST_FILES = 100_000  # files of one dataset
UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError)


def is_url(source: object) -> bool:
    """Return True for a text such as s3://bucket/curves.parquet."""
    return isinstance(source, str) and "://" in source and urlsplit(source).scheme.isidentifier()


def is_partitioned(folder: Path) -> bool:
    """Return True for a folder of partitions: it is named .parquet, or holds folders named NAME=VALUE."""
    try:
        with os.scandir(folder) as entries:
            return folder.name.lower().endswith(".parquet") or any("=" in e.name and e.is_dir() for e in entries)
    except OSError:
        return False


def read_dataset(source: str | Path, columns: Sequence[Column], *, most_rows: int, most_columns: int) -> Table:
    """Return the table in a folder of partitions or at a URL; its values are not checked.

    Args:
        source: the folder or the URL.
        columns: rules for the columns that will be used.
        most_rows: a table with more rows is refused.
        most_columns: a table with more columns is read for the columns of `columns` alone.

    Raises:
        InputError: nothing lies there, it cannot be read, or it lacks a column.
        MissingExtra: the source is a URL and fsspec is not installed.
    """
    import pyarrow.dataset as ds

    system, base = _file_system(source)
    texts = [column.name for column in columns if column.kind == "text"]
    try:
        files = _files(source, system, base)
        keys = list(dict.fromkeys(name for file in files for name in _partition_keys(file, base)))
        partitions = pa.schema([(key, pa.string()) for key in keys])
        layout: dict[str, Any] = {
            "filesystem": system,
            "format": ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=set(texts))),
        }
        if keys:
            layout |= {"partitioning": ds.partitioning(partitions, flavor="hive"), "partition_base_dir": base}
        data = ds.dataset(files, **layout)
        schemas = [fragment.physical_schema.remove_metadata() for fragment in data.get_fragments()]
        both = [key for key in keys if any(key in schema.names for schema in schemas)]
        if both:
            raise InputError(f"{source} has '{both[0]}' in the names of its folders and as a column. Keep one of them.")
        named = pa.unify_schemas([*schemas, pa.schema([data.schema.field(key) for key in keys])], **PERMISSIVE)
        data = ds.dataset(files, schema=named, **layout)  # files may differ in the types of their columns
        require_columns(str(source), named.names, columns)
        rows = data.count_rows()
        if rows > most_rows:
            raise InputError(f"{source} has {rows:,} rows; at most {most_rows:,} are read. Keep only evaluations.")
        known = [column.name for column in columns if column.name in named.names]
        wanted = known if len(named.names) > most_columns else named.names
        table = data.to_table(columns=wanted)
        for key in set(keys) & set(table.column_names):
            table = table.set_column(table.column_names.index(key), key, table[key].dictionary_encode())
        frame = table.to_pandas(split_blocks=True, self_destruct=True)
        del table
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{source} was not found. Check the path.") from None
    except UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise InputError(f"{source} cannot be read as Parquet ({reason}). Write or copy it again.") from None
    numbers = {column.name for column in columns if column.kind != "text"}
    for key in (key for key in keys if key in frame):
        frame[key] = _partition_column(frame[key], number=key in numbers, text=key in texts)
    return Table(columns_from_index(frame).reset_index(drop=True), str(source))


PERMISSIVE: dict[str, Any] = {"promote_options": "permissive"}


def _file_system(source: str | Path) -> tuple[Any, str]:
    """Return the file system of Arrow in which the source lies, and its path there."""
    from pyarrow import fs

    if not is_url(source):
        return fs.LocalFileSystem(), str(Path(source).absolute())
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtra("fsspec", "importers") from None
    try:
        system, path = url_to_fs(source)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{source} cannot be opened ({error}). Check the URL, and install its protocol.") from None
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def _files(source: str | Path, system: Any, base: str) -> list[str]:
    """Return the Parquet files at or below the path, sorted."""
    from pyarrow import fs

    info = system.get_file_info(base)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(base)
    if info.type == fs.FileType.File:
        if not base.lower().endswith(".parquet"):
            raise InputError(f"{source} is no Parquet file; other tables are read from local files. Download it.")
        return [base]
    below = system.get_file_info(fs.FileSelector(base, recursive=True))
    files = [f.path for f in below if f.type == fs.FileType.File and f.path.lower().endswith(".parquet")]
    files = sorted(file for file in files if not Path(file).name.startswith((".", "_")))
    if not files:
        raise InputError(f"{source} holds no .parquet files. Check the path.")
    if len(files) > MOST_FILES:
        raise InputError(f"{source} holds more than {MOST_FILES:,} files. Join them to fewer.")
    return files


def _partition_keys(file: str, base: str) -> list[str]:
    """Return the names in the folders NAME=VALUE between the base and the file."""
    return [part.split("=", 1)[0] for part in Path(file.removeprefix(base)).parts[:-1] if "=" in part]


def _partition_column(values: pd.Series, *, number: bool, text: bool) -> pd.Series:
    """Return the values of a partition: numbers where the column holds numbers, or where all values are numbers."""
    names = [str(name) for name in values.cat.categories]
    parsed = [_number(name) for name in names]
    if text or any(isinstance(one, str) for one in parsed):
        return values if text or number else values.astype(str)
    whole = all(isinstance(one, int) for one in parsed)
    array = np.array(parsed, np.int64 if whole else np.float64)
    codes = values.cat.codes.to_numpy()
    if (codes < 0).any():
        return pd.Series(np.where(codes < 0, np.nan, array.astype(float)[codes]), values.index)
    return pd.Series(array[codes], values.index)


def _number(text: str) -> int | float | str:
    """Return the number that a text spells, whole numbers of 64 bits as int; otherwise the text."""
    try:
        if abs(int(text)) < 2**63:
            return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
