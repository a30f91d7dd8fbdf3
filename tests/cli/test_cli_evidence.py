"""Commands that decide say which runs stand behind the answer, on posterior files whose draws come from the prior."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cli import app as cli
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep


def saved(tmp_path: Path, table: pd.DataFrame) -> Path:
    prior_posterior(table).save(tmp_path / "fit.nc")
    return tmp_path / "fit.nc"


def test_allocate_names_the_settings_that_failed_until_they_are_said_to_be_cut_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = sweep()
    fit = saved(tmp_path, table.assign(status=np.where(table["utd"] == 4, "crashed", "finished")))
    out = tmp_path / "choice.json"
    asked = ["allocate", str(fit), "--env", TASKS[0], "--threshold", "321", "--flop-price", "0", "--out", str(out)]
    assert cli.main(asked) == 0
    said, choice = capsys.readouterr().out, json.loads(out.read_text())
    assert "left out, because all runs there diverged, crashed or ended early below this return: UTD 4, batch" in said
    assert "give --cut-short" in said
    assert choice["utd"] < 2
    assert len(choice["left_out"]) == 4
    assert (choice["runs"], choice["runs_reached"]) == (16, 16)
    assert "16 of 16 fitted runs on <b>x reached this return" in said
    assert cli.main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == choice
    assert cli.main([*asked, "--cut-short"]) == 0
    assert "left out" not in capsys.readouterr().out
    assert json.loads(out.read_text())["utd"] > 2


def test_a_return_that_few_runs_reached_rests_on_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = sweep()
    few = (table["threshold"] == table["threshold"].max()) & (table["seed"] > 0)
    table.loc[few, ["env_steps_lower", "env_steps_upper"]] = (1e5, np.inf)
    fit = saved(tmp_path, table.assign(censored=table["censored"] | few))
    assert cli.main(["recommend", str(fit), "--env", TASKS[0], "--threshold", "321", "--only-recommended"]) == 0
    said = capsys.readouterr()
    assert "note:" not in said.err
    assert len([line for line in said.out.splitlines() if TASKS[0] in line]) == 1
    asked = ["--env", TASKS[0], "--threshold", "321", "--only-recommended", "--format", "hydra", "--seeds", "3"]
    assert cli.main(["recommend", str(fit), *asked, "--first-seed", "7"]) == 0
    assert "seed=7,8,9\n" in capsys.readouterr().out
    words = "4 of 16 fitted runs on <b>x reached this return, fewer than half: the answer rests on the model more than"
    assert cli.main(["recommend", str(fit), "--env", TASKS[0], "--threshold", "654"]) == 0
    assert words in capsys.readouterr().err
    assert cli.main(["allocate", str(fit), "--env", TASKS[0], "--threshold", "654"]) == 0
    assert words in capsys.readouterr().out


def test_a_task_of_which_no_run_reached_the_lowest_threshold_is_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = sweep()
    second = table["env_id"] == TASKS[1]
    table.loc[second, ["env_steps_lower", "env_steps_upper"]] = (1e5, np.inf)
    fit = saved(tmp_path, table.assign(censored=table["censored"] | second))
    assert cli.main(["allocate", str(fit), "--env", TASKS[1], "--threshold", "321"]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: none of 16 runs on Hopper & co reached 321, the lowest fitted threshold: give ")


def test_a_misspelt_task_is_exit_code_2_and_lists_the_tasks(tmp_path: Path, refused) -> None:
    fit = saved(tmp_path, sweep())
    said = refused("allocate", fit, "--env", "Hoper & co", "--threshold", "321")
    assert "Did you mean Hopper & co? It has runs of Hopper & co, <b>x." in said
    assert cli.main(["allocate", str(fit), "--env", "Hoper & co", "--threshold", "321", "--new-task"]) == 0


def test_a_choice_outside_the_sweep_says_how_far(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = saved(tmp_path, sweep())
    asked = ["allocate", str(fit), "--env", TASKS[0], "--threshold", "321", "--model-size"]
    assert cli.main([*asked, "300000"]) == 0
    assert "extrapolates: model_size 2 times above the largest swept" in capsys.readouterr().out
    assert cli.main([*asked, "150000"]) == 0
    assert "extrapolates" not in capsys.readouterr().out
