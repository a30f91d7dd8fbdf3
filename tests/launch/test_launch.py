"""Test the forms of recommendations: other programs must read back the values of the table."""

import json
import shlex
import subprocess
from io import StringIO
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import InputError
from bayescale.launch import commands, plan_file, search_spaces, tables
from bayescale.runners.sweeps.plan import load_plan, make_plan

ODD = 'It\'s 50% of $HOME; echo "#1"_\\x'  # a task whose name a shell, TOML and LaTeX would misread


@pytest.fixture
def table():
    rows = pd.DataFrame(
        {
            "env_id": ["Pendulum-v1", "Pendulum-v1", ODD, ODD],
            "threshold": [-200.0, -200.0, 800.0, 800.0],
            "utd": [0.25, 2.0, 1.0, 5.656854],
            "model_size": 9_000,
            "batch_size": [64, 128, 256, 512],
            "learning_rate": [1e-3, 3.16228e-4, 1e-4, 2e-5],
            "run_length": [12_000.0, 4_000.0, 50_000.0, np.inf],
            "p_reach": [0.99, 0.97, 0.5, 0.0],
            "risk": [3.0, 2.0, 5.0, np.inf],
            "excess": [0.5, 0.0, 0.0, np.inf],
            "recommended": [False, True, True, False],
            "evaluation_interval": [100.0, 100.0, 1000.0, 1000.0],
        }
    )
    for name, middle in (("env_steps", 3e3), ("flops", 1.5e15), ("batch_size", 100.0), ("learning_rate", 3e-4)):
        rows = rows.assign(**{f"{name}_q05": middle / 2, f"{name}_q50": middle, f"{name}_q95": middle * 3})
    return rows


def options(words):
    """Return the values by option of a command's words."""
    return {name: value for name, value in pairwise(words) if name.startswith("--")}


