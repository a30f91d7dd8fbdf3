"""Read learning curves from any long or wide table, CSV or Parquet, by a mapping of its columns.

A long table has one row per evaluation; a run is one combination of the columns that the mapping names. A wide table
has a column of steps and a column of returns per run; the key `column` holds the name of a run's column, and a name
such as "utd=4, seed=1" holds the settings utd and seed. Columns X__MIN and X__MAX beside a column X, which charts of
Weights & Biases export, are left out.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from bayescale.data.curves import CURVE_COLUMNS, RUN_COLUMNS, SECONDS, STATUS_COLUMN
from bayescale.data.tables.checks import is_narrow, shortest_decimals
from bayescale.data.tables.missing_columns import FOREIGN_NAMES
from bayescale.data.tables.sources import tables_of
from bayescale.errors import InputError
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, Skipped

RUN_NAMES = ("run", "run_id", "run_name", "trial", "trial_id", "trial_name", "name")
STEP_WORDS = ("step", "frame")
NAMED_VALUE = re.compile(r"([A-Za-z]\w*)=([^\s,;|/]+)")
KEY = re.compile(r"'([^']*)'|\"([^\"]*)\"|([A-Za-z_][\w.]*)")


def read_csv_tables(*sources: str | os.PathLike[str], mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """Return the learning-curve table of long or wide tables whose columns have other names.

    Args:
        sources: .csv, .csv.gz or .parquet files, globs, folders of Parquet partitions, or URLs of fsspec.
        mapping: columns and constants by the names of `read_curves`. It adds to the guesses from the names of columns,
            and replaces them where both name a column.

    Raises:
        InputError: a file cannot be read, a column has no key, or the table is not valid.
    """
    return read_with(CSV, sources, mapping)


def log_csv(*sources: str | os.PathLike[str]) -> Logs:
    """Return one log per file, which holds all its runs; `split_runs` splits them.

    Raises:
        InputError: a file cannot be read.
    """
    known = [
        replace(column, name=name, optional=True)
        for column in (*CURVE_COLUMNS, STATUS_COLUMN)
        for name in (column.name, *FOREIGN_NAMES.get(column.name, ()))
    ]
    tables = list(tables_of(sources, known))
    frames = [_widened(table.frame.rename(columns=str).reset_index(drop=True)) for table in tables]
    return Logs([RunLog(table.source, {}, frame, logged=False) for table, frame in zip(tables, frames, strict=True)])


def _widened(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with float32 and float16 numbers as the decimals that they print as."""
    narrow = [name for name in frame.columns[~frame.columns.duplicated(keep=False)] if is_narrow(frame[name])]
    return frame.assign(**{name: shortest_decimals(frame[name]) for name in narrow})


