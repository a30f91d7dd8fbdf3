"""Test that tables, files and folders of other tools are recognised, in one short sentence that says the next step."""

import json

import numpy as np
import pandas as pd
import pytest

from bayescale.data.curves import read_curves
from bayescale.errors import InputError
from tests.scaffolding.small_curves import csv, fails, table

LONGEST = 300  # letters of a message, without the path


def said(source, name=None):
    """Return the refusal of a source without its path, and check that it is short."""
    with pytest.raises(InputError) as error:
        read_curves(source)
    text = str(error.value).replace(str(source if name is None else name), "FILE")
    assert len(text) <= LONGEST, text
    assert text.endswith(".")
    return text


def test_a_chart_of_weights_and_biases(tmp_path):
    steps = pd.Series([0, 1000, 2000], name="global_step")
    runs = {f"quiet-river-{n} - charts/episodic_return{end}": 1.0 for n in range(24) for end in ("", "__MIN", "__MAX")}
    text = said(csv(tmp_path, pd.DataFrame({"global_step": steps, **{name: [1.0] * 3 for name in runs}})))
    assert "is a chart that Weights & Biases exported: a column per run, and no settings." in text
    assert "bayescale import wandb CHART.csv RUNS.csv" in text


TOOLS = [
    (["r", "l", "t"], ["Monitor file of Stable-Baselines3", "running sum of l", "bayescale import sb3"]),
    (["Wall time", "Step", "Value"], ["TensorBoard's page", "bayescale import tensorboard"]),
    (["time/total_timesteps", "rollout/ep_rew_mean", "train/learning_rate"], ["bayescale import sb3 FOLDER"]),
    (["timesteps_total", "episode_reward_mean", "training_iteration"], ["RLlib or", "bayescale import rllib FOLDER"]),
    (["TotalEnvInteracts", "AverageEpRet"], ["Spinning Up", "bayescale import spinningup FOLDER"]),
    (["env_steps", "0", "1", "2", "3"], ["has a column per run", "bayescale import csv FILE"]),
]


@pytest.mark.parametrize(("columns", "parts"), TOOLS)
def test_tables_of_other_tools_have_an_importer(tmp_path, columns, parts):
    text = said(csv(tmp_path, pd.DataFrame([[1.0] * len(columns)] * 3, columns=columns)))
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        (["Step", "Value"], ["'Step' to env_steps", "'Value' to episode_return", "learning_rate."]),
        (
            ["time/total_timesteps", "rollout/ep_rew_mean", "train/learning_rate"],
            ["'time/total_timesteps' to env_steps", "add its initial value"],
        ),
        (["timesteps_total", "episode_reward_mean"], ["'timesteps_total' to env_steps", "'episode_reward_mean' to"]),
    ],
)
def test_joined_tables_of_other_tools_need_other_names(tmp_path, columns, parts):
    joined = table()[["algorithm", "env_id", "seed"]].assign(**dict.fromkeys(columns, 1.0))
    text = said(csv(tmp_path, joined))
    assert all(part in text for part in parts), text


def test_a_monitor_file_with_its_first_line(tmp_path):
    path = tmp_path / "0.monitor.csv"
    path.write_text('#{"t_start": 1731000000.25, "env_id": "Ant-v4"}\nr,l,t\n1.0,200,0.5\n')
    assert "is a Monitor file of Stable-Baselines3: a row per episode with its return r" in said(path)


@pytest.mark.parametrize("repeated", [True, False])
def test_a_file_without_a_header(tmp_path, repeated):
    path = tmp_path / "progress.csv"
    frame = table(batch_size=64, seed=64 if repeated else 3)[:1]
    frame.to_csv(path, index=False, header=False)
    text = said(path)
    assert text.startswith("FILE has no header: the first line looks like data (gym, SAC, Pendulum-v1, ...).")
    assert "env_steps, episode_return" in text


def test_a_table_of_many_columns_gets_a_short_message(tmp_path):
    path = csv(tmp_path, pd.DataFrame({f"some/rather/long/metric/name/{n}": [1.0] for n in range(73)}))
    text = said(path)
    assert "its 73 columns are some/rather/long/metric/n..., " in text
    fails("has no column 'algorithm', 'env_id'", path)


