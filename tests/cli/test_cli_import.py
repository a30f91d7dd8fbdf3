"""The command import turns the files of another tool into a table that fits, and says what it guessed and left out."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for utd in (1, 4):
        place = tmp_path / "sweep" / f"utd_{utd}" / "Ant-v4" / "episode.return"
        place.mkdir(parents=True)
        np.save(place / "bs_208_lr_0.0001.npy", np.array([[1000, 1.0, 5.0], [2000, 2.0, np.nan]]))
    (tmp_path / "sweep" / "notes.npy").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_import_writes_a_table_and_says_what_it_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["import", "qscaled", "sweep", "--out", "curves.parquet", "--constant", "algorithm=SAC"]
    assert cli.main([*command, "--constant", "model_size=150000"]) == 0
    said = capsys.readouterr().out
    assert "guess: episode_return: episode.return." in said
    assert "runs found: 4" in said
    assert "skipped: sweep/notes.npy: its path is none of qscaled's" in said
    assert "runs: 4, evaluations: 6, tasks: 1" in said
    curves = bs.read_curves("curves.parquet")
    assert len(curves) == 6
    assert set(curves["model_size"]) == {150000}


def test_a_dry_run_writes_a_mapping_to_edit_and_no_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "qscaled", "sweep", "--dry-run"]) == 2
    said = capsys.readouterr()
    assert "wrote MAP.toml" in said.out
    assert "no key gives algorithm" in said.err
    assert "--constant algorithm=VALUE" in said.err
    assert "Traceback" not in said.err
    template = (folder / "MAP.toml").read_text()
    assert tomllib.loads(template)["columns"]["batch_size"] == "batch_size"
    (folder / "MAP.toml").write_text(template + 'algorithm = "SAC"\nwho = "me"\n')
    assert cli.main(["import", "qscaled", "sweep", "--dry-run", "--map", "MAP.toml"]) == 0
    said = capsys.readouterr()
    assert "SAC" in said.out
    assert "208" in said.out
    assert not list(folder.glob("*.parquet"))
    assert cli.main(["import", "qscaled", "sweep", "--map", "MAP.toml", "--out", "c.parquet"]) == 0
    assert set(pd.read_parquet("c.parquet")["who"]) == {"me"}
    assert cli.main(["import", "qscaled", "sweep", "--dry-run", "--constant", "algorithm=BRO"]) == 0
    said = capsys.readouterr()
    assert "MAP.toml exists and is not replaced" in said.err
    assert "BRO" in said.out


def test_the_unit_of_the_step_counter_is_an_option(folder: Path) -> None:
    command = ["import", "qscaled", "sweep", "--out", "c.parquet", "--constant", "algorithm=SAC"]
    for option in ("--constant", "--key"):
        assert cli.main([*command, option, "env_steps_factor=4"]) == 0
        assert set(pd.read_parquet("c.parquet")["env_steps"]) == {4000, 8000}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["import", "word", "sweep", "--out", "c.parquet"], "KIND must be"),
        (["import", "qscaled", "sweep"], "--out is missing"),
        (["import", "qscaled", "sweep", "--out", "c.csv"], "--out must end in .parquet"),
        (["import", "qscaled", "nowhere", "--out", "c.parquet"], "nowhere is no folder"),
        (["import", "qscaled", "sweep", "--out", "c.parquet", "--key", "utd"], "--key must be COLUMN=KEY"),
        (["import", "qscaled", "sweep", "--out", "c.parquet", "--key", "seed=a", "--key", "seed=b"], "seed twice"),
        (["import", "qscaled", "sweep", "--out", "c.parquet", "--key", "a=b", "--constant", "a=b"], "both name a"),
        (
            ["import", "qscaled", "sweep", "--out", "c.parquet", "--constant", "env_steps=3"],
            "env_steps differs between",
        ),
        (["import", "qscaled", "sweep", "--out", "c.parquet", "--map", "no.toml"], "no.toml cannot be read"),
        (["import", "qscaled", "sweep", "--out", "c.parquet", "--map", "sweep/notes.npy"], "is no TOML"),
        (["import", "qscaled", "sweep", "--out", "c.parquet", "--resumed", "yes"], "resumed must be"),
    ],
)
def test_bad_usage_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert cli.main(options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (folder / "c.parquet").exists()


@pytest.mark.parametrize(
    "text",
    ["utd = 3", "columns = 1", "[columns]\nutd = 2", "[constants]\na = [1]", "env_steps_factor = 0",
     "smooth_episodes = 0", "other = 1", "env_steps_factor = true", "a = " + "[" * 5000],
)  # fmt: skip
def test_a_bad_mapping_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (folder / "MAP.toml").write_text(text)
    assert cli.main(["import", "qscaled", "sweep", "--out", "c.parquet", "--map", "MAP.toml"]) == 2
    assert "MAP.toml" in capsys.readouterr().err
