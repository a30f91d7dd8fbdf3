"""The command `next`, on a posterior file whose draws come from the prior."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from tests.scaffolding.prior_posterior import TASKS, prior_posterior


@pytest.fixture(scope="module")
def fit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "fit.nc"
    prior_posterior().save(path)
    return path


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    table = pd.DataFrame({"env_id": TASKS[1], "utd": [1.0, 2.0, 8.0], "batch_size": 256, "learning_rate": 2e-4})
    table.assign(note=["a", "b", "c"]).to_csv(tmp_path / "configs.csv", index=False)
    return tmp_path / "configs.csv"


def run(fit: object, configs: Path, out: Path, *more: str, budget: str = "1e19") -> int:
    return cli.main(["next", str(fit), "--candidates", str(configs), "--budget", budget, "--out", str(out), *more])


def test_next_writes_the_runs_to_buy(
    fit_file: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "next.csv"
    assert run(fit_file, configs, out, "--n", "4") == 0
    progress = [f"run {i} of at most 4: 3 candidates within the rest of the budget" for i in (1, 2, 3, 4)]
    said = capsys.readouterr()
    assert said.err.splitlines()[:4] == progress
    assert said.err.count("note: 1 candidate beyond the sweep. A run is valued by what it saves among the swept") == 1
    chosen = pd.read_csv(out)
    expected = ["env_id", "utd", "batch_size", "learning_rate", "note", "score", "cost", "rank", "seeds", "total_cost"]
    assert chosen.columns.tolist() == expected
    plan = bs.next_experiments(bs.load(fit_file), pd.read_csv(configs), budget=1e19, n=4)
    assert chosen["seeds"].sum() == (plan["score"] > 0).sum()
    assert chosen["rank"].tolist() == list(range(1, len(chosen) + 1))
    assert chosen["total_cost"].sum() <= 1e19
    assert (chosen["score"] > 0).all()
    assert not chosen.duplicated(["utd", "batch_size", "learning_rate"]).any()
    beside = json.loads((tmp_path / "next.json").read_text())
    assert beside["budget"] == 1e19
    assert beside["basis"]["prices"] == {"flop": 1.0, "env_step": 4e9}
    assert beside["basis"]["risk_measure"] == "mean"
    assert beside["basis"]["fit"]["data_sha256"] == bs.load(fit_file).provenance["data_sha256"]
    assert beside["basis"]["fit"]["bayescale"] == bs.__version__
    assert [each["note"] for each in beside["runs"]] == chosen["note"].tolist()
    assert said.out == f"wrote {out}\nwrote {tmp_path / 'next.json'}\n"


def test_within_lets_the_decision_choose_beyond_the_sweep(
    fit_file: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fit_file, configs, tmp_path / "next.csv", "--n", "1", "--within", "utd=1:8") == 0
    assert "beyond the sweep" not in capsys.readouterr().err
    beside = json.loads((tmp_path / "next.json").read_text())
    allowed = {"within": {"utd": (1, 8)}}
    plan = bs.next_experiments(bs.load(fit_file), pd.read_csv(configs), budget=1e19, n=1, **allowed)
    assert [each["score"] for each in beside["runs"]] == pytest.approx(plan["score"].tolist())


def test_runs_that_are_worth_nothing_are_not_listed(
    fit_file: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_csv(configs).assign(env_steps=1).to_csv(configs, index=False)  # too short to show anything
    out = tmp_path / "next.csv"
    assert run(fit_file, configs, out, "--n", "2") == 0
    assert pd.read_csv(out)["score"].tolist() == []
    note = "note: no run is listed, because no candidate within the budget is expected to change the choice"
    assert capsys.readouterr().err.splitlines()[-1].startswith(note)


def test_a_budget_below_every_candidate_is_exit_code_4_and_no_file(
    fit_file: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fit_file, configs, tmp_path / "next.csv", budget="1") == 4
    said = r"error: the budget 1 does not hold any candidate; the cheapest, row \d, costs [\d.e+]+\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    assert not (tmp_path / "next.csv").exists()
    assert not (tmp_path / "next.json").exists()


def test_a_task_without_runs_gets_a_note(
    fit_file: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fit_file, configs, tmp_path / "next.csv", "--env", "Ent-v4", "--n", "1") == 2
    assert "the fit has no run of Ent-v4." in capsys.readouterr().err
    assert run(fit_file, configs, tmp_path / "next.csv", "--env", "Ent-v4", "--n", "1", "--new-task") == 0
    assert capsys.readouterr().err.startswith("note: no run of Ent-v4 was fitted")


@pytest.mark.parametrize(
    ("budget", "out", "text", "said"),
    [
        ("nan", "next.csv", "", "--budget must be finite and > 0; got nan"),
        ("0", "next.csv", "", "--budget must be finite and > 0; got 0"),
        ("1", "next.txt", "", "--out must end in .csv"),
        ("1", "next.csv", "env_id,utd,batch_size\nAnt-v4,1,256\n", "has no column 'learning_rate'"),
        ("1", "next.csv", "env_id,utd,batch_size,learning_rate\nAnt-v4,,256,1\n", "utd must be filled in"),
        ("1", "next.csv", "env_id,utd,batch_size,learning_rate\n", "has no rows"),
        ("1", "next.csv", "env_id,utd,batch_size,learning_rate,env_steps\nAnt-v4,1,2,1,-5\n", "env_steps must be > 0"),
    ],
)
def test_bad_input_is_one_sentence(
    budget: str, out: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert run("f.nc", tmp_path / "bad.csv", tmp_path / out, budget=budget) == 2
    message = capsys.readouterr()
    assert message.out == ""
    assert said in message.err
    assert message.err.count("\n") == 1
    assert not (tmp_path / out).exists()
