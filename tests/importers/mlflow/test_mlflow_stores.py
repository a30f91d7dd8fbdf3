"""Stores that MLflow's own client wrote become tables, equal to what the client reads from them."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.importers import read_mlflow
from bayescale.importers.kinds.mlflow import guess_mlflow, log_mlflow
from bayescale.importers.listed_runs import ListedRun
from bayescale.importers.run_logs import ColumnMapping
from tests.scaffolding import mlflow_stores

STORES = ("mlflow.db", "mlruns")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    command = [sys.executable, mlflow_stores.__file__, str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture
def inside(stores: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(stores)
    return stores


@pytest.mark.parametrize("store", STORES)
def test_every_point_is_the_one_that_the_client_reads(stores: Path, store: str) -> None:
    read = json.loads((stores / "read.json").read_text())[
        "sqlite:///mlflow.db" if store == "mlflow.db" else "file:./mlruns"
    ]
    logs = log_mlflow(stores / store)
    assert {run.label for run in logs.runs} == {name for name, metrics in read.items() if metrics}
    for run in logs.runs:
        assert isinstance(run, ListedRun)
        for key in ("eval/return", "loss"):
            rows = run.read(["mlflow.step", key]).history
            points = sorted(read[run.label][key], key=lambda point: (point[1], point[0]))
            by_step = sorted(points, key=lambda point: point[0])
            went_back = any(later[0] <= one[0] for one, later in pairwise(points))
            wanted = np.array(points if went_back else by_step)
            assert rows["mlflow.step"].tolist() == wanted[:, 0].tolist()
            finite = np.abs(wanted[:, 2]) < 1.7e308  # the client returns the largest float for infinity in a database
            np.testing.assert_array_equal(rows[key][finite], wanted[finite, 2])
            assert np.isinf(rows[key][np.abs(wanted[:, 2]) >= 1.7e308]).all()


@pytest.mark.parametrize("store", STORES)
def test_runs_have_the_settings_of_their_parents_and_keep_later_points(stores: Path, store: str) -> None:
    with pytest.warns(UserWarning, match=r"1 file or run left out.*parent\): it has no metric; 9 child runs may use"):
        curves = read_mlflow(stores / store)
    assert set(curves["algorithm"]) == {"SAC"}
    assert set(curves["env_id"]) == {"Ant-v4"}
    assert set(curves["batch_size"]) == {256}
    assert set(curves["learning_rate"]) == {3e-4}
    assert set(curves["utd"]) == {0.5, 1.0, 2.0}
    ends = curves.groupby(["utd", "seed"])["status"].first()
    assert ends[0.5].tolist() == ["finished", "crashed", "stopped early"]
    assert ends[2.0][2] == "running"
    resumed = curves[(curves["utd"] == 0.5) & (curves["seed"] == 0)]
    assert resumed["env_steps"].tolist() == [*range(1000, 11_000, 1000), 11_000, 12_000, 13_000]
    assert resumed["episode_return"].tolist()[-3:] == [0.0, 1.0, 2.0]


@pytest.mark.filterwarnings("ignore:1 file or run left out")
def test_both_stores_and_all_ways_to_name_them_give_one_table(inside: Path) -> None:
    table = read_mlflow("mlflow.db")
    for source in (f"sqlite:///{inside}/mlflow.db", "file:./mlruns"):
        pd.testing.assert_frame_equal(read_mlflow(source), table)
    (run,) = [meta.parent for meta in inside.glob("mlruns/*/*/meta.yaml") if "<b>2</b> 1" in meta.read_text()]
    one = read_mlflow(run, mapping=ColumnMapping(constants={"algorithm": "SAC", "env_id": "x", "batch_size": 8}))
    assert one["env_steps"].tolist() == list(range(1000, 13_000, 1000))


def test_the_command_says_what_it_did_and_takes_settings_from_names(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = ["--path-pattern", "{agent} <b>{updates}</b> {number}"]
    assert cli.main(["import", "mlflow", "mlflow.db", "--out", "c.parquet", *pattern, "--key", "utd=updates"]) == 0
    said = capsys.readouterr().out
    assert "guess: env_steps: taken from mlflow.step." in said
    assert "guess: eval/return is a return of evaluation." in said
    assert "note: 2 rows of resumed runs replaced by later rows." in said
    assert "runs: 9, evaluations: 109, tasks: 1" in said
    curves = bs.read_curves("c.parquet")
    assert set(curves["utd"]) == {1.0, 2.0, 4.0}


def test_a_step_that_numbers_points_is_a_question(tmp_path: Path) -> None:
    write_run(tmp_path / "mlruns", metrics={"return": [(i, i, float(i)) for i in range(5)]})
    mapping, said = guess_mlflow(log_mlflow(tmp_path / "mlruns"))
    assert mapping.env_steps is None
    assert any("only numbers the rows" in sentence and "env_steps_factor=NUMBER" in sentence for sentence in said)


SETTINGS = {"algorithm": "SAC", "env_id": "Ant", "utd": "1", "batch_size": "8", "lr": "1e-3", "seed": "0"}


def write_run(
    store: Path, *, name: str = "run", metrics: dict[str, list[tuple[int, int, float]]], meta: str = ""
) -> Path:
    """Write a run as MLflow's file store does: metrics hold (time, step, value)."""
    run = store / "1" / name
    for folder in ("metrics", "params", "tags"):
        (run / folder).mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '1'\nname: sweep\n")
    (run / "meta.yaml").write_text(f"run_id: {name}\nlifecycle_stage: active\nstatus: 3\nstart_time: 1\n{meta}")
    for key, value in SETTINGS.items():
        (run / "params" / key).write_text(value)
    for key, points in metrics.items():
        (run / "metrics" / key).write_text("".join(f"{time} {value} {step}\n" for time, step, value in points))
    return run


