"""Test that numbers and names stay what they were in the file or frame."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bayescale.data.curves import read_curves
from bayescale.data.curves import validate_curves as validate
from tests.scaffolding.small_curves import csv, fails, table

BIG = 1731000000123456701  # a seed from a clock in nanoseconds; the nearest float is 1731000000123456768
BIG_SEEDS = [BIG, BIG + 1]


def big(dtype=object, convert=int):
    """Return a table of two runs whose seeds differ in the last digit."""
    return table(seed=pd.Series([convert(int(seed)) for seed in np.repeat(BIG_SEEDS, 3)], dtype=dtype))


@pytest.mark.parametrize(
    "frame",
    [
        big("int64"),
        big("uint64"),
        big("Int64"),
        big(pd.ArrowDtype(pa.int64())),
        big(object),
        big(object, np.int64),
        big(object, Decimal),
        big(pd.ArrowDtype(pa.decimal128(38, 0)), Decimal),
        big("category"),
    ],
    ids=["int64", "uint64", "Int64", "arrow", "object", "object of int64", "Decimal", "arrow decimal", "category"],
)
def test_whole_numbers_beyond_2_to_53_keep_every_digit(tmp_path, frame):
    assert sorted(validate(frame)["seed"].unique()) == BIG_SEEDS
    assert sorted(read_curves(csv(tmp_path, frame))["seed"].unique()) == BIG_SEEDS


@pytest.mark.parametrize("column", ["seed", "env_steps"])
@pytest.mark.parametrize("spoil", ["blank line", "blank line and quotes", "text below", "exponent"])
def test_whole_numbers_of_a_csv_keep_every_digit(tmp_path, column, spoil):
    frame = big("int64") if column == "seed" else table(env_steps=[BIG, BIG + 1, BIG + 2] * 2)
    text = frame.to_csv(index=False).splitlines()
    if spoil == "exponent":
        text = [line.replace(str(BIG), "1731000000123456.701e3") for line in text]
    if "quotes" in spoil:
        text = [line.replace(str(BIG), f'"{BIG}"') for line in text]
    lines = [*text[:4], "", *text[4:]]
    path = tmp_path / "curves.csv"
    path.write_text("\n".join(lines))
    if spoil == "text below":
        path.write_text("\n".join([*lines, lines[-1].replace(str(BIG + 1), "many").replace(str(BIG + 2), "many")]))
        fails(f"{column} must be a whole number" if column == "x" else f"{column} must be a number; got many", path)
        return
    curves = read_curves(path)
    assert sorted(curves[column].unique()) == sorted(frame[column].unique())
    assert len(curves) == len(frame)


def test_runs_joined_by_cat_with_a_blank_line_between_stay_apart(tmp_path):
    """The runs are seeded by the clock in nanoseconds and logged at different steps."""
    first = table(1, 4, seed=BIG)
    second = table(1, 4, seed=BIG + 1)
    second["env_steps"] += 37
    path = tmp_path / "curves.csv"
    path.write_text(f"{first.to_csv(index=False)}\n{second.to_csv(index=False, header=False)}")
    curves = read_curves(path)
    assert curves.groupby("seed").size().to_dict() == {BIG: 4, BIG + 1: 4}


def test_large_whole_numbers_in_floats_are_refused_because_digits_may_be_lost():
    text = "table 1: seed must be a whole number below 2^53 where it is stored as a float; got 1.731"
    fails(text, big("float64"))
    fails(text, big("Float64"))
    fails(text, big(object, float))
    assert set(validate(table(1, seed=2.0**53 - 1))["seed"]) == {2**53 - 1}


@pytest.mark.parametrize("value", [Decimal("1731000000123456701.5"), Decimal("1e30"), 2**64, 2**63, Decimal("NaN")])
def test_numbers_that_are_no_whole_number_of_64_bits_are_refused(value):
    fails("table 1: seed must be", table(seed=pd.Series([value] * 6, dtype=object)))


@pytest.mark.parametrize(
    "rates",
    [
        pd.Series([1e-4] * 6, dtype="float32"),
        pd.Series([1e-4] * 6, dtype="Float32"),
        pd.Series([1e-4] * 6, dtype=pd.ArrowDtype(pa.float32())),
        pd.Series([np.float32(1e-4)] * 6, dtype=object),
        pd.Series([1e-4] * 6, dtype="float16"),
        pd.Series([np.float32(1e-4)] * 6, dtype="category"),
        pd.Series([Decimal("0.0001")] * 6, dtype=object),
        pd.Series([1e-4] * 6, dtype=pd.ArrowDtype(pa.float64())),
    ],
    ids=["float32", "Float32", "arrow float", "object", "float16", "category", "Decimal", "arrow double"],
)
def test_narrow_rates_are_read_as_the_decimals_that_they_print_as(tmp_path, rates):
    frame = table(learning_rate=rates, utd=rates)
    assert set(validate(frame)["learning_rate"]) == set(validate(frame)["utd"]) == {1e-4}
    if rates.dtype not in (np.float16, object):
        frame.to_parquet(tmp_path / "curves.parquet")
        assert set(read_curves(tmp_path / "curves.parquet")["learning_rate"]) == {1e-4}


@pytest.mark.parametrize("name", ["NA", "None", "nan", "NaN", "null", "N/A", "<NA>", "inf", "True", "1e5", "007"])
def test_names_that_look_like_missing_values_or_numbers_are_text(tmp_path, name):
    frame = table(suite=name, algorithm=name, env_id=name)
    curves = read_curves(csv(tmp_path, frame))
    assert curves[["suite", "algorithm", "env_id"]].drop_duplicates().to_numpy().tolist() == [[name] * 3]
    pd.testing.assert_frame_equal(curves, validate(frame))


def test_an_empty_name_is_missing_in_a_csv(tmp_path):
    fails("suite must be filled in; got", csv(tmp_path, table(suite=["gym"] * 5 + [""])))


def test_missing_numbers_of_a_csv_stay_missing(tmp_path):
    fails("learning_rate must be filled in; got nan at line 2", csv(tmp_path, table(learning_rate=["NA"] + [1e-3] * 5)))


@pytest.mark.parametrize("blank", [" ", "\t", "\N{NO-BREAK SPACE}", "  "])
def test_blanks_around_names_are_removed_with_a_warning(blank):
    spoilt = table(env_id=["Ant", f"Ant{blank}", f"{blank}Ant"] * 2)
    with pytest.warns(UserWarning, match="table: blanks around names in env_id were removed, as in 'Ant"):
        curves = validate(spoilt)
    pd.testing.assert_frame_equal(curves, validate(table(env_id="Ant")))


def test_a_name_of_blanks_is_missing():
    fails("table 1: env_id must be filled in; got '  ' at row 1", table(env_id=["Ant", "  ", *["Ant"] * 4]))


@pytest.mark.parametrize("dtype", [object, "category", pd.ArrowDtype(pa.binary())])
def test_bytes_are_no_names(tmp_path, dtype):
    frame = table(env_id=pd.Series([b"Ant"] * 6, dtype=dtype))
    fails("env_id must be text; got b'Ant' at rows 0, 1, 2, 3, 4, ... (6 in all). Decode these bytes", frame)
    frame.astype({"env_id": object}).to_parquet(tmp_path / "bytes.parquet")
    fails("env_id must be text; got b'Ant'", tmp_path / "bytes.parquet")


@pytest.mark.parametrize("column", ["env_id", "batch_size", "learning_rate", "seed"])
def test_a_categorical_with_a_missing_value_is_refused_with_its_row(column):
    frame = table()
    frame[column] = frame[column].astype("category")
    frame.loc[4, column] = None
    fails(f"table 1: {column} must be filled in; got nan at row 4.", frame)


def test_categoricals_without_missing_values_are_read(tmp_path):
    frame = table().astype({"env_id": "category", "seed": "category", "learning_rate": "category"})
    pd.testing.assert_frame_equal(validate(frame), validate(table()))
    frame.to_parquet(tmp_path / "categories.parquet")
    pd.testing.assert_frame_equal(read_curves(tmp_path / "categories.parquet"), validate(table()))


@pytest.mark.parametrize(
    "value", [{"a": 1}, [1], (1, 2), {1}, object(), np.array([1, 2])], ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("column", ["env_id", "utd", "seed", "episode_return", "status"])
def test_cells_that_are_no_single_value_are_refused_in_one_sentence(column, value):
    frame = table(status="finished").astype({column: object})
    frame[column] = pd.Series([value] * 6, dtype=object)
    fails(f"table 1: {column} must be", frame)


def test_sparse_columns_are_read():
    sparse = {name: pd.arrays.SparseArray(table()[name]) for name in ("utd", "seed", "env_steps", "env_id")}
    pd.testing.assert_frame_equal(validate(table(**sparse)), validate(table()))


def test_further_columns_may_hold_lists_and_dicts():
    frame = table(config=[{"a": 1}] * 6, shape=[[1, 2]] * 6)
    assert list(validate(frame)["config"]) == [{"a": 1}] * 6
    assert len(validate(frame.iloc[::-1])) == 6
