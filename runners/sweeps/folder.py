"""The folder of a sweep: one Parquet file per finished group of runs, either complete or not there.

- sweep.lock: held by the process that runs the sweep, see `bayescale.runners.sweeps.lock`
- plan.json: the runs of the sweep, and which of them train together
- groups/NUMBER.parquet: the learning curves of a group, and in its metadata the record of each of its runs
- checkpoints/NUMBER.pt: where to go on with a group that takes long, until it has finished
- manifest.jsonl: the records of all runs, one flat object a line
- curves.parquet: the learning-curve table of the sweep

A group's file is all that says that its runs are done. The process that runs the sweep writes all but the checkpoints.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from bayescale.atomic_files import PARTIAL, remove_partial_files, sync_folder, whole_file
from bayescale.data.curves import read_curves, write_curves
from bayescale.errors import BayeScaleError, InputError
from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.jobs import Trained
from bayescale.runners.sweeps.lock import LOCK, sole_sweep
from bayescale.runners.training.ensembles import Ensemble, make_ensembles

PLAN = "plan.json"
RECORDS = b"bayescale.runs"  # key of the records in a group file's metadata


@contextmanager
def open_folder(out: Path, runs: Sequence[RunConfig], resume: bool) -> Iterator[list[Ensemble]]:
    """The groups of runs that train together; `out` is ready for them, and no other sweep's until the block is done.

    It becomes a new folder, or an old one of the same plan without its half-written files, whose groups stay as they
    were even if this version would choose others.

    Raises:
        InputError: the folder holds results and `resume` is false, it belongs to another plan, or a sweep is at work.
    """
    groups_in(out, runs)  # refuses what is no sweep's before anything is made
    try:
        (out / "groups").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {out} cannot be made ({error.strerror}). Choose another.") from None
    with sole_sweep(out):
        yield _ready_groups(out, runs, resume)


def _ready_groups(out: Path, runs: Sequence[RunConfig], resume: bool) -> list[Ensemble]:
    groups = groups_in(out, runs)
    if groups is None:
        groups = make_ensembles(runs)
        position = {run: i for i, run in enumerate(runs)}
        numbers = [[position[run] for run in group] for group in groups]
        with _whole(out / PLAN) as partial:
            partial.write_text(json.dumps({"runs": _plan(runs), "groups": numbers}, indent=0))
    elif not resume:
        raise InputError(f"{out} already holds a sweep. Continue it with resume (--resume) or choose a new folder.")
    remove_partial_files(out)
    return groups


def groups_in(out: Path, runs: Sequence[RunConfig]) -> list[Ensemble] | None:
    """The groups of a sweep that was begun in `out`; None if there is none.

    Raises:
        InputError: the sweep is of other runs, or the folder holds something else.
    """
    path = out / PLAN
    if not path.exists():
        ours = (path.name == LOCK or PARTIAL.fullmatch(path.name) for path in out.rglob("*") if path.is_file())
        if not all(ours):
            raise InputError(f"{out} holds files but no plan.json, so no sweep began there. Choose a new folder.")
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        held_runs, numbers = held["runs"], held["groups"]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path} is damaged. Choose a new folder.") from None
    if held_runs != _plan(runs):
        raise InputError(f"{out} holds a sweep of another plan. Resume with that plan or choose a new folder.")
    return [tuple(runs[i] for i in group) for group in numbers]


def group_file(out: Path, number: int) -> Path:
    """Where the group of this number is kept."""
    return out / "groups" / f"{number:05d}.parquet"


def checkpoint_file(out: Path, number: int) -> Path:
    """Where the checkpoint of an unfinished group is kept."""
    return out / "checkpoints" / f"{number:05d}.pt"


def write_group(out: Path, number: int, trained: Trained) -> None:
    """Keeps a finished group, in place of its checkpoint.

    Raises:
        BayeScaleError: the disk is full or the folder cannot be written.
    """
    path = group_file(out, number)
    table = pa.Table.from_pandas(trained.curves, preserve_index=False)
    records = {RECORDS: json.dumps([{"group": number, **record} for record in trained.records])}
    table = table.replace_schema_metadata(table.schema.metadata | records)
    with _whole(path) as partial, partial.open("wb") as file:  # Python's own file: its errors say why in words
        pq.write_table(table, file, write_page_checksum=True)
    checkpoint_file(out, number).unlink(missing_ok=True)


def read_group(out: Path, number: int) -> Trained | None:
    """The group of this number; None if it is not finished.

    Raises:
        InputError: the file is not as `write_group` wrote it.
    """
    path = group_file(out, number)
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        return Trained(table.to_pandas(), tuple(json.loads(table.schema.metadata[RECORDS])))
    except (OSError, KeyError, ValueError, TypeError):
        raise InputError(f"{path} is not as the sweep wrote it. Delete it and resume: its runs are repeated.") from None


def merge_groups(out: Path, groups: Sequence[Ensemble]) -> Path:
    """Writes the manifest and the table of all runs, sorted by run and env_steps, and returns the table's path.

    Raises:
        BayeScaleError: there is no table, as no run was evaluated.
    """
    finished = [cast(Trained, read_group(out, number)) for number in range(len(groups))]
    with _whole(out / "manifest.jsonl") as partial:
        partial.write_text("".join(f"{json.dumps(record)}\n" for trained in finished for record in trained.records))
    table, curves = out / "curves.parquet", [trained.curves for trained in finished if not trained.curves.empty]
    if curves:
        write_curves(read_curves(curves), table)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)  # with what workers of a killed sweep may have left
    sync_folder(out)
    if not curves:
        raise BayeScaleError(
            f"every run in {out} diverged before its first evaluation, see manifest.jsonl. "
            "Check that observations and rewards of the task are finite, and choose a new folder."
        )
    return table


def _plan(runs: Sequence[RunConfig]) -> list[dict[str, Any]]:
    return [{"algorithm": run.algorithm, **asdict(run)} for run in runs]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """As `whole_file`, with an error for the user."""
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or error
        raise BayeScaleError(
            f"{path} cannot be written ({reason}). Free some space or check permissions, then resume."
        ) from None
