"""Trial folders of Ray Tune and RLlib become learning-curve tables.

Tune's own logger callbacks write result.json, progress.csv and params.json; no cluster runs.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bayescale.errors import InputError
from bayescale.importers.kinds.rllib import guess_rllib, log_rllib, read_rllib
from bayescale.importers.run_logs import ColumnMapping

CONFIG: dict[str, Any] = {
    "env": "CartPole-v1", "lr": 1e-3, "train_batch_size": 32, "training_intensity": 64.0, "seed": 0, "num_learners": 0,
    "model": {"fcnet_hiddens": [256, 256], "vf_share_layers": False},
}  # fmt: skip


def result(iteration: int, *, done: bool = False, since: int | None = None, shift: float = 0.0) -> dict[str, Any]:
    """Return a result with the keys of RLlib's new API stack."""
    return {
        "num_env_steps_sampled_lifetime": 1000.0 * iteration, "done": done, "training_iteration": iteration,
        "iterations_since_restore": since or iteration, "trial_id": "4ee0b_00000", "date": "2026-01-01_00-00-00",
        "env_runners": {"episode_return_mean": 10.0 * iteration + shift, "num_episodes": 3},
        "evaluation": {"env_runners": {"episode_return_mean": 11.0 * iteration + shift}},
        "hist_stats": {"episode_reward": [1.0, 2.0]}, "config": CONFIG,
    }  # fmt: skip


def write_trial(folder: Path, results: list[dict[str, Any]], **changed: Any) -> Path:
    """Write the files that the logger callbacks of Tune write for one trial."""
    from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

    folder.mkdir(parents=True)

    class Trial(SimpleNamespace):
        def __hash__(self) -> int:
            return id(self)

        def init_local_path(self) -> None:
            pass

    trial = Trial(config=CONFIG | changed, local_path=str(folder))
    for callback in (JsonLoggerCallback(), CSVLoggerCallback()):
        callback._restore_from_remote = lambda *_: None
        for one in results:
            callback.log_trial_result(0, trial, one)
        callback.log_trial_end(trial)
    return folder


def write_rows(folder: Path, rows: list[dict[str, Any]], config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(CONFIG if config is None else config))
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_trials_become_curves(tmp_path: Path) -> None:
    three = [result(1), result(2), result(3, done=True)]
    write_trial(tmp_path / "exp/DQN_CartPole-v1_4ee0b_00000_0_2026", three)
    write_trial(tmp_path / "exp/DQN_CartPole-v1_4ee0b_00001_1_2026", three[:2], seed=1)
    (tmp_path / "exp/DQN_CartPole-v1_4ee0b_00001_1_2026/error.txt").write_text("Traceback")
    write_trial(tmp_path / "exp/DQN_CartPole-v1_4ee0b_00002_2_2026", three[:1], seed=2)
    curves = read_rllib(tmp_path)
    first = curves.iloc[0]
    assert (first["algorithm"], first["env_id"], first["batch_size"]) == ("DQN", "CartPole-v1", 32)
    assert (first["utd"], first["learning_rate"]) == (2.0, 1e-3)
    assert curves["seed"].tolist() == [0, 0, 0, 1, 1, 2]
    assert curves["env_steps"].tolist() == [1000, 2000, 3000, 1000, 2000, 1000]
    assert curves["episode_return"].tolist() == [11.0, 22.0, 33.0, 11.0, 22.0, 11.0]
    assert curves["status"].tolist() == ["finished"] * 3 + ["crashed"] * 2 + ["running"]


def test_progress_csv_says_the_same_as_result_json(tmp_path: Path) -> None:
    trial = write_trial(tmp_path / "DQN_a", [result(1), result(2)])
    curves = read_rllib(trial)
    (trial / "result.json").unlink()
    assert read_rllib(tmp_path / "*/progress.csv").equals(curves)


