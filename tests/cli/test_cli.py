import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bayescale.cli import app as cli

COMMANDS = (
    "plan",
    "sweep",
    "import",
    "fit",
    "predict",
    "performance",
    "frontier",
    "allocate",
    "portfolio",
    "next",
    "recommend",
    "compare",
    "report",
    "demo",
    "doctor",
)


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
        (["fit"], "Missing argument 'CURVES' (see 'bayescale fit --help')"),
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
        (["fit", "a.csv", "--out", "fit.nc", "--seed", str(2**63)], "Invalid value for '--seed'"),
        (["demo", "--out", __file__], "test_cli.py is a file; name a folder"),
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


PLAN = """
env_id = "Pendulum-v1"
utd = [0.5, 1]
batch_size = [16]
learning_rate = [3e-4]
seed = [0, 1]
env_steps = 2000
"""


def test_a_dry_run_counts_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayescale.cli.commands.sweep.outlook", lambda *_: ["the rest of the dry run is real"])
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
    assert "engine must be one of local, ray; got 'slurm'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_internal_error_is_one_line_unless_the_traceback_is_asked_for(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **_options: object) -> None:
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
    def interrupt(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayescale.read_curves", interrupt)
    assert "interrupted" in refused("fit", "a.csv", "--out", tmp_path / "fit.nc", code=130)


def test_the_process_says_one_line_on_standard_error_and_returns_the_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bayescale", "fit", "no.csv", "--out", "fit.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no.csv was not found. Check the path.\n"
