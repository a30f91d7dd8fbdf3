"""Test folders that are full, damaged, or hold no sweep."""

import errno
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayescale.errors import BayeScaleError, InputError
from bayescale.runners import estimate, make_plan, run_sweep
from bayescale.runners.sweeps.folder import checkpoint_file, job_file, read_job, write_job
from bayescale.runners.sweeps.progress import Progress
from tests.scaffolding.small_sweep import CONTENT, PLAN, kept, names


def test_a_sweep_that_cannot_write_stops(copied: Path) -> None:
    (copied / "plan.json").replace(copied / "plan.json.kept")
    shutil.rmtree(copied / "groups")
    (copied / "plan.json.kept").replace(copied / "plan.json")

    def block(progress: Progress) -> None:
        if progress.runs_done == 0:
            shutil.rmtree(copied / "groups", ignore_errors=True)

    with pytest.raises(BayeScaleError, match=r"stopped: .*parquet cannot be written \(No such file or directory\)"):
        run_sweep(PLAN, copied, resume=True, on_progress=block)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 128 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk; the next test fakes a full one")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_and_is_freed(finished: Path, small_disk: Path) -> None:
    ballast, out = small_disk / "ballast", small_disk / "out"

    def fill(progress: Progress) -> None:
        if progress.runs_done == 2:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    with pytest.raises(BayeScaleError, match=r"cannot be written \(No space left on device\).*resume"):
        run_sweep(PLAN, out, workers=1, on_progress=fill)
    assert kept(out) == 1
    with pytest.raises(BayeScaleError, match="No space left on device"):
        run_sweep(PLAN, out, resume=True, workers=1)
    assert kept(out) == 1
    ballast.unlink()
    run_sweep(PLAN, out, resume=True)
    assert names(out) == names(finished)
    assert (out / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_a_full_disk_leaves_nothing_behind(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_job(copied, 0)
    assert whole is not None
    job_file(copied, 0).unlink()
    before = names(copied)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BayeScaleError, match="No space left on device"):
        write_job(copied, 0, whole)
    assert names(copied) == before


def full_while(condition: Callable[[], bool]) -> Callable[[int], None]:
    """Return a replacement of `os.fsync` that finds the disk full while the condition holds."""

    def fsync(_descriptor: int) -> None:
        if condition():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


def test_results_take_the_room_of_their_own_checkpoint(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_job(copied, 0)
    assert whole is not None
    content = job_file(copied, 0).read_bytes()
    job_file(copied, 0).unlink()
    own, other = checkpoint_file(copied, 0), checkpoint_file(copied, 1)
    own.parent.mkdir()
    for path in (own, other):
        path.write_bytes(b"state")
    monkeypatch.setattr(os, "fsync", full_while(own.exists))
    write_job(copied, 0, whole)
    assert not own.exists()
    assert other.exists()
    again = read_job(copied, 0)
    assert again is not None
    pd.testing.assert_frame_equal(again.curves, whole.curves, check_exact=True)
    assert len(job_file(copied, 0).read_bytes()) == len(content)


def test_a_checkpoint_that_fills_a_real_disk_makes_room(finished: Path, small_disk: Path) -> None:
    whole = read_job(finished, 0)
    assert whole is not None
    own = checkpoint_file(small_disk, 0)
    for folder in (own.parent, small_disk / "groups"):
        folder.mkdir()
    with suppress(OSError), own.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    write_job(small_disk, 0, whole)
    assert not own.exists()
    again = read_job(small_disk, 0)
    assert again is not None
    pd.testing.assert_frame_equal(again.curves, whole.curves, check_exact=True)


def test_a_disk_too_full_for_the_table_asks_for_space_and_a_resume(
    copied: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "curves.parquet").unlink()
    own = checkpoint_file(copied, 0)
    own.parent.mkdir()
    own.write_bytes(b"of a worker that was killed")

    def unfinished_table() -> bool:
        assert not own.exists(), "checkpoints of finished jobs take no room"
        return any(copied.glob(".curves*"))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_while(unfinished_table))
        said = r"curves\.parquet cannot be written \(No space left on device\)\. Free some space or .*, then resume"
        with pytest.raises(BayeScaleError, match=said):
            run_sweep(PLAN, copied, resume=True)
    assert names(copied) == names(finished) - {"curves.parquet"}
    run_sweep(PLAN, copied, resume=True)
    assert (copied / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


@pytest.mark.parametrize("name", ["plan.json", "groups/00002.parquet"])
def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(
    name: str, copied: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission bits do not bind root, so opening the file is made to fail."""
    opened = io.open

    def refuse(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file) == str(copied / name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(file, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", refuse)
        said = rf"{re.escape(name)} cannot be read \(Permission denied\)\. Correct its permissions, then resume\."
        with pytest.raises(InputError, match=said):
            run_sweep(PLAN, copied, resume=True)
    assert names(copied) == names(finished)
    run_sweep(PLAN, copied, resume=True)
    assert (copied / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_a_folder_that_may_not_be_written_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_arguments: Any, **_options: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = rf"the folder {tmp_path} cannot be written \(Permission denied\)\. Correct its permissions or choose another"
    with pytest.raises(InputError, match=said):
        run_sweep(PLAN, tmp_path)
    with pytest.raises(InputError, match=r"new cannot be made \(Permission denied\)"):
        run_sweep(PLAN, tmp_path / "new")


def test_a_disk_that_is_mounted_read_only(small_disk: Path) -> None:
    (small_disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = r"out cannot be written \(Read-only file system\)\. Correct its permissions or choose another"
    with pytest.raises(InputError, match=said):
        run_sweep(PLAN, small_disk / "out")


def test_an_old_folder_needs_resume_and_its_own_plan(copied: Path) -> None:
    before = names(copied)
    with pytest.raises(InputError, match=r"already holds a sweep\. Continue it with resume \(--resume\) or choose"):
        run_sweep(PLAN, copied)
    with pytest.raises(InputError, match=r"holds a sweep of another plan\. Resume with that plan or choose"):
        run_sweep(make_plan(CONTENT | {"gamma": 0.9}), copied, resume=True)
    plan = json.loads((copied / "plan.json").read_text())
    wrong_jobs = [[[0, 1], [2, 3], [4, 5], [6, 6]], [[0, 1], [2, 3], [4, 5]], 5, [[0.5]], [["0"]]]
    jobs_damaged = [json.dumps(plan | {"groups": numbers}) for numbers in wrong_jobs]
    for damaged in ("{", "[]", "{}", '{"runs": 1, "groups": []}', "[" * 10_000, *jobs_damaged):
        (copied / "plan.json").write_text(damaged)
        with pytest.raises(InputError, match=r"plan\.json is damaged"):
            run_sweep(PLAN, copied, resume=True)
    (copied / "plan.json").unlink()
    with pytest.raises(InputError, match=r"holds files but no plan\.json"):
        run_sweep(PLAN, copied, resume=True)
    assert names(copied) == before - {"plan.json"}


def test_a_folder_that_holds_no_sweep_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for begin in (run_sweep, estimate):
        with pytest.raises(InputError, match=r"holds files but no plan\.json, so no sweep began there\. Choose a new"):
            begin(PLAN, tmp_path)
    assert names(tmp_path) == {"notes.txt"}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be made \(Not a directory\)"):
        run_sweep(PLAN, tmp_path / "file" / "out")
