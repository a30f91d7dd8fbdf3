"""Test that a sweep that was stopped and resumed gives the results of one that was not."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bayescale.data.curves import read_curves
from bayescale.errors import BayeScaleError, InputError
from bayescale.runners import make_plan, run_ensemble, run_sweep
from bayescale.runners.sweeps.folder import checkpoint_file, job_file
from bayescale.runners.sweeps.progress import Progress
from bayescale.runners.sweeps.sweep import SweepInterrupted
from bayescale.runners.training.ensembles import make_ensembles
from tests.scaffolding.small_sweep import CONTENT, PLAN, kept, names

LONG = CONTENT | {
    "env_id": "InvertedPendulum-v5", "utd": [1], "batch_size": [8], "env_steps": 4_000, "evaluation_interval": 20
}  # fmt: skip


def sweep_in_a_process(content: dict[str, Any], out: Path) -> subprocess.Popen[bytes]:
    """Start a sweep in a new process, with a checkpoint at every evaluation."""
    code = "import sys, json; from bayescale.runners import make_plan, run_sweep; "
    code += "run_sweep(make_plan(json.loads(sys.argv[1])), sys.argv[2], "
    code += "resume=True, workers=1, checkpoint_minutes=1e-9)"
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(content), str(out)])


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_stopped_twice_and_resumed_equals_undisturbed(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def interrupt(progress: Progress) -> None:
        if progress.runs_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(
        BayeScaleError, match=r"stopped: it was interrupted.*continue with resume \(--resume\)"
    ) as raised:
        run_sweep(PLAN, out, resume=True, workers=1, on_progress=interrupt)
    assert raised.value.exit_code == 130
    assert kept(out) == 1
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


def test_a_long_job_that_was_killed_continues_from_its_checkpoint(tmp_path: Path) -> None:
    plan, out = make_plan(LONG), tmp_path / "out"
    process = sweep_in_a_process(LONG, out)
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


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("Failing", r"a run failed with ValueError: the simulator is down"),
        ("Killed", r"a worker process died \(signal 9, SIGKILL; too little memory is a usual cause\)"),
    ],
)
def test_runs_that_fail_leave_the_others_alone_and_are_repeated(
    fate: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [f"tests.scaffolding.probe_environments:Probe{name}-v0" for name in (fate, "ConstantReward")]
    plan = make_plan(CONTENT | {"env_id": tasks, "utd": [0.5], "batch_size": [8], "env_steps": 60})
    out, ensembles = tmp_path / "out", make_ensembles(plan.runs)
    monkeypatch.setenv("PROBE_FAILS", "yes")
    said = (
        rf"1 of 2 jobs in .*out failed: tests\.scaffolding\.probe_environments:Probe{fate}-v0 at utd 0\.5\. The first "
    )
    said += rf"error: {reason}\. Results of the other jobs are kept; resume \(--resume\) repeats"
    for _ in range(2):
        with pytest.raises(BayeScaleError, match=said) as raised:
            run_sweep(plan, out, resume=True, workers=1)
        assert raised.value.exit_code == 1
        assert not job_file(out, 0).exists()
        assert job_file(out, 1).exists()
    pattern = re.search(
        r"If they fail again, fit and read_curves can take the others from (\S+parquet)\.", str(raised.value)
    )
    assert pattern is not None
    assert set(read_curves(pattern[1])["env_id"]) == {tasks[1]}
    monkeypatch.delenv("PROBE_FAILS")
    table = run_sweep(plan, out, resume=True, workers=1)
    undisturbed = read_curves(result.curve for ensemble in ensembles for result in run_ensemble(ensemble))
    pd.testing.assert_frame_equal(pd.read_parquet(table).drop(columns="status"), undisturbed, check_exact=True)


def test_no_results_are_offered_if_every_job_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = "tests.scaffolding.probe_environments:ProbeFailing-v0"
    plan = make_plan(CONTENT | {"env_id": task, "utd": [0.5], "batch_size": [8], "env_steps": 60})
    monkeypatch.setenv("PROBE_FAILS", "yes")
    with pytest.raises(BayeScaleError, match=r"1 of 1 job in .*repeats only the failed ones\.$"):
        run_sweep(plan, tmp_path / "out", workers=1)


def test_an_interrupt_leaves_a_last_checkpoint(tmp_path: Path) -> None:
    plan, out = make_plan(LONG), tmp_path / "out"

    def interrupt(progress: Progress) -> None:
        if progress.share > 0:
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted, match=r"out stopped: it was interrupted.*continue with resume"):
        run_sweep(plan, out, workers=1, on_progress=interrupt, checkpoint_minutes=1e6)
    assert not multiprocessing.active_children()
    assert names(out) == {"plan.json", "sweep.lock", "groups", "checkpoints", "checkpoints/00000.pt"}
    saved = torch.load(checkpoint_file(out, 0), weights_only=True)
    assert len(saved["actions"]) >= 20, "at least the env steps before the interrupt"
    shares: list[float] = []
    table = run_sweep(plan, out, resume=True, on_progress=lambda progress: shares.append(progress.share))
    assert shares[1] > 20 / 4_000, "the first evaluation was not repeated"
    undisturbed = read_curves(result.curve for result in run_ensemble(plan.runs))
    pd.testing.assert_frame_equal(pd.read_parquet(table).drop(columns="status"), undisturbed, check_exact=True)


def test_workers_that_do_not_end_in_time_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayescale.runners.sweeps.local_engine.SECONDS_TO_END", 0.0)

    def interrupt(progress: Progress) -> None:
        if progress.share > 0:
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted):
        run_sweep(make_plan(LONG), tmp_path / "out", workers=1, on_progress=interrupt)
    assert not multiprocessing.active_children()


def test_sigterm_is_an_interrupt_unless_the_caller_handles_it(tmp_path: Path) -> None:
    def terminate(_progress: Progress) -> None:
        signal.raise_signal(signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(SweepInterrupted, match=r"stopped: it was interrupted.*continue with resume \(--resume\)"):
        run_sweep(PLAN, tmp_path / "out", workers=1, on_progress=terminate)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:
        run_sweep(PLAN, tmp_path / "out", resume=True, workers=1, on_progress=terminate)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert set(heard) == {signal.SIGTERM}


@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "SIGTERM of Kubernetes", "SIGTERM of Slurm to all processes"],
)
def test_the_command_answers_a_signal_by_a_checkpoint_and_one_line(
    number: signal.Signals, to_group: bool, tmp_path: Path
) -> None:
    never_ends = LONG | {"env_steps": 400_000}
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in never_ends.items())
    (tmp_path / "plan.toml").write_text("".join(lines))
    command = [sys.executable, "-m", "bayescale", "--quiet", "sweep", "plan.toml", "--out", "out", "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--checkpoint-minutes", "1e-9"],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = checkpoint_file(tmp_path / "out", 0)
    wait_until(lambda: checkpoint.exists() or process.poll() is not None)
    (os.killpg if to_group else os.kill)(process.pid, number)
    _, said = process.communicate()
    assert process.returncode == 130
    expected = (
        "error: the sweep in out stopped: it was interrupted. Finished runs are kept; continue with resume (--resume)."
    )
    assert said.splitlines() == [expected]
    assert checkpoint.exists()
    assert not list((tmp_path / "out").glob("*/.*")), "no unfinished file"


def test_resuming_a_finished_sweep_runs_nothing(copied: Path) -> None:
    before = (copied / "curves.parquet").read_bytes()
    (copied / "curves.parquet").unlink()
    heard: list[Progress] = []
    run_sweep(PLAN, copied, resume=True, on_progress=heard.append)
    assert heard == []
    assert (copied / "curves.parquet").read_bytes() == before


def test_resuming_keeps_the_ensembles_of_the_folder(
    finished: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_file(copied, 1).unlink()
    monkeypatch.setattr("bayescale.runners.training.ensembles.MOST_MEMBERS", 1)
    assert len(make_ensembles(PLAN.runs)) == 8
    run_sweep(PLAN, copied, resume=True)
    assert (copied / "curves.parquet").read_bytes() == (finished / "curves.parquet").read_bytes()


def test_a_changed_file_is_refused_and_repeated_once_deleted(copied: Path, finished: Path) -> None:
    path = job_file(copied, 2)
    original = path.read_bytes()
    changed = pd.read_parquet(path).assign(episode_return=0.0)
    flipped = bytearray(original)
    flipped[len(b"PAR1") + 40] ^= 1  # a byte in the first page
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
