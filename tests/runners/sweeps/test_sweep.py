"""Test the files of a finished sweep, and the errors raised before anything is written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayescale.data.curves import read_curves
from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners import make_plan, run_ensemble, run_sweep, train
from bayescale.runners.accounting import PARTS
from bayescale.runners.sweeps.folder import open_folder, read_job, write_job
from bayescale.runners.sweeps.jobs import Failed, Job, Trained, train_job, try_job
from tests.scaffolding.small_sweep import CONTENT, ENSEMBLES, PLAN, names


def test_table_and_manifest_hold_every_run(finished: Path) -> None:
    table = pd.read_parquet(finished / "curves.parquet")
    assert set(table.pop("status")) == {"finished"}
    together = read_curves(result.curve for ensemble in ENSEMBLES for result in run_ensemble(ensemble))
    pd.testing.assert_frame_equal(table, together, check_exact=True)
    alone = read_curves(train(run) for run in PLAN.runs)
    pd.testing.assert_frame_equal(table, alone, rtol=1e-3)


def test_manifest_is_one_flat_record_per_run(finished: Path) -> None:
    lines = (finished / "manifest.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    settings = [field.name for field in PLAN.runs[0].arguments() if field.name != "stop_return"]
    for record, run in zip(records, (run for ensemble in ENSEMBLES for run in ensemble), strict=True):
        assert [record[name] for name in settings] == [getattr(run, name) for name in settings]
        assert record["stop_return"] is None
        assert record["algorithm"] == "SAC"
        assert (record["status"], record["group_size"]) == ("finished", 2)
        assert record["planned_env_steps"] == record["env_steps"] == run.env_steps
        assert record["gradient_updates"] == run.gradient_updates
        parts = [record[f"{part}_seconds"] for part in PARTS]
        assert sum(parts) == pytest.approx(record["wall_clock_seconds"], abs=0.003)
        assert {"python", "torch", "gymnasium", "numpy", "bayescale", "processor", "machine_joules"} <= record.keys()
    flops = {(record["batch_size"], record["matrix_product_flops"] / record["gradient_updates"]) for record in records}
    assert len(flops) == 2, "flops of an update depend on the batch size alone"
    assert [record["group"] for record in records] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pd.read_json(finished / "manifest.jsonl", lines=True).shape == (8, len(records[0]))


def test_folder_holds_the_named_files_and_no_others(finished: Path) -> None:
    jobs = {f"groups/0000{number}.parquet" for number in range(4)}
    assert names(finished) == {"groups", "plan.json", "sweep.lock", "manifest.jsonl", "curves.parquet"} | jobs


def test_diverged_runs_are_kept_with_their_status(tmp_path: Path) -> None:
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


def test_a_job_without_any_evaluation_is_kept(tmp_path: Path) -> None:
    """Runs that diverge at once have no row in the curves, but a record each."""
    whole = train_job(Job(0, ENSEMBLES[0], None, 0.0), lambda _share: None)
    out = tmp_path / "out"
    with open_folder(out, PLAN.runs, resume=False):
        write_job(out, 0, Trained(whole.curves.head(0), whole.records))
    read = read_job(out, 0)
    assert read is not None
    assert read.curves.empty
    assert read.records == tuple({"group": 0} | record for record in whole.records)


def test_a_sweep_without_any_evaluation_says_so(tmp_path: Path) -> None:
    content = {
        "env_id": "tests.scaffolding.probe_environments:ProbeUnseen-v0",
        "utd": [0.5],
        "batch_size": [8],
        "env_steps": 90,
    }
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(BayeScaleError, match=r"every run in .*out diverged before its first evaluation, see mani"):
            run_sweep(make_plan(CONTENT | content), out, resume=True, workers=1)
    assert names(out) == {"groups", "groups/00000.parquet", "plan.json", "sweep.lock", "manifest.jsonl"}
    assert {json.loads(line)["status"] for line in (out / "manifest.jsonl").read_text().splitlines()} == {"diverged"}


def test_a_script_without_the_guard_gets_an_error_that_says_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from bayescale.runners import make_plan, run_sweep\n"
        f"run_sweep(make_plan({CONTENT!r}), {str(tmp_path / 'out')!r}, resume=True, workers=2)\n"
    )
    said = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True).stderr
    assert said.count("Traceback") == 1, "workers print no traceback"
    assert "workers run the script once more" in said.splitlines()[-1]
    assert 'put what it does under `if __name__ == "__main__":`' in said.splitlines()[-1]


def test_workers_that_cannot_start_stop_the_sweep_at_once(tmp_path: Path) -> None:
    """Workers cannot run a script that Python read from its standard input."""
    script = f"""
