"""Folders of event files become learning-curve tables by one command; torch's SummaryWriter makes the files."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch.utils.tensorboard import SummaryWriter

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.importers import read_cleanrl, read_tensorboard
from bayescale.importers.kinds.cleanrl import guess_cleanrl, log_cleanrl
from bayescale.importers.kinds.tensorboard import guess_tensorboard, log_tensorboard
from bayescale.importers.run_logs import ColumnMapping
from tests.scaffolding.event_files import constants, write_series

HPARAMS = {"algo": "SAC", "env": "Ant-v4", "utd": 2, "batch_size": 256, "lr": 3e-4, "seed": 1, "layer_norm": True}
ARGUMENTS = {
    "exp_name": "sac_continuous_action", "seed": 1, "torch_deterministic": True, "env_id": "Hopper-v4",
    "batch_size": 256, "policy_lr": 3e-4, "q_lr": 3e-4, "tau": 0.005, "autotune": None,
}  # fmt: skip


def write_cleanrl(runs: Path, **changed: Any) -> Path:
    """Write a run as CleanRL's scripts do: a table of arguments, losses, and single episodes of training."""
    arguments = {**ARGUMENTS, **changed}
    folder = runs / f"{arguments['env_id']}__{arguments['exp_name']}__{arguments['seed']}__1731000000"
    writer = SummaryWriter(str(folder))
    rows = "\n".join(f"|{key}|{value}|" for key, value in arguments.items())
    writer.add_text("hyperparameters", f"|param|value|\n|-|-|\n{rows}")
    for step in range(0, 1000, 50):
        writer.add_scalar("losses/qf1_loss", 1.0, step)
    for episode in range(1, 5):
        writer.add_scalar("charts/episodic_return", 10.0 * episode, 230 * episode)
        writer.add_scalar("charts/episodic_length", 230, 230 * episode)
    writer.close()
    return folder


def test_settings_come_from_hparams_and_returns_from_evaluations(tmp_path: Path) -> None:
    for seed in (1, 2):
        run = write_series(
            tmp_path / f"run{seed}",
            eval__mean_reward=[(500, 1.0 + seed), (1000, 2.0), (1500, 4.0)],
            rollout__ep_rew_mean=[(step, 0.0) for step in range(0, 1600, 100)],
        )
        writer = SummaryWriter(str(run))
        writer.add_hparams({**HPARAMS, "seed": seed}, {"final/score": 7.0}, run_name="1731000000.123")
        writer.close()
    mapping, said = guess_tensorboard(log_tensorboard(tmp_path))
    assert (mapping.env_steps, mapping.episode_return) == ("step", "eval/mean_reward")
    assert any("taken for env steps" in sentence for sentence in said)
    curves = read_tensorboard(tmp_path)
    assert curves.columns.tolist() == [
        "algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed", "env_steps", "episode_return",
    ]  # fmt: skip
    assert curves.iloc[0].tolist() == ["SAC", "Ant-v4", 2.0, 256, 3e-4, 1, 500, 2.0]
    assert curves["env_steps"].tolist() == [500, 1000, 1500] * 2
    trained = read_tensorboard(tmp_path, tag="rollout/ep_rew_mean")
    assert len(trained) == 32


@pytest.mark.parametrize("name", [None, ".", "hparams"])
def test_the_folder_of_hparams_belongs_to_the_run_above_it(tmp_path: Path, name: str | None) -> None:
    for seed in (1, 2):
        run = write_series(tmp_path / f"run{seed}", eval__return=[(500, 1.0), (1000, 2.0)])
        writer = SummaryWriter(str(run))
        writer.add_hparams({**HPARAMS, "seed": seed}, {"final/return": 7.0}, run_name=name)
        writer.close()
    assert read_tensorboard(tmp_path)["seed"].tolist() == [1, 1, 2, 2]


