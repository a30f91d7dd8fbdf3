import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayescale.curves import read_curves
from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners import make_plan, run_ensemble, run_sweep, train
from bayescale.runners.ensembles import make_ensembles
from bayescale.runners.groups import Trained, train_group
from bayescale.runners.progress import Progress, Tally
from bayescale.runners.sweep_folder import checkpoint_file, group_file, open_folder, read_group, write_group

CONTENT = {
    "env_id": "Pendulum-v1",
    "utd": [0.5, 2],
    "batch_size": [8, 16],
    "learning_rate": [1e-3],
    "seed": [0, 1],
    "env_steps": {"0.5": 120, "2": 90},
    "hidden_width": 8,
    "warmup_steps": 40,
    "evaluation_interval": 50,
    "evaluation_episodes": 1,
}
PLAN = make_plan(CONTENT)
GROUPS = make_ensembles(PLAN.runs)  # four, of both seeds each


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that nothing disturbed."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    heard: list[Progress] = []
    table = run_sweep(PLAN, out, workers=2, on_progress=heard.append)
    assert table == out / "curves.parquet"
    assert sorted({progress.runs_done for progress in heard}) == [0, 2, 4, 6, 8]
    shares = [progress.share for progress in heard]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert len(set(shares)) > 5, "groups that are under way count too"
    assert (heard[0].seconds_left, heard[-1].seconds_left) == (None, pytest.approx(0.0))
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A folder of one's own to damage."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def kept(out: Path) -> int:
    """Groups that have a file."""
    return sum(group_file(out, number).exists() for number in range(len(GROUPS)))


def test_table_and_manifest_hold_every_run(finished: Path) -> None:
    table = pd.read_parquet(finished / "curves.parquet")
    assert set(table.pop("status")) == {"finished"}
    together = read_curves(result.curve for group in GROUPS for result in run_ensemble(group))
    pd.testing.assert_frame_equal(table, together, check_exact=True)
    alone = read_curves(train(run) for run in PLAN.runs)
    pd.testing.assert_frame_equal(table, alone, rtol=1e-3)


def test_manifest_is_one_flat_record_per_run(finished: Path) -> None:
    lines = (finished / "manifest.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    settings = [field.name for field in dataclasses.fields(PLAN.runs[0]) if field.name != "stop_return"]
    for record, run in zip(records, (run for group in GROUPS for run in group), strict=True):
        assert [record[name] for name in settings] == [getattr(run, name) for name in settings]
        assert record["stop_return"] is None
        assert record["algorithm"] == "SAC"
        assert (record["status"], record["group_size"]) == ("finished", 2)
        assert record["planned_env_steps"] == record["env_steps"] == run.env_steps
        assert record["gradient_updates"] == run.gradient_updates
        parts = [record[f"{part}_seconds"] for part in ("environment", "learning", "evaluation")]
        assert sum(parts) == pytest.approx(record["wall_clock_seconds"], abs=0.003)
        assert {"python", "torch", "gymnasium", "numpy", "bayescale", "processor", "machine_joules"} <= record.keys()
    flops = {(record["batch_size"], record["flops"] / record["gradient_updates"]) for record in records}
    assert len(flops) == 2, "flops of an update depend on the batch size alone"
    assert [record["group"] for record in records] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pd.read_json(finished / "manifest.jsonl", lines=True).shape == (8, len(records[0]))


def test_folder_holds_the_named_files_and_no_others(finished: Path) -> None:
    groups = {f"groups/0000{number}.parquet" for number in range(4)}
    assert names(finished) == {"groups", "plan.json", "sweep.lock", "manifest.jsonl", "curves.parquet"} | groups


def test_diverged_runs_are_kept_as_such(tmp_path: Path) -> None:
    plan = make_plan(CONTENT | {"utd": [2], "env_steps": 90, "batch_size": [8], "learning_rate": [1e-3, 1e30]})
    table = pd.read_parquet(run_sweep(plan, tmp_path / "out", workers=1))
    last = table.groupby(["learning_rate", "seed"]).tail(1).set_index("learning_rate")
    assert last.loc[1e-3, ["status", "env_steps"]].to_numpy().tolist() == [["finished", 90]] * 2
    assert last.loc[1e30, ["status", "env_steps"]].to_numpy().tolist() == [["diverged", 0]] * 2
    records = pd.read_json(tmp_path / "out" / "manifest.jsonl", lines=True)
    diverged = records[records["status"] == "diverged"]
    assert (diverged["learning_rate"] == 1e30).all()
    assert diverged["env_steps"].between(40, 60).all()
    assert (diverged["gradient_updates"] < 40).all()


def test_a_group_without_any_evaluation_is_kept(tmp_path: Path) -> None:
    """Its runs diverged at once: they have no row, but a record each."""
    whole = train_group(GROUPS[0], lambda _share: None)
    out = tmp_path / "out"
    with open_folder(out, PLAN.runs, resume=False):
        write_group(out, 0, Trained(whole.curves.head(0), whole.records))
    read = read_group(out, 0)
    assert read is not None
    assert read.curves.empty
    assert read.records == tuple({"group": 0} | record for record in whole.records)


def stop_by_interrupt() -> None:
    raise KeyboardInterrupt


def stop_by_killing_a_worker() -> None:
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)


