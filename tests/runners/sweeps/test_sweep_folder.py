"""Test folders that are full, damaged, or hold no sweep."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bayescale.errors import BayeScaleError, InputError
from bayescale.runners import estimate, make_plan, run_sweep
from bayescale.runners.sweeps.folder import job_file, read_job, write_job
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


def test_an_old_folder_needs_resume_and_its_own_plan(copied: Path) -> None:
    before = names(copied)
    with pytest.raises(InputError, match=r"already holds a sweep\. Continue it with resume \(--resume\) or choose"):
        run_sweep(PLAN, copied)
    with pytest.raises(InputError, match=r"holds a sweep of another plan\. Resume with that plan or choose"):
        run_sweep(make_plan(CONTENT | {"gamma": 0.9}), copied, resume=True)
    for damaged in ("{", "[]", "{}"):
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