RENAMES = [
    ({"learning_rate": "lr"}, "Did you mean 'lr'? Rename it."),
    ({"learning_rate": "lr", "env_id": "env"}, "Rename 'env' to env_id, 'lr' to learning_rate."),
    ({"learning_rate": "lr", "seed": "number"}, "Rename 'lr' to learning_rate, and add the others."),
    ({"utd": "utd_ratio"}, "Did you mean 'utd_ratio'? Rename it."),
    ({"env_steps": "global_step"}, "Did you mean 'global_step'? Rename it."),
    ({"env_steps": "env_step"}, "Did you mean 'env_step'? Rename it."),
    ({"episode_return": "episodic_return"}, "Did you mean 'episodic_return'? Rename it."),
    ({"learning_rate": "Learning Rate"}, "Did you mean 'Learning Rate'? Rename it."),
    ({"env_id": "ENV-ID", "seed": "SEED"}, "Rename 'ENV-ID' to env_id, 'SEED' to seed."),
]


@pytest.mark.parametrize(("names", "hint"), RENAMES)
def test_a_hint_names_the_right_column(names, hint):
    fails(hint, table().rename(columns=names))


NO_RENAMES = [
    {"env_steps": "_step"},
    {"env_steps": "episode_step_reward"},
    {"episode_return": "reward_scale"},
    {"utd": "sigma"},
    {"seed": "speed_of_sound"},
    {"learning_rate": "learning_starts"},
    {"batch_size": "buffer_size"},
    {"env_id": "episode"},
]


@pytest.mark.parametrize("names", NO_RENAMES, ids=str)
def test_no_hint_names_a_wrong_column(names):
    (missing,) = names
    text = said(table().rename(columns=names))
    assert f"table 1 has no column '{missing}'" in text
    assert "Rename" not in text
    assert text.endswith("Add it.")


def test_no_hint_chooses_between_two_columns():
    assert "Rename" not in said(table().rename(columns={"episode_return": "score"}).assign(returns=1.0))


def test_gradient_steps_are_explained():
    text = said(table().rename(columns={"utd": "gradient_steps"}).assign(train_freq=1))
    assert "utd is gradient updates per env step: gradient_steps / (train_freq x n_envs)" in text
    assert "gradient_steps = -1 means UTD 1." in text
    assert "Rename" not in text
    assert "utd is gradient updates per env step; gradient_steps = -1 of" in said(table(utd=-1))


def test_a_rate_that_is_logged_is_not_renamed():
    text = said(table().rename(columns={"learning_rate": "train/learning_rate"}))
    assert "add its initial value, not train/learning_rate." in text
    assert "Rename" not in text


FOLDERS = {
    "qscaled": (["utd_1/Ant-v4/episode.return/bs_64_lr_0.0003.npy"], "is a folder of arrays of the package qscaled"),
    "qscaled, other layout": (["w256/utd_1/Ant-v4/k/bs_512.npy"], "is a folder of arrays of the package qscaled"),
    "tune": (["SAC_0/params.json", "SAC_0/result.json"], "is a folder of results of Ray Tune"),
    "tensorboard": (["run/events.out.tfevents.1.host"], "bayescale import tensorboard FOLDER"),
    "sb3": (["logs/evaluations.npz"], "bayescale import sb3"),
    "monitor": (["logs/0.monitor.csv"], "Monitor files of Stable-Baselines3"),
    "wandb": (["wandb/offline-run-1/run-1.wandb"], "Weights & Biases"),
    "mlflow": (["0/meta.yaml"], "MLflow"),
    "csv files": (["a.csv"], "FILE/*.csv'"),
    "parquet files": (["a.parquet", "b.csv"], "FILE/*.parquet'"),
    "sweep": (["plan.json", "curves.parquet"], "is a folder of a sweep. Give FILE/curves.parquet."),
    "unfinished sweep": (["plan.json", "groups/00000.parquet"], "has not finished"),
    "nothing": ([], "is a folder; tables are read from .csv, .csv.gz and .parquet"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_say_what_they_look_like(tmp_path, kind):
    files, text = FOLDERS[kind]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert text in said(tmp_path)


FILES = {
    "result.json": "results of Ray Tune",
    "events.out.tfevents.1": "bayescale import tensorboard FOLDER",
    "evaluations.npz": "bayescale import sb3",
    "bs_64_lr_0.0003.npy": "the package qscaled",
    "history.json": "pandas.read_json",
    "history.jsonl": "lines=True",
    "run-1.wandb": "Weights & Biases",
    "progress.txt": "Spinning Up",
    "curves.pkl": "a pickle, which is never opened",
    "curves.xlsx": "Save it as a CSV.",
    "fit.nc": "a saved fit",
    "curves.zip": "Unpack it",
    "curves.tsv": "Rename it to end in .csv",
    "curves.feather": "has the extension '.feather'",
}


@pytest.mark.parametrize("name", FILES)
def test_files_say_what_they_look_like(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"a": np.pi}))
    text = said(tmp_path / name)
    assert FILES[name] in text
    assert "tables are read from .csv, .csv.gz and .parquet." in text