def sweep_in_a_process(content: dict[str, Any], out: Path) -> subprocess.Popen[bytes]:
    """With a checkpoint at every evaluation."""
    code = "import sys, json; from bayescale.runners import make_plan, run_sweep; "
    code += "run_sweep(make_plan(json.loads(sys.argv[1])), sys.argv[2], True, 1, checkpoint_minutes=1e-9)"
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(content), str(out)])


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_stopped_three_times_and_resumed_equals_undisturbed(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stops = [
        (stop_by_interrupt, 130, "it was interrupted"),
        (stop_by_killing_a_worker, 1, r"a worker process died \(signal 9, SIGKILL; too little memory"),
    ]
    for count, (stop, exit_code, said) in enumerate(stops, start=1):

        def stop_at_count(progress: Progress, count: int = count, stop: Any = stop) -> None:
            if progress.runs_done == 2 * count:
                stop()

        with pytest.raises(BayeScaleError, match=rf"stopped: {said}.*continue with resume \(--resume\)") as raised:
            run_sweep(PLAN, out, resume=True, workers=1, on_progress=stop_at_count)
        assert raised.value.exit_code == exit_code
        assert kept(out) == count
        assert not multiprocessing.active_children()
        assert not any(name.startswith("groups/.") or "curves" in name for name in names(out))

    process = sweep_in_a_process(CONTENT, out)
    wait_until(lambda: kept(out) >= 3 or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    half_written = out / "groups" / ".00003.parquet.0123456789ab"
    half_written.write_bytes(b"PAR1")
    keep = out / "groups" / ".keep"
    keep.touch()

    run_sweep(PLAN, out, resume=True, workers=2)
    assert keep.exists()
    keep.unlink()
    assert names(out) == names(finished)
    assert (out / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_a_long_group_that_was_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    content = CONTENT | {"utd": [1], "batch_size": [8], "env_steps": 4_000, "evaluation_interval": 20}
    content["env_id"] = "InvertedPendulum-v5"
    plan, out = make_plan(content), tmp_path / "out"
    process = sweep_in_a_process(content, out)
    wait_until(lambda: checkpoint_file(out, 0).exists() or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    shares: list[float] = []
    table = run_sweep(plan, out, resume=True, on_progress=lambda progress: shares.append(progress.share))
    assert shares[1] > 20 / 4_000, "the first evaluation was not repeated"
    undisturbed = read_curves(result.curve for result in run_ensemble(plan.runs))
    pd.testing.assert_frame_equal(pd.read_parquet(table).drop(columns="status"), undisturbed, check_exact=True)
    files = {"groups/00000.parquet", "plan.json", "sweep.lock", "manifest.jsonl", "curves.parquet"}
    assert names(out) == {"groups"} | files


def test_resuming_a_finished_sweep_runs_nothing(copied: Path) -> None:
    before = (copied / "curves.parquet").read_bytes()
    (copied / "curves.parquet").unlink()
    heard: list[Progress] = []
    run_sweep(PLAN, copied, resume=True, on_progress=heard.append)
    assert heard == []
    assert (copied / "curves.parquet").read_bytes() == before


def test_resuming_keeps_the_groups_of_the_folder(finished: Path, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group_file(copied, 1).unlink()
    monkeypatch.setattr("bayescale.runners.ensembles.MOST_MEMBERS", 1)
    assert len(make_ensembles(PLAN.runs)) == 8
    run_sweep(PLAN, copied, resume=True)
    assert (copied / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_a_changed_file_is_refused_and_repeated_once_deleted(copied: Path, finished: Path) -> None:
    path = group_file(copied, 2)
    original = path.read_bytes()
    changed = pd.read_parquet(path).assign(episode_return=0.0)
    flipped = bytearray(original)
    flipped[len(b"PAR1") + 40] ^= 1  # in the first page
    for damage in (
        lambda: changed.to_parquet(path),
        lambda: path.write_bytes(original[:100]),
        lambda: path.write_bytes(flipped),
    ):
        damage()
        with pytest.raises(InputError, match=rf"{path.name} is not as the sweep wrote it\. Delete it and resume"):
            run_sweep(PLAN, copied, resume=True)
    path.unlink()
    run_sweep(PLAN, copied, resume=True)
    assert (copied / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


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
    """A disk of 128 KiB."""
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
    whole = read_group(copied, 0)
    assert whole is not None
    group_file(copied, 0).unlink()
    before = names(copied)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BayeScaleError, match="No space left on device"):
        write_group(copied, 0, whole)
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "slurm"}, "engine must be one of local, ray; got 'slurm'"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes must be 0 or more; got -1"),
        ({"plan": make_plan(CONTENT | {"env_id": "Pendulum-v9"})}, "'Pendulum-v9' is not a registered Gymnasium task"),
        ({"plan": "nowhere.toml"}, r"the plan nowhere\.toml cannot be read"),
    ],
)
def test_refused_before_anything_is_written(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments: dict[str, Any] = {"plan": PLAN, "out": out}
    with pytest.raises(InputError, match=said):
        run_sweep(**(arguments | settings))
    assert not out.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be made \(Not a directory\)"):
        run_sweep(PLAN, tmp_path / "file" / "out")


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"'torch'; install it with: pip install 'bayescale\[runners\]'"):
        run_sweep(PLAN, tmp_path / "out")


def test_time_left_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("bayescale.runners.progress.work", lambda group: 10 * len(group))
    tally = Tally([GROUPS[0], GROUPS[1], GROUPS[2][:1]], finished={0})
    assert tally.now() == Progress(2, 5, 0.4, 0.0, None)
    clock[0] = 130.0
    tally.advance(1, 0.5)
    assert tally.now() == Progress(2, 5, 0.6, 30.0, 60.0)  # a fifth of all in 30 s, two fifths to go
    tally.finish(1)
    tally.finish(2)
    assert tally.now() == Progress(5, 5, 1.0, 30.0, 0.0)