from bayescale.runners import make_plan, run_sweep
if __name__ == "__main__":
    run_sweep(make_plan({CONTENT!r}), {str(tmp_path / "out")!r}, workers=1)
"""
    said = subprocess.run([sys.executable], input=script, check=False, capture_output=True, text=True).stderr
    assert said.count("FileNotFoundError") == 1, "one worker, though there are four jobs"
    assert "stopped: a worker process died (exit code 1). Finished runs are kept" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "slurm"}, "engine must be one of local, ray; got 'slurm'"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes must be 0 or more; got -1"),
        ({"plan": make_plan(CONTENT | {"env_id": "Pendulum-v9"})}, "'Pendulum-v9' is not a registered Gymnasium task"),
        (
            {"plan": make_plan(CONTENT | {"device": "cuda:99"})},
            r"device 'cuda:99' is not here: torch .* sees \d+ GPUs of",
        ),
        ({"plan": "nowhere.toml"}, r"the plan nowhere\.toml cannot be read"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_written(
    settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments: dict[str, Any] = {"plan": PLAN, "out": out}
    with pytest.raises(InputError, match=said):
        run_sweep(**(arguments | settings))
    assert not out.exists()


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"'torch'; install it with: pip install 'bayescale\[runners\]'"):
        run_sweep(PLAN, tmp_path / "out")


OWN_TASKS = """
import gymnasium
import numpy as np


class Countdown(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.full(1, self.left / 3, np.float32), 1.0, self.left == 0, False, {}


def countdowns(num_envs):
    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    return gymnasium.vector.SyncVectorEnv([Countdown] * num_envs, autoreset_mode=mode)


gymnasium.register("Countdown-v0", entry_point=Countdown)
gymnasium.register("Countdowns-v0", vector_entry_point=countdowns)
"""


def test_tasks_of_a_users_own_module(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_tasks.py").write_text(OWN_TASKS)
    (tmp_path / "plan.toml").write_text(
        'env_id = ["own_tasks:Countdown-v0", "own_tasks:Countdowns-v0"]\nutd = [1]\nbatch_size = [8]\nseed = [0]\n'
        "learning_rate = [1e-3]\nenv_steps = 20\nwarmup_steps = 10\nhidden_width = 8\nevaluation_episodes = 2\n"
    )

    def sweep(*folders: str) -> subprocess.CompletedProcess[str]:
        paths = {"PYTHONPATH": os.pathsep.join((*folders, os.environ.get("PYTHONPATH", "")))}
        command = [sys.executable, "-m", "bayescale", "sweep", "plan.toml", "--out", "out", "--workers", "1"]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False
        )

    lost = sweep()
    assert lost.returncode == 2
    assert lost.stderr.splitlines(keepends=True)[-1] == (
        "error: env_id 'own_tasks:Countdown-v0' names a module that cannot be imported (ModuleNotFoundError: No module "
        "named 'own_tasks'). Correct it, or put its folder on PYTHONPATH.\n"
    )
    done = sweep(str(tmp_path / "own"))
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "out" / "curves.parquet")
    assert table.groupby("env_id")["episode_return"].agg(list).to_dict() == {
        "own_tasks:Countdown-v0": [3.0, 3.0],
        "own_tasks:Countdowns-v0": [3.0, 3.0],
    }


def test_a_gpu_without_room_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfMemoryError(RuntimeError):
        """An exception with the name of torch's own."""

    def too_large(*_arguments: Any) -> None:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("bayescale.runners.sweeps.jobs.train_job", too_large)
    result = try_job(Job(0, PLAN.runs[:2], None, 0.0), lambda _share: None)
    assert isinstance(result, Failed)
    assert result.reason.startswith("the GPU has too little memory for 2 runs of batch size ")
    assert "lower buffer_size, or use fewer workers" in result.reason
