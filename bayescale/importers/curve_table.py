"""Apply a mapping to the runs that a tracker logged, and return the validated learning-curve table.

The settings of a run come from its config, or from a column of its history that has one value. A column without a key
in the mapping is looked up under its own name. Runs without a seed are numbered within their configuration. The column
`seconds` is no setting: its values in the history are kept for each evaluation.

A run that lacks most of the keys of settings, because its config was lost, is skipped if most runs have a config. A
run that lacks fewer keys shows that the mapping does not fit, which is refused.

A row without a step is left out. Rows without a return, infinite returns and the status follow the rules of
`read_curves`. Of a run that its tracker marks as resumed, later rows replace the earlier ones from their step on.
Of other runs, returns that were logged one after another at one step, as episodes of several environments are, become
their mean. Steps that come again later are refused, unless the caller states that such runs were resumed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.arguments import counted
from bayescale.data.curves import RUN_COLUMNS, SECONDS, read_curves
from bayescale.data.tables import Table
from bayescale.errors import InputError
from bayescale.importers.keys import MissingKey, lookup, remedies, remedy, value_of
from bayescale.importers.run_logs import ColumnMapping, Imported, Logs, RunLog, Skipped

NEEDED = ("algorithm", "env_id", "utd", "batch_size", "learning_rate")
NUMBERS = ("utd", "batch_size", "learning_rate", "model_size", "seed")
SCALAR = (str, bytes, int, float, Decimal, np.generic)


@dataclass(frozen=True)
class Answers:
    """Answers of the user to questions that the logs leave open, see `read_curves`."""

    resumed: Literal["keep-last"] | None = None
    missing_end: Literal["ended", "diverged"] | None = None


def as_table(
    logs: Logs,
    mapping: ColumnMapping,
    *,
    sources: Sequence[object] = (),
    guesses: Sequence[str] = (),
    answers: Answers | None = None,
) -> Imported:
    """Return the validated learning-curve table of the runs.

    Args:
        logs: runs in the order in which seeds are numbered.
        mapping: keys of the tracker by column, and constants.
        sources: what the logs were read from, for messages.
        guesses: sentences that say which key was taken for which column; passed on.
        answers: how runs with repeated steps and with missing last returns are read.

    Returns:
        The table, with notes in `guesses` on numbered seeds, replaced rows and rows without a step.

    Raises:
        InputError: there are no runs, a column has no key, or the table is not valid.
    """
    answers = answers or Answers()
    if not logs.runs:
        why = f" The first reason: {logs.skipped[0].name}: {logs.skipped[0].reason}" if logs.skipped else ""
        where = ", ".join(str(source)[:200] for source in sources[:3]) or "the sources"
        raise InputError(f"no run was found in {where}.{why} Check the paths.")
    _require_keys(logs.runs, mapping)
    skipped = list(logs.skipped)
    runs, settings, histories = [], [], []
    incomplete: list[MissingKey] = []
    left_out: Counter[str] = Counter()
    for run in logs.runs:
        history = _history(run, mapping, left_out)
        if history.empty or (history["episode_return"].isna().all() and run.status != "diverged"):
            skipped.append(Skipped(run.name, "no row has both a step and a return."))
            continue
        try:
            settings.append(_settings(run, mapping))
        except MissingKey as error:
            if not _without_config(run, mapping):
                raise
            incomplete.append(error)
            skipped.append(Skipped(run.name, str(error).removeprefix(f"{run.name}: ")))
            continue
        runs.append(run)
        histories.append(history)
    if len(incomplete) > len(runs):
        raise incomplete[0]
    if not runs:
        raise InputError(f"no run has a row with both a step and a return; the first is {logs.runs[0].name}.")
    notes = [*guesses, *_numbered_seeds(runs, settings)]
    notes += [f"{counted(number, 'row')} {what}" for what, number in left_out.items() if number]
    known_status = any(run.status is not None for run in runs)
    tables = []
    for run, setting, history in zip(runs, settings, histories, strict=True):
        frame = history.assign(**setting, **({"status": run.status} if known_status else {}))
        tables.append(Table(frame, run.name))
    curves = read_curves(tables, resumed=answers.resumed, missing_end=answers.missing_end)
    return Imported(curves, mapping, notes, skipped)


def _require_keys(runs: Sequence[RunLog], mapping: ColumnMapping) -> None:
    """Raise InputError if no run has the step counter or the return; it also names the settings that have no key."""
    named = {"env_steps": mapping.env_steps, "episode_return": mapping.episode_return}
    keys = {str(name) for run in runs for name in run.history.columns}
    lacking = {column: key or column for column, key in named.items() if (key or column) not in keys}
    if not lacking:
        return
    (column, key), *_ = lacking.items()
    said = f"no run has the key '{key}' for {column}" if key != column else f"no key gives {column}"
    try:
        _settings(runs[0], mapping)
    except MissingKey as error:
        lacking |= error.columns
    if len(lacking) == 1:
        raise InputError(f"{said}. {remedy(column, keys, constant=False)}")
    others = [name for name in lacking if name != column]
    raise InputError(f"{said}, nor {', '.join(others)}. {remedies(lacking, keys | _keys(runs[0]))}")


def _history(run: RunLog, mapping: ColumnMapping, left_out: Counter[str]) -> pd.DataFrame:
    """Return env_steps, episode_return and, if logged, seconds, without rows that have no step or were replaced."""
    step_key, return_key = mapping.env_steps or "env_steps", mapping.episode_return or "episode_return"
    if step_key not in run.history or return_key not in run.history:
        return pd.DataFrame({"env_steps": [], "episode_return": []})
    keys = {"env_steps": step_key, "episode_return": return_key, SECONDS: mapping.columns.get(SECONDS, SECONDS)}
    rows = pd.DataFrame({column: run.history[key] for column, key in keys.items() if key in run.history})
    rows = rows.reset_index(drop=True)
    with_step = rows["env_steps"].notna()
    if not with_step.all():
        left_out["without a step left out."] += int((~with_step & rows["episode_return"].notna()).sum())
        rows = rows[with_step].infer_objects()
    rows["env_steps"] = _scaled_steps(run, rows["env_steps"], mapping.env_steps_factor)
    if run.resumed and len(rows):
        counted_rows = rows[rows["episode_return"].notna()]
        steps = counted_rows["env_steps"].to_numpy()
        replaced = counted_rows.index[:-1][steps[:-1] >= np.minimum.accumulate(steps[::-1])[::-1][1:]]
        if len(replaced):
            left_out["of resumed runs replaced by later rows."] += len(replaced)
            rows = rows.drop(index=replaced)
    if mapping.smooth_episodes > 1:
        rows["episode_return"] = rows["episode_return"].dropna().rolling(mapping.smooth_episodes, min_periods=1).mean()
    return _averaged(rows, left_out) if run.logged and not run.resumed else rows


def _averaged(rows: pd.DataFrame, left_out: Counter[str]) -> pd.DataFrame:
    """Return the rows with the mean of the returns that follow one another at one step, in the place of the first."""
    evaluations = rows[rows["episode_return"].notna()]
    again = (evaluations["env_steps"] == evaluations["env_steps"].shift()).to_numpy(bool)
    if not again.any() or evaluations["episode_return"].dtype.kind not in "iuf":
        return rows
    left_out["averaged with others at one step, as episodes of several environments."] += int(
        (again | np.append(again[1:], False)).sum()
    )
    means = evaluations["episode_return"].groupby(np.cumsum(~again)).transform("mean")
    return rows.assign(episode_return=means).drop(index=evaluations.index[again])


def _scaled_steps(run: RunLog, steps: pd.Series, factor: float | str) -> pd.Series:
    number = value_of(run, factor, "env_steps_factor") if isinstance(factor, str) else factor
    if not 0 < number < np.inf:
        raise InputError(f"{run.name}: env_steps_factor must be a finite number > 0; got {number:g}. Correct it.")
    if number == 1:
        return steps
    try:
        numeric = pd.to_numeric(steps)
    except (TypeError, ValueError):
        raise InputError(f"{run.name}: the step counter holds text. Name another key as env_steps.") from None
    return numeric * (int(number) if float(number).is_integer() else number)


def _settings(run: RunLog, mapping: ColumnMapping) -> dict[str, Any]:
    """Return the value of each setting of the run; a setting that is optional and unknown is absent."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    of_utd: MissingKey | None = None
    for column in [*RUN_COLUMNS, *(name for name in (*mapping.columns, *mapping.constants) if name not in RUN_COLUMNS)]:
        key = mapping.columns.get(column, column)
        if not key or (column == SECONDS and key in run.history):
            continue  # the user leaves the column out, or each evaluation has its own value
        value: Any
        if column == "utd" and mapping.utd is not None:
            try:
                value = value_of(run, mapping.utd, "utd")
            except MissingKey as error:
                missing["utd"], of_utd = mapping.utd, error
                continue
        elif column in mapping.constants and column not in mapping.columns:
            value = None  # the constant counts, even where the run has a key of the column's name
        else:
            value = lookup(run, key)
        if value is None or (isinstance(value, str) and not value.strip()):
            value = mapping.constants.get(column)
        if value is not None and not isinstance(value, SCALAR):
            raise InputError(
                f"{run.name}: {column} must be text or a number; got {type(value).__name__} {str(value)[:60]}. Name "
                f"another key, or give --constant {column}=VALUE."
            )
        if value is not None:
            found[column] = _as_number(run, column, value) if column in NUMBERS else value
        elif column in NEEDED or column in mapping.columns:
            missing[column] = key
    if missing:
        raise of_utd if of_utd and len(missing) == 1 else _missing(run, missing)
    return found


