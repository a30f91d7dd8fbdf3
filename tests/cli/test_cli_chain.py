"""The commands from a fit to a report, on small simulated curves."""

import dataclasses
import inspect
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.cli.commands import compare as comparisons
from bayescale.cli.commands import fit as fits
from bayescale.errors import NotConverged
from tests.scaffolding.simulated_curves import simulated_curves


def of_crossing(tasks: str) -> str:
    """Return the note of tasks whose evaluations, here at 2,000, 6,000, ... env steps, are not multiples of 4,000."""
    return (
        f"note: fitted runs are not evaluated at multiples of one interval, so quantiles for {tasks} are of the "
        "crossing itself, not rounded up to an evaluation. Give --evaluations if you know when the new runs are "
        "evaluated.\n"
    )


def test_draws_that_cannot_be_trusted_are_exit_code_3_and_no_file(
    curves_file: Path, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, require_convergence: bool = True, **_settings: object) -> None:
        assert require_convergence
        raise NotConverged("not converged: the chains disagree; worst sigma (R-hat 1.2).", ("sigma",))

    monkeypatch.setattr("bayescale.fit", fail)
    out = tmp_path / "fit.nc"
    assert "worst sigma (R-hat 1.2)" in refused("fit", curves_file, "--out", out, code=3)
    assert not out.exists()


def test_a_warning_is_one_line_on_standard_error(
    curves_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **_settings: object) -> None:
        warnings.warn("too many draws diverged:\n  sampling anew.", stacklevel=2)
        raise NotConverged("not converged.")

    monkeypatch.setattr("bayescale.fit", fail)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(["fit", str(curves_file), "--out", str(tmp_path / "fit.nc")]) == 3
    said = capsys.readouterr().err
    assert said.splitlines() == ["warning: too many draws diverged: sampling anew.", "error: not converged."]


