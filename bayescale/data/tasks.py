"""What a task is: an environment, and where one fit holds several suites or algorithms, these too.

One fit may pool several algorithms, as tasks of one population. Their tasks are then named `algorithm/env_id`, and
`suite/algorithm/env_id` where the suites differ too; one column, `env_id`, names a task from there on.
"""

from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from bayescale.errors import InputError

KINDS = ("suite", "algorithm")


def naming_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Which of suite and algorithm differ between the rows of a table."""
    return tuple(name for name in KINDS if name in table and table[name].nunique() > 1)


def with_task_names(table: pd.DataFrame, columns: Sequence[str], known: Collection[str] = ()) -> pd.DataFrame:
    """The table with the names of its tasks as `env_id`; other columns as they were.

    Args:
        table: curves, crossings or configurations.
        columns: those of `naming_columns` of the fitted runs.
        known: names that need no change.

    Raises:
        InputError: a column is missing that tells the tasks apart.
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
    """The names in a list of them; a name alone would be read letter by letter, and is refused."""
    several = () if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) for name in several):
        raise InputError(f"{argument} must be a list of names; got {given!r}. Write [{given!r}] for one.")
    return several


def require_task_name(env_id: object, known: Collection[str]) -> None:
    """Nothing, if `env_id` can name one task, fitted or new.

    Raises:
        InputError: it is no text, or the end of fitted names, so that the answer for a new task is hardly what was
            asked for.
    """
    if not isinstance(env_id, str):
        raise InputError(f"env_id must be the name of a task; got {env_id!r}. Give one, as in '{next(iter(known))}'.")
    ends = [name for name in known if name.endswith(f"/{env_id}")]
    if ends and env_id not in known:
        raise InputError(f"the fit knows {env_id} as {', '.join(ends)}; name one of them.")


def one_kind(table: pd.DataFrame) -> pd.DataFrame:
    """The table as of one suite and algorithm: where they differ, the names of its tasks alone say which they are.

    For methods that know of nothing but `env_id`.
    """
    columns = naming_columns(table)
    together = {name: ", ".join(sorted(map(str, table[name].unique()))) for name in columns}
    return with_task_names(table, columns).assign(**together)


def require_one_kind(table: pd.DataFrame) -> None:
    """Nothing, if the rows are of one suite and algorithm; InputError otherwise."""
    for name in naming_columns(table):
        came = ", ".join(sorted(map(str, table[name].unique())))
        raise InputError(f"this method fits one {name}; got {came}. Fit each by itself, or score them with compare.")