def _missing(run: RunLog, columns: Mapping[str, str]) -> MissingKey:
    """Return the error that names the columns without a value, by the keys that were to hold them."""
    (column, key), *others = columns.items()
    said = (
        f"{run.name}: the key '{key}' of {column} is not logged"
        if key != column
        else f"{run.name}: no key gives {column}"
    )
    if not others:
        return MissingKey(f"{said}. {remedy(column, _keys(run))}", columns)
    also = ", ".join(name for name, _ in others)
    return MissingKey(f"{said}, nor {also}. {remedies(columns, _keys(run))}", columns)


def _keys(run: RunLog) -> set[str]:
    return {*map(str, run.config), *(str(name) for name in run.history.columns)}


def _without_config(run: RunLog, mapping: ColumnMapping) -> bool:
    """Return True if the run lacks most of the keys that hold settings."""
    keys = [key for key in (*mapping.columns.values(), mapping.utd) if key]
    return 2 * sum(key in run.config or key in run.history for key in keys) < len(keys)


def _as_number(run: RunLog, column: str, value: Any) -> Any:
    """Return the number that a text spells, whole numbers as int; return a value that is no text unchanged."""
    if not isinstance(value, str):
        return value
    for number in (int, float):
        with suppress(ValueError):
            return number(value)
    raise InputError(
        f"{run.name}: {column} must be a number; got {value[:60]!r}. Name another key with --key {column}=KEY, or give "
        f"--constant {column}=VALUE."
    )


def _numbered_seeds(runs: Sequence[RunLog], settings: list[dict[str, Any]]) -> list[str]:
    """Give each run without a seed its number within its configuration, and return a note that says so."""
    without = [run.name for run, setting in zip(runs, settings, strict=True) if "seed" not in setting]
    if not without:
        return []
    if len(without) < len(runs):
        raise InputError(
            f"{without[0]} has no seed, and other runs have one. Name the key of the seed, or import the runs apart."
        )
    seen: Counter[str] = Counter()
    for setting in settings:
        configuration = repr(sorted(setting.items()))
        setting["seed"] = seen[configuration]
        seen[configuration] += 1
    return ["seed: no key holds it; the runs of each configuration are numbered from 0."]
