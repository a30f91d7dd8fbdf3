"""Read the tables of several sources, and name the place of a row of the joined tables."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.data.tables.columns import Column, Table
from bayescale.data.tables.datasets import is_url
from bayescale.data.tables.files import read_table
from bayescale.data.tables.paths import matching_paths
from bayescale.errors import InputError

Source = str | os.PathLike[str] | pd.DataFrame | Table


def tables_of(sources: Iterable[Source | Iterable[Source]], columns: Sequence[Column]) -> Iterator[Table]:
    """Yield the table of each source; files are read when their turn comes.

    Args:
        sources: files, globs, folders of partitions, URLs, frames, tables, or iterables of these.
        columns: rules for the columns that will be used.

    Raises:
        InputError: a source is of another type, a glob matches no file, or a file cannot be read.
    """
    for number, source in enumerate(sources, start=1):
        if isinstance(source, Table):
            yield source
        elif isinstance(source, pd.DataFrame):
            yield Table(source, f"table {number}")
        elif isinstance(source, str | os.PathLike):
            paths = [source] if is_url(source) else matching_paths(source)
            yield from (read_table(path, columns) for path in paths)
        elif (
            isinstance(source, Iterable)
            and not isinstance(source, Mapping | np.ndarray)
            and not hasattr(source, "__dataframe__")
        ):
            yield from tables_of(source, columns)
        else:
            raise InputError(f"a source must be a file, a glob or a frame; got {type(source).__name__}. Convert it.")


def place_in(tables: list[Table]) -> Callable[[int], str]:
    """Return the function that names the source and the line of a row of the joined tables."""
    ends = np.cumsum([len(table.frame) for table in tables])
    named = [(table.source, table.place, table.frame.index) for table in tables]

    def place(position: int) -> str:
        table = int(np.searchsorted(ends, position, side="right"))
        source, word, labels = named[table]
        return f"{source} {word} {labels[position - (ends[table - 1] if table else 0)]}"

    return place
