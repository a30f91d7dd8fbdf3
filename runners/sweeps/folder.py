"""The folder of a sweep: one Parquet file per finished job, which is either complete or absent.

- sweep.lock: held by the process that runs the sweep, see `bayescale.runners.sweeps.lock`
- plan.json: the runs of the sweep, and which of them train together
- groups/NUMBER.parquet: the learning curves of a job, and in its metadata one record per run
- checkpoints/NUMBER.pt: the checkpoint of a job that takes long, until the job has finished
- manifest.jsonl: the records of all runs, one flat object per line
- curves.parquet: the learning-curve table of the sweep

A job has finished if and only if its Parquet file exists. The process that runs the sweep writes all files but the
checkpoints.
"""

import errno
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bayescale.atomic_files import PARTIAL, remove_partial_files, sync_folder, whole_file
from bayescale.data.curves import read_curves
from bayescale.errors import BayeScaleError, InputError
from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.jobs import Trained
from bayescale.runners.sweeps.lock import LOCK, check_unlocked, not_writable, sole_sweep
from bayescale.runners.training.ensembles import Ensemble, make_ensembles

PLAN = "plan.json"
RECORDS = b"bayescale.runs"  # key of the records in the metadata of a job's file
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def open_folder(out: Path, runs: Sequence[RunConfig], resume: bool) -> Iterator[list[Ensemble]]:
    """Prepare the folder of a sweep, lock it against other sweeps, and return the ensembles of the runs.

    A new folder gets its plan.json. An old one loses its half-written files and keeps its ensembles, even if this
    version would stack the runs in another way.

    Raises:
        InputError: the folder holds results and `resume` is false, it belongs to another plan, or another sweep is at
            work there.
    """
    try:
        ensembles_in(out, runs)  # refuses a foreign folder before anything is written
    except InputError:
        check_unlocked(out)  # the folder may look foreign because another sweep began there a moment ago
        raise
    try:
        (out / "groups").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if out.is_dir():
            raise InputError(not_writable(out, error)) from None
        raise InputError(f"the folder {out} cannot be made ({error.strerror}). Choose another.") from None
    with sole_sweep(out):
        yield _prepare(out, runs, resume)


def _prepare(out: Path, runs: Sequence[RunConfig], resume: bool) -> list[Ensemble]:
    ensembles = ensembles_in(out, runs)
    if ensembles is None:
        ensembles = make_ensembles(runs)
        position = {run: i for i, run in enumerate(runs)}
        numbers = [[position[run] for run in ensemble] for ensemble in ensembles]
        with _whole(out / PLAN) as partial:
            partial.write_text(json.dumps({"runs": _settings(runs), "groups": numbers}, indent=0))
    elif not resume:
        raise InputError(f"{out} already holds a sweep. Continue it with resume (--resume) or choose a new folder.")
    remove_partial_files(out)
    return ensembles