def guess_csv(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping that the names of the columns suggest, and sentences that say which column was taken."""
    frames = [run.history for run in logs.runs]
    shared = [str(name) for name in frames[0].columns if all(name in frame for frame in frames)] if frames else []
    found: dict[str, str] = {}
    guesses = []
    for column in (*RUN_COLUMNS, "env_steps", "episode_return"):
        names = [column, *FOREIGN_NAMES.get(column, ())]
        likely = [column] if column in shared else [name for name in shared if name.lower() in names]
        if len(likely) == 1:
            found[column] = likely[0]
            guesses += [f"{column}: the column {likely[0]}."] if likely[0] != column else []
        elif likely:
            guesses.append(f"{column}: {' and '.join(likely)} may hold it; name one with --key {column}=KEY.")
    steps, returns, utd = (found.pop(column, None) for column in ("env_steps", "episode_return", "utd"))
    if steps is None and shared and any(word in shared[0].lower() for word in STEP_WORDS):
        steps = shared[0]
        guesses.append(f"env_steps: the first column, {steps}.")
    mapping = ColumnMapping(columns=found, utd=utd, env_steps=steps, episode_return=returns)
    if frames and all(_is_wide(frame, mapping) for frame in frames):
        guesses.append("wide table: each column but the steps holds the returns of one run.")
        return replace(mapping, columns={"seed": "seed"} if _names_a_seed(frames, mapping) else {}), guesses
    further = _constant_in_runs(frames, mapping, shared)
    guesses += [f"{name}: kept as a further column, because it has one value per run." for name in further]
    return replace(mapping, columns=found | {name: name for name in further}), guesses


def split_runs(logs: Logs, mapping: ColumnMapping) -> Logs:
    """Return one log per run of the tables: per column of a wide one, per combination of settings of a long one."""
    runs: list[RunLog] = []
    skipped: list[Skipped] = list(logs.skipped)
    for log in logs.runs:
        runs += _wide_runs(log, mapping) if _is_wide(log.history, mapping) else _long_runs(log, mapping)
    return Logs(runs, skipped)


CSV = Importer(log_csv, guess_csv, split_runs)


def _long_runs(log: RunLog, mapping: ColumnMapping) -> Iterator[RunLog]:
    keys = _setting_keys(log.history, mapping)
    if not keys:
        yield log
        return
    try:
        groups = log.history.groupby(keys, sort=False, dropna=False, observed=True)
        for number, (_, rows) in enumerate(groups, start=1):
            first = {key: rows[key].iloc[0] for key in keys}  # a row of numbers alone would turn whole ones into floats
            config = {**log.config, **{key: value for key, value in first.items() if not pd.isna(value)}}
            status = rows["status"].iloc[-1] if "status" in rows and not pd.isna(rows["status"].iloc[-1]) else None
            yield RunLog(f"{log.name} run {number}", config, rows.drop(columns=keys), status, logged=False)
    except TypeError:
        raise InputError(f"{log.name}: a setting holds lists or dicts ({', '.join(keys)}). Name other keys.") from None


def _setting_keys(frame: pd.DataFrame, mapping: ColumnMapping) -> list[str]:
    """Return the columns of a long table that hold settings; without a seed, also those that name runs."""
    named = {*mapping.columns.values(), *(column for column in RUN_COLUMNS if column not in mapping.columns)}
    for text in (mapping.utd, mapping.env_steps_factor):
        if isinstance(text, str):
            named |= {text} | {next(filter(None, match)) for match in KEY.findall(text) if any(match)}
    if mapping.columns.get("seed", "seed") not in frame:
        named |= set(RUN_NAMES)
    named -= {mapping.env_steps or "env_steps", mapping.episode_return or "episode_return"}
    named.discard(mapping.columns.get(SECONDS, SECONDS))
    return [name for name in frame.columns if name in named]


def _constant_in_runs(frames: Sequence[pd.DataFrame], mapping: ColumnMapping, shared: Sequence[str]) -> list[str]:
    """Return the further columns that have one value in each run and differ between runs."""
    keys = [key for key in (_setting_keys(frames[0], mapping) if frames else []) if key in shared]
    used = {*keys, mapping.env_steps, mapping.episode_return, "status", *RUN_NAMES}
    further = []
    for name in (name for name in shared if keys and name not in used):
        try:
            per_run = [frame.groupby(keys, dropna=False, observed=True)[name].nunique().max() for frame in frames]
            values = pd.concat([frame[name] for frame in frames]).nunique()
        except TypeError:  # lists and dicts are no settings
            continue
        if max(per_run) <= 1 < values:
            further.append(name)
    return further


def _is_wide(frame: pd.DataFrame, mapping: ColumnMapping) -> bool:
    """Return True if a table has steps, no column of returns, and two or more further columns, all of numbers."""
    steps = mapping.env_steps or "env_steps"
    if steps not in frame or (mapping.episode_return or "episode_return") in frame:
        return False
    others = frame.drop(columns=steps)
    return others.shape[1] > 1 and all(pd.api.types.is_numeric_dtype(others[name]) for name in others)


def _return_columns(frame: pd.DataFrame, mapping: ColumnMapping) -> list[str]:
    names = [name for name in frame.columns if name != (mapping.env_steps or "env_steps")]
    return [name for name in names if not str(name).endswith(("__MIN", "__MAX")) or str(name)[:-5] not in names]


def _wide_runs(log: RunLog, mapping: ColumnMapping) -> Iterator[RunLog]:
    steps = mapping.env_steps or "env_steps"
    for name in _return_columns(log.history, mapping):
        rows = log.history.loc[log.history[name].notna(), [steps, name]]
        config = {**log.config, "column": str(name), **dict(NAMED_VALUE.findall(str(name)))}
        history = rows.rename(columns={name: mapping.episode_return or "episode_return"})
        yield RunLog(f"{log.name} column {str(name)[:60]}", config, history)


def _names_a_seed(frames: Sequence[pd.DataFrame], mapping: ColumnMapping) -> bool:
    names = [str(name) for frame in frames for name in _return_columns(frame, mapping)]
    return all("seed" in dict(NAMED_VALUE.findall(name)) for name in names)
