"""Test that a folder takes one sweep at a time, and takes the next after a kill."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pandas as pd
import pytest

from bayescale.data.curves import read_curves
from bayescale.errors import InputError
from bayescale.runners import make_plan, run_ensemble, run_sweep
from bayescale.runners.sweeps.folder import open_folder
from bayescale.runners.sweeps.lock import sole_sweep

CONTENT = {
    "env_id": "InvertedPendulum-v5",
    "utd": [1],
    "batch_size": [8],
    "learning_rate": [1e-3],
    "seed": [0],
    "env_steps": 4_000,
    "hidden_width": 8,
    "warmup_steps": 40,
    "evaluation_interval": 40,
    "evaluation_episodes": 1,
}
PLAN = make_plan(CONTENT)
SWEEP = "import sys, json; from bayescale.runners import make_plan, run_sweep; "
SWEEP += "run_sweep(make_plan(json.loads(sys.argv[1])), sys.argv[2], "
SWEEP += "resume=True, workers=1, on_progress=lambda _: print(flush=True))"


def test_a_second_sweep_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen([sys.executable, "-c", SWEEP, json.dumps(CONTENT), str(out)], stdout=subprocess.PIPE)
    assert first.stdout is not None
    with first.stdout:
        for _ in range(2):
            assert first.stdout.readline(), "the first sweep is at work"
        said = (
            rf"a sweep is at work in .*out \(process {first.pid} on .+\)\. Wait for it, end it, or choose a new folder"
        )
        for resume in (False, True):
            with pytest.raises(InputError, match=said):
                run_sweep(PLAN, out, resume=resume)
        first.kill()
        assert first.wait() == -signal.SIGKILL
    table = run_sweep(PLAN, out, resume=True, workers=1)
    undisturbed = read_curves(result.curve for result in run_ensemble(PLAN.runs))
    pd.testing.assert_frame_equal(pd.read_parquet(table).drop(columns="status"), undisturbed, check_exact=True)


def test_sweeps_that_begin_at_the_same_time_do_not_share_a_new_folder(tmp_path: Path) -> None:
    came: list[str] = []
    second_was_refused = Event()

    def begin() -> None:
        try:
            with open_folder(tmp_path / "out", PLAN.runs, resume=True):
                came.append("at work")
                assert second_was_refused.wait(60.0)
        except InputError:
            came.append("refused")
            second_was_refused.set()

    both = [Thread(target=begin) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(came) == ["at work", "refused"]


def test_the_loser_of_a_race_hears_that_another_sweep_is_at_work(tmp_path: Path) -> None:
    other_plan = make_plan(CONTENT | {"gamma": 0.9})
    with open_folder(tmp_path / "other", other_plan.runs, resume=False):
        for resume in (False, True):
            with pytest.raises(InputError, match=r"a sweep is at work in .*other \(process \d+ on "):
                run_sweep(PLAN, tmp_path / "other", resume=resume)
    with pytest.raises(InputError, match="holds a sweep of another plan"):
        run_sweep(PLAN, tmp_path / "other")
    begun = tmp_path / "begun"
    (begun / "groups").mkdir(parents=True)
    (begun / "groups" / "00000.parquet").touch()  # seen by a process that looked for plan.json before it was written
    with sole_sweep(begun), pytest.raises(InputError, match=r"a sweep is at work in .*begun"):
        run_sweep(PLAN, begun)


def test_a_lock_ends_with_its_block_and_locks_one_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with sole_sweep(tmp_path), sole_sweep(tmp_path / "other"):
        pass
    with sole_sweep(tmp_path), pytest.raises(InputError, match="a sweep is at work"), sole_sweep(tmp_path):
        pass
    with pytest.raises(InputError, match=r"nowhere cannot be written \(No such file or directory\)"):
        sole_sweep(tmp_path / "nowhere").__enter__()
