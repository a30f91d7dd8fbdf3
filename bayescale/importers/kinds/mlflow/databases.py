"""List and read the runs in a SQLite database of MLflow, which is opened for reading only.

Views, which could hold any query, are not read. Runs that were deleted in MLflow are left out.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bayescale.errors import InputError
from bayescale.importers.kinds.mlflow.stored_runs import Points, StoredRun
from bayescale.importers.run_folders import Unusable, open_plain

TABLES = {"experiments", "runs", "metrics", "params", "tags"}
MAGIC = b"SQLite format 3\0"
MOST_POINTS = 2**22  # points of one metric of one run
LARGEST = 1.7976931348623157e308  # MLflow stores infinity as the largest float


def database_runs(file: Path) -> list[StoredRun]:
    """Return the runs in the database.

    Raises:
        InputError: the file is no database of MLflow, or it is damaged.
    """
    try:
        with open_plain(file) as stream:
            magic = stream.read(len(MAGIC))
    except Unusable as reason:
        raise InputError(f"{file} {str(reason).removeprefix('it ')} Check the path.") from None
    if magic != MAGIC:
        raise InputError(f"{file} is no SQLite database. Give the mlflow.db or the mlruns folder of a store.")
    try:
        with _opened(file) as database:
            return _runs(file, database)
    except (sqlite3.Error, OverflowError) as error:
        raise InputError(
            f"{file} cannot be read as a database of MLflow ({error}). Copy it again while no run writes to it."
        ) from None


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA query_only = ON")
        yield database
    finally:
        database.close()


def _runs(file: Path, database: sqlite3.Connection) -> list[StoredRun]:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= TABLES:
        raise InputError(
            f"{file} has no table '{min(TABLES - tables)}', so it is no database of MLflow. Check the path."
        )
    experiments = dict(database.execute("SELECT experiment_id, name FROM experiments"))
    texts: dict[str, dict[str, dict[str, str]]] = {}
    for table in ("params", "tags"):
        texts[table] = defaultdict(dict)
        for run, key, value in database.execute(f"SELECT run_uuid, key, value FROM {table}"):
            if value is not None and not isinstance(value, bytes):
                texts[table][run][str(key)] = str(value)
    last: dict[str, dict[str, float]] = defaultdict(dict)
    steps: dict[str, int] = defaultdict(int)
    points: dict[str, int] = defaultdict(int)
    for run, key, value, is_nan, step, count in database.execute(
        "SELECT run_uuid, key, value, is_nan, MAX(step), COUNT(*) FROM metrics GROUP BY run_uuid, key"
    ):
        if _is_number(value) and isinstance(step, int):
            last[run][str(key)] = _number(value, is_nan)
            steps[run], points[run] = max(steps[run], step), max(points[run], count)
    return [
        StoredRun(
            id=str(run),
            name=str(name or ""),
            experiment=str(experiments.get(experiment, experiment)),
            started=started if isinstance(started, int) else 0,
            status=str(status),
            params=texts["params"][run],
            tags=texts["tags"][run],
            last=last[run],
            last_step=steps[run],
            points=points[run],
            read=partial(_points, file, run),
        )
        for run, name, experiment, started, status in database.execute(
            "SELECT run_uuid, name, experiment_id, start_time, status FROM runs WHERE lifecycle_stage = 'active'"
        )
    ]


def _points(file: Path, run: str, keys: Sequence[str]) -> list[Points]:
    """Return the points of the metrics of a run; raise Unusable if they cannot be read."""
    found = []
    try:
        with _opened(file) as database:
            for key in keys:
                rows = database.execute(
                    "SELECT step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ? "
                    f"ORDER BY timestamp, rowid LIMIT {MOST_POINTS + 1}",
                    (run, key),
                ).fetchall()
                if len(rows) > MOST_POINTS:
                    raise Unusable(f"its metric {key} has more than {MOST_POINTS:,} points.")
                if not all(isinstance(s, int) and isinstance(t, int) and _is_number(v) for s, t, v, _ in rows):
                    raise Unusable(f"its metric {key} holds a point that is no number.")
                values = [_number(value, is_nan) for _, _, value, is_nan in rows]
                whole = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
                found.append(Points(key, whole[:, 0], whole[:, 1], np.array(values, float)))
    except (sqlite3.Error, OverflowError) as error:
        raise Unusable(f"its metrics cannot be read ({error}).") from None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(value: float, is_nan: object) -> float:
    """Return the value that MLflow stored: NaN where `is_nan` says so, and infinity for the largest float."""
    if is_nan:
        return float("nan")
    return float(np.copysign(np.inf, value)) if abs(value) >= LARGEST else float(value)
