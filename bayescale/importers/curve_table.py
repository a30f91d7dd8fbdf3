"""Apply a mapping to the runs that a tracker logged, and return the validated learning-curve table.

The settings of a run come from its config, or from a column of its history that has one value. A column without a key
in the mapping is looked up under its own name. Runs without a seed are numbered within their configuration.

A row without a step is left out. Rows without a return, infinite returns and the status follow the rules of
`read_curves`. Of a run that its tracker marks as resumed, later rows replace the earlier ones from their step on.
Repeated steps of any other run are refused, unless the caller states that such runs were resumed.
"""

import ast
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.arguments import counted
from bayescale.data.curves import RUN_COLUMNS, read_curves
from bayescale.data.tables import Table
from bayescale.errors import InputError
from bayescale.importers.run_logs import ColumnMapping, Imported, Logs, RunLog, Skipped

NEEDED = ("algorithm", "env_id", "utd", "batch_size", "learning_rate")
NUMBERS = ("utd", "batch_size", "learning_rate", "model_size", "seed")
SCALAR = (str, bytes, int, float, Decimal, np.generic)
LIKELY = 8  # keys that an error lists
LONGEST_RATIO = 200  # characters of a ratio of keys

# Words in the names of keys that often hold a column; the error about a missing column lists keys with them first.
WORDS = {
    "algorithm": ("algo", "agent", "name"),
    "env_id": ("env", "task"),
    "utd": ("utd", "replay_ratio", "update", "gradient", "train_freq"),
    "batch_size": ("batch",),
    "learning_rate": ("lr", "learning_rate"),
    "model_size": ("param", "size"),
    "seed": ("seed",),
    "env_steps": ("step", "frame", "iteration"),
    "episode_return": ("return", "reward", "score"),
}


@dataclass(frozen=True)
class Answers:
    """Answers of the user to questions that the logs leave open, see `read_curves`."""

    resumed: Literal["keep-last"] | None = None
    missing_end: Literal["ended", "diverged"] | None = None


