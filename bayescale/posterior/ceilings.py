"""The ceiling of a task: the highest return that the task allows, where a user can state it.

DeepMind Control has the ceiling 1000 and Pendulum the ceiling 0.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.data.tables import Column, check_columns
from bayescale.data.tables.files import as_table
from bayescale.errors import InputError

CEILING_COLUMNS = (Column("env_id", "text"), Column("ceiling", "real", may_be_infinite=True))

Ceiling = float | np.integer[Any] | str | os.PathLike[str] | Mapping[str, Any] | pd.DataFrame


def ceilings(ceiling: Ceiling | None, env_ids: pd.Series, crossings: pd.DataFrame) -> Float[np.ndarray, " config"]:
    """Return the ceiling of each configuration's task.

    Args:
        ceiling: one number for all tasks; or one number per task, as a mapping from task to ceiling, or as a file or
            data frame with the columns env_id and ceiling. A task may be named by its environment or by its name in
            the fit. None: no task has a ceiling.
        env_ids: the task of each configuration, by its name in the fit.
        crossings: the fitted crossings.

    Returns:
        Ceilings in the units of the thresholds; inf for a task without a ceiling.

    Raises:
        InputError: a ceiling is not a number or lies below a threshold that fitted runs have reached, or a task is
            missing.
    """
    if ceiling is None:
        return np.full(len(env_ids), np.inf)
    tasks = [str(task) for task in env_ids.unique()]
    known = _by_task(ceiling, tasks)
    highest_reached = crossings[~crossings["censored"]].groupby("env_id")["threshold"].max()
    for task in tasks:
        if task in highest_reached.index and known[task] < highest_reached[task]:
            raise InputError(
                f"the ceiling of {task} is {known[task]:g}, and fitted runs have reached {highest_reached[task]:g}. "
                "Raise it."
            )
    return np.array([known[task] for task in env_ids])


def _by_task(ceiling: Ceiling, tasks: Sequence[str]) -> dict[str, float]:
    """Return the ceiling of each task."""
    if isinstance(ceiling, int | float | np.number):
        if np.isnan(ceiling):
            raise InputError("ceiling must be a number; got nan. Leave it out if there is none.")
        return dict.fromkeys(tasks, float(ceiling))
    stated = _stated(ceiling)
    known = {}
    for task in tasks:
        # The fit may name a task suite/algorithm/env_id, and an env_id may itself hold a slash.
        names = [name for name in stated if task == name or task.endswith(f"/{name}")]
        if not names:
            raise InputError(f"ceiling has no {task}; it has {', '.join(stated)}. Add it, as inf if there is none.")
        known[task] = stated[max(names, key=len)]
    return known


def _stated(ceiling: str | os.PathLike[str] | Mapping[str, Any] | pd.DataFrame) -> dict[str, float]:
    """Return the ceilings by the names that the user gave, once `check_columns` accepts them as numbers."""
    if isinstance(ceiling, Mapping):
        ceiling = pd.DataFrame({"env_id": list(ceiling), "ceiling": list(ceiling.values())})
    table = as_table("ceiling", ceiling, CEILING_COLUMNS)
    frame = check_columns(table, CEILING_COLUMNS)
    repeated = frame["env_id"][frame["env_id"].duplicated()]
    if len(repeated):
        raise InputError(f"{table.source} has {repeated.iloc[0]} twice. Keep one.")
    return dict(zip(frame["env_id"], frame["ceiling"], strict=True))