def test_keys_with_blanks_hyphens_and_capitals_hold_settings(tmp_path: Path) -> None:
    run = write_series(tmp_path / "run", eval__return=[(500, 1.0), (1000, 2.0)])
    writer = SummaryWriter(str(run))
    settings = {"Algorithm": "SAC", "Env": "Ant-v4", "UTD": 2, "Batch-Size": 256, "learning rate": 3e-4, "Seed": 1}
    writer.add_hparams(settings, {"final/return": 7.0})
    writer.close()
    first = read_tensorboard(tmp_path).iloc[0]
    assert first.tolist() == ["SAC", "Ant-v4", 2.0, 256, 3e-4, 1, 500, 1.0]


def test_cleanrl_arguments_and_episodes_become_a_table_that_fits(tmp_path: Path, capsys: Any) -> None:
    for seed in (1, 2, 3):
        for batch_size in (128, 256):
            write_cleanrl(tmp_path / f"runs{batch_size}", seed=seed, batch_size=batch_size)
    out = tmp_path / "curves.parquet"
    assert cli.main(["import", "cleanrl", str(tmp_path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "guess: charts/episodic_return is a return of training: single episodes, not smoothed" in said
    assert "guess: cleanrl.utd is 1 for SAC" in said
    assert "runs: 6, evaluations: 24, tasks: 1" in said
    curves = bs.read_curves(out)
    first = curves.iloc[0]
    assert (first["algorithm"], first["env_id"], first["utd"]) == ("SAC", "Hopper-v4", 1.0)
    assert (first["batch_size"], first["learning_rate"], first["seed"]) == (128, 3e-4, 1)
    assert curves["env_steps"].tolist() == [230, 460, 690, 920] * 6
    crossings = bs.time_to_threshold(curves, thresholds=[25.0])
    assert crossings["env_steps_upper"].tolist() == [690.0] * 6
    pd.testing.assert_frame_equal(read_cleanrl(tmp_path), curves)


def test_rates_of_cleanrl_that_differ_are_a_question(tmp_path: Path) -> None:
    write_cleanrl(tmp_path, q_lr=1e-3)
    with pytest.raises(InputError, match=r"no key gives learning_rate. Likely keys: policy_lr, q_lr"):
        read_cleanrl(tmp_path)
    _, said = guess_cleanrl(log_cleanrl(tmp_path))
    assert "learning_rate: policy_lr and q_lr differ; name one with --key learning_rate=q_lr." in said
    named = ColumnMapping(columns={"learning_rate": "q_lr"})
    assert set(read_cleanrl(tmp_path, mapping=named)["learning_rate"]) == {1e-3}


@pytest.mark.parametrize(
    ("changed", "utd"),
    [
        ({"exp_name": "dqn_atari", "train_frequency": 4}, 0.25),
        ({"exp_name": "c51", "train_frequency": 10}, 0.1),
        ({"exp_name": "td3_continuous_action"}, 1.0),
        ({"exp_name": "sac_atari", "update_frequency": 4}, 0.25),
        ({"exp_name": "sac_continuous_action", "utd_ratio": 8}, 8.0),
        ({"exp_name": "sac_continuous_action", "num_envs": 4}, None),
        ({"exp_name": "dqn"}, None),
        ({"exp_name": "my_script"}, None),
    ],
)
def test_the_utd_of_cleanrl_follows_from_the_script(tmp_path: Path, changed: dict[str, Any], utd: float | None) -> None:
    write_cleanrl(tmp_path, **changed)
    if utd is None:
        with pytest.raises(InputError, match="no key gives utd"):
            read_cleanrl(tmp_path)
    else:
        assert set(read_cleanrl(tmp_path)["utd"]) == {utd}


def test_episodes_at_one_step_are_averaged_and_said(tmp_path: Path, capsys: Any) -> None:
    run = write_cleanrl(tmp_path)
    writer = SummaryWriter(str(run))
    for value in (1.0, 2.0, 6.0):
        writer.add_scalar("charts/episodic_return", value, 2000)
    writer.close()
    assert cli.main(["import", "cleanrl", str(tmp_path), "--out", str(tmp_path / "c.parquet")]) == 0
    assert "note: 3 rows averaged with others at one step, as episodes of several environments." in (
        capsys.readouterr().out
    )
    assert pd.read_parquet(tmp_path / "c.parquet")["episode_return"].tolist() == [10.0, 20.0, 30.0, 40.0, 3.0]


def test_settings_come_from_the_path_by_a_pattern(tmp_path: Path, capsys: Any) -> None:
    for seed in (1, 2):
        write_series(tmp_path / f"Ant-v4__SAC__{seed}", eval__return=[(100, 1.0), (200, 2.0)])
    command = ["import", "tensorboard", str(tmp_path), "--path-pattern", "{env}__{algo}__{seed}"]
    constants = [f"--constant={name}" for name in ("utd=1", "batch_size=256", "learning_rate=3e-4")]
    assert cli.main([*command, "--out", str(tmp_path / "c.parquet"), *constants]) == 0
    assert "guess: env_id: taken from env." in capsys.readouterr().out
    curves = pd.read_parquet(tmp_path / "c.parquet")
    assert curves[["algorithm", "env_id", "seed"]].drop_duplicates().to_numpy().tolist() == [
        ["SAC", "Ant-v4", 1],
        ["SAC", "Ant-v4", 2],
    ]


def test_the_folders_train_and_eval_belong_to_one_run(tmp_path: Path) -> None:
    run = tmp_path / "seed0"
    write_series(run / "train", **{"return": [(step, 0.5) for step in range(0, 300, 10)]})
    write_series(run / "eval", **{"return": [(100, 1.0), (200, 2.0)]})
    logs = log_tensorboard(tmp_path)
    assert [one.name for one in logs.runs] == [str(run)]
    assert guess_tensorboard(logs)[0].episode_return == "eval/return"
    alone = log_tensorboard(run / "eval")
    assert [one.name for one in alone.runs] == [str(run / "eval")]


def test_the_csv_files_of_the_page_become_curves(tmp_path: Path) -> None:
    for seed, name in enumerate(("SAC_1", "SAC_2")):
        lines = ["Wall time,Step,Value", *(f"1731000000.5,{step},{step + seed}" for step in (100, 200, 300))]
        (tmp_path / f"run-{name}-tag-eval_mean_reward.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "run-SAC_1-tag-losses_q.csv").write_text("Wall time,Step,Value\n1.0,50,0.5\n1.0,100,0.25\n")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "run-SAC_3-tag-eval_mean_reward.csv").write_text("Wall time,Step,Value\n1.0,0.5,1\n")
    with pytest.warns(UserWarning, match="2 files or runs left out or cut short; .*notes.csv: it has no columns Wall"):
        curves = read_tensorboard(tmp_path, mapping=constants())
    assert curves["env_steps"].tolist() == [100, 200, 300] * 2
    assert curves["episode_return"].tolist() == [100.0, 200.0, 300.0, 101.0, 201.0, 301.0]
    assert curves["seed"].tolist() == [0, 0, 0, 1, 1, 1]
    one = read_tensorboard(tmp_path / "run-SAC_1-tag-eval_mean_reward.csv", mapping=constants())
    assert len(one) == 3


def test_a_run_that_starts_over_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    """SummaryWriter stamps events with the time of day, so the second file begins after the first has ended."""
    for _ in range(2):
        write_series(tmp_path / "run", eval__return=[(100, 1.0), (200, 2.0), (300, 3.0)])
    with pytest.raises(InputError, match=r"one evaluation of one run came twice: .*run row 0 and .*give each a seed"):
        read_tensorboard(tmp_path, mapping=constants())


def test_a_folder_without_event_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no event files of TensorBoard. Give the folder of a run"):
        log_tensorboard(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        log_tensorboard(tmp_path / "none")


def test_a_run_without_settings_among_others_is_skipped_and_listed(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_cleanrl(tmp_path, seed=seed)
    run = write_series(tmp_path / "stray", charts__episodic_return=[(100, 1.0)])
    with pytest.warns(UserWarning, match=f"1 file or run left out or cut short; the first is {run}: the key"):
        assert len(read_cleanrl(tmp_path)) == 8
    shutil.rmtree(run)
    assert len(read_cleanrl(tmp_path)) == 8
