"""Name tasks: an environment and, where a table holds several suites or algorithms, these too.

One fit may pool several algorithms, as tasks of one population. Tasks are then named `algorithm/env_id`, and
`suite/algorithm/env_id` where the suites differ too. The column `env_id` holds these names in all later steps.
"""

from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher

import pandas as pd

from bayescale.errors import InputError

SUITE_AND_ALGORITHM = ("suite", "algorithm")
ALIKE = 0.6  # least similarity, from 0 to 1, at which an error asks "Did you mean ...?"
LISTED = 20  # tasks that an error lists


def naming_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns among suite and algorithm whose values differ between the rows of a table."""
    return tuple(name for name in SUITE_AND_ALGORITHM if name in table and table[name].nunique() > 1)


def with_task_names(table: pd.DataFrame, columns: Sequence[str], known: Collection[str] = ()) -> pd.DataFrame:
    """Return the table with task names as `env_id`; all other columns stay the same.

    Args:
        table: curves, crossings or configurations.
        columns: the `naming_columns` of the fitted runs.
        known: task names to keep if `env_id` holds them already.

    Raises:
        InputError: one of `columns` is missing, and a name is not known.
    """
    bare = ~table["env_id"].isin(list(known))
    if not columns or not bare.any():
        return table
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(
            f"the fit holds more than one {' and '.join(columns)}, so that rows need the column {missing[0]} too; add "
            f"it, or name the task as in '{'/'.join(columns)}/env_id'."
        )
    names = table["env_id"].astype(str)
    for name in reversed(columns):
        names = table[name].astype(str) + "/" + names
    return table.assign(env_id=table["env_id"].where(~bare, names))


def several_names(argument: str, given: object) -> tuple[str, ...]:
    """Return a list of names as a tuple; an empty tuple if `given` is not iterable.

    Raises:
        InputError: `given` is a single name, which Python would split into letters, or holds anything but names.
    """
    several = () if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) for name in several):
        raise InputError(f"{argument} must be a list of names; got {given!r}. Write [{given!r}] for one.")
    return several


def require_task_name(env_id: object, known: Collection[str]) -> None:
    """Raise InputError unless `env_id` can name one task, either fitted or new.

    Raises:
        InputError: `env_id` is not text, or is only the last part of fitted names. The user then most likely means
            one of those tasks and not a new one.
    """
    if not isinstance(env_id, str):
        raise InputError(f"env_id must be the name of a task; got {env_id!r}. Give one, as in '{next(iter(known))}'.")
    ends = [name for name in known if name.endswith(f"/{env_id}")]
    if ends and env_id not in known:
        raise InputError(f"the fit knows {env_id} as {', '.join(ends)}; name one of them.")


def require_fitted_tasks(env_ids: Iterable[object], known: Collection[str], *, new_task: bool = False) -> None:
    """Raise InputError unless the fit has runs of every task, or `new_task` allows tasks without runs.

    The error lists the fitted tasks, the most similar name first.

    Args:
        env_ids: the tasks asked for, by their names in the fit.
        known: the fitted tasks.
        new_task: True: a task without runs is predicted as one sampled from the population of tasks.
    """
    asked_for = list(env_ids)
    for env_id in asked_for:
        require_task_name(env_id, known)
    for env_id in dict.fromkeys(asked_for):
        if new_task or env_id in known:
            continue
        asked = str(env_id)
        closeness = {name: SequenceMatcher(None, asked.lower(), name.lower()).ratio() for name in known}
        by_closeness = sorted(known, key=lambda name: -closeness[name])
        guess = f" Did you mean {by_closeness[0]}?" if closeness[by_closeness[0]] >= ALIKE else ""
        more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
        raise InputError(
            f"the fit has no run of {asked}.{guess} It has runs of {', '.join(by_closeness[:LISTED])}{more}. For the "
            "forecast of a task without runs, which rests on the other tasks alone, give --new-task (new_task=True)."
        )


def as_one_suite_and_algorithm(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one value of suite and of algorithm, for methods that read only `env_id`.

    Columns that differed hold all their values joined by commas; task names as `env_id` keep the tasks distinct.
    """
    columns = naming_columns(table)
    together = {name: ", ".join(sorted(map(str, table[name].unique()))) for name in columns}
    return with_task_names(table, columns).assign(**together)


def require_one_suite_and_algorithm(table: pd.DataFrame) -> None:
    """Raise InputError unless all rows have the same suite and the same algorithm."""
    for name in naming_columns(table):
        came = ", ".join(sorted(map(str, table[name].unique())))
        raise InputError(f"this method fits one {name}; got {came}. Fit each by itself, or score them with compare.")
