"""The folder of a sweep: one Parquet file and one record per finished run, each either complete or not there.

- plan.json: the runs of the sweep
- runs/NAME.json: status, size and wall-clock of its ensemble, versions, hardware and the SHA-256 of the Parquet file
- runs/NAME.parquet: the run's learning curve; written last, so that its presence means finished
- manifest.jsonl: all records, one a line
- curves.parquet: the learning-curve table of the sweep
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.curves import read_curves, write_curves
from bayescale.errors import BayeScaleError, InputError
from bayescale.runners.config import RunConfig

PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}(\.parquet)?")  # names of files while they are written


def run_name(config: RunConfig) -> str:
    """The run's file name without its ending, as in `gym_SAC_Pendulum-v1_utd0.5_batch64_lr0.001_width256_seed0`."""
    env_id = config.env_id.replace("/", "-")
    return (
        f"{config.suite}_{config.algorithm}_{env_id}_utd{config.utd!r}_batch{config.batch_size}"
        f"_lr{config.learning_rate!r}_width{config.hidden_width}_seed{config.seed}"
    )


def open_folder(out: Path, runs: Sequence[RunConfig], resume: bool) -> None:
    """Makes `out` ready for the runs: a new folder, or an old one of the same plan without its half-written files.

    Raises:
        InputError: the folder holds results and `resume` is false, or it belongs to another plan.
    """
    plan_file = out / "plan.json"
    try:
        (out / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {out} cannot be made ({error.strerror}). Choose another.") from None
    plan = [{"algorithm": run.algorithm, **asdict(run)} for run in runs]
    if plan_file.exists():
        if not resume:
            raise InputError(f"{out} already holds a sweep. Continue it with resume (--resume) or choose a new folder.")
        try:
            same = json.loads(plan_file.read_text(encoding="utf-8")) == plan
        except ValueError:
            raise InputError(f"{plan_file} is damaged. Choose a new folder.") from None
        if not same:
            raise InputError(f"{out} holds a sweep of another plan. Resume with that plan or choose a new folder.")
    elif any(path.is_file() and not PARTIAL.fullmatch(path.name) for path in out.rglob("*")):
        raise InputError(f"{out} holds files but no plan.json, so no sweep began there. Choose a new folder.")
    else:
        write_text(plan_file, json.dumps(plan, indent=0))
    remove_partial_files(out)


def remove_partial_files(out: Path) -> None:
    """Removes what a killed writer left behind."""
    for folder in (out, out / "runs"):
        for path in folder.glob(".*"):
            if PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)


def write_run(out: Path, config: RunConfig, curve: pd.DataFrame, record: dict[str, Any]) -> None:
    """Writes a finished run: its record, then its curve."""
    path = out / "runs" / f"{run_name(config)}.parquet"
    staged = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.parquet")
    try:
        write_curves(curve, staged)
        digest = hashlib.sha256(staged.read_bytes()).hexdigest()
        write_text(path.with_suffix(".json"), json.dumps({"run": path.stem, **record, "sha256": digest}))
        staged.replace(path)
        _sync_folder(path.parent)
    finally:
        staged.unlink(missing_ok=True)


def finished_runs(out: Path, runs: Sequence[RunConfig]) -> set[RunConfig]:
    """The runs whose files are there and as they were written.

    Raises:
        InputError: a curve differs from its record.
    """
    finished = set()
    for config in runs:
        path = out / "runs" / f"{run_name(config)}.parquet"
        if not path.exists():
            continue
        try:
            recorded = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
        except (OSError, ValueError, KeyError):
            recorded = None
        if hashlib.sha256(path.read_bytes()).hexdigest() != recorded:
            raise InputError(f"{path} is not as the sweep wrote it. Delete it and resume: the run is repeated.")
        finished.add(config)
    return finished


def merge_runs(out: Path, runs: Sequence[RunConfig]) -> Path:
    """Writes the manifest and the table of all runs, sorted by run and env_steps, and returns the table's path."""
    records = [(out / "runs" / f"{run_name(run)}.json").read_text(encoding="utf-8") for run in runs]
    write_text(out / "manifest.jsonl", "".join(f"{record}\n" for record in records))
    table = out / "curves.parquet"
    write_curves(read_curves(out / "runs" / f"{run_name(run)}.parquet" for run in runs), table)
    _sync_folder(out)
    return table


def write_text(path: Path, text: str) -> None:
    """Writes a text file that is either complete or not there.

    Raises:
        BayeScaleError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise BayeScaleError(
            f"{path} cannot be written ({error.strerror}). Free some space or check permissions, then resume."
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes renames in the folder survive a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