def test_a_constant_replaces_a_key_of_the_same_name(tmp_path: Path) -> None:
    write_trial(tmp_path / "DQN_a", [result(1)], seed=3)
    guess, _ = guess_rllib(log_rllib(tmp_path))
    curves = read_rllib(tmp_path, mapping=guess.with_answers(ColumnMapping(constants={"seed": 7, "utd": 1})))
    assert curves[["seed", "utd"]].to_numpy().tolist() == [[7.0, 1.0]]


def test_training_returns_are_taken_and_said_where_only_some_trials_evaluate(tmp_path: Path) -> None:
    write_trial(tmp_path / "DQN_a", [result(1)])
    without = {key: value for key, value in result(1).items() if key != "evaluation"}
    write_trial(tmp_path / "DQN_b", [without], seed=1)
    mapping, said = guess_rllib(log_rllib(tmp_path))
    assert mapping.episode_return == "env_runners/episode_return_mean"
    assert any("Only some runs have evaluations" in sentence for sentence in said)


def test_old_keys_and_missing_returns(tmp_path: Path) -> None:
    rows = [{"timesteps_total": 100 * i, "episode_reward_mean": i or float("nan")} for i in range(4)]
    write_rows(tmp_path / "SAC_0", rows)
    with pytest.warns(UserWarning, match="1 row without an episode_return"):
        curves = read_rllib(tmp_path / "SAC_0/result.json")
    assert curves["env_steps"].tolist() == [100, 200, 300]
    assert set(curves["status"]) == {"running"}


def test_a_trial_without_a_return_does_not_change_the_guesses(tmp_path: Path) -> None:
    write_trial(tmp_path / "DQN_a", [result(1), result(2)])
    write_trial(tmp_path / "DQN_b", [{"training_iteration": 1, "done": False}], seed=1)
    with pytest.warns(UserWarning, match="1 file or run left out or cut short; .*DQN_b: no row has both"):
        assert read_rllib(tmp_path)["seed"].tolist() == [0, 0]


def test_a_restored_trial_keeps_its_later_rows(tmp_path: Path) -> None:
    restored = [result(2, since=1, shift=0.5), result(3, since=2, shift=0.5, done=True)]
    write_trial(tmp_path / "DQN_a", [result(1), result(2), result(3), *restored])
    logs = log_rllib(tmp_path)
    assert logs.runs[0].resumed
    assert read_rllib(tmp_path)["episode_return"].tolist() == [11.0, 22.5, 33.5]


def test_a_trial_that_starts_over_is_refused(tmp_path: Path) -> None:
    write_trial(tmp_path / "DQN_a", [result(i) for i in (1, 2, 3, 1, 2, 3)])
    assert not log_rllib(tmp_path).runs[0].resumed
    with pytest.raises(InputError, match="resumed"):
        read_rllib(tmp_path)


@pytest.mark.parametrize(
    ("changed", "utd"),
    [
        ({"training_intensity": 8.0}, 0.25),
        ({"training_intensity": None, "rollout_fragment_length": 4, "num_env_runners": 2}, 0.125),
        ({"training_intensity": None, "rollout_fragment_length": 1, "num_envs_per_env_runner": 2}, 0.5),
        ({"training_intensity": None, "rollout_fragment_length": "auto"}, 1.0),
        ({"training_intensity": None, "rollout_fragment_length": "auto", "n_step": 3}, 1 / 3),
        (
            {"training_intensity": None, "rollout_fragment_length": "auto", "n_step": [1, 4], "num_env_runners": 2},
            0.125,
        ),
        ({"training_intensity": None, "rollout_fragment_length": "auto", "n_step": "x"}, None),
        ({"training_intensity": None}, None),
        ({"train_batch_size_per_learner": 16, "num_learners": 2, "training_intensity": 64.0}, 2.0),
        ({"_train_batch_size_per_learner": 16, "train_batch_size": 256, "training_intensity": 64.0}, 4.0),
    ],
)
def test_utd(tmp_path: Path, changed: dict[str, Any], utd: float | None) -> None:
    write_rows(tmp_path / "SAC_0", [result(1)], CONFIG | changed)
    assert log_rllib(tmp_path).runs[0].config.get("trial.utd") == utd


