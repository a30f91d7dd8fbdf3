"""Find the stores of MLflow in the sources, and list their runs."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from bayescale.arguments import counted
from bayescale.data.tables.paths import matching_paths
from bayescale.errors import InputError
from bayescale.importers.kinds.mlflow.databases import database_runs
from bayescale.importers.kinds.mlflow.file_stores import META, NO_RUNS, folder_runs
from bayescale.importers.kinds.mlflow.stored_runs import STEP, StoredRun, rows_of
from bayescale.importers.listed_runs import ListedRun, Rows
from bayescale.importers.run_folders import run_folders
from bayescale.importers.run_logs import Logs, Skipped, shown

DATABASE = "mlflow.db"
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(.*)", re.IGNORECASE | re.DOTALL)  # two letters or more: C: is a drive
STATUSES = {
    "FINISHED": "finished", "FAILED": "crashed", "KILLED": "stopped early", "RUNNING": "running",
    "SCHEDULED": "running",
}  # fmt: skip
PARENT = "mlflow.parentRunId"
LAST_STEP, POINTS = "mlflow.last_step", "mlflow.points"  # config keys of `StoredRun.last_step` and `.points`


def log_mlflow(*sources: str | os.PathLike[str]) -> Logs:
    """Return the runs in the stores, listed in the order in which they began, and what was left out.

    Raises:
        InputError: a source is no store, or a database cannot be read.
        MissingExtra: a source is a folder of files and PyYAML is not installed.
    """
    left_out: list[Skipped] = []
    stored: dict[str, StoredRun] = {}
    for path in (path for source in sources for path in _paths(source)):
        for run in _runs(path, left_out):
            if run.id in stored:
                left_out.append(Skipped(_name(stored[run.id]), f"{path} holds it again; it counts once."))
            else:
                stored[run.id] = replace(run, store=str(path))
    children = Counter(run.tags.get(PARENT) for run in stored.values())
    listed = []
    for run in sorted(stored.values(), key=lambda run: (run.experiment, run.started, run.id)):
        if run.last:
            listed.append(_listed(run, stored))
        else:
            serves = f"; {counted(children[run.id], 'child run')} may use its settings" if children[run.id] else ""
            left_out.append(Skipped(_name(run), f"it has no metric{serves}."))
    return Logs(listed, left_out)


def _paths(source: str | os.PathLike[str]) -> list[Path]:
    """Return the paths of a source, which may be a path, a glob, or a URI of a SQLite database or a folder."""
    text = os.fspath(source)
    uri = SCHEME.fullmatch(text)
    if uri is None or os.path.lexists(text):
        return matching_paths(text)
    scheme, rest = uri[1].lower(), uri[2].split("?")[0]
    if scheme == "sqlite" and rest.startswith("///"):
        return matching_paths(rest[3:])
    if scheme == "file":
        return matching_paths(unquote(re.sub(r"^//(localhost)?(?=/)", "", rest)))
    raise InputError(
        f"{text[:60]} is no SQLite database and no folder of MLflow. Give the file or the folder of the store, such as "
        f"{DATABASE} or mlruns."
    )


def _runs(path: Path, left_out: list[Skipped]) -> Iterator[StoredRun]:
    if path.name == META:
        path = path.parent
    if not path.is_dir():
        yield from database_runs(path)
        return
    database = path / DATABASE
    if database.is_file():
        yield from database_runs(database)
    folders = run_folders([path], META.__eq__, but=NO_RUNS.__contains__)
    if not folders and not database.is_file():
        raise InputError(
            f"{path} holds no {DATABASE} and no folder with a {META}, so it is no store of MLflow. Check the path."
        )
    yield from folder_runs(folders, left_out)


def _name(run: StoredRun) -> str:
    name = f" ({shown(run.name)})" if run.name else ""
    return f"{run.store}: run {shown(run.id)}{name}"


def _listed(run: StoredRun, stored: Mapping[str, StoredRun]) -> ListedRun:
    def read(keys: Sequence[str]) -> Rows:
        metrics = run.read([key for key in keys if key != STEP])
        joined = 1 if STEP in keys[:2] else 2  # the return, and the step counter unless it is MLflow's own
        return rows_of(metrics[:joined], metrics[joined:])

    config: dict[str, Any] = {}
    one: StoredRun | None = run
    seen = set()
    while one is not None and one.id not in seen:  # a run's own settings count before its parent's
        seen.add(one.id)
        own = {**{key: value for key, value in one.tags.items() if not key.startswith("mlflow.")}, **one.params}
        config = {**own, **config}
        one = stored.get(one.tags.get(PARENT, ""))
    config |= {"mlflow.experiment": run.experiment, LAST_STEP: run.last_step, POINTS: run.points}
    return ListedRun(
        name=_name(run),
        config=config,
        history=pd.DataFrame([{STEP: run.last_step, **run.last}]),
        status=STATUSES.get(run.status),
        label=run.name or run.id,
        read=read,
    )
