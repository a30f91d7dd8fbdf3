"""Folders of Stable-Baselines3 and its zoo become learning-curve tables.

The files are made by hand as Stable-Baselines3 2.9 and rl-baselines3-zoo write them; one test trains with it.
"""

import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bayescale.errors import InputError
from bayescale.importers import read_stable_baselines3
from bayescale.importers.kinds.sb3_logs import guess_sb3, log_sb3, read_sb3
from bayescale.importers.kinds.zoo_settings import initial_rate, read_yaml, updates_per_env_step
from bayescale.importers.path_patterns import with_path_settings
from bayescale.importers.run_folders import Unusable
from bayescale.importers.run_logs import ColumnMapping

CONFIG = {"batch_size": 64, "gradient_steps": -1, "learning_rate": 1e-3, "train_freq": 8, "policy": "MlpPolicy"}
CONSTANTS = {"algorithm": "SAC", "env_id": "Pendulum-v1", "utd": 1, "batch_size": 64, "learning_rate": 1e-3, "seed": 0}


def write_zoo(folder: Path, *, algo: str = "sac", seed: int = 0, **changed: Any) -> Path:
    """Write args.yml and config.yml as the zoo does: dumps of OrderedDicts in a folder named like the task."""
    place = folder / "Pendulum-v1"
    place.mkdir(parents=True)
    args = OrderedDict(algo=algo, env="Pendulum-v1", n_timesteps=-1, seed=seed, vec_env="dummy")
    config = {key: value for key, value in {**CONFIG, **changed}.items() if value is not None}
    (place / "args.yml").write_text(yaml.dump(args))
    (place / "config.yml").write_text(yaml.dump(OrderedDict(config)))
    return folder