def ensembles_in(out: Path, runs: Sequence[RunConfig]) -> list[Ensemble] | None:
    """Return the ensembles of the sweep in `out`, in the order of their job numbers; None if no sweep began there.

    Raises:
        InputError: the sweep has other runs, the folder holds other files, or its plan.json cannot be read.
    """
    path = out / PLAN
    try:
        content = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        ours = (path.name == LOCK or PARTIAL.fullmatch(path.name) for path in out.rglob("*") if path.is_file())
        if not all(ours):
            raise InputError(
                f"{out} holds files but no plan.json, so no sweep began there. Choose a new folder."
            ) from None
        return None
    except OSError as error:
        raise InputError(_not_readable(path, error)) from None
    except UnicodeDecodeError:
        content = ""
    try:
        held = json.loads(content)
        held_runs, numbers = held["runs"], held["groups"]
        whole = sorted(i for members in numbers for i in members) == list(range(len(held_runs)))
    except (ValueError, TypeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged. Choose a new folder.")
    if held_runs != _settings(runs):
        raise InputError(f"{out} holds a sweep of another plan. Resume with that plan or choose a new folder.")
    return [tuple(runs[i] for i in members) for members in numbers]


def job_file(out: Path, number: int) -> Path:
    """Return the path for the results of the job with this number."""
    return out / "groups" / f"{number:05d}.parquet"


def checkpoint_file(out: Path, number: int) -> Path:
    """Return the path for the checkpoint of the job with this number."""
    return out / "checkpoints" / f"{number:05d}.pt"


def write_job(out: Path, number: int, trained: Trained) -> None:
    """Write the results of a finished job and remove its checkpoint.

    On a full disk, remove the job's checkpoint first: it takes room that the results need.

    Raises:
        BayeScaleError: the disk is full without the checkpoint too, or the folder cannot be written.
    """
    path, checkpoint = job_file(out, number), checkpoint_file(out, number)
    table = pa.Table.from_pandas(trained.curves, preserve_index=False)
    records = {RECORDS: json.dumps([{"group": number, **record} for record in trained.records])}
    table = table.replace_schema_metadata(table.schema.metadata | records)
    with _remedies(path):
        try:
            _write_table(table, path)
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
            checkpoint.unlink(missing_ok=True)
            _write_table(table, path)
    checkpoint.unlink(missing_ok=True)


def _write_table(table: pa.Table, path: Path) -> None:
    with whole_file(path) as partial, partial.open("wb") as file:  # errors of Python's own file say the reason in words
        pq.write_table(table, file, write_page_checksum=True)


def read_job(out: Path, number: int) -> Trained | None:
    """Return the results of the job with this number; None if it has not finished.

    Raises:
        InputError: the file cannot be read, or differs from the one that `write_job` wrote.
    """
    path = job_file(out, number)
    try:
        content = path.read_bytes()  # here a file that may not be read differs from one that is damaged
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(_not_readable(path, error)) from None
    try:
        table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
        return Trained(table.to_pandas(), tuple(json.loads(table.schema.metadata[RECORDS])))
    except (OSError, KeyError, ValueError, TypeError):
        raise InputError(f"{path} is not as the sweep wrote it. Delete it and resume: its runs are repeated.") from None


def merge_jobs(out: Path, count: int) -> Path:
    """Write the manifest and the table of all runs, sorted by run and env_steps; return the path of the table.

    Args:
        out: the folder of the sweep.
        count: number of jobs, all of which have finished.

    Raises:
        InputError: a file cannot be read, or differs from the one that `write_job` wrote.
        BayeScaleError: no run was evaluated, so there is no table; or the disk is full.
    """
    shutil.rmtree(out / "checkpoints", ignore_errors=True)  # workers of a killed sweep may have left files there
    finished = [trained for number in range(count) if (trained := read_job(out, number))]
    if len(finished) < count:
        raise BayeScaleError(
            f"{count - len(finished)} of {count} files in {out / 'groups'} are gone. Resume (--resume)."
        )
    with _whole(out / "manifest.jsonl") as partial:
        partial.write_text("".join(f"{json.dumps(record)}\n" for trained in finished for record in trained.records))
    table, curves = out / "curves.parquet", [trained.curves for trained in finished if not trained.curves.empty]
    if curves:
        joined = read_curves(curves)
        with _whole(table) as partial, partial.open("wb") as file:
            joined.to_parquet(file, engine="pyarrow", index=False)
    sync_folder(out)
    if not curves:
        raise BayeScaleError(
            f"every run in {out} diverged before its first evaluation, see manifest.jsonl. "
            "Check that observations and rewards of the task are finite, and choose a new folder."
        )
    return table


def _settings(runs: Sequence[RunConfig]) -> list[dict[str, Any]]:
    return [run.settings() for run in runs]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Write a file with `whole_file`; raise BayeScaleError with the remedy if that fails."""
    with _remedies(path), whole_file(path) as partial:
        yield partial


@contextmanager
def _remedies(path: Path) -> Iterator[None]:
    """Raise BayeScaleError with the remedy if writing the file fails in this block."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BayeScaleError(
            f"{path} cannot be written ({reason}). Free some space or check permissions, then resume."
        ) from None


def _not_readable(path: Path, error: OSError) -> str:
    return f"{path} cannot be read ({error.strerror or error}). Correct its permissions, then resume."
