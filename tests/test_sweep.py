import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayescale.curves import read_curves
from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners import make_plan, run_ensemble, run_sweep, train
from bayescale.runners.ensembles import make_ensembles
from bayescale.runners.run_files import run_name, write_run

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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that nothing disturbed."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    heard: list[tuple[int, int]] = []
    table = run_sweep(PLAN, out, workers=2, on_progress=lambda done, total, _seconds: heard.append((done, total)))
    assert table == out / "curves.parquet"
    assert heard == [(done, 8) for done in (0, 2, 4, 6, 8)]  # four ensembles of both seeds
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A folder of one's own to damage."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_table_and_manifest_hold_every_run(finished: Path) -> None:
    table = pd.read_parquet(finished / "curves.parquet")
    together = read_curves(result.curve for ensemble in make_ensembles(PLAN.runs) for result in run_ensemble(ensemble))
    pd.testing.assert_frame_equal(table, together, check_exact=True)
    alone = read_curves(train(run) for run in PLAN.runs)
    pd.testing.assert_frame_equal(table, alone, rtol=1e-3)
    records = [json.loads(line) for line in (finished / "manifest.jsonl").read_text().splitlines()]
    assert [record["run"] for record in records] == [run_name(run) for run in PLAN.runs]
    assert all(record["status"] == "finished" and record["wall_clock_seconds"] > 0 for record in records)
    assert [record["ensemble_size"] for record in records] == [2] * 8
    assert [record["gradient_updates"] for record in records] == [40] * 4 + [100] * 4
    assert {"python", "torch", "gymnasium", "numpy", "bayescale", "processor"} <= records[0].keys()


def test_folder_holds_the_named_files_and_no_others(finished: Path) -> None:
    runs = {f"runs/{run_name(run)}{ending}" for run in PLAN.runs for ending in (".json", ".parquet")}
    assert names(finished) == {"runs", "plan.json", "manifest.jsonl", "curves.parquet"} | runs


def stop_by_interrupt() -> None:
    raise KeyboardInterrupt


def stop_by_killing_a_worker() -> None:
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)


def sweep_in_a_process(out: Path) -> subprocess.Popen[bytes]:
    code = "import sys, json; from bayescale.runners import make_plan, run_sweep; "
    code += "run_sweep(make_plan(json.loads(sys.argv[1])), sys.argv[2], resume=True, workers=1)"
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(CONTENT), str(out)])


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_stopped_three_times_and_resumed_equals_undisturbed(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def curves() -> list[Path]:
        return list((out / "runs").glob("gym*.parquet"))

    stops = [
        (stop_by_interrupt, 130, "it was interrupted"),
        (stop_by_killing_a_worker, 1, r"a worker process died \(signal 9, SIGKILL; too little memory"),
    ]
    for count, (stop, exit_code, said) in enumerate(stops, start=1):

        def stop_at_count(done: int, _total: int, _seconds: float, count: int = count, stop: Any = stop) -> None:
            if done == 2 * count:
                stop()

        with pytest.raises(BayeScaleError, match=rf"stopped: {said}.*continue with resume \(--resume\)") as raised:
            run_sweep(PLAN, out, resume=True, workers=1, on_progress=stop_at_count)
        assert raised.value.exit_code == exit_code
        assert len(curves()) == 2 * count
        assert not multiprocessing.active_children()
        assert not any(name.startswith("runs/.") or "curves" in name for name in names(out))

    process = sweep_in_a_process(out)
    wait_until(lambda: len(curves()) >= 5 or process.poll() is not None)  # perhaps amid the files of an ensemble
    process.kill()
    assert process.wait() == -signal.SIGKILL
    half_written = out / "runs" / f".{curves()[0].name}.0123456789ab"
    half_written.write_bytes(b"PAR1")
    keep = out / "runs" / ".keep"
    keep.touch()

    run_sweep(PLAN, out, resume=True, workers=2)
    assert keep.exists()
    keep.unlink()
    assert names(out) == names(finished)
    assert (out / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_resuming_a_finished_sweep_runs_nothing(copied: Path) -> None:
    before = (copied / "curves.parquet").read_bytes()
    (copied / "curves.parquet").unlink()
    heard: list[int] = []
    run_sweep(PLAN, copied, resume=True, on_progress=lambda *state: heard.append(state[0]))
    assert heard == []
    assert (copied / "curves.parquet").read_bytes() == before


def test_a_changed_run_is_refused_and_repeated_once_deleted(copied: Path, finished: Path) -> None:
    path = copied / "runs" / f"{run_name(PLAN.runs[2])}.parquet"
    original = path.read_bytes()
    changed = pd.read_parquet(path).assign(episode_return=0.0)
    for damage in (lambda: changed.to_parquet(path), lambda: path.write_bytes(original[:100])):
        damage()
        with pytest.raises(InputError, match=rf"{path.name} is not as the sweep wrote it\. Delete it and resume"):
            run_sweep(PLAN, copied, resume=True)
    path.unlink()
    run_sweep(PLAN, copied, resume=True)
    assert path.read_bytes() == original
    assert (copied / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_a_worker_that_cannot_write_stops_the_sweep(copied: Path) -> None:
    record = copied / "runs" / f"{run_name(PLAN.runs[0])}.json"
    record.with_suffix(".parquet").unlink()
    record.unlink()
    record.mkdir()
    with pytest.raises(BayeScaleError, match=rf"stopped: .*{record.name} cannot be written \(Is a directory\)"):
        run_sweep(PLAN, copied, resume=True)
    assert not any(name.startswith("runs/.") for name in names(copied))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "runs").mkdir()
    curve = train(PLAN.runs[3])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BayeScaleError, match="No space left on device"):
        write_run(tmp_path, PLAN.runs[3], curve, {})
    assert names(tmp_path) == {"runs"}


def test_an_old_folder_needs_resume_and_its_own_plan(copied: Path) -> None:
    before = names(copied)
    with pytest.raises(InputError, match=r"already holds a sweep\. Continue it with resume \(--resume\) or choose"):
        run_sweep(PLAN, copied)
    with pytest.raises(InputError, match=r"holds a sweep of another plan\. Resume with that plan or choose"):
        run_sweep(make_plan(CONTENT | {"gamma": 0.9}), copied, resume=True)
    (copied / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json is damaged"):
        run_sweep(PLAN, copied, resume=True)
    (copied / "plan.json").unlink()
    with pytest.raises(InputError, match=r"holds files but no plan\.json"):
        run_sweep(PLAN, copied, resume=True)
    assert names(copied) == before - {"plan.json"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "ray"}, "engine must be one of local; got 'ray'"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
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
