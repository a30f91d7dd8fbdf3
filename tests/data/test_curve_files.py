"""Test that files without a table are refused, and that written files are complete or absent."""

import csv as csv_module
import gzip
import os
import pickle
import re

import numpy as np
import pandas as pd
import pytest

from bayescale.data.curves import read_curves, write_curves
from bayescale.data.curves import validate_curves as validate
from bayescale.errors import InputError
from tests.scaffolding.small_curves import fails, table

BIG = 1731000000123456701  # a seed from a clock in nanoseconds


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
    fails(
        "table 1 has no column 'algorithm', 'env_id', 'utd', 'batch_size', 'learning_rate', 'seed', 'env_steps' or "
        "'episode_return'; its columns are none. Add them.",
        pd.DataFrame(),
    )


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
    fails(f"{path} is not a Parquet file, despite its name.", path)
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
    fails(f"episode_return is missing from {path} line 4 to the end of the run", path)


@pytest.mark.parametrize(("separator", "said"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("decimal", [",", "."])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_of_a_spreadsheet_is_read_and_said(tmp_path, separator, said, decimal, encoding):
    path = tmp_path / "windows.csv"
    frame = table(seed=BIG + np.repeat([0, 1], 3), note="a,b")
    frame.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
    decimals = " and decimal commas" if decimal == "," else ""
    with pytest.warns(UserWarning, match=re.escape(f"{path} was read with {said} between its fields{decimals}.")):
        pd.testing.assert_frame_equal(read_curves(path), validate(frame))


def test_quoted_decimal_commas_between_commas_are_read_and_said(tmp_path):
    path = tmp_path / "sheet.csv"
    frame = table(note="x", seed=BIG)[:3]
    text = frame.astype(str).map(lambda cell: cell.replace(".", ","))
    text.to_csv(path, index=False)
    with pytest.warns(UserWarning, match=re.escape(f"{path} was read with decimal commas.")):
        pd.testing.assert_frame_equal(read_curves(path), validate(frame))
    text.assign(env_steps=["1,000", "2,000", "3,000"], utd=1, learning_rate="3E-04", episode_return="7").to_csv(path)
    fails(f"{path} holds 1,000, whose comma may stand before decimals or thousands. {AMBIGUOUS}", path)
    table(note="64,64").to_csv(path, index=False)
    assert set(read_curves(path)["note"]) == {"64,64"}


def test_a_byte_order_mark_and_blanks_around_names_are_no_part_of_them(tmp_path):
    path = tmp_path / "windows.csv"
    for encoding in ("utf-8-sig", "utf-16"):
        table().rename(columns=lambda name: f" {name} ").to_csv(path, index=False, encoding=encoding)
        pd.testing.assert_frame_equal(read_curves(path), validate(table()))


AMBIGUOUS = "Write it with commas between fields, and numbers with points and without thousands separators."


def test_numbers_that_can_be_read_in_two_ways_are_refused(tmp_path):
    path = tmp_path / "windows.csv"
    table(env_steps=[f"{steps:,}" for steps in [1000, 2000, 3000] * 2]).to_csv(path, index=False, sep=";")
    fails(f"{path} holds 1,000, whose comma may stand before decimals or thousands. {AMBIGUOUS}", path)
    table(utd="0,5", env_steps=["1.000", "2.000", "3.000"] * 2).to_csv(path, index=False, sep=";")
    fails(f"{path} has decimal commas, and holds 0.0003 with a point. {AMBIGUOUS}", path)
    (tmp_path / "two.csv").write_text("a;b,c;d\n1;2,3;4\n")
    fails(
        f"the fields of {tmp_path}/two.csv may be separated by commas or semicolons. {AMBIGUOUS}", tmp_path / "two.csv"
    )


def test_the_header_tells_which_of_two_separators_it_is(tmp_path):
    path = tmp_path / "curves.csv"
    table(**{"note;more": "a;b"}).to_csv(path, index=False)
    assert read_curves(path)["note;more"].tolist() == ["a;b"] * 6
    table(**{"note,more": "a,b"}).to_csv(path, index=False, sep=";", quoting=csv_module.QUOTE_NONE, escapechar=" ")
    with pytest.warns(UserWarning, match="semicolons"):
        assert len(read_curves(path)) == 6


def test_two_files_joined_with_their_headers_are_refused(tmp_path):
    path = tmp_path / "joined.csv"
    path.write_text(table().to_csv(index=False) + table(seed=7).to_csv(index=False))
    fails(f"{path} has its header again at line 8, where two files were joined. Remove that line.", path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "cp1252"])
def test_text_in_another_encoding(tmp_path, encoding):
    path = tmp_path / "windows.csv"
    table(algorithm="Überlegen").to_csv(path, index=False, encoding=encoding)
    fails("Save it as UTF-8, or copy it again.", path)
    path.write_bytes(table().to_csv(index=False).encode("utf-16")[:-1])
    fails("Save it as UTF-8, or copy it again.", path)


def test_paths_that_hold_no_table(tmp_path):
    fails(f"{tmp_path}/none.csv was not found. Check the path.", tmp_path / "none.csv")
    fails(f"no file matches {tmp_path}/*.csv. Check the pattern", f"{tmp_path}/*.csv")
    fails(f"{tmp_path} is a folder; tables are read from .csv, .csv.gz and .parquet. Give its files", tmp_path)
    (tmp_path / "folder.csv").mkdir()
    fails("cannot be read (Is a directory)", tmp_path / "folder.csv")
    fails("looks like a spreadsheet; tables are read from", "curves.xlsx")
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
    none_of_parquets = ([object()] * 6, [2**70] * 6, pd.arrays.SparseArray([0] * 6))
    for bad in (table(utd=0), *(table(odd=values) for values in none_of_parquets)):
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
