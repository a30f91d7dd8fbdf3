"""The help texts describe the files that commands read and write."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.runners import load_plan
from bayescale.validation.scores import Scores
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep

Help = Callable[[str], str]


@pytest.fixture
def help_of(capsys: pytest.CaptureFixture[str]) -> Help:
    def say(command: str) -> str:
        assert cli.main([command, "--help"]) == 0
        return capsys.readouterr().out

    return say


def test_the_plan_in_the_help_of_sweep_is_one(help_of: Help, tmp_path: Path) -> None:
    lines = re.findall(r"^  (\w+ = .*)$", help_of("sweep"), re.MULTILINE)
    (tmp_path / "plan.toml").write_text("\n".join(lines))
    plan = load_plan(tmp_path / "plan.toml")
    assert len(plan.runs) == 3 * 2 * 2 * 4
    assert {run.env_id for run in plan.runs} == {"Pendulum-v1"}


def test_help_names_all_that_a_command_writes(help_of: Help) -> None:
    table = sweep()
    posterior = prior_posterior(pd.concat([table, table.assign(threshold=987.0)]).pipe(in_order))
    configs = table[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates().head(2)
    candidates = configs.assign(env_steps=1e5)
    frontier = bs.frontier(posterior, env_id=TASKS[0], threshold=321.0).table()
    written = {
        "predict": {*posterior.predict(configs)} - {*configs, "evaluation_interval", "threshold"},
        "performance": {*bs.performance(posterior, configs, env_steps=1e5)} - {*configs},
        "frontier": {re.sub(r"_q\d\d$", "", name) for name in frontier} - {"utd"} | {"_q05", "_q50", "_q95"},
        "next": {*bs.next_experiments(posterior, candidates, budget=1e20, n=1)} - {*candidates},
        "allocate": {*json.loads(bs.allocate(posterior, env_id=TASKS[0], threshold=321.0).to_json())} - {*SETTING},
        "portfolio": {*json.loads(bs.portfolio(posterior, budget=1e20).to_json())},
        "compare": {*Scores._fields, "weight", "loo", "seconds", "note"},
    }
    for command, names in written.items():
        words = set(re.findall(r"\w+", help_of(command).split("Options:")[0]))
        assert names <= words, f"{command}: {names - words}"
        assert "no_such_column" not in words


SETTING = ("env_id", "threshold", "utd", "batch_size", "learning_rate", "model_size", "feasible")


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    run = ["env_id", "utd", "batch_size", "learning_rate", "seed", "threshold"]
    return table.drop_duplicates(run).sort_values(run, ignore_index=True)