def test_points_that_share_a_step_share_a_row(tmp_path: Path) -> None:
    at_zero = {
        "env_steps": [(10 * i, 0, 1000.0 * i) for i in range(1, 4)],
        "return": [(10 * i + 1, 0, 1.0 * i) for i in range(1, 4)],
    }
    write_run(tmp_path / "mlruns", metrics=at_zero)
    curves = read_mlflow(tmp_path / "mlruns")
    assert curves[["env_steps", "episode_return"]].to_numpy().tolist() == [[1000, 1], [2000, 2], [3000, 3]]


def test_repeated_steps_with_unequal_counts_are_joined_by_time(tmp_path: Path) -> None:
    metrics = {
        "env_steps": [(i, 0, 1000.0 * i) for i in range(1, 6)],
        "return": [(2, 0, 2.0), (4, 0, 4.0)],
    }
    write_run(tmp_path / "mlruns", metrics=metrics)
    curves = read_mlflow(tmp_path / "mlruns")
    assert curves[["env_steps", "episode_return"]].to_numpy().tolist() == [[2000, 2], [4000, 4]]


def test_steps_that_start_over_are_two_trainings(tmp_path: Path) -> None:
    twice = [(i, 1000 * (i % 5 + 1), float(i)) for i in range(10)]
    write_run(tmp_path / "mlruns", metrics={"return": twice})
    with pytest.raises(InputError, match="--resumed keep-last"):
        read_mlflow(tmp_path / "mlruns")


