"""Folders of Spinning Up become learning-curve tables.

The files are made by hand in the documented format of its logger, which needs an old TensorFlow and MPI.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from bayescale.errors import InputError
from bayescale.importers.kinds.spinningup import guess_spinningup, log_spinningup, read_spinningup
from bayescale.importers.run_logs import ColumnMapping

CONFIG: dict[str, Any] = {
    "ac_kwargs": {"hidden_sizes": [256, 256]}, "actor_critic": "MLPActorCritic", "batch_size": 100, "exp_name": "sac",
    "env_fn": "<function <lambda> at 0x7f0>", "epochs": 2, "lr": 0.001, "seed": 0, "update_every": 50,
    "logger": {"<spinup.utils.logx.EpochLogger object at 0x7f0>": {"exp_name": "sac", "output_dir": "data/sac_s0"}},
    "logger_kwargs": {"exp_name": "sac", "output_dir": "data/sac_s0"}, "steps_per_epoch": 4000,
}  # fmt: skip
HEADER = "Epoch\tAverageEpRet\tStdEpRet\tAverageTestEpRet\tTotalEnvInteracts\tTime\n"
ROWS = "1\t-9.5\t1.0\t-10.5\t4000\t12.5\n2\t-5.0\t1.0\t-6.25\t8000\t25.0\n"


def write_run(folder: Path, text: str = HEADER + ROWS, **changed: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "progress.txt").write_text(text)
    config = {key: value for key, value in {**CONFIG, **changed}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config, separators=(",", ":\t"), indent=4, sort_keys=True))
    return folder


def mapped(*sources: Path, **constants: Any) -> ColumnMapping:
    guess, _ = guess_spinningup(log_spinningup(*sources))
    return guess.with_answers(ColumnMapping(constants=constants))


def test_runs_become_curves(tmp_path: Path) -> None:
    for seed in (0, 10):
        write_run(tmp_path / f"sac/sac_s{seed}", seed=seed)
    curves = read_spinningup(tmp_path, mapping=mapped(tmp_path, env_id="Hopper-v4"))
    first = curves.iloc[0]
    assert (first["algorithm"], first["env_id"], first["batch_size"]) == ("sac", "Hopper-v4", 100)
    assert (first["utd"], first["learning_rate"]) == (1.0, 1e-3)
    assert curves["seed"].tolist() == [0, 0, 10, 10]
    assert curves["env_steps"].tolist() == [4000, 8000, 4000, 8000]
    assert curves["episode_return"].tolist() == [-10.5, -6.25, -10.5, -6.25]


def test_a_missing_environment_is_a_question(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    with pytest.raises(InputError, match="no key gives env_id"):
        read_spinningup(tmp_path)


def test_forks_state_the_environment_and_the_utd(tmp_path: Path) -> None:
    write_run(tmp_path / "a", env_name="Ant-v4", exp_name="redq_ant", utd_ratio=20, update_every=None)
    first = read_spinningup(tmp_path / "a/progress.txt").iloc[0]
    assert (first["algorithm"], first["env_id"], first["utd"]) == ("redq", "Ant-v4", 20.0)


def test_training_returns_and_two_equal_rates(tmp_path: Path) -> None:
    text = "\n".join("\t".join(line.split("\t")[:3] + line.split("\t")[4:]) for line in (HEADER + ROWS).splitlines())
    write_run(tmp_path / "a", text + "\n", lr=None, pi_lr=3e-4, q_lr=3e-4, exp_name="td3_ddpg", env_name="Ant-v4")
    mapping, said = guess_spinningup(log_spinningup(tmp_path))
    assert mapping.episode_return == "AverageEpRet"
    assert any("return of training" in sentence for sentence in said)
    assert mapping.columns["learning_rate"] == "folder.learning_rate"
    assert "algorithm" not in mapping.columns
    assert mapping.utd is None


def test_another_setting_that_differs_is_refused_as_seeds(tmp_path: Path) -> None:
    for seed in range(4):
        write_run(tmp_path / str(seed), seed=seed, polyak=0.9 + seed % 2 / 100, env_name="Ant-v4")
    with pytest.raises(InputError, match="polyak"):
        read_spinningup(tmp_path)


def test_damaged_logs_are_left_out_with_a_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "good", HEADER + ROWS + "3\t-1", env_name="Ant-v4")
    write_run(tmp_path / "headless", ROWS)
    write_run(tmp_path / "empty", "")
    write_run(tmp_path / "rowless", HEADER)
    write_run(tmp_path / "nul", HEADER + "\0\0\n")
    (write_run(tmp_path / "config") / "config.json").write_text("[1, 2]")
    logs = log_spinningup(tmp_path)
    assert [Path(run.name).name for run in logs.runs] == ["config", "good", "nul"]
    assert len(logs.runs[1].history) == 2
    reasons = {Path(one.name).relative_to(tmp_path).as_posix(): one.reason for one in logs.skipped}
    assert "cut short" in reasons["good/progress.txt"]
    assert "looks like data" in reasons["headless/progress.txt"]
    assert "do not form a table" in reasons["empty/progress.txt"]
    assert "no row" in reasons["rowless/progress.txt"]
    assert "no JSON object" in reasons["config/config.json"]
    (tmp_path / "config/config.json").write_text(json.dumps(CONFIG | {"env_name": "Ant-v4", "seed": 1}))
    with pytest.warns(UserWarning, match="5 files or runs left out or cut short; .*empty/progress.txt: its"):
        curves = read_spinningup(tmp_path, mapping=mapped(tmp_path, env_id="Ant-v4"))
    assert curves["seed"].tolist() == [0, 0, 1, 1]
