"""Bad tables at the command line: exit code 2, one sentence, no output."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import InputError
from tests.scaffolding.simulated_curves import simulated_curves


def nan_rows(path: Path, curves: pd.DataFrame) -> None:
    curves.loc[[38, 39], "episode_return"] = np.nan
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
        (nan_rows, "c.csv", "line 40 to the end of the run (1 run in all). If these runs had ended there"),
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


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "c.csv", "--out", "f.nc"],
        ["compare", "c.csv", "--leave-out", "seeds", "--out", "t.csv"],
        ["report", "f.nc", "--curves", "c.csv", "--out", "r.html"],
    ],
    ids=lambda command: command[0],
)
def test_answers_about_the_curves_reach_read_curves(
    command: list[str], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[tuple[str, ...], dict[str, object]]] = []

    def read(*curves: str, **answers: object) -> pd.DataFrame:
        asked.append((curves, answers))
        raise InputError("read.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bayescale.read_curves", read)
    monkeypatch.setattr("bayescale.load", lambda _: None)
    options = ["--resumed", "keep-last", "--missing-end", "ended", "--ignore", "tau", "--ignore", "gamma"]
    for answers in ([], options):
        assert refused(*command, *answers) == "error: read.\n"
    none, given = (answers for _, answers in asked)
    assert none == {"resumed": None, "missing_end": None, "ignore": ()}
    assert given == {"resumed": "keep-last", "missing_end": "ended", "ignore": ["tau", "gamma"]}
    assert [curves for curves, _ in asked] == [("c.csv",)] * 2


def test_a_resumed_run_is_refused_with_the_flag(refused: Callable[..., str], tmp_path: Path) -> None:
    curves = simulated_curves().iloc[:80]
    pd.concat([curves, curves.iloc[10:40]]).to_csv(tmp_path / "c.csv", index=False)
    fit = ("fit", tmp_path / "c.csv", "--out", tmp_path / "f.nc")
    assert "keep its later rows with resumed='keep-last' (--resumed keep-last)" in refused(*fit)
    assert "resumed must be 'keep-last', or None; got 'keep-first'" in refused(*fit, "--resumed", "keep-first")