def test_predict_writes_a_row_per_configuration_and_threshold(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = pd.DataFrame(
        {
            "env_id": ["Ant-v4", "Ant-v4", "Never-v1"],
            "utd": [2.0, 32.0, 2.0],
            "batch_size": [256, 256, 256],
            "learning_rate": [3e-4, 3e-4, 3e-4],
            "note": ["inside", "outside", "a task without runs"],
        }
    )
    configs.to_csv(tmp_path / "configs.csv", index=False)
    out = tmp_path / "predicted.csv"
    asked = ["predict", str(fit_file), "--at", str(tmp_path / "configs.csv"), "--out", str(out)]
    assert cli.main(asked) == 2
    assert "the fit has no run of Never-v1. It has runs of " in capsys.readouterr().err
    assert not out.exists()
    assert cli.main([*asked, "--new-task"]) == 0
    said = capsys.readouterr().err
    assert said == "note: no run of Never-v1 was fitted; this is the prediction for a new task.\n" + of_crossing(
        "Ant-v4, Never-v1"
    )
    predicted = pd.read_csv(out)
    quantiles = ["q05", "q10", "q25", "q50", "q75", "q90", "q95"]
    law = ["law_q05", "law_q50", "law_q95"]
    assert {*configs.columns, "threshold", *quantiles, *law, "p_reach", "extrapolated"} <= set(predicted.columns)
    assert len(predicted) == 3 * 3
    known_to_arrive = predicted[np.isfinite(predicted["q95"])]
    assert len(known_to_arrive) > 0
    assert (np.diff(known_to_arrive[quantiles].to_numpy(), axis=1) >= 0).all()
    assert (predicted["q05"] < predicted["q95"]).all()
    assert predicted["p_reach"].between(0, 1).all()
    assert not predicted.loc[predicted["note"] == "inside", "extrapolated"].any()
    assert predicted.loc[predicted["note"] == "outside", "extrapolated"].all()
    far = predicted.fillna({"extrapolation": ""}).groupby("note")["extrapolation"].unique().str[0]
    assert far["inside"] == ""
    assert far["outside"] == "utd 4 times above the largest swept"
    assert far["a task without runs"] == "no run of this task"
    known = predicted.query("note == 'inside' and threshold == 500")["law_q50"].item()
    assert known == pytest.approx(2.0e4 * (1 + 2**-0.7) * np.log(2), rel=0.15)


def test_frontier_writes_a_row_per_utd(fit_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "frontier.csv"
    options = ["--env", "Ant-v4", "--threshold", "500", "--utd", "1:8:4", "--out", str(out)]
    assert cli.main(["frontier", str(fit_file), *options]) == 0
    table = pd.read_csv(out)
    assert table["utd"].tolist() == [1, 2, 4, 8]
    for name in ("env_steps", "flops"):
        assert (table[f"{name}_q05"] < table[f"{name}_q50"]).all()
        assert (table[f"{name}_q50"] < table[f"{name}_q95"]).all()
    for name in ("batch_size", "learning_rate"):
        assert (table[f"{name}_q05"] == table[f"{name}_q95"]).all(), "one setting for all draws"
    assert table["env_steps_q50"].is_monotonic_decreasing
    assert cli.main(["frontier", str(fit_file), *options, "--settings", "law"]) == 0
    by_law = pd.read_csv(out)
    for name in ("batch_size", "learning_rate", "env_steps", "flops"):
        assert (by_law[f"{name}_q05"] < by_law[f"{name}_q95"]).all()


def test_settings_that_all_runs_share_get_a_note_where_others_are_asked_about(
    fit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = bs.load(fit_file)
    one = dataclasses.replace(
        fitted,
        crossings=fitted.crossings.assign(utd=np.where(fitted.crossings["env_id"] == "Ant-v4", 2.0, 3.0)),
        model=dataclasses.replace(fitted.model, varying=("batch_size", "learning_rate")),
    )
    monkeypatch.setattr("bayescale.load", lambda _: one)
    configs, out = tmp_path / "configs.csv", tmp_path / "out.csv"
    at = ["--at", str(configs), "--out", str(out)]
    note = "note: all fitted runs for Ant-v4 have utd 2; answers for other values repeat the answer at 2.\n"
    for utd in (2.0, 4.0):
        table = pd.DataFrame(
            {"env_id": ["Ant-v4", "Hopper-v4"], "utd": [utd, 3], "batch_size": 256, "learning_rate": 3e-4}
        )
        table.to_csv(configs, index=False)
        for command in (["predict", *at], ["performance", *at, "--env-steps", "5e4"]):
            assert cli.main([command[0], "f.nc", *command[1:]]) == 0
            said = (note if utd == 4 else "") + (of_crossing("Ant-v4, Hopper-v4") if command[0] == "predict" else "")
            assert capsys.readouterr().err == said
    options = ["--env", "Ant-v4", "--threshold", "500", "--out", str(out)]
    assert cli.main(["frontier", "f.nc", *options]) == 0
    assert note in capsys.readouterr().err


def test_frontier_says_where_the_best_setting_lies_outside_the_sweep(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, curves = tmp_path / "frontier.csv", simulated_curves()
    some_outside = []
    for grid in ("1:8:4", "1000:100000:3"):
        options = ["--env", "Ant-v4", "--threshold", "500", "--utd", grid, "--out", str(out), "--settings", "law"]
        assert cli.main(["frontier", str(fit_file), *options]) == 0
        said, table = capsys.readouterr().err, pd.read_csv(out)
        for axis in ("batch_size", "learning_rate"):
            low, high = curves[axis].min(), curves[axis].max()
            outside = (~table[f"{axis}_q50"].between(low, high)).sum()
            note = (
                f"the best {axis} lies outside the {low:g} to {high:g} of the sweep at {outside} of {len(table)} UTDs"
            )
            assert (note in said) == (outside > 0) == (f"best {axis}" in said)
            some_outside.append(outside > 0)
    assert True in some_outside
    assert False in some_outside


def test_allocate_prints_the_choice_and_writes_it(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "choice.json"
    options = ["--env", "Ant-v4", "--threshold", "500", "--env-step-price", "4e9", "--out", str(out)]
    assert cli.main(["allocate", str(fit_file), *options]) == 0
    choice = json.loads(out.read_text())
    assert choice["env_id"] == "Ant-v4"
    assert choice["threshold"] == 500
    assert choice["feasible"] is True
    assert choice["regret"]["q05"] >= 0
    assert (choice["runs"], choice["runs_reached"], choice["extrapolation"]) == (54, 54, "")
    assert choice["basis"]["prices"] == {"flop": 1.0, "env_step": 4e9}
    assert choice["basis"]["risk_measure"] == "mean"
    assert choice["basis"]["quantile_levels"] == {"q05": 0.05, "q50": 0.5, "q95": 0.95}
    assert choice["basis"]["fit"]["data_sha256"] == bs.load(fit_file).provenance["data_sha256"]
    said = capsys.readouterr().out
    assert f"UTD {choice['utd']:.3g}" in said
    assert "54 of 54 fitted runs on Ant-v4 reached this return" in said
    utds = simulated_curves()["utd"]
    assert ("At the edge of the sweep: UTD" in said) == (choice["utd"] in (utds.min(), utds.max()))


def test_an_infeasible_budget_is_exit_code_4_and_still_written(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "choice.json"
    assert cli.main(["allocate", str(fit_file), "--env", "Ant-v4", "--budget", "1", "--out", str(out)]) == 4
    assert json.loads(out.read_text())["feasible"] is False
    said = capsys.readouterr()
    assert re.fullmatch(r"error: [^\n]+cheapest[^\n]+\n", said.err)
    assert "UTD" in said.out


def test_a_budget_that_holds_more_than_the_highest_threshold_says_how_to_ask_beyond(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "choice.json"
    asked = ["allocate", str(fit_file), "--env", "Ant-v4", "--out", str(out)]
    assert cli.main([*asked, "--threshold", "800"]) == 0
    assert "The budget is" not in capsys.readouterr().out
    least = json.loads(out.read_text())["risk"]
    for share, said in ((0.9, False), (3.0, True)):
        assert cli.main([*asked, "--budget", str(share * least)]) == 0
        assert ("The budget is 3 times what the highest fitted threshold" in capsys.readouterr().out) is said


def test_allocate_takes_seed_noise_into_its_choice(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "choice.json"
    options = ["allocate", str(fit_file), "--env", "Ant-v4", "--threshold", "500", "--out", str(out)]
    risks = {}
    for risk in ("prob:0.9", "run:0.9"):
        assert cli.main([*options, "--risk", risk]) == 0
        risks[risk] = json.loads(out.read_text())["risk"]
        assert re.search(rf"^{risk} +{re.escape(f'{risks[risk]:.3g}')}$", capsys.readouterr().out, re.MULTILINE)
    assert risks["run:0.9"] > risks["prob:0.9"]
    assert cli.main([*options, "--risk", "run:0.99999"]) == 4
    assert json.loads(out.read_text())["risk"] is None
    assert re.fullmatch(r"error: [^\n]+with the chance of run:0\.99999[^\n]+\n", capsys.readouterr().err)


def test_a_task_without_runs_gets_the_population_and_a_note(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "frontier.csv"
    options = ["--env", "Ent-v4", "--threshold", "500", "--out", str(out)]
    assert cli.main(["frontier", str(fit_file), *options, "--new-task"]) == 0
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "note: no run of Ent-v4 was fitted; this is the prediction for a new task."
    assert others == []
    assert len(pd.read_csv(out)) > 1


def test_a_return_above_the_thresholds_is_answered_with_a_note_and_one_below_is_refused(
    fit_file: Path, refused: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "note: return 850 lies above the fitted thresholds, the highest of which is 800; the answer extrapolates."
    for command, out in (("frontier", tmp_path / "frontier.csv"), ("allocate", tmp_path / "choice.json")):
        asked = [command, str(fit_file), "--env", "Ant-v4", "--out", str(out), "--threshold"]
        assert "thresholds must be at least the lowest fitted, 300; got 299" in refused(*asked, "299")
        assert not out.exists()
        assert cli.main([*asked, "650", "--ceiling", "1000"]) == 0
        assert "above the fitted thresholds" not in capsys.readouterr().err
        between = out.read_text()
        assert cli.main([*asked, "850", "--ceiling", "1000"]) == 0
        assert note in capsys.readouterr().err
        assert out.read_text() != between
    for ask, chance, error in (
        (["900", "--ceiling", "870"], "0%", "no run reaches return 900 on Ant-v4: it lies above the ceiling"),
        (
            ["1e9"],
            "0%",
            "no run reaches return 1e+09 on Ant-v4: it lies above the ceiling or above every return that the fit holds",
        ),
        (["5000"], "", "return 5000 on Ant-v4 may lie beyond what any run reaches"),
    ):
        assert cli.main(["allocate", str(fit_file), "--env", "Ant-v4", "--threshold", *ask]) == 4
        said = capsys.readouterr()
        assert f"chance that a run ever reaches it {chance}" in said.out
        assert "At the edge" not in said.out
        assert f"error: {error}" in said.err
        assert ("--risk prob:0.5" in said.err) is (chance == "")


@pytest.mark.parametrize(("command", "function"), [(fits.fit, bs.fit), (comparisons.compare, bs.compare)])
def test_the_shell_samples_as_python_does_by_default(command: Callable, function: Callable) -> None:
    shell, python = (inspect.signature(one).parameters for one in (command, function))
    for name in ("seed", "chains", "draws", "warmup"):
        assert shell[name].default == python[name].default, name
