import gzip
import os
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.curves import RUN_COLUMNS, read_curves, read_return_scale, run_columns, run_starts, write_curves
from bayescale.curves import validate_curves as validate
from bayescale.errors import InputError


def table(runs=2, evaluations=3, **columns) -> pd.DataFrame:
    """A small valid table in order; `columns` replace its own."""
    rows = runs * evaluations
    frame = pd.DataFrame(
        {
            "suite": "gym",
            "algorithm": "SAC",
            "env_id": "Pendulum-v1",
            "utd": 0.5,
            "batch_size": 256,
            "learning_rate": 3e-4,
            "model_size": 70_000,
            "seed": np.repeat(np.arange(runs), evaluations),
            "env_steps": np.tile(np.arange(1, evaluations + 1) * 1000, runs),
            "episode_return": np.linspace(-1200.0, -200.0, rows),
        }
    )
    return frame.assign(**columns)


def fails(text, *sources):
    with pytest.raises(InputError, match=re.escape(text)) as error:
        read_curves(*sources)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    assert error.value.exit_code == 2


def csv(folder, frame, name="curves.csv"):
    frame.to_csv(folder / name, index=False)
    return folder / name


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


def test_float32_settings_mean_their_decimals():
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
    assert set(read_curves(csv(tmp_path, table(env_id="007")))["env_id"]) == {"007"}


