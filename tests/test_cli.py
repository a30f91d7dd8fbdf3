import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale import cli, outputs
from bayescale.errors import InputError, NotConverged

COMMANDS = ("sweep", "fit", "predict", "frontier", "allocate", "report", "demo")
THRESHOLDS = "300,500,800"


def simulated_curves() -> pd.DataFrame:
    """Curves of 2 tasks x 3 UTD x 3 batch sizes x 3 learning rates x 2 seeds, optimal at B = 256 and eta = 3e-4."""
    rng = np.random.default_rng(20)
    rows = []
    env_steps = np.arange(2_000, 202_000, 4_000)
    for env_id, scale in (("Ant-v4", 2.0e4), ("Hopper-v4", 1.2e4)):
        for utd in (1.0, 2.0, 8.0):
            for batch_size in (128, 256, 512):
                for learning_rate in (1e-4, 3e-4, 9e-4):
                    for seed in range(2):
                        miss = np.log(batch_size / 256) ** 2 / 4 + np.log(learning_rate / 3e-4) ** 2 / 8
                        pace = scale * (1 + utd**-0.7) * np.exp(miss + 0.1 * rng.standard_normal())
                        returns = 1000 * (1 - np.exp(-env_steps / pace)) + 5 * rng.standard_normal(env_steps.size)
                        rows.append(
                            pd.DataFrame(
                                {
                                    "algorithm": "SAC",
                                    "env_id": env_id,
                                    "utd": utd,
                                    "batch_size": batch_size,
                                    "learning_rate": learning_rate,
                                    "model_size": 150_000,
                                    "seed": seed,
                                    "env_steps": env_steps,
                                    "episode_return": returns,
                                }
                            )
                        )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command, which must fail with this exit code and one line on stderr, and returns it."""

    def run(*arguments: object, code: int = 2) -> str:
        assert cli.main([str(argument) for argument in arguments]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert re.fullmatch(r"error: [^\n]+\n", said.err), said.err
        return said.err

    return run


# Usage.


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"Usage: bayescale {command}" in capsys.readouterr().out


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^  ([a-z]+)  ", said.split("Commands:")[1], re.MULTILINE) == list(COMMANDS)
    assert "0 done, 2 bad usage or bad input, 3 not converged, 4 infeasible" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"bayescale \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing command (see 'bayescale --help')"),
        (["fitt"], "No such command 'fitt'"),
        (["fit"], "Missing argument 'CURVES...' (see 'bayescale fit --help')"),
        (["fit", "a.csv"], "Missing option '--out'"),
        (["fit", "a.csv", "--out", "b.nc", "--draws", "many"], "Invalid value for '--draws'"),
        (["fit", "a.csv", "--out", "b.nc", "--chains", "0"], "Invalid value for '--chains'"),
        (["fit", "a.csv", "--out", "b.nc", "--drows", "3"], "No such option: --drows"),
        (["fit", "a.csv", "--out", "b.csv"], "--out must end in .nc; got b.csv"),
        (["fit", "a.csv", "--out", "b.nc", "--thresholds", "300;500"], "--thresholds must be numbers"),
        (["frontier", "f.nc", "--env", "Ant-v4", "--threshold", "1", "--out", "f.txt"], "--out must end in .csv"),
        (["frontier", "f.nc", "--env", "e", "--threshold", "1", "--out", "f.csv", "--utd", "1:8"], "must be LO:HI:N"),
        (["frontier", "f.nc", "--env", "e", "--threshold", "1", "--out", "f.csv", "--utd", "8:1:5"], "LO < HI"),
        (["frontier", "f.nc", "--env", "e", "--threshold", "1", "--out", "f.csv", "--utd", "0:1:5"], "0 < LO"),
        (["frontier", "f.nc", "--env", "e", "--threshold", "1", "--out", "f.csv", "--utd", "1:nan:5"], "0 < LO"),
        (["allocate", "f.nc", "--env", "Ant-v4"], "give exactly one"),
        (["allocate", "f.nc", "--env", "e", "--budget", "1e9", "--threshold", "3"], "give exactly one"),
        (["allocate", "f.nc", "--env", "e", "--budget", "nan"], "--budget must be finite and > 0; got nan"),
        (["allocate", "f.nc", "--env", "e", "--budget", "-1"], "--budget must be finite and > 0; got -1"),
        (["report", "f.nc", "--out", "report.pdf"], "--out must end in .html"),
        (["sweep", "no.toml", "--out", "d"], "the plan no.toml cannot be read"),
        (["sweep", "p.toml", "--out", "d", "--workers", "0"], "Invalid value for '--workers'"),
    ],
)
def test_bad_usage(arguments: list[str], said: str, refused: Callable[..., str]) -> None:
    assert said in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "a.csv", "--out", "nowhere/fit.nc"],
        ["predict", "f.nc", "--at", "c.csv", "--out", "nowhere/p.csv"],
        ["frontier", "f.nc", "--env", "e", "--threshold", "1", "--out", "nowhere/f.csv"],
        ["allocate", "f.nc", "--env", "e", "--budget", "1", "--out", "nowhere/a.json"],
        ["report", "f.nc", "--out", "nowhere/r.html"],
        ["demo", "--out", "nowhere/demo"],
        ["sweep", "p.toml", "--out", "nowhere/runs"],
    ],
)
def test_a_missing_folder_is_refused_before_anything_is_read(
    arguments: list[str], refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"the folder {tmp_path / 'nowhere'} does not exist. Create it" in refused(*arguments)


# Bad files: exit code 2, one sentence, no output.


def nan_rows(path: Path, curves: pd.DataFrame) -> None:
    curves.loc[[3, 8], "episode_return"] = np.nan
    curves.to_csv(path, index=False)


def no_seed(path: Path, curves: pd.DataFrame) -> None:
    curves.drop(columns="seed").to_csv(path, index=False)


def duplicates(path: Path, curves: pd.DataFrame) -> None:
    pd.concat([curves, curves.iloc[[5]]]).to_csv(path, index=False)


def text_in_numbers(path: Path, curves: pd.DataFrame) -> None:
    curves.astype({"utd": object}).assign(utd=lambda c: c["utd"].where(c.index != 4, "two")).to_csv(path, index=False)


def infinite_learning_rate(path: Path, curves: pd.DataFrame) -> None:
    curves.assign(learning_rate=np.inf).to_csv(path, index=False)


def negative_batch_size(path: Path, curves: pd.DataFrame) -> None:
    curves.assign(batch_size=-128).to_csv(path, index=False)


def nothing(path: Path, curves: pd.DataFrame) -> None:
    path.touch()


def header_alone(path: Path, curves: pd.DataFrame) -> None:
    curves.iloc[:0].to_csv(path, index=False)


def truncated_parquet(path: Path, curves: pd.DataFrame) -> None:
    curves.to_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def absent(path: Path, curves: pd.DataFrame) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "name", "said"),
    [
        (nan_rows, "c.csv", "episode_return must be filled in; got nan at lines 5, 10"),
        (no_seed, "c.csv", "has no column 'seed'"),
        (duplicates, "c.csv", "one evaluation of one run came twice"),
        (text_in_numbers, "c.csv", "utd must be a number; got two at line 6"),
        (infinite_learning_rate, "c.csv", "learning_rate must be finite; got inf"),
        (negative_batch_size, "c.csv", "batch_size must be > 0; got -128"),
        (nothing, "c.csv", "is empty (0 bytes)"),
        (nothing, "c.parquet", "is empty (0 bytes)"),
        (header_alone, "c.csv", "has no rows"),
        (truncated_parquet, "c.parquet", "is truncated"),
        (absent, "c.csv", "was not found"),
        (absent, "*.csv", "no file matches"),
        (absent, "c.xlsx", "tables are read from .csv, .csv.gz and .parquet"),
    ],
)
def test_bad_curves(
    spoil: Callable[[Path, pd.DataFrame], None], name: str, said: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    spoil(tmp_path / name, simulated_curves().iloc[:40].copy())
    out = tmp_path / "fit.nc"
    message = refused("fit", tmp_path / name, "--out", out)
    assert said in message
    assert str(tmp_path / name) in message
    assert [path.name for path in tmp_path.iterdir() if path.name != name] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("env_id,utd,batch_size\nAnt-v4,1,256\n", "has no column 'learning_rate'"),
        ("env_id,utd,batch_size,learning_rate\nAnt-v4,1,256,inf\n", "learning_rate must be finite"),
        ("env_id,utd,batch_size,learning_rate\nAnt-v4,0,256,1e-4\n", "utd must be > 0; got 0"),
        ("env_id,utd,batch_size,learning_rate\nAnt-v4,1,,1e-4\n", "batch_size must be filled in"),
        ("env_id,utd,batch_size,learning_rate\n", "has no rows"),
    ],
)
def test_bad_configurations(text: str, said: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "configs.csv").write_text(text)
    assert said in refused("predict", "f.nc", "--at", tmp_path / "configs.csv", "--out", tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_the_process_says_one_line_on_standard_error_and_returns_the_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bayescale.cli", "fit", "no.csv", "--out", "fit.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no.csv was not found. Check the path.\n"


# Sweeps.

PLAN = """
env_id = "Pendulum-v1"
utd = [0.5, 1]
batch_size = [16]
learning_rate = [3e-4]
seed = [0, 1]
env_steps = 2000
"""


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    assert cli.main(["sweep", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "runs"), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("4 runs, 8,000 env steps, ")
    assert not (tmp_path / "runs").exists()


def test_an_engine_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    arguments = ["sweep", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "runs"), "--engine", "slurm"]
    assert cli.main(arguments) == 2
    assert "engine must be one of local; got 'slurm'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# Failures that are nobody's input.


def test_an_internal_error_is_one_line_unless_the_traceback_is_asked_for(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("bayescale.read_curves", fail)
    said = refused("fit", "a.csv", "--out", tmp_path / "fit.nc", code=1)
    assert "internal error: RuntimeError: first line second line; run with BAYESCALE_DEBUG=1" in said
    monkeypatch.setenv("BAYESCALE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="first line"):
        cli.main(["fit", "a.csv", "--out", str(tmp_path / "fit.nc")])


def test_an_interrupt_ends_with_one_line_and_130(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayescale.read_curves", interrupt)
    assert "interrupted" in refused("fit", "a.csv", "--out", tmp_path / "fit.nc", code=130)


def write_half(path: Path, error: Exception) -> None:
    with outputs.written(path) as partial:
        partial.write_text("half")
        raise error


def test_output_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with outputs.written(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    said = r"table.csv cannot be written \(No space left on device\). Free some space"
    with pytest.raises(InputError, match=said):
        write_half(tmp_path / "table.csv", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []


# The whole chain on small simulated curves.


@pytest.fixture(scope="module")
def curves_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curves") / "curves.csv.gz"
    simulated_curves().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fit_file(curves_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Too few draws to be trusted, enough to see that each command does its work."""
    out = tmp_path_factory.mktemp("fit") / "fit.nc"
    short = ["--chains", "2", "--warmup", "150", "--draws", "100", "--allow-unconverged"]
    assert cli.main(["fit", str(curves_file), "--out", str(out), "--thresholds", THRESHOLDS, *short]) == 0
    return out