def write_evaluations(folder: Path, steps: list[int], results: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.full(np.shape(results), 200)
    np.savez(folder / "evaluations.npz", timesteps=steps, results=results, ep_lengths=lengths)


def write_monitor(file: Path, rows: list[tuple[float, int, float]], started: float = 1.0, end: str = "\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["#" + json.dumps({"t_start": started, "env_id": "Pendulum-v1"}), "r,l,t"]
    file.write_text("\n".join([*lines, *(f"{r},{length},{t}" for r, length, t in rows)]) + end)


def test_evaluations_and_the_zoo_become_curves(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = write_zoo(tmp_path / f"sac/Pendulum-v1_{seed + 1}", seed=seed)
        write_evaluations(run, [500, 1000], [[1.0, 3.0], [4.0, 6.0 + seed]])
        write_monitor(run / "0.monitor.csv", [(-3.0, 200, 1.5)])
    curves = read_sb3(tmp_path)
    first = curves.iloc[0]
    assert (first["algorithm"], first["env_id"], first["batch_size"]) == ("sac", "Pendulum-v1", 64)
    assert (first["utd"], first["learning_rate"]) == (1.0, 1e-3)
    assert curves["seed"].tolist() == [0, 0, 1, 1]
    assert curves["env_steps"].tolist() == [500, 1000, 500, 1000]
    assert curves["episode_return"].tolist() == [2.0, 5.0, 2.0, 5.5]
    assert "status" not in curves


def test_names_of_runs_hold_the_settings_that_no_file_holds(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_evaluations(tmp_path / f"Ant-v4__SAC__{seed}", [500, 1000], [[1.0], [2.0]])
    shared = ColumnMapping(
        constants={"utd": 1, "batch_size": 64, "learning_rate": 1e-3}, path_pattern="{env}__{algo}__{seed}"
    )
    _, said = guess_sb3(with_path_settings(log_sb3(tmp_path), shared.path_pattern))
    assert "env_id: taken from env." in said
    assert not any("further column" in sentence for sentence in said)
    curves = read_sb3(tmp_path, mapping=shared)
    assert set(curves["env_id"]) == {"Ant-v4"}
    assert set(curves["algorithm"]) == {"SAC"}
    assert curves["seed"].tolist() == [0, 0, 1, 1]


def test_env_steps_of_a_monitor_are_the_running_sum_of_lengths(tmp_path: Path) -> None:
    write_monitor(tmp_path / "monitor.csv", [(-1.5, 100, 0.1), (-2.5, 80, 0.3), (4.0, 150, 0.4)])
    curves = read_sb3(tmp_path / "monitor.csv", mapping=_monitor_mapping())
    assert curves["env_steps"].tolist() == [100, 180, 330]
    assert curves["episode_return"].tolist() == [-1.5, -2.5, 4.0]


def test_monitors_of_several_environments_are_joined_in_the_order_of_time(tmp_path: Path) -> None:
    write_monitor(tmp_path / "0.monitor.csv", [(1.0, 100, 1.0), (3.0, 100, 3.0)], started=10.0)
    write_monitor(tmp_path / "1.monitor.csv", [(2.0, 50, 1.0), (4.0, 50, 3.0)], started=10.5)
    curves = read_sb3(tmp_path, mapping=_monitor_mapping())
    assert curves["env_steps"].tolist() == [100, 150, 250, 300]
    assert curves["episode_return"].tolist() == [1.0, 2.0, 3.0, 4.0]


def _monitor_mapping() -> ColumnMapping:
    return ColumnMapping(constants=CONSTANTS, env_steps="monitor.env_steps", episode_return="monitor.r")


def test_progress_csv_has_evaluations_and_training_returns(tmp_path: Path) -> None:
    run = write_zoo(tmp_path / "run")
    (run / "progress.csv").write_text(
        "time/total_timesteps,rollout/ep_rew_mean,eval/mean_reward,train/learning_rate\n"
        "200,-1195.5,,0.0003\n250,,-1622.25,0.0003\n400,-1374.0,,0.0002\n500,,-1199.0,0.0001\n"
    )
    with pytest.warns(UserWarning, match="2 rows without an episode_return"):
        curves = read_sb3(run)
    assert curves["env_steps"].tolist() == [250, 500]
    assert curves["episode_return"].tolist() == [-1622.25, -1199.0]
    assert curves["learning_rate"].tolist() == [1e-3, 1e-3]


def test_evaluations_are_preferred_only_if_all_runs_have_them(tmp_path: Path) -> None:
    for name in "ab":
        write_monitor(write_zoo(tmp_path / name, seed=ord(name)) / "0.monitor.csv", [(1.0, 100, 1.0)])
    write_evaluations(tmp_path / "a", [100], [[1.0]])
    mapping, said = guess_sb3(log_sb3(tmp_path))
    assert (mapping.env_steps, mapping.episode_return) == ("monitor.env_steps", "monitor.r")
    assert any(f"Only 1 of 2 runs have evaluations, such as {tmp_path / 'a'}" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("config", "utd"),
    [
        ({"gradient_steps": -1, "train_freq": 8, "n_envs": 4}, 1.0),
        ({"gradient_steps": -1, "train_freq": [1, "episode"]}, 1.0),
        ({"gradient_steps": 8, "train_freq": 4}, 2.0),
        ({"gradient_steps": 1, "train_freq": 1, "n_envs": 4}, 0.25),
        ({"gradient_steps": 4, "train_freq": [2, "step"], "n_envs": 2}, 1.0),
        ({"gradient_steps": 8, "train_freq": [1, "episode"]}, None),
        ({"gradient_steps": 8}, None),
        ({"gradient_steps": True, "train_freq": 1}, None),
        ({"gradient_steps": 1, "train_freq": 0}, None),
    ],
)
def test_utd(config: dict[str, Any], utd: float | None) -> None:
    assert updates_per_env_step(config) == utd


def test_settings_that_the_zoo_leaves_out_have_the_defaults_of_stable_baselines3(tmp_path: Path) -> None:
    left_out = dict.fromkeys(("batch_size", "learning_rate", "train_freq", "gradient_steps"))
    write_evaluations(write_zoo(tmp_path / "a", algo="dqn", **left_out), [1], [[1.0]])
    logs = log_sb3(tmp_path)
    assert any("defaults" in sentence for sentence in guess_sb3(logs)[1])
    first = read_sb3(tmp_path).iloc[0]
    assert (first["utd"], first["batch_size"], first["learning_rate"]) == (0.25, 32, 1e-4)
    write_evaluations(write_zoo(tmp_path / "b", algo="td3", **left_out), [1], [[1.0]])
    with pytest.raises(InputError, match=r"b: the key .zoo\..* is not logged"):
        read_sb3(tmp_path)


def test_a_schedule_gives_its_first_rate(tmp_path: Path) -> None:
    assert [initial_rate(rate) for rate in ("lin_7.3e-4", 3e-4, "const", None, True, "nan", -1)] == [
        7.3e-4, 3e-4, None, None, None, None, None,
    ]  # fmt: skip
    write_evaluations(write_zoo(tmp_path / "a", learning_rate="lin_7.3e-4"), [1], [[1.0]])
    assert read_sb3(tmp_path)["learning_rate"].tolist() == [7.3e-4]
    assert any("lin_X" in sentence for sentence in guess_sb3(log_sb3(tmp_path))[1])


def test_another_setting_that_differs_is_refused_as_seeds(tmp_path: Path) -> None:
    for seed in range(4):
        run = write_zoo(tmp_path / str(seed), seed=seed, tau=0.005 + seed % 2)
        write_evaluations(run, [1, 2], [[1.0], [2.0]])
    with pytest.raises(InputError, match="tau"):
        read_sb3(tmp_path)


def test_yaml_is_read_and_never_executed(tmp_path: Path) -> None:
    config = OrderedDict(a=1, freq=(1, "episode"), inner=OrderedDict(b="x"))
    assert read_yaml(yaml.dump(config)) == {"a": 1, "freq": [1, "episode"], "inner": {"b": "x"}}
    target = tmp_path / "made"
    attack = f"a: !!python/object/apply:os.mkdir ['{target}']\nb: !!python/name:os.system ''\nc: !other [1]\nd: 4\n"
    assert read_yaml(attack) == {"a": None, "b": None, "c": None, "d": 4}
    assert not target.exists()
    for text in ("[" * 20_000, "a: [1\n", "!!python/object/apply:collections.OrderedDict [[1]]", "? {a: 1}\n: 2\n"):
        with pytest.raises(Unusable):
            read_yaml(text)


def test_hostile_settings_are_left_out_with_a_reason(tmp_path: Path) -> None:
    layers = "".join(f"l{i}: &l{i} {{{', '.join(f'k{j}: *l{i - 1}' for j in range(9))}}}\n" for i in range(1, 9))
    texts = {
        "laughs": "l0: &l0 {a: 1}\n" + layers,
        "long": "a: 1\n" * 100_000,
        "itself": "a: &a {b: *a}",
        "list": "[1]",
    }
    for name, text in texts.items():
        write_evaluations(tmp_path / name, [1], [[1.0]])
        (tmp_path / name / "config.yml").write_text(text)
    logs = log_sb3(tmp_path)
    reasons = {Path(one.name).name: one.reason for one in logs.skipped}
    assert len(logs.runs) == 4
    assert "keys" in reasons["laughs"]
    assert "keys" in reasons["itself"]
    assert "characters" in reasons["long"]
    assert "no settings" in reasons["list"]


def test_damaged_logs_are_left_out_with_a_reason(tmp_path: Path) -> None:
    names = ("pickle", "bomb", "text", "header", "again", "appended", "fields", "wide", "fifo", "loop")
    folders = {name: tmp_path / name for name in names}
    for folder in folders.values():
        folder.mkdir()
    np.savez(folders["pickle"] / "evaluations.npz", timesteps=[1], results=np.array([[object]], dtype=object))
    with zipfile.ZipFile(folders["bomb"] / "evaluations.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("results.npy", bytes(257 * 2**20))
    (folders["text"] / "evaluations.npz").write_text("no zip")
    (folders["header"] / "monitor.csv").write_text("#{cut\nr,l,t\n1,2,3\n")
    (folders["again"] / "progress.csv").write_text("a,b\n1,2\na,b\n1,2\n")
    write_monitor(folders["appended"] / "monitor.csv", [(1.0, 10, 5.0), (1.0, 10, 1.0)])
    (folders["fields"] / "monitor.csv").write_text("r,l\n1,2\n")
    (folders["wide"] / "progress.csv").write_text("a,b\n1,2,3\n")
    os.mkfifo(folders["fifo"] / "evaluations.npz")
    (folders["loop"] / "evaluations.npz").symlink_to("evaluations.npz")
    write_monitor(tmp_path / "good/monitor.csv", [(1.0, 10, 5.0), (2.0, 10, 6.0)], end="\n3.0,1")
    logs = log_sb3(tmp_path)
    assert [Path(run.name).name for run in logs.runs] == ["good"]
    assert logs.runs[0].history["monitor.env_steps"].tolist() == [10, 20]
    reasons: dict[str, str] = {}
    for one in logs.skipped:
        reasons.setdefault(Path(one.name).relative_to(tmp_path).parts[0], one.reason)
    for name, expected in {
        "pickle": "does not hold the arrays", "bomb": "unpacks to more", "text": "npz file", "header": "first line",
        "again": "header comes again", "appended": "starts over", "fields": "no columns r, l and t",
        "wide": "do not form a table", "fifo": "no plain file", "loop": "cannot be read", "good": "cut short",
    }.items():  # fmt: skip
        assert expected in reasons[name], name


def test_evaluations_in_a_folder_below_a_run_are_those_of_the_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = write_zoo(tmp_path / f"run{seed}", seed=seed)
        write_monitor(run / "monitor.csv", [(-3.0, 200, 1.5)])
        write_evaluations(run / "eval", [500, 1000], [[1.0], [2.0 + seed]])
    write_evaluations(write_zoo(tmp_path / "run2", seed=2) / "logs", [500], [[7.0]])  # no log lies in the run itself
    write_evaluations(tmp_path / "run3", [500], [[9.0]])  # no run lies above it
    logs = log_sb3(tmp_path)
    assert [Path(run.name).name for run in logs.runs] == ["run0", "run1", "run2", "run3"]
    with pytest.warns(
        UserWarning, match=r"1 file or run left out or cut short; the first is .*run3: the key 'args.algo'"
    ):
        curves = read_sb3(tmp_path)
    assert curves["seed"].tolist() == [0, 0, 1, 1, 2]
    assert curves["episode_return"].tolist() == [1.0, 2.0, 1.0, 3.0, 7.0]


def test_evaluations_in_several_folders_below_one_are_runs(tmp_path: Path) -> None:
    write_monitor(tmp_path / "monitor.csv", [(-3.0, 200, 1.5)])
    for name in "ab":
        write_evaluations(tmp_path / name, [500], [[1.0]])
    assert [run.name for run in log_sb3(tmp_path).runs] == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_run_without_config_among_configured_ones_is_listed(tmp_path: Path) -> None:
    for name in "abc":
        write_evaluations(write_zoo(tmp_path / name, seed=ord(name)), [1, 2], [[1.0], [2.0]])
    (tmp_path / "b/Pendulum-v1/args.yml").unlink()
    (tmp_path / "b/Pendulum-v1/config.yml").unlink()
    with pytest.warns(UserWarning, match=r"1 file or run left out or cut short; the first is .*b: the key 'args.algo'"):
        assert sorted(read_sb3(tmp_path)["seed"].unique()) == [ord("a"), ord("c")]
    for file in tmp_path.glob("a/*/*.yml"):
        file.unlink()
    with pytest.raises(InputError, match=r"a: the key 'args.algo' of algorithm is not logged"):
        read_sb3(tmp_path)


def test_the_older_name_reads_the_same() -> None:
    assert read_stable_baselines3 is read_sb3


def test_a_training_of_stable_baselines3_becomes_a_curve(tmp_path: Path) -> None:
    import gymnasium

    pytest.importorskip("stable_baselines3", reason="only the extra dev installs it")
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.logger import configure
    from stable_baselines3.common.monitor import Monitor

    run = write_zoo(tmp_path / "Pendulum-v1_1")
    env = Monitor(gymnasium.make("Pendulum-v1"), str(run / "0"))
    agent = SAC("MlpPolicy", env, learning_starts=300, train_freq=50, gradient_steps=2, policy_kwargs={"net_arch": [4]})
    agent.set_logger(configure(str(run), ["csv"]))
    agent.learn(
        400,
        callback=EvalCallback(
            gymnasium.make("Pendulum-v1"), n_eval_episodes=1, eval_freq=200, log_path=str(run), verbose=0, warn=False
        ),
    )
    agent.logger.close()
    env.close()
    logs = log_sb3(tmp_path)
    assert not logs.skipped
    assert read_sb3(tmp_path)["env_steps"].tolist() == [200, 400]
    assert logs.runs[0].history["monitor.env_steps"].dropna().tolist() == [200, 400]
    assert logs.runs[0].history["eval/mean_reward"].notna().sum() == 2
