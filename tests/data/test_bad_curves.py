"""Test that invalid learning-curve tables are refused with the place and the remedy."""

import numpy as np
import pandas as pd
import pytest

from bayescale.data.curves import read_curves
from bayescale.data.curves import validate_curves as validate
from tests.scaffolding.small_curves import csv, fails, table, with_value

BAD_VALUES = [
    ("learning_rate", np.inf, "learning_rate must be finite; got inf at {place}. Correct or remove these rows."),
    ("learning_rate", 0.0, "learning_rate must be > 0; got 0.0 at {place}."),
    ("learning_rate", np.nan, "learning_rate must be filled in; got nan at {place}."),
    ("utd", -1.0, "utd must be > 0; got -1.0 at {place}. utd is gradient updates per env step; gradient_steps = -1 of"),
    ("batch_size", 0, "batch_size must be > 0; got 0 at {place}."),
    ("batch_size", 0.5, "batch_size must be a whole number of 64 bits; got 0.5 at {place}."),
    ("model_size", -3, "model_size must be > 0; got -3 at {place}."),
    ("seed", 1.5, "seed must be a whole number of 64 bits; got 1.5 at {place}."),
    ("seed", 1e30, "seed must be a whole number of 64 bits; got 1e+30 at {place}."),
    ("env_steps", -1, "env_steps must be >= 0; got -1 at {place}."),
    ("env_id", None, "env_id must be filled in; got"),
    ("suite", "", "suite must be filled in; got"),
]


@pytest.mark.parametrize(("column", "value", "text"), BAD_VALUES)
@pytest.mark.parametrize("kind", ["frame", "csv", "parquet"])
def test_bad_values_are_named_with_their_place(tmp_path, column, value, text, kind):
    frame = with_value(column, 4, value)
    if kind == "frame":
        fails("table 1: " + text.format(place="row 4"), frame)
    elif kind == "csv":
        path = csv(tmp_path, frame)
        fails(f"{path}: " + text.format(place="line 6"), path)
    else:
        path = tmp_path / "curves.parquet"
        frame.to_parquet(path)
        fails(f"{path}: " + text.format(place="row 4"), path)


def test_whole_numbers_stored_as_floats_become_integers():
    assert validate(with_value("seed", 5, 1.0))["seed"].dtype == np.int64


def test_text_in_a_number_column_names_the_lines_of_the_file(tmp_path):
    path = csv(tmp_path, with_value("utd", 2, "fast"))
    fails(f"{path}: utd must be a number; got fast at line 4. Correct or remove these rows.", path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]))
    fails("got fast at line 5.", path)


def test_text_in_a_number_column_of_a_frame_or_parquet_file_is_not_parsed(tmp_path):
    text = table().astype({"batch_size": str})
    fails("table 1: batch_size must be a number; got 256 at rows 0, 1, 2, 3, 4, ... (6 in all). Convert", text)
    text.to_parquet(tmp_path / "text.parquet")
    fails("with pandas.to_numeric.", tmp_path / "text.parquet")


@pytest.mark.parametrize("value", [True, pd.Timestamp("2025-01-01"), 1j])
def test_booleans_dates_and_complex_numbers_are_no_numbers(value):
    fails("seed must be a number", table(seed=value))
    fails("seed must be a number", with_value("seed", 1, value))


def test_true_and_false_in_a_csv_are_not_numbers(tmp_path):
    fails("utd must be a number; got True", csv(tmp_path, table(utd=True)))


def test_numbers_in_a_text_column_of_a_frame_are_refused():
    fails("algorithm must be text; got 3 at rows 0, 1, 2, 3, 4, ... (6 in all). Convert it", table(algorithm=3))


def test_the_rows_of_a_frame_are_named_by_its_index():
    fails("utd must be > 0; got 0 at rows e, f (2 in all)", table(utd=[1, 1, 1, 1, 0, 0]).set_axis([*"abcdef"]))


@pytest.mark.parametrize(
    ("came", "remedy"),
    [("lr", "Did you mean 'lr'? Rename it."), ("learningrate", "Did you mean 'learningrate'?"), ("x", "Add it.")],
)
def test_a_missing_column_is_named_with_the_columns_that_the_table_has(tmp_path, came, remedy):
    path = csv(tmp_path, table().rename(columns={"learning_rate": came}))
    fails(
        f"{path} has no column 'learning_rate'; its columns are suite, algorithm, env_id, utd, batch_size, {came}", path
    )
    fails(remedy, path)


def test_duplicates_are_named_within_and_across_files(tmp_path):
    one = csv(tmp_path, table(), "one.csv")
    two = csv(tmp_path, table()[4:], "two.csv")
    fails(
        f"one evaluation of one run came twice: {one} line 6 and {two} line 2; {one} line 7 and {two} line 3 (2 in",
        one,
        two,
    )
    fails("came twice: table 1 row 0 and table 1 row 1 (1 in all). Remove one of each", table(1, env_steps=[5, 5, 6]))
    fails("came twice", one, one)
    rows = "row 0 and table 1 row 1; table 1 row 1 and table 1 row 2; table 1 row 2 and table 1 row 3 (4 in all)"
    fails(f"came twice: table 1 {rows}", table(1, 5, env_steps=7))


def test_equal_steps_of_different_runs_are_no_duplicates():
    assert len(validate(pd.concat([table(1, 1), table(1, 1, utd=1.0), table(1, 1, batch_size=1)]))) == 3


def test_an_optional_column_in_some_files_only_is_refused():
    fails("table 1 has the column 'suite' and table 2 has not", table(1), table(1, seed=5).drop(columns="suite"))


def test_further_columns_may_differ_between_files():
    curves = read_curves(table(1, note="x"), table(1, seed=5))
    assert list(curves["note"].isna()) == [False] * 3 + [True] * 3


def test_a_column_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "twice.csv").write_text("seed,utd,utd\n1,2,3\n")
    fails("has the column 'utd' twice. Keep one of them.", tmp_path / "twice.csv")
    fails("table 1 has the column 'utd' twice", pd.concat([table(), table()[["utd"]]], axis=1))
