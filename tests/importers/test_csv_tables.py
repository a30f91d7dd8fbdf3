"""Long and wide tables with any names of columns become a learning-curve table."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.importers import read_csv_tables
from bayescale.importers.kinds.csv_tables import guess_csv, log_csv
from bayescale.importers.run_logs import ColumnMapping

SETTINGS = {"algorithm": "SAC", "env_id": "Hopper-v4", "utd": 1, "batch_size": 64, "learning_rate": 3e-4}


def long_table() -> pd.DataFrame:
    runs = [(every, seed, step) for every in (1, 2) for seed in (0, 2**53 + 1) for step in (100, 200)]
    frame = pd.DataFrame(runs, columns=["train_freq", "seed", "global_step"])
    return frame.assign(
        algo="SAC", env="NA", batch=64, lr=3e-4, gradient_steps=2, episodic_return=range(len(frame)), loss=0.5
    )


def test_a_long_table_with_the_names_of_other_tools_needs_only_the_utd(tmp_path: Path) -> None:
    long_table().to_csv(tmp_path / "runs.csv", index=False)
    logs = log_csv(tmp_path / "runs.csv")
    _, guesses = guess_csv(logs)
    assert "batch_size: the column batch." in guesses
    with pytest.raises(InputError, match=r"no key gives utd.*Likely keys: gradient_steps, train_freq"):
        read_csv_tables(tmp_path / "runs.csv")
    curves = read_csv_tables(tmp_path / "*.csv", mapping=ColumnMapping(utd="gradient_steps / train_freq"))
    assert set(curves["utd"]) == {1.0, 2.0}
    assert set(curves["seed"]) == {0, 2**53 + 1}
    assert set(curves["env_id"]) == {"NA"}
    assert curves["env_steps"].tolist() == [100, 200] * 4
    assert curves["episode_return"].tolist() == [4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0]
    assert "loss" not in curves


def test_several_columns_that_may_hold_a_return_are_a_question(tmp_path: Path) -> None:
    frame = long_table().assign(score=1.0, utd=1)
    frame.to_parquet(tmp_path / "runs.parquet")
    _, guesses = guess_csv(log_csv(tmp_path / "runs.parquet"))
    assert any("episodic_return and score may hold it" in guess for guess in guesses)
    with pytest.raises(InputError, match="no key gives episode_return"):
        read_csv_tables(tmp_path / "runs.parquet")


def test_a_further_setting_is_not_lost(tmp_path: Path) -> None:
    frame = pd.DataFrame({"env_steps": [1, 2, 1, 2], "episode_return": 1.0, "seed": [0, 0, 1, 1], "tau": [1, 1, 2, 2]})
    frame.assign(**SETTINGS).to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError, match="tau differs between runs"):
        read_csv_tables(tmp_path / "runs.csv")


@pytest.mark.parametrize("key", ["seconds", "wall_time"])
def test_seconds_belong_to_evaluations_and_are_no_setting(tmp_path: Path, key: str) -> None:
    long_table().assign(**{key: range(8)}).to_csv(tmp_path / "runs.csv", index=False)
    mapping = ColumnMapping(utd="gradient_steps / train_freq", columns={} if key == "seconds" else {"seconds": key})
    curves = read_csv_tables(tmp_path / "runs.csv", mapping=mapping)
    assert curves.sort_values(["utd", "seed", "env_steps"])["seconds"].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert len(curves.drop_duplicates(["utd", "seed"])) == 4


BIG = 1731000000123456701  # a seed from a clock in nanoseconds


def numbers(**columns: object) -> pd.DataFrame:
    """Return a table of two runs whose settings are numbers alone; their seeds differ in the last digit."""
    steps = pd.DataFrame({"t": [1, 2, 1, 2], "R": [1.0, 2.0, 3.0, 4.0], "number": [BIG, BIG, BIG + 1, BIG + 1]})
    return steps.assign(updates=0.5, rate=3e-4, **columns)


OWN_NAMES = ColumnMapping(
    columns={"seed": "number", "learning_rate": "rate"},
    constants={"algorithm": "SAC", "env_id": "Hopper-v4", "batch_size": 64},
    utd="updates",
    env_steps="t",
    episode_return="R",
)


@pytest.mark.parametrize("layout", [{}, {"sep": ";", "decimal": ","}, {"sep": "\t", "encoding": "utf-16"}])
@pytest.mark.parametrize("blank", [False, True])
@pytest.mark.filterwarnings("ignore:.* was read with")
def test_columns_that_only_a_key_names_keep_their_digits(tmp_path: Path, layout: dict, blank: bool) -> None:
    numbers().to_csv(tmp_path / "runs.csv", index=False, **layout)
    if blank:
        encoding = layout.get("encoding", "utf-8")
        lines = (tmp_path / "runs.csv").read_text(encoding).splitlines()
        (tmp_path / "runs.csv").write_text("\n".join([*lines[:3], "", *lines[3:]]), encoding)
    curves = read_csv_tables(tmp_path / "runs.csv", mapping=OWN_NAMES)
    assert curves["seed"].tolist() == [BIG, BIG, BIG + 1, BIG + 1]
    assert curves["episode_return"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert set(curves["utd"]) == {0.5}


@pytest.mark.parametrize("names", [["NA", "EU"], ["None", "None"], ["null", "Ant"]])
def test_columns_that_only_a_key_names_keep_names_such_as_na(tmp_path: Path, names: list[str]) -> None:
    numbers(world=[names[0]] * 2 + [names[1]] * 2).to_csv(tmp_path / "runs.csv", index=False)
    constants = {name: value for name, value in OWN_NAMES.constants.items() if name != "env_id"}
    mapping = replace(OWN_NAMES, columns={**OWN_NAMES.columns, "env_id": "world"}, constants=constants)
    curves = read_csv_tables(tmp_path / "runs.csv", mapping=mapping)
    assert curves.sort_values("seed")["env_id"].tolist() == [names[0]] * 2 + [names[1]] * 2


def test_large_floats_and_missing_numbers_stay_numbers(tmp_path: Path) -> None:
    frame = numbers(flops=[1.5e16, 2e16, float("nan"), 3e17], loss=[float("nan")] * 4)
    frame.to_csv(tmp_path / "runs.csv", index=False, na_rep="nan")
    (log,) = log_csv(tmp_path / "runs.csv").runs
    assert log.history["flops"].dtype == log.history["loss"].dtype == float


def test_a_status_that_is_unknown_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    long_table().rename(columns={"train_freq": "utd"}).assign(status="COMPLETED").to_csv("runs.csv", index=False)
    command = ["import", "csv", "runs.csv", "--out", "c.parquet"]
    assert cli.main(command) == 2
    assert cli.main([*command, "--ignore", "status"]) == 0
    assert "status" not in pd.read_parquet("c.parquet")


@pytest.mark.parametrize("dtype", ["float16", "float32", "Float32", "float[pyarrow]"])
def test_narrow_rates_are_the_decimals_that_they_print_as(tmp_path: Path, dtype: str) -> None:
    frame = long_table().assign(utd=1).query("train_freq == 1").astype({"lr": dtype})
    if dtype == "float16":  # pandas writes none
        wide = pa.Table.from_pandas(frame.astype({"lr": "float32"}), preserve_index=False)
        place = wide.column_names.index("lr")
        pq.write_table(wide.set_column(place, "lr", wide["lr"].cast(pa.float16())), tmp_path / "runs.parquet")
    else:
        frame.to_parquet(tmp_path / "runs.parquet")
    assert set(read_csv_tables(tmp_path / "runs.parquet")["learning_rate"]) == {3e-4}


def test_a_url_and_partitions_are_sources(tmp_path: Path) -> None:
    frame = long_table().assign(utd=1)[lambda t: t["train_freq"] == 1]
    frame.to_parquet(tmp_path / "runs.parquet")
    frame.to_parquet(tmp_path / "parts", partition_cols=["env", "lr"])
    for source in (f"file://{tmp_path}/runs.parquet", tmp_path / "parts"):
        curves = read_csv_tables(source)
        assert set(curves["env_id"]) == {"NA"}
        assert set(curves["learning_rate"]) == {3e-4}
        assert set(curves["seed"]) == {0, 2**53 + 1}


def test_all_settings_without_a_key_are_named_at_once(tmp_path: Path) -> None:
    numbers().to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(
        InputError,
        match=r"no key gives algorithm, nor env_id, utd, batch_size, learning_rate. Likely keys: utd: updates",
    ):
        read_csv_tables(tmp_path / "runs.csv", mapping=ColumnMapping(env_steps="t", episode_return="R"))
    numbers().assign(rep_ratio=2, bsz=64).to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError) as refused:
        read_csv_tables(tmp_path / "runs.csv", mapping=ColumnMapping(episode_return="R"))
    said = str(refused.value)
    assert "no key gives env_steps, nor algorithm, env_id, utd, batch_size, learning_rate. Likely keys: " in said
    assert "utd: rep_ratio, updates; batch_size: bsz. Give each as --key COLUMN=KEY" in said


def test_runs_without_seeds_go_by_their_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({"env_steps": [1, 1, 2, 2], "episode_return": [1.0, 2.0, 3.0, 4.0], "run_id": [7, 8, 7, 8]})
    frame.assign(status="crashed", **SETTINGS).to_csv(tmp_path / "runs.csv", index=False)
    curves = read_csv_tables(tmp_path / "runs.csv")
    assert curves.groupby("seed")["episode_return"].apply(list).to_dict() == {0: [1.0, 3.0], 1: [2.0, 4.0]}
    assert set(curves["status"]) == {"crashed"}


def test_a_wide_table_has_a_run_per_column(tmp_path: Path) -> None:
    wide = pd.DataFrame({"Step": [1, 2, 3]})
    for seed in (3, 4):
        name = f"utd=4, seed={seed} - return"
        wide[name] = [seed, None, 2.0 * seed]
        wide[f"{name}__MIN"] = wide[f"{name}__MAX"] = wide[name]
    wide.to_csv(tmp_path / "chart.csv", index=False)
    constants = {name: value for name, value in SETTINGS.items() if name != "utd"}
    curves = read_csv_tables(tmp_path / "chart.csv", mapping=ColumnMapping(constants=constants))
    assert set(curves["utd"]) == {4.0}
    assert curves["seed"].tolist() == [3, 3, 4, 4]
    assert curves["env_steps"].tolist() == [1, 3, 1, 3]
    assert curves["episode_return"].tolist() == [3.0, 6.0, 4.0, 8.0]


def test_the_command_imports_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    long_table().to_csv("runs.csv", index=False)
    command = ["import", "csv", "runs.csv", "--out", "c.parquet", "--key", "utd=gradient_steps / train_freq"]
    assert cli.main(command) == 0
    assert "runs found: 4" in capsys.readouterr().out
    assert len(pd.read_parquet("c.parquet")) == 8
    assert cli.main(["import", "csv", "none*.csv", "--out", "d.parquet"]) == 2
