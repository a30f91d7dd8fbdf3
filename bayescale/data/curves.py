"""Read, validate and write learning-curve tables: one row per evaluation of one run."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int

from bayescale.arguments import counted, require_possible_path
from bayescale.data.output_files import written
from bayescale.data.run_ends import MISSING_ENDS, with_checked_status, with_ends
from bayescale.data.run_order import (
    RESUMED,
    first_rows_of_whole_runs,
    order_of_runs,
    require_one_training,
    run_numbers,
    sorted_by_run,
)
from bayescale.data.run_settings import (
    differing_settings,
    refuse_other_settings,
    refuse_schedules,
    runs_of,
    with_merged_settings,
)
from bayescale.data.tables import Column, Table, check_columns, columns_from_index, require_frame
from bayescale.data.tables.sources import Source, place_in, tables_of
from bayescale.data.tables.stretches import stretch_lengths
from bayescale.data.tasks import several_names
from bayescale.errors import InputError

RUN_COLUMNS = ("suite", "algorithm", "env_id", "utd", "batch_size", "learning_rate", "model_size", "seed")
OPTIONAL = ("suite", "model_size")

UTD_MEANING = (
    "utd is gradient updates per env step; gradient_steps = -1 of Stable-Baselines3 means as many updates as env "
    "steps, UTD 1."
)
STATUS_COLUMN = Column("status", "text", optional=True)

CURVE_COLUMNS = (
    Column("suite", "text", optional=True),
    Column("algorithm", "text"),
    Column("env_id", "text"),
    Column("utd", "real", above=0, identifies=True, meaning=UTD_MEANING),
    Column("batch_size", "integer", above=0),
    Column("learning_rate", "real", above=0, identifies=True),
    Column("model_size", "integer", above=0, optional=True),
    Column("seed", "integer"),
    Column("env_steps", "integer", at_least=0),
    Column("episode_return", "real", may_be_missing=True, may_be_infinite=True),
)
SECONDS = "seconds"  # further column of curves: wall-clock seconds since the start of the run, at each evaluation
SETTINGS = ("env_id", "utd", "batch_size", "learning_rate", "model_size")
SETTING_COLUMNS = tuple(column for column in CURVE_COLUMNS if column.name in SETTINGS)


@dataclass(frozen=True)
class Rules:
    """Answers of the user to questions that a table leaves open, see `read_curves`.

    Attributes:
        resumed: "keep-last" if runs were resumed.
        missing_end: "ended" or "diverged" for runs that end in missing returns.
        ignore: further columns to leave out.
        logged: rows come in the order in which they were logged, so that steps which start over are found.
    """

    resumed: str | None = None
    missing_end: str | None = None
    ignore: tuple[str, ...] = ()
    logged: bool = False

    def __post_init__(self) -> None:
        """Raise InputError unless each answer is one of those that `read_curves` lists."""
        for name, given, allowed in (
            ("resumed", self.resumed, RESUMED),
            ("missing_end", self.missing_end, MISSING_ENDS),
        ):
            if given is not None and given not in allowed:
                raise InputError(
                    f"{name} must be {' or '.join(map(repr, allowed))}, or None; got {given!r}. Correct it."
                )
        needed = [
            name for name in self.ignore if name in {column.name for column in CURVE_COLUMNS if not column.optional}
        ]
        if needed:
            raise InputError(
                f"ignore must name further columns; got {needed[0]!r}, which every table needs. Leave it out."
            )


def read_curves(
    *sources: Source | Iterable[Source],
    resumed: Literal["keep-last"] | None = None,
    missing_end: Literal["ended", "diverged"] | None = None,
    ignore: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one validated learning-curve table of all sources, sorted by run, then env_steps.

    Rows without a return are no evaluations, and an infinite return is divergence; `bayescale.data.run_ends` has the
    rules. Steps of a run are sorted, and refused if they came twice or start over, see `bayescale.data.run_order`.
    Further columns that are settings of the sweep are refused, see `bayescale.data.run_settings`. Warnings say which
    rows are left out and which values are merged.

    Args:
        sources: files (.csv, .csv.gz, .parquet), globs, folders of Parquet partitions (`env_id=Ant-v4/part-0.parquet`),
            URLs of fsspec, frames, or iterables of these, in any mix. A frame in a `Table` has a name for messages. A
            CSV file may have semicolons, tabs or vertical bars between fields, and then decimal commas.
        resumed: "keep-last" states that runs whose steps came twice or start over were resumed from a checkpoint: of
            repeated steps the later row counts, and where the steps go back, later rows replace the earlier ones from
            that step on. Later means further down in the file, or in a later source. None refuses such runs.
        missing_end: how runs ended that end in missing returns and have no status: "ended" or "diverged". None refuses
            such runs.
        ignore: further columns to leave out. Runs that differ in them alone count as runs of one configuration.

    Returns:
        The table that `validate_curves` describes.

    Raises:
        InputError: a glob matches no file, a file cannot be read, or a table is not valid.
    """
    rules = Rules(resumed, missing_end, several_names("ignore", ignore), logged=True)
    return _valid(tables_of(sources, (*CURVE_COLUMNS, STATUS_COLUMN)), rules)