def test_an_on_policy_trial_has_no_utd(tmp_path: Path) -> None:
    write_rows(tmp_path / "PPO_0", [result(1)])
    assert "trial.utd" not in log_rllib(tmp_path).runs[0].config


def test_rates_of_actor_and_critic_are_taken_only_if_equal(tmp_path: Path) -> None:
    write_rows(tmp_path / "SAC_0", [result(1)], CONFIG | {"lr": None, "actor_lr": 3e-4, "critic_lr": 3e-4})
    assert read_rllib(tmp_path)["learning_rate"].tolist() == [3e-4]
    write_rows(tmp_path / "SAC_1", [result(1)], CONFIG | {"lr": None, "actor_lr": 3e-5, "critic_lr": 3e-4})
    with pytest.raises(InputError, match=r"learning_rate.*critic_lr"):
        read_rllib(tmp_path)


def test_another_setting_that_differs_is_refused_as_seeds(tmp_path: Path) -> None:
    for number in range(4):
        write_rows(tmp_path / f"SAC_{number}", [result(1), result(2)], CONFIG | {"seed": number, "tau": number % 2 + 1})
    with pytest.raises(InputError, match="tau"):
        read_rllib(tmp_path)
    curves = read_rllib(tmp_path, mapping=ColumnMapping(columns={"tau": ""}))
    assert len(curves) == 8
    assert "tau" not in curves


def test_damaged_logs_are_left_out_with_a_reason(tmp_path: Path) -> None:
    good = write_trial(tmp_path / "SAC_good", [result(1), result(2)])
    with (good / "result.json").open("a") as file:
        file.write('{"num_env_steps_sampled_lifetime": 30')
    (write_rows(tmp_path / "SAC_json", []) / "result.json").write_text("[1]\n{\n")
    (write_rows(tmp_path / "SAC_deep", []) / "result.json").write_text("[" * 100_000 + "\n")
    (write_rows(tmp_path / "SAC_nested", []) / "result.json").write_text('{"a":' * 100 + "1" + "}" * 100 + "\n")
    headless = write_rows(tmp_path / "SAC_headless", [])
    (headless / "result.json").unlink()
    (headless / "progress.csv").write_text("1000,2.5,SAC,1\n2000,3.5,SAC,2\n")
    (write_rows(tmp_path / "SAC_bytes", []) / "result.json").write_bytes(b"\xff\x00\xfe")
    os.mkfifo(write_rows(tmp_path / "SAC_fifo", []) / "progress.csv")
    (tmp_path / "SAC_loop").symlink_to(tmp_path)
    (tmp_path / "result.json").mkdir()
    logs = log_rllib(tmp_path)
    assert [Path(run.name).name for run in logs.runs] == ["SAC_good"]
    assert len(logs.runs[0].history) == 2
    reasons = {Path(one.name).relative_to(tmp_path).as_posix(): one.reason for one in logs.skipped}
    assert "cut short" in reasons["SAC_good/result.json"]
    assert "line 1 is no JSON object" in reasons["SAC_json/result.json"]
    assert "line 1 is no JSON object" in reasons["SAC_deep/result.json"]
    assert "deeper than 50" in reasons["SAC_nested/result.json"]
    assert "looks like data" in reasons["SAC_headless/progress.csv"]
    assert "UTF-8" in reasons["SAC_bytes/result.json"]
    assert "no plain file" in reasons["SAC_fifo/progress.csv"]
    assert "no plain file" in reasons["result.json"]


def test_a_source_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist\. Give"):
        read_rllib(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no run was found"):
        read_rllib(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="no log of this kind"):
        read_rllib(tmp_path / "a.txt")
