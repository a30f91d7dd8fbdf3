"""Test reading, validating and writing learning-curve tables."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.data.curves import RUN_COLUMNS, read_curves, run_columns, run_starts, write_curves
from bayescale.data.curves import validate_curves as validate
from tests.scaffolding.small_curves import csv, table


@pytest.mark.parametrize("name", ["curves.csv", "curves.csv.gz", "curves.parquet", "CURVES.CSV"])
def test_every_format_gives_the_same_table(tmp_path, name):
    frame, path = table(utd=1 / 3, learning_rate=0.1 + 0.2), tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_curves(path), validate(frame))
    pd.testing.assert_frame_equal(read_curves(str(path)), validate(frame))


def test_the_table_has_the_documented_types_and_order():
    curves = validate(table()[::-1][list(reversed(table().columns))].assign(wall_time=1.5))
    assert list(curves.columns) == [*RUN_COLUMNS, "env_steps", "episode_return", "wall_time"]
    assert [curves[name].dtype for name in ("utd", "learning_rate", "episode_return")] == [np.float64] * 3
    assert [curves[name].dtype for name in ("batch_size", "model_size", "seed", "env_steps")] == [np.int64] * 4
    assert (curves["env_id"] + "!" == "Pendulum-v1!").all()
    assert list(curves.index) == list(range(6))
    assert list(curves["seed"]) == [0, 0, 0, 1, 1, 1]
    assert list(curves["env_steps"]) == [1000, 2000, 3000] * 2


def test_runs_are_sorted_by_value_and_found_again():
    parts = [table(1, 2, utd=utd, env_id=env_id) for utd in (10.0, 2.0) for env_id in ("b", "a")]
    curves = validate(pd.concat(parts))
    assert list(curves["env_id"]) == ["a"] * 4 + ["b"] * 4
    assert list(curves["utd"]) == [2, 2, 10, 10] * 2
    assert list(run_starts(curves)) == [0, 2, 4, 6]


@pytest.mark.parametrize("absent", [["suite"], ["model_size"], ["suite", "model_size"]])
def test_optional_columns_may_be_absent(tmp_path, absent):
    curves = read_curves(csv(tmp_path, table().drop(columns=absent)))
    assert run_columns(curves) == [name for name in RUN_COLUMNS if name not in absent]
    assert len(run_starts(curves)) == 2


def test_files_globs_and_frames_mix(tmp_path):
    for seed in range(3):
        csv(tmp_path, table(1, seed=seed), f"run{seed}.csv")
    write_curves(table(1, seed=7), tmp_path / "run7.parquet")
    curves = read_curves(str(tmp_path / "*.csv"), [tmp_path / "run7.parquet", table(1, seed=9)])
    assert list(curves["seed"].unique()) == [0, 1, 2, 7, 9]


def test_globs_reach_folders_below_and_the_home(tmp_path, monkeypatch):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    path = csv(below, table(1))
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (tmp_path / "**" / "*.csv", "~/a/b/*.csv", "~/a/b/" + path.name):
        assert len(read_curves(source)) == 3


def test_a_file_whose_name_looks_like_a_glob_is_read(tmp_path):
    assert len(read_curves(csv(tmp_path, table(), "run[1].csv"))) == 6


def test_a_named_index_counts_as_columns(tmp_path):
    indexed = table().set_index(["env_id", "seed"])
    indexed.to_parquet(tmp_path / "indexed.parquet")
    pd.testing.assert_frame_equal(read_curves(tmp_path / "indexed.parquet"), validate(table()))
    pd.testing.assert_frame_equal(validate(indexed), validate(table()))


def test_a_stale_index_of_a_filtered_frame_does_not_stay(tmp_path):
    table(3).query("seed != 1").to_parquet(tmp_path / "filtered.parquet")
    assert list(read_curves(tmp_path / "filtered.parquet").columns) == list(table().columns)


@pytest.mark.parametrize("dtype", ["category", "object", "string"])
def test_text_may_come_in_any_pandas_type(dtype):
    pd.testing.assert_frame_equal(validate(table().astype({"env_id": dtype, "suite": dtype})), validate(table()))


def test_numbers_may_come_in_any_numeric_type():
    narrow = table().astype({"seed": "uint8", "env_steps": "float64", "batch_size": "Int32", "model_size": "category"})
    pd.testing.assert_frame_equal(validate(narrow.astype({"utd": object})), validate(table()))


def test_float32_settings_are_read_as_their_decimals():
    curves = validate(table(learning_rate=np.float32(1e-4), episode_return=np.float32(0.1)))
    assert set(curves["learning_rate"]) == {1e-4}
    assert set(curves["episode_return"]) == {float(np.float32(0.1))}


def test_csv_with_blank_lines_spaces_byte_order_mark_and_quoted_numbers(tmp_path):
    lines = table().to_csv(index=False).replace(",256,", ', "256",').splitlines()
    (tmp_path / "a.csv").write_text(
        "\n".join([lines[0].replace(",", " , "), *lines[1:4], "", *lines[4:], "", ""]), "utf-8-sig"
    )
    pd.testing.assert_frame_equal(read_curves(tmp_path / "a.csv"), validate(table()))


def test_numbers_in_text_columns_of_a_csv_stay_text(tmp_path):
    curves = read_curves(csv(tmp_path, table(suite="1", algorithm="2", env_id="007")))
    assert curves[["suite", "algorithm", "env_id"]].drop_duplicates().to_numpy().tolist() == [["1", "2", "007"]]


@given(data=st.data())
def test_parquet_round_trip_loses_nothing(tmp_path_factory, data):
    rows = data.draw(st.integers(1, 8))
    reals = st.floats(allow_nan=False, allow_infinity=False)
    frame = table(1, rows).assign(
        seed=data.draw(st.integers(-(2**63), 2**63 - 1)),
        learning_rate=data.draw(st.floats(1e-300, 1e300)),
        episode_return=data.draw(st.lists(reals, min_size=rows, max_size=rows)),
        env_id=data.draw(st.text(st.characters(codec="utf-8")).map(str.strip).filter(bool)),
        note=data.draw(st.lists(st.none() | st.text(st.characters(codec="utf-8")), min_size=rows, max_size=rows)),
        hours=np.float32(0.1),
        machine=pd.Categorical(["a"] * rows, ["b", "a"]),
        started=pd.Timestamp("2025-01-01", tz="UTC"),
        evaluations=pd.array([None] + [3] * (rows - 1), "Int16"),
    )
    path = tmp_path_factory.mktemp("round") / "curves.parquet"
    write_curves(frame, path)
    pd.testing.assert_frame_equal(read_curves(path), validate(frame))


@given(order=st.permutations(range(12)))
def test_the_order_of_rows_does_not_matter(order):
    pd.testing.assert_frame_equal(validate(table(3, 4).iloc[list(order)]), validate(table(3, 4)))


def test_validating_twice_changes_nothing_and_the_input_is_not_modified():
    frame = table()[::-1]
    before = frame.copy()
    curves = validate(frame)
    pd.testing.assert_frame_equal(validate(curves), curves)
    pd.testing.assert_frame_equal(frame, before)
