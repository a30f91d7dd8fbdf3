"""Write a recommended run as a plan for `bayescale sweep`."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bayescale.arguments import three_digits
from bayescale.errors import InputError

REPLACED = ("env_id", "utd", "batch_size", "learning_rate", "seed", "env_steps")


def one_row(table: pd.DataFrame, *, purpose: str) -> pd.Series:
    """Return the row to run: the only one, or the recommended one of the only task.

    Raises:
        InputError: the table holds several tasks, or no row of finite length that could be run.
    """
    rows = table if len(table) == 1 else table[table["recommended"]]
    if len(rows) != 1:
        raise InputError(f"{purpose} holds one setting; got {len(rows)} to choose from. Ask for one task and return.")
    row = rows.iloc[0]
    if not math.isfinite(row["run_length"]):
        raise InputError(f"no run of {row['env_id']} at UTD {row['utd']:g} reaches the return. Lower the return.")
    return row


def plan(table: pd.DataFrame, *, seeds: Sequence[int] = range(4), base: Mapping[str, Any] | None = None) -> str:
    """Return a plan of the recommended setting, in TOML.

    Args:
        table: the recommendations of one task.
        seeds: the seeds of the runs.
        base: the plan of the fitted sweep; its settings that are not swept are kept. None: the plan leaves them out,
            and says that they have to be added.
    """
    row = one_row(table, purpose="a plan")
    task = str(row["env_id"])
    kept = {name: value for name, value in (base or {}).items() if name not in REPLACED}
    env_id = next((name for name in _tasks(base) if task == name or task.endswith(f"/{name}")), task)
    settings: dict[str, Any] = {
        "env_id": env_id,
        "utd": [float(f"{row['utd']:.6g}")],
        "batch_size": [int(row["batch_size"])],
        "learning_rate": [float(f"{row['learning_rate']:.4g}")],
        "seed": list(seeds),
        "env_steps": int(row["run_length"]),
        **kept,
    }
    settings.setdefault("evaluation_interval", max(1, round(row["evaluation_interval"])))
    low, median, high = (three_digits(row[f"env_steps_{q}"]) for q in ("q05", "q50", "q95"))
    lines = [
        f"# {task!a}: reach return {row['threshold']:g}; a run ever gets there with probability {row['p_reach']:.2f}",
        f"# The median run needs {median} env steps (90%: {low} to {high}) and {row['flops_q50']:.3g} flops.",
    ]
    if base is None:
        lines.append(
            f"# Add the settings that the fitted runs shared: algorithm, suite, hidden_width (their critics have "
            f"{int(row['model_size']):,} parameters), warmup_steps ..."
        )
    return "\n".join([*lines, *(f"{name} = {toml(value)}" for name, value in settings.items()), ""])


def toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)  # TOML's basic strings have the escapes of JSON
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(name))} = {toml(part)}" for name, part in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def _tasks(base: Mapping[str, Any] | None) -> list[str]:
    """Return the tasks that a plan names."""
    given = (base or {}).get("env_id", [])
    if isinstance(given, Mapping):
        return [name for names in given.values() for name in names]
    return [given] if isinstance(given, str) else list(given)