def test_a_cut_or_damaged_file_is_listed_and_its_neighbours_are_read(tmp_path: Path) -> None:
    points = [(i, 1000 * i, float(i)) for i in range(1, 4)]
    store = tmp_path / "mlruns"
    cut = write_run(store, name="a", metrics={"return": points})
    (cut / "metrics" / "return").write_text("1 1.0 1000\n2 2.0 2000\n3 3.")
    damaged = write_run(store, name="b", metrics={"return": points})
    (damaged / "metrics" / "return").write_bytes(b"1 1.0 1000\nno number\n")
    tagged = write_run(store, name="c", metrics={"return": points})
    (tagged / "meta.yaml").write_text("!!python/object/apply:os.system ['touch hacked']\n")
    huge = write_run(store, name="d", metrics={"return": [(1, 10**30, 1.0)]})
    logs = log_mlflow(store)
    assert [run.read(["mlflow.step", "return"]).history["return"].tolist() for run in logs.runs] == [[1.0, 2.0]]
    reasons = {one.name: one.reason for one in logs.skipped}
    assert "cut short" in reasons[str(cut / "metrics" / "return")]
    assert "line 2 is no point" in reasons[str(damaged / "metrics" / "return")]
    assert "describes no run" in reasons[str(tagged / "meta.yaml")]
    assert "too large" in reasons[str(huge / "metrics" / "return")]
    assert not (tmp_path / "hacked").exists()


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    run = write_run(store, metrics={"return": [(1, 5000, 1.0), (2, 9000, 2.0)]})
    (store / "1" / "loop").symlink_to(store)
    (run / "params" / "secret").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("x")
    os.mkfifo(run / "metrics" / "pipe")
    os.mkfifo(run / "tags" / "pipe")
    logs = log_mlflow(store)
    assert len(logs.runs) == 1
    assert "secret" not in logs.runs[0].config


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no SQLite database"),
        (b"SQLite format 3\0" + b"x" * 5000, "cannot be read as a database of MLflow"),
        (None, "does not exist|cannot be read"),
    ],
)
def test_a_file_that_is_no_database(tmp_path: Path, refused, content: bytes | None, said: str) -> None:
    file = tmp_path / "mlflow.db"
    if content is not None:
        file.write_bytes(content)
    error = refused("import", "mlflow", file, "--out", tmp_path / "c.parquet")
    assert re.search(said, error)
    assert not (tmp_path / "c.parquet").exists()


def test_a_pipe_or_a_link_to_itself_is_no_database(tmp_path: Path, refused) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "loop.db").symlink_to(tmp_path / "loop.db")
    for name, said in (("pipe.db", "is no plain file. Check"), ("loop.db", "cannot be read")):
        assert said in refused("import", "mlflow", tmp_path / name, "--out", tmp_path / "c.parquet")


def test_a_truncated_database_ends_in_a_sentence(stores: Path, tmp_path: Path, refused) -> None:
    content = (stores / "mlflow.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(content[: len(content) // 2])
    assert "Copy it again" in refused("import", "mlflow", tmp_path / "cut.db", "--out", tmp_path / "c.parquet")


@pytest.mark.parametrize("changed", ["UPDATE metrics SET value = 'text'", "UPDATE metrics SET step = x'00'"])
def test_values_of_other_types_are_no_points(stores: Path, tmp_path: Path, changed: str) -> None:
    shutil.copy(stores / "mlflow.db", tmp_path / "odd.db")
    database = sqlite3.connect(tmp_path / "odd.db")
    database.execute(changed)
    database.commit()
    database.close()
    with pytest.raises(InputError, match="no run was found"):
        read_mlflow(tmp_path / "odd.db")


def test_views_are_not_read(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "views.db")
    for table in ("experiments", "metrics", "params", "tags"):
        database.execute(f"CREATE TABLE {table} (x)")
    database.execute("CREATE VIEW runs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n")
    database.commit()
    database.close()
    with pytest.raises(InputError, match="has no table 'runs'"):
        read_mlflow(tmp_path / "views.db")


@pytest.mark.parametrize("source", ["http://127.0.0.1:5000", "postgresql://me@host/db", "databricks://x"])
def test_a_server_is_refused_in_a_sentence(source: str) -> None:
    with pytest.raises(InputError, match="no SQLite database and no folder of MLflow"):
        read_mlflow(source)


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no mlflow\.db and no folder with a meta\.yaml"):
        read_mlflow(tmp_path)
