"""Look up what the keys of a tracker hold in a run: a value, a number, or a ratio of keys."""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from bayescale.errors import InputError
from bayescale.importers.run_logs import RunLog

LIKELY = 8  # keys that an error lists
LIKELY_OF_EACH = 3  # keys of each column that an error lists, if several columns have none
LONGEST_RATIO = 200  # characters of a ratio of keys

# Words in the names of keys that often hold a column; the error about a missing column lists keys with them first.
WORDS = {
    "algorithm": ("algo", "agent", "name"),
    "env_id": ("env", "task"),
    "utd": ("utd", "ratio", "update", "grad", "train_freq"),
    "batch_size": ("batch", "bsz"),
    "learning_rate": ("lr", "learning_rate", "step_size", "stepsize"),
    "model_size": ("param", "size"),
    "seed": ("seed", "rng"),
    "env_steps": ("step", "frame", "iteration"),
    "episode_return": ("return", "reward", "score"),
}


class MissingKey(InputError):
    """A run lacks the key of a column that it needs.

    Attributes:
        columns: the columns without a value, each with the key that was to hold it.
    """

    def __init__(self, message: str, columns: Mapping[str, str]) -> None:
        super().__init__(message)
        self.columns = columns


def lookup(run: RunLog, key: str) -> Any:
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


def remedy(column: str, keys: Iterable[str], *, constant: bool = True) -> str:
    """Return the likely keys of a column, and the flag and the line of the mapping that name one."""
    likely = _likely(column, keys)
    listed = f"Likely keys: {', '.join(key[:60] for key in likely[:LIKELY])}. " if likely else ""
    field = column in ("utd", "env_steps", "episode_return", "env_steps_factor")
    line = f'{column} = "KEY" in MAP.toml' if field else f'{column} = "KEY" under [columns] in MAP.toml'
    fixed = f", or --constant {column}=VALUE if all runs share the value" if constant else ""
    return f"{listed}Give --key {column}=KEY ({line}){fixed}."


def remedies(columns: Iterable[str], keys: Iterable[str]) -> str:
    """Return the likely keys of several columns, and the ways to name them."""
    likely = {column: _likely(column, keys)[:LIKELY_OF_EACH] for column in columns}
    listed = "; ".join(f"{column}: {', '.join(key[:60] for key in found)}" for column, found in likely.items() if found)
    shown = f"Likely keys: {listed}. " if listed else ""
    return (
        f"{shown}Give each as --key COLUMN=KEY, as --constant COLUMN=VALUE if all runs share the value, or by "
        "--path-pattern if the names of the runs hold it."
    )


def _likely(column: str, keys: Iterable[str]) -> list[str]:
    keys = sorted(keys)
    likely = [key for key in keys if any(word in key.lower() for word in WORDS.get(column, (column,)))]
    return likely + [key for key in get_close_matches(column, keys, n=LIKELY) if key not in likely]


OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value_of(run: RunLog, text: str, column: str) -> float:
    """Return the number that a key, or a ratio of keys such as "gradient_steps / (train_freq * n_envs)", has in a run.

    A ratio may hold keys, numbers, *, / and brackets. A key that is no name, such as "train/updates", stands in quotes.

    Raises:
        InputError: the text is no ratio, a key is missing or no number, or the ratio divides by 0.
    """
    if (whole := lookup(run, text)) is not None:
        return _number(run, text, whole, column)
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
        if (value := lookup(run, key)) is None:
            keys = {*map(str, run.config), *(str(name) for name in run.history.columns)}
            said = f"{run.name}: the key '{key}' of {column} is not logged. {remedy(column, keys)}"
            raise MissingKey(said, {column: key})
        return _number(run, key, value, column)

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


def _number(run: RunLog, key: str, value: Any, column: str) -> float:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{run.name}: {key} must be a number; got {str(value)[:60]!r}. Name another with --key {column}=KEY."
        ) from None