def test_draws_that_cannot_be_trusted_are_exit_code_3_and_no_file(
    curves_file: Path, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, require_convergence: bool) -> None:
        assert require_convergence
        raise NotConverged("not converged: the chains disagree; worst sigma (R-hat 1.2).", ("sigma",))

    monkeypatch.setattr("bayescale.fit", fail)
    out = tmp_path / "fit.nc"
    assert "worst sigma (R-hat 1.2)" in refused("fit", curves_file, "--out", out, code=3)
    assert not out.exists()


def test_predict_writes_a_row_per_configuration_and_threshold(fit_file: Path, tmp_path: Path) -> None:
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
    assert cli.main(["predict", str(fit_file), "--at", str(tmp_path / "configs.csv"), "--out", str(out)]) == 0
    predicted = pd.read_csv(out)
    quantiles = ["q05", "q10", "q25", "q50", "q75", "q90", "q95"]
    law = ["law_q05", "law_q50", "law_q95"]
    assert {*configs.columns, "threshold", *quantiles, *law, "p_reach", "extrapolated"} <= set(predicted.columns)
    assert len(predicted) == 3 * 3
    assert (np.diff(predicted[quantiles].to_numpy(), axis=1)[np.isfinite(predicted["q95"])] > 0).all()
    assert predicted["p_reach"].between(0, 1).all()
    assert not predicted.loc[predicted["note"] == "inside", "extrapolated"].any()
    assert predicted.loc[predicted["note"] == "outside", "extrapolated"].all()
    known = predicted.query("note == 'inside' and threshold == 500")["law_q50"].item()
    assert known == pytest.approx(2.0e4 * (1 + 2**-0.7) * np.log(2), rel=0.15)