def test_a_plan_is_one_that_sweep_reads_and_has_the_recommended_setting(table, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(plan_file.plan(table[:2], seeds=range(7, 10)), encoding="utf-8")
    runs = load_plan(path).runs
    assert {(run.env_id, run.utd, run.batch_size, run.env_steps) for run in runs} == {("Pendulum-v1", 2.0, 128, 4_000)}
    assert [run.seed for run in runs] == [7, 8, 9]
    assert runs[0].learning_rate == pytest.approx(3.162e-4)
    assert runs[0].evaluation_interval == 100
    assert "hidden_width" in path.read_text()


def test_a_plan_keeps_the_other_settings_of_the_sweep_and_its_name_of_the_task(table):
    base = {"env_id": ["Pendulum-v1", "Ant-v4"], "utd": [1, 2], "hidden_width": 64, "evaluation_interval": 200}
    renamed = table[:2].assign(env_id="gym/SAC/Pendulum-v1")
    base = {**base, "batch_size": [8], "learning_rate": [1e-3], "seed": [0], "env_steps": {"1": 10, "2": 20}}
    import tomllib

    content = tomllib.loads(plan_file.plan(renamed, base={**base, "stop_return": {"Pendulum-v1": -150}}))
    run = make_plan(content).runs[0]
    assert (run.env_id, run.hidden_width, run.evaluation_interval, run.stop_return) == ("Pendulum-v1", 64, 200, -150)
    assert (run.utd, run.batch_size, run.env_steps) == (2.0, 128, 4_000)


def test_a_plan_quotes_the_task(table):
    import tomllib

    assert tomllib.loads(plan_file.plan(table[2:]))["env_id"] == ODD


@pytest.mark.parametrize("form", [plan_file.plan, search_spaces.optuna])
def test_forms_of_one_setting_refuse_several_and_runs_that_never_arrive(table, form):
    with pytest.raises(InputError, match="holds one setting; got 2 to choose from"):
        form(table)
    with pytest.raises(InputError, match=r"reaches the return\. Lower the return"):
        form(table[3:])


def test_a_shell_reads_back_the_settings_of_cleanrl(table):
    lines = commands.cleanrl(table, seeds=range(2)).splitlines()
    runs = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert len(runs) == 3 * 2, "a run that never arrives has no command"
    last = options(runs[-1])
    assert (last["--env-id"], last["--total-timesteps"], last["--batch-size"]) == (ODD, "50000", "256")
    assert float(last["--policy-lr"]) == float(last["--q-lr"]) == pytest.approx(1e-4)
    assert [line for line in lines if line.startswith("#")] == [
        commands.THE_REST,
        "# UTD 0.25: let the script do 1 update every 4 env steps",
        "# UTD 2: let the script do 2 updates every env step",
    ]


def test_a_shell_reads_back_the_settings_of_the_zoo_and_utd_is_a_ratio_of_whole_numbers(table):
    runs = [shlex.split(line) for line in commands.sb3(table, seeds=[0]).splitlines() if line[0] != "#"]
    assert [options(run)["--env"] for run in runs] == ["Pendulum-v1", "Pendulum-v1", ODD]
    settings = [dict(word.split(":") for word in run[run.index("--hyperparams") + 1 :]) for run in runs]
    for setting, utd in zip(settings, table["utd"], strict=False):
        assert int(setting["gradient_steps"]) / int(setting["train_freq"]) == pytest.approx(utd)
    assert settings[0]["batch_size"] == "64"


def test_hydra_quotes_the_task_once_for_the_shell_and_once_for_itself(table):
    runs = [shlex.split(line) for line in commands.hydra(table, seeds=range(2)).splitlines() if line[0] != "#"]
    assert runs[0][2:] == [
        "--multirun", "env_id=Pendulum-v1", "utd=0.25", "batch_size=64", "learning_rate=0.001", "env_steps=12000",
        "seed=0,1",
    ]  # fmt: skip
    task = runs[2][3].removeprefix("env_id=")
    assert (task[0], task[-1]) == ("'", "'")
    assert task[1:-1].replace("\\'", "'").replace("\\\\", "\\") == ODD


def test_the_job_script_runs_each_element_with_its_own_settings(table, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text(commands.slurm(table.assign(seconds_q50=60.0, seconds_q95=90.0), seeds=range(2)))
    assert "#SBATCH --array=0-5" in script.read_text()
    assert "#SBATCH --time=34  # minutes" in script.read_text()  # 2 x 60 s x 50,000 / 3,000 env steps
    said = subprocess.run(
        ["bash", script],
        env={"SLURM_ARRAY_TASK_ID": "5", "TRAIN": "printf '<%s>'", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = said[1:-1].split("><")
    assert options(words)["--env-id"] == ODD
    assert words[-2:] == ["--seed", "1"]


def test_a_search_space_holds_the_recommended_setting_and_the_best_values(table):
    scope: dict = {}
    exec(search_spaces.optuna(table[:2]), scope)

    class Trial:
        def suggest_int(self, name, low, high, *, log):
            assert log, name
            return low, high

        suggest_float = suggest_int

    space = scope["suggest"](Trial())
    assert (scope["TASK"], scope["UTD"], scope["ENV_STEPS"]) == ("Pendulum-v1", 2.0, 4_000)
    for name, (low, high) in space.items():
        assert low < scope["FIRST"][name] < high
    assert space["batch_size"] == (50, 300)
    odd: dict = {}
    exec(search_spaces.optuna(table[2:]), odd)
    assert odd["TASK"] == ODD


def test_tables_come_back_as_they_were(table):
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(tables.csv(table))), table)
    rows = json.loads(tables.json(table))
    assert [row["run_length"] for row in rows] == [12_000, 4_000, 50_000, None]
    assert rows[2]["env_id"] == ODD


def test_latex_escapes_names_and_marks_the_recommended_rows(table):
    lines = tables.latex(table).splitlines()
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    rows = [line for line in lines if line.count(" & ") == 9][1:]
    assert len(rows) == 4
    assert [r"\textbf{" in row for row in rows] == [False, True, True, False]
    assert r"It's 50\% of \$HOME; echo " in rows[2]
    assert r"\textbackslash{}x" in rows[2]
    assert r"$1.5 \cdot 10^{15}$" in rows[0]
    assert r"$\infty$" in rows[3]