@given(data=st.data())
def test_parquet_round_trip_loses_nothing(tmp_path_factory, data):
    rows = data.draw(st.integers(1, 8))
    reals = st.floats(allow_nan=False, allow_infinity=False)
    frame = table(1, rows).assign(
        seed=data.draw(st.integers(-(2**63), 2**63 - 1)),
        learning_rate=data.draw(st.floats(1e-300, 1e300)),
        episode_return=data.draw(st.lists(reals, min_size=rows, max_size=rows)),
        env_id=data.draw(st.text(st.characters(codec="utf-8"), min_size=1)),
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


def test_validating_twice_changes_nothing_and_the_input_stays_as_it_was():
    frame = table()[::-1]
    before = frame.copy()
    curves = validate(frame)
    pd.testing.assert_frame_equal(validate(curves), curves)
    pd.testing.assert_frame_equal(frame, before)


def with_value(column, position, value):
    frame = table()
    frame[column] = frame[column].astype(object)
    frame.loc[position, column] = value
    return frame.infer_objects()


BAD_VALUES = [
    ("episode_return", np.nan, "episode_return must be filled in; got nan at {place}. Remove these evaluations"),
    ("episode_return", np.inf, "episode_return must be finite; got inf at {place}. Remove these evaluations"),
    ("episode_return", -np.inf, "episode_return must be finite; got -inf at {place}."),
    ("learning_rate", np.inf, "learning_rate must be finite; got inf at {place}. Correct or remove these rows."),
    ("learning_rate", 0.0, "learning_rate must be > 0; got 0.0 at {place}."),
    ("learning_rate", np.nan, "learning_rate must be filled in; got nan at {place}."),
    ("utd", -1.0, "utd must be > 0; got -1.0 at {place}."),
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


def test_a_whole_number_column_survives_a_float_detour():
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
def test_what_only_looks_like_a_number_is_refused(value):
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
def test_a_missing_column_is_named_beside_those_that_came(tmp_path, came, remedy):
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


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_empty_files_and_tables(tmp_path, name):
    path = tmp_path / name
    path.touch()
    fails(f"{path} is empty (0 bytes)", path)
    table()[:0].to_parquet(path) if name.endswith("parquet") else table()[:0].to_csv(path, index=False)
    fails(f"{path} has no rows", path)


def test_a_csv_of_blank_lines_is_empty(tmp_path):
    (tmp_path / "blank.csv").write_text("\n\n\n")
    fails("blank.csv", tmp_path / "blank.csv")
    with gzip.open(tmp_path / "nothing.csv.gz", "wb"):
        pass
    fails("nothing.csv.gz is empty", tmp_path / "nothing.csv.gz")


def test_an_empty_frame():
    fails("table 1 has no column 'algorithm'; its columns are none. Add it.", pd.DataFrame())


def test_no_sources_at_all():
    fails("read_curves got no sources")
    fails("read_curves got no sources", [])


def test_truncated_parquet(tmp_path):
    path = tmp_path / "curves.parquet"
    write_curves(table(), path)
    whole = path.read_bytes()
    for size in (4, 11, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        fails(f"{path} is truncated: the end of the Parquet file is missing.", path)
    path.write_bytes(whole[: len(whole) // 2] + b"PAR1")
    fails(f"{path} is a damaged Parquet file (", path)
    path.write_bytes(b"PAR1" * 3)
    fails(f"{path} is a damaged Parquet file (", path)


def test_other_content_under_a_known_extension(tmp_path):
    path = tmp_path / "curves.parquet"
    path.write_text(table().to_csv())
    fails(f"{path} is not a Parquet file, whatever its name says.", path)
    plain = tmp_path / "plain.csv.gz"
    plain.write_text(table().to_csv())
    fails(f"{plain} is a damaged gzip file (", plain)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(table().to_csv(index=False).encode())[:-12])
    fails(f"{cut} is not a readable CSV file (", cut)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)))
    fails(f"{binary} is not a readable CSV file (", binary)


def test_rows_that_do_not_fit_the_header(tmp_path):
    lines = table().to_csv(index=False).splitlines()
    path = tmp_path / "wide.csv"
    path.write_text("\n".join([*lines[:3], lines[3] + ",9,9"]))
    fails(f"{path} is not a readable CSV file (", path)
    path.write_text("\n".join([lines[0], *(line + ",9" for line in lines[1:])]))
    fails(f"{path}: its rows have more fields than its header.", path)
    path.write_text("\n".join([*lines[:3], lines[3].rsplit(",", 1)[0]]))
    fails("episode_return must be filled in; got nan at line 4", path)


def test_paths_that_hold_no_table(tmp_path):
    fails(f"{tmp_path}/none.csv was not found. Check the path.", tmp_path / "none.csv")
    fails(f"no file matches {tmp_path}/*.csv. Check the pattern", f"{tmp_path}/*.csv")
    fails(f"{tmp_path} is a folder; tables are read from .csv, .csv.gz and .parquet. Give its files", tmp_path)
    (tmp_path / "folder.csv").mkdir()
    fails("cannot be read (Is a directory)", tmp_path / "folder.csv")
    fails("has the extension '.xlsx'; tables are read from", "curves.xlsx")
    fails("a source must be a file, a glob or a frame; got int", 3)


def test_nothing_is_ever_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    for name in ("a.pkl", "a.parquet", "a.csv"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(InputError):
            read_curves(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_bad_table_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "curves.parquet"
    write_curves(table(), path)
    for bad in (table(utd=0), table(odd=[object() for _ in range(6)])):
        with pytest.raises(InputError):
            write_curves(bad, path)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.parquet"]
    pd.testing.assert_frame_equal(read_curves(path), validate(table()))


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "curves.parquet"
    write_curves(table(), path)

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="cannot be written \\(No space left on device\\)"):
        write_curves(table(3), path)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.parquet"]
    assert len(read_curves(path)) == 6


@pytest.mark.parametrize(
    ("name", "text"),
    [("curves.csv", "Let the name end in .parquet."), ("no/curves.parquet", "does not exist. Create it first.")],
)
def test_paths_that_cannot_be_written(tmp_path, name, text):
    with pytest.raises(InputError, match=re.escape(text)):
        write_curves(table(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


SCALE = {"Ant-v4": (0.0, 6625.0), "Pendulum-v1": (-1600.0, -150.0)}


def test_return_scale_from_every_source(tmp_path):
    frame = pd.DataFrame([(env_id, *ends) for env_id, ends in SCALE.items()], columns=["env_id", "low", "high"])
    frame.to_csv(tmp_path / "scale.csv", index=False)
    frame.to_parquet(tmp_path / "scale.parquet")
    for source in (SCALE, frame, str(tmp_path / "scale.csv"), tmp_path / "scale.parquet"):
        assert read_return_scale(source) == SCALE
    assert read_return_scale(None) is None


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        ({"Ant-v4": (5, 5)}, "return_scale: low must be < high; got 5 and 5 for Ant-v4. Correct them."),
        ({"Ant-v4": (0, np.nan)}, "return_scale: high must be filled in; got nan at row 0."),
        ({"Ant-v4": (-np.inf, 3)}, "return_scale: low must be finite; got -inf"),
        ({"Ant-v4": ("0", 3)}, "return_scale: low must be a number; got 0"),
        ({"Ant-v4": 3}, "return_scale must map each env_id to (low, high); got {'Ant-v4': 3}."),
        ({"Ant-v4": (1, 2, 3)}, "return_scale must map each env_id to (low, high)"),
        ({}, "return_scale has no rows."),
        (pd.DataFrame({"env_id": ["a", "a"], "low": 0, "high": [1, 2]}), "return_scale has a twice. Keep one."),
        (pd.DataFrame({"env_id": ["a"], "max": 1}), "return_scale has no column 'low'; its columns are env_id, max."),
        ("none.csv", "none.csv was not found."),
    ],
)
def test_bad_return_scales(scale, text):
    with pytest.raises(InputError, match=re.escape(text)):
        read_return_scale(scale)
