"""The best return that a task allows, where users can state it, as 1000 is for DeepMind Control and 0 for Pendulum."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.data.tables import Column, as_table, check_columns
from bayescale.errors import InputError

CEILING_COLUMNS = (Column("env_id", "text"), Column("ceiling", "real", may_be_infinite=True))

Ceiling = float | np.integer[Any] | str | os.PathLike[str] | Mapping[str, Any] | pd.DataFrame


def ceilings(ceiling: Ceiling | None, env_ids: pd.Series, crossings: pd.DataFrame) -> Float[np.ndarray, " config"]:
    """The best return of the task of each configuration, in units of the thresholds; inf where there is none.

    Args:
        ceiling: of every task; or of each, as a file or frame with columns env_id, ceiling, or a mapping. Tasks go by
            their environment or by their name in the fit. None: there is none.
        env_ids: the task of each configuration, by its name in the fit.
        crossings: of the fit.

    Raises:
        InputError: a ceiling that is no number, below a threshold that runs have reached, or lacking for a task.
    """
    if ceiling is None:
        return np.full(len(env_ids), np.inf)
    tasks = [str(task) for task in env_ids.unique()]
    known = _by_task(ceiling, tasks)
    reached = crossings[~crossings["censored"]].groupby("env_id")["threshold"].max()
    for task in tasks:
        if task in reached.index and known[task] < reached[task]:
            raise InputError(
                f"the ceiling of {task} is {known[task]:g}, and fitted runs have reached {reached[task]:g}. Raise it."
            )
    return np.array([known[task] for task in env_ids])


def _by_task(ceiling: Ceiling, tasks: Sequence[str]) -> dict[str, float]:
    if isinstance(ceiling, int | float | np.number):
        if np.isnan(ceiling):
            raise InputError("ceiling must be a number; got nan. Leave it out if there is none.")
        return dict.fromkeys(tasks, float(ceiling))
    stated = _stated(ceiling)
    known = {}
    for task in tasks:
        # a name in the fit may begin with the suite and the algorithm, and so may an env_id hold a slash
        names = [name for name in stated if task == name or task.endswith(f"/{name}")]
        if not names:
            raise InputError(f"ceiling has no {task}; it has {', '.join(stated)}. Add it, as inf if there is none.")
        known[task] = stated[max(names, key=len)]
    return known


def _stated(ceiling: str | os.PathLike[str] | Mapping[str, float] | pd.DataFrame) -> dict[str, float]:
    if isinstance(ceiling, Mapping):
        ceiling = pd.DataFrame({"env_id": list(ceiling), "ceiling": list(ceiling.values())})
    table = as_table("ceiling", ceiling)
    frame = check_columns(table, CEILING_COLUMNS)
    twice = frame["env_id"][frame["env_id"].duplicated()]
    if len(twice):
        raise InputError(f"{table.source} has {twice.iloc[0]} twice. Keep one.")
    return dict(zip(frame["env_id"], frame["ceiling"], strict=True))