def test_frontier_writes_a_row_per_utd(fit_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "frontier.csv"
    options = ["--env", "Ant-v4", "--threshold", "500", "--utd", "1:8:4", "--out", str(out)]
    assert cli.main(["frontier", str(fit_file), *options]) == 0
    table = pd.read_csv(out)
    np.testing.assert_allclose(table["utd"], [1, 2, 4, 8])
    for name in ("batch_size", "learning_rate", "env_steps", "flops"):
        assert (table[f"{name}_q05"] < table[f"{name}_q50"]).all()
        assert (table[f"{name}_q50"] < table[f"{name}_q95"]).all()
    assert table["env_steps_q50"].is_monotonic_decreasing


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
    assert f"UTD {choice['utd']:.3g}" in capsys.readouterr().out


def test_an_infeasible_budget_is_exit_code_4_and_still_written(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "choice.json"
    assert cli.main(["allocate", str(fit_file), "--env", "Ant-v4", "--budget", "1", "--out", str(out)]) == 4
    assert json.loads(out.read_text())["feasible"] is False
    said = capsys.readouterr()
    assert re.fullmatch(r"error: [^\n]+cheapest[^\n]+\n", said.err)
    assert "UTD" in said.out


def test_report_writes_one_page(fit_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert cli.main(["report", str(fit_file), "--out", str(out)]) == 0
    assert "Ant-v4" in out.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [out]


def test_a_task_without_runs_gets_the_population_and_a_note(
    fit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "frontier.csv"
    options = ["--env", "Ent-v4", "--threshold", "500", "--out", str(out)]
    assert cli.main(["frontier", str(fit_file), *options]) == 0
    assert capsys.readouterr().err == "note: no run of Ent-v4 was fitted; this is the prediction for a new task.\n"
    assert len(pd.read_csv(out)) > 1


def test_a_threshold_that_was_not_fitted_is_refused(
    fit_file: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "frontier.csv"
    said = refused("frontier", fit_file, "--env", "Ant-v4", "--threshold", "501", "--out", out)
    assert "threshold 501 was not fitted; choose one of 300, 500, 800" in said
    assert not out.exists()


def test_a_file_that_is_no_posterior_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "fit.nc").write_text("not netCDF")
    assert "fit.nc" in refused("report", tmp_path / "fit.nc", "--out", tmp_path / "report.html")
    assert "none.nc" in refused("report", tmp_path / "none.nc", "--out", tmp_path / "report.html")