def validate_curves(frame: pd.DataFrame, source: str = "table") -> pd.DataFrame:
    """Return the frame as a valid learning-curve table: one row per run and env_steps, sorted by run, then env_steps.

    Text columns are str, counts int64, other numbers float64, returns finite. The known columns come first; further
    columns follow. If the table has the column `status`, each run has one, which may be missing. Rows may come in any
    order: unlike `read_curves`, this function does not take their order for the order in which they were logged.

    Args:
        frame: columns RUN_COLUMNS, `env_steps` and `episode_return`; the columns OPTIONAL may be absent.
        source: name of the table in error messages.

    Raises:
        InputError: a column is missing, a value is NaN, infinite, out of range or text in a number column, a run has
            two rows at the same env_steps or ends in missing returns, or a further column is a setting, see
            `read_curves`.
    """
    return _valid(iter([Table(frame, source)]), Rules())


def write_curves(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Validate the table and write it to a Parquet file, which is either complete or absent.

    Args:
        frame: a learning-curve table, see `validate_curves`.
        path: a file name ending in .parquet.

    Raises:
        InputError: the table is not valid, or the path cannot be written.
    """
    require_possible_path(path)
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
        array = curves[name].array
        array = array.to_numpy() if isinstance(curves[name].dtype, np.dtype) else array
        changed[1:] |= np.asarray(array[1:] != array[:-1], bool)
    return np.flatnonzero(changed)


def _valid(sources: Iterator[Table], rules: Rules) -> pd.DataFrame:
    tables = list(sources)
    if not tables:
        raise InputError("read_curves got no sources. Give a file, a glob or a frame.")
    tables = [with_checked_status(_with_plain_status(table)) for table in _without(tables, rules.ignore)]
    frames = [check_columns(table, CURVE_COLUMNS) for table in tables]
    for name in OPTIONAL:
        having = [name in frame.columns for frame in frames]
        if any(having) and not all(having):
            with_it, without = tables[having.index(True)].source, tables[having.index(False)].source
            raise InputError(f"{with_it} has the column '{name}' and {without} has not. Add it there or drop it here.")
    place = place_in(tables)
    del tables  # a large table is held once
    curves = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    del frames
    curves = with_merged_settings(curves, ("utd", "learning_rate"))
    starts = run_starts(curves)
    stretch_runs = run_numbers(curves[run_columns(curves)].take(starts)).astype(np.int32)  # half the memory per row
    run = np.repeat(stretch_runs, stretch_lengths(starts, len(curves)))
    rows = _rows_in_order(curves, run, rules, place)
    if rows is not None:
        curves, run = _taken(curves, rows), run[rows]
    place_of_sorted = place if rows is None else lambda position: place(int(rows[position]))
    curves = with_ends(curves, run=run, missing_end=rules.missing_end, place=place_of_sorted).reset_index(drop=True)
    starts = run_starts(curves)
    _refuse_settings(curves, np.repeat(np.arange(len(starts), dtype=np.int32), stretch_lengths(starts, len(curves))))
    return curves


def _rows_in_order(
    curves: pd.DataFrame, run: Int[np.ndarray, " row"], rules: Rules, place: Callable[[int], str]
) -> Int[np.ndarray, " kept"] | None:
    """Return the rows that count, sorted by run, then env_steps; None if all rows count and are sorted."""
    env_steps = curves["env_steps"].to_numpy()
    if (starts := first_rows_of_whole_runs(run, env_steps)) is not None:
        return None if (np.diff(run[starts]) > 0).all() else sorted_by_run(run, starts)
    found = order_of_runs(run, env_steps, curves["episode_return"].to_numpy(), logged=rules.logged)
    rows = np.arange(len(curves))
    if rules.resumed is None:
        if len(found.repeated):  # parts of a schedule come twice where settings of the sweep and the schedule meet
            refuse_schedules(runs_of(curves, run, run_columns(curves)), run_columns(curves))
        require_one_training(found, place, lambda pairs: differing_settings(curves, pairs, _further_columns(curves)))
    elif not found.kept.all():
        rows = np.flatnonzero(found.kept)
        warnings.warn(
            f"resumed: later rows replace {counted(len(curves) - len(rows), 'earlier row')} of "
            f"{counted(len(np.unique(run[~found.kept])), 'run')}.",
            stacklevel=3,
        )
    return rows[np.lexsort([env_steps[rows], run[rows]])]


def _taken(curves: pd.DataFrame, rows: Int[np.ndarray, " row"]) -> pd.DataFrame:
    """Return the rows of a table, column by column, so that memory holds one column twice and not the table."""
    taken = {}
    for name in list(curves.columns):
        taken[name] = curves.pop(name).array.take(rows)
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(taken, copy=False)


def _with_plain_status(table: Table) -> Table:
    """Return the table with a status of text where it was read as categories."""
    status = table.frame.get("status")
    if status is None or not isinstance(status.dtype, pd.CategoricalDtype):
        return table
    plain = status.astype(status.cat.categories.dtype if len(status.cat.categories) else object)
    return Table(table.frame.assign(status=plain), table.source, table.place)


def _without(tables: list[Table], ignore: tuple[str, ...]) -> list[Table]:
    """Return the tables without the columns that are to be ignored."""
    tables = [Table(columns_from_index(require_frame(t.source, t.frame)), t.source, t.place) for t in tables]
    names = {str(name) for table in tables for name in table.frame.columns}
    unknown = [name for name in ignore if name not in names]
    if unknown:
        close = get_close_matches(unknown[0], names, n=1)
        remedy = f"Did you mean '{close[0]}'?" if close else "Correct it."
        raise InputError(f"ignore names {unknown[0]!r}, which no table has. {remedy}")
    return [Table(t.frame.drop(columns=list(ignore), errors="ignore"), t.source, t.place) for t in tables]


def _further_columns(curves: pd.DataFrame) -> list[str]:
    known = {*RUN_COLUMNS, "env_steps", "episode_return", STATUS_COLUMN.name}
    return [name for name in curves.columns if name not in known]


def _refuse_settings(curves: pd.DataFrame, run: Int[np.ndarray, " row"]) -> None:
    """Raise InputError if a setting changes during runs, or a further column is a setting."""
    refuse_schedules(runs_of(curves, run, run_columns(curves)), run_columns(curves))
    refuse_other_settings(curves, run, run_columns(curves), _further_columns(curves))