def as_table(
    logs: Logs, mapping: ColumnMapping, *, guesses: Sequence[str] = (), answers: Answers | None = None
) -> Imported:
    """Return the validated learning-curve table of the runs.

    Args:
        logs: runs in the order in which seeds are numbered.
        mapping: keys of the tracker by column, and constants.
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
        raise InputError(f"no run was found in the sources.{why} Check the paths.")
    _require_keys(logs.runs, mapping)
    skipped = list(logs.skipped)
    runs, settings, histories = [], [], []
    left_out: Counter[str] = Counter()
    for run in logs.runs:
        history = _history(run, mapping, left_out)
        if history.empty or (history["episode_return"].isna().all() and run.status != "diverged"):
            skipped.append(Skipped(run.name, "no row has both a step and a return."))
            continue
        runs.append(run)
        settings.append(_settings(run, mapping))
        histories.append(history)
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
    """Raise InputError if no run has the step counter or the return."""
    for column, key in (("env_steps", mapping.env_steps), ("episode_return", mapping.episode_return)):
        if not any((key or column) in run.history for run in runs):
            keys = {str(name) for run in runs for name in run.history.columns}
            said = f"no run has the key '{key}' for {column}" if key else f"no key gives {column}"
            raise InputError(f"{said}. {_remedy(column, keys, constant=False)}")


def _history(run: RunLog, mapping: ColumnMapping, left_out: Counter[str]) -> pd.DataFrame:
    """Return the columns env_steps and episode_return of the run, without rows that have no step or were replaced."""
    step_key, return_key = mapping.env_steps or "env_steps", mapping.episode_return or "episode_return"
    if step_key not in run.history or return_key not in run.history:
        return pd.DataFrame({"env_steps": [], "episode_return": []})
    rows = pd.DataFrame({"env_steps": run.history[step_key], "episode_return": run.history[return_key]})
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
    return rows


def _scaled_steps(run: RunLog, steps: pd.Series, factor: float | str) -> pd.Series:
    number = _value(run, factor, "env_steps_factor") if isinstance(factor, str) else factor
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
    found = {}
    for column in [*RUN_COLUMNS, *(name for name in (*mapping.columns, *mapping.constants) if name not in RUN_COLUMNS)]:
        key = mapping.columns.get(column, column)
        if column == "utd" and mapping.utd is not None:
            value: Any = _value(run, mapping.utd, "utd")
        elif column in mapping.constants and column not in mapping.columns:
            value = None  # the constant counts, even where the run has a key of the column's name
        else:
            value = _lookup(run, key)
        if value is None:
            value = mapping.constants.get(column)
        if value is not None and not isinstance(value, SCALAR):
            raise InputError(
                f"{run.name}: {column} must be text or a number; got {type(value).__name__} {str(value)[:60]}. Name "
                f"another key, or give --constant {column}=VALUE."
            )
        if value is not None:
            found[column] = _as_number(value) if column in NUMBERS else value
        elif column in NEEDED or column in mapping.columns:
            keys = {*map(str, run.config), *(str(name) for name in run.history.columns)}
            said = f"the key '{key}' of {column} is not logged" if key != column else f"no key gives {column}"
            raise InputError(f"{run.name}: {said}. {_remedy(column, keys)}")
    return found


def _as_number(value: Any) -> Any:
    """Return the number that a text spells, whole numbers as int; return anything else unchanged."""
    if isinstance(value, str):
        for number in (int, float):
            with suppress(ValueError):
                return number(value)
    return value


def _lookup(run: RunLog, key: str) -> Any:
    """Return the value of a key of the run: of its config, else of a history column with one value; else None."""
    if key in run.config:
        value = run.config[key]
        return value.item() if isinstance(value, np.generic) else value
    if key not in run.history:
        return None
    try:
        values = run.history[key].dropna().unique()
    except TypeError:  # lists and dicts are no settings
        return None
    if len(values) > 1:
        raise InputError(
            f"{run.name}: {key} changes during the run ({values[0]}, {values[1]}). A setting has one value; state it "
            "as a constant."
        )
    return values[0] if len(values) else None


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


def _remedy(column: str, keys: Iterable[str], *, constant: bool = True) -> str:
    """Return the likely keys of a column, and the flag and the line of the mapping that name one."""
    keys = sorted(keys)
    likely = [key for key in keys if any(word in key.lower() for word in WORDS.get(column, (column,)))]
    likely += [key for key in get_close_matches(column, keys, n=LIKELY) if key not in likely]
    listed = f"Likely keys: {', '.join(key[:60] for key in likely[:LIKELY])}. " if likely else ""
    field = column in ("utd", "env_steps", "episode_return", "env_steps_factor")
    line = f'{column} = "KEY" in MAP.toml' if field else f'{column} = "KEY" under [columns] in MAP.toml'
    fixed = f", or --constant {column}=VALUE if all runs share the value" if constant else ""
    return f"{listed}Give --key {column}=KEY ({line}){fixed}."


OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _value(run: RunLog, text: str, column: str) -> float:
    """Return the number that a key, or a ratio of keys such as "gradient_steps / (train_freq * n_envs)", has in a run.

    A ratio may hold keys, numbers, *, / and brackets. A key that is no name, such as "train/updates", stands in quotes.

    Raises:
        InputError: the text is no ratio, a key is missing or no number, or the ratio divides by 0.
    """
    if (whole := _lookup(run, text)) is not None:
        return _number(run, text, whole)
    refused = InputError(
        f"{column} must be a key, or a ratio of keys such as gradient_steps / (train_freq * n_envs); got "
        f"'{text[:LONGEST_RATIO]}'. Write it with keys, numbers, *, / and brackets."
    )
    if len(text) > LONGEST_RATIO:
        raise refused

    def evaluate(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return float(node.value)  # type: ignore[arg-type]
        key = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else _dotted(node)
        if key is None:
            raise refused
        if (value := _lookup(run, key)) is None:
            keys = {*map(str, run.config), *(str(name) for name in run.history.columns)}
            raise InputError(f"{run.name}: the key '{key}' of {column} is not logged. {_remedy(column, keys)}")
        return _number(run, key, value)

    try:
        return evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise (error if isinstance(error, InputError) else refused) from None
    except (ZeroDivisionError, OverflowError):
        raise InputError(f"{run.name}: {column} = {text} divides by 0 or is too large. Name other keys.") from None


def _dotted(node: ast.expr) -> str | None:
    """Return the key that a name with dots spells, such as algo.batch_size; None for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := _dotted(node.value)) is not None:
        return f"{head}.{node.attr}"
    return None


def _number(run: RunLog, key: str, value: Any) -> float:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{run.name}: {key} must be a number; got {str(value)[:60]}. Name another key.") from None
