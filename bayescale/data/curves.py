"""Read, validate and write learning-curve tables: one row per evaluation of one run."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int

from bayescale.data.output_files import written
from bayescale.data.tables.files import read_table
from bayescale.data.tables.paths import matching_paths
from bayescale.data.tables import Column, Table, check_columns
from bayescale.errors import InputError

RUN_COLUMNS = ("suite", "algorithm", "env_id", "utd", "batch_size", "learning_rate", "model_size", "seed")
OPTIONAL = ("suite", "model_size")

CURVE_COLUMNS = (
    Column("suite", "text", optional=True),
    Column("algorithm", "text"),
    Column("env_id", "text"),
    Column("utd", "real", above=0, identifies=True),
    Column("batch_size", "integer", above=0),
    Column("learning_rate", "real", above=0, identifies=True),
    Column("model_size", "integer", above=0, optional=True),
    Column("seed", "integer"),
    Column("env_steps", "integer", at_least=0),
    Column(
        "episode_return",
        "real",
        remedy="Remove these evaluations, or enter the return that a diverged run counts as.",
    ),
)
SETTING_COLUMNS = tuple(
    column for column in CURVE_COLUMNS if column.name in ("env_id", "utd", "batch_size", "learning_rate", "model_size")
)

Source = str | os.PathLike[str] | pd.DataFrame | Table


def read_curves(*sources: Source | Iterable[Source]) -> pd.DataFrame:
    """Return one validated learning-curve table of all sources, sorted by run, then env_steps.

    Args:
        sources: files (.csv, .csv.gz, .parquet), globs, frames, or iterables of these, in any mix. A frame in a `Table`
            has a name for error messages.

    Returns:
        The table that `validate_curves` describes.

    Raises:
        InputError: a glob matches no file, a file cannot be read, or a table is not valid.
    """
    tables = list(_tables(sources))
    if not tables:
        raise InputError("read_curves got no sources. Give a file, a glob or a frame.")
    return _valid(tables)


def validate_curves(frame: pd.DataFrame, source: str = "table") -> pd.DataFrame:
    """Return the frame as a valid learning-curve table: one row per run and env_steps, sorted by run, then env_steps.

    Text columns are str, counts int64, other numbers float64. The known columns come first; further columns follow
    unchanged.

    Args:
        frame: columns RUN_COLUMNS, `env_steps` and `episode_return`; the columns OPTIONAL may be absent.
        source: name of the table in error messages.

    Raises:
        InputError: a column is missing, a value is NaN, infinite, out of range or text in a number column, or a run has
            two rows at the same env_steps.
    """
    return _valid([Table(frame, source)])


def write_curves(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Validate the table and write it to a Parquet file, which is either complete or absent.

    Args:
        frame: a learning-curve table, see `validate_curves`.
        path: a file name ending in .parquet.

    Raises:
        InputError: the table is not valid, or the path cannot be written.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise InputError(f"curves are written as Parquet; got {path}. Let the name end in .parquet.")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist. Create it first.")
    table = validate_curves(frame, "the table to write")
    with written(path) as partial, partial.open("wb") as file:  # Python's own file gives readable errors
        try:
            table.to_parquet(file, engine="pyarrow", index=False)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise InputError(f"{path}: a further column has no Parquet type ({reason}). Convert or drop it.") from None


def run_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of RUN_COLUMNS that the frame has, in the order of RUN_COLUMNS."""
    return [name for name in RUN_COLUMNS if name in frame.columns]


def run_starts(curves: pd.DataFrame) -> Int[np.ndarray, " run"]:
    """Return the position of the first row of each run in a sorted table."""
    changed = np.zeros(len(curves), bool)
    changed[:1] = True
    for name in run_columns(curves):
        column = curves[name]
        changed[1:] |= (column.iloc[1:].array != column.iloc[:-1].array).astype(bool)
    return np.flatnonzero(changed)


def _tables(sources: Iterable[Source | Iterable[Source]]) -> Iterator[Table]:
    for number, source in enumerate(sources, start=1):
        if isinstance(source, Table):
            yield source
        elif isinstance(source, pd.DataFrame):
            yield Table(source, f"table {number}")
        elif isinstance(source, str | os.PathLike):
            yield from (read_table(path, CURVE_COLUMNS) for path in matching_paths(source))
        elif (
            isinstance(source, Iterable)
            and not isinstance(source, Mapping | np.ndarray)
            and not hasattr(source, "__dataframe__")
        ):
            yield from _tables(source)
        else:
            raise InputError(f"a source must be a file, a glob or a frame; got {type(source).__name__}. Convert it.")


def _valid(tables: list[Table]) -> pd.DataFrame:
    frames = [check_columns(table, CURVE_COLUMNS) for table in tables]
    for name in OPTIONAL:
        having = [name in frame.columns for frame in frames]
        if any(having) and not all(having):
            with_it, without = tables[having.index(True)].source, tables[having.index(False)].source
            raise InputError(f"{with_it} has the column '{name}' and {without} has not. Add it there or drop it here.")
    curves = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    keys = [pd.factorize(curves[name], sort=True)[0] for name in run_columns(curves)]
    order = np.lexsort([curves["env_steps"].to_numpy(), *reversed(keys)])
    same = np.ones(max(len(curves) - 1, 0), bool)
    for key in [*keys, curves["env_steps"].to_numpy()]:
        same &= key[order[1:]] == key[order[:-1]]
    if same.any():
        _refuse_duplicates(tables, order, np.flatnonzero(same))
    if (order[1:] < order[:-1]).any():
        curves = curves.take(order).reset_index(drop=True)
    return curves


def _refuse_duplicates(tables: list[Table], order: np.ndarray, same: np.ndarray) -> None:
    ends = np.cumsum([len(table.frame) for table in tables])

    def place(position: int) -> str:
        table = int(np.searchsorted(ends, position, side="right"))
        label = tables[table].frame.index[position - (ends[table - 1] if table else 0)]
        return f"{tables[table].source} {tables[table].place} {label}"

    pairs = "; ".join(f"{place(order[i])} and {place(order[i + 1])}" for i in same[:3])
    raise InputError(
        f"one evaluation of one run came twice: {pairs} ({len(same)} in all). "
        "Remove one of each, or give the runs different seeds."
    )
