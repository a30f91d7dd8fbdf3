"""Test that broken and hostile paths and files end in one sentence, without a hang and in bounded memory."""

import gzip
import os
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bayescale.data import output_files
from bayescale.data.curves import read_curves, write_curves
from bayescale.data.curves import validate_curves as validate
from bayescale.data.return_scale import read_return_scale
from bayescale.data.tables import csv_files, files
from bayescale.errors import InputError
from tests.scaffolding.small_curves import csv, fails, table

BAD_PATHS = [
    ("a\0b.csv", "holds a NUL character"),
    ("a" * 300 + ".csv", "holds a name of 304 bytes; names of files have at most 255. Shorten it."),
    ("é" * 200 + ".parquet", "holds a name of 408 bytes"),
    ("x/" * 3000 + "a.csv", "cannot be read (File name too long)"),
    ("~nobody_of_this_name/a.csv", "the home folder in ~nobody_of_this_name/a.csv is not known. Write the whole path."),
    ("", "is a folder"),
]


@pytest.mark.parametrize(("path", "text"), BAD_PATHS)
def test_impossible_paths_are_refused(path, text):
    fails(text, path)
    with pytest.raises(InputError):
        read_return_scale(path)


@pytest.mark.parametrize(("path", "text"), BAD_PATHS[:3])
def test_impossible_output_paths_are_refused(tmp_path, path, text):
    with pytest.raises(InputError, match=text.split(" ")[1]):
        output_files.check_output(tmp_path / path.replace(".csv", ".nc").replace(".parquet", ".nc"), ".nc")
    with pytest.raises(InputError):
        output_files.check_out_folder(tmp_path / path)
    with pytest.raises(InputError):
        write_curves(table(), tmp_path / path.replace(".csv", ".parquet"))


def test_a_home_that_is_not_known(monkeypatch):
    def unknown(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    fails("the home folder in ~/curves.csv is not known.", "~/curves.csv")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    fails("is a pipe or a device. Copy it to a file.", tmp_path / "pipe.csv")


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    fails("loop.csv cannot be read (Too many levels of symbolic links)", tmp_path / "loop.csv")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "self").symlink_to(tmp_path / "folder")
    fails("folder is a folder", tmp_path / "folder")


def test_a_file_that_may_not_be_read(tmp_path):
    path = csv(tmp_path, table())
    path.chmod(0)
    if os.access(path, os.R_OK):
        assert len(read_curves(path)) == 6  # the superuser may read it all the same
    else:
        fails("cannot be read (Permission denied)", path)


@pytest.mark.parametrize("content", [b"\0" * 1000, b"\0" * 2_000_000, b"0" * 2_000_000, b"a,b\n" + b"\0" * 100])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_files_of_zeros_are_refused_at_their_beginning(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    fails("is not a readable CSV file (", path)


def test_a_gzip_file_that_unpacks_to_too_much_is_refused_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "MOST_UNPACKED", 20 * 2**20)
    path = tmp_path / "bomb.csv.gz"
    line = table().to_csv(index=False).encode()
    path.write_bytes(gzip.compress(line + b"\n" * (40 * 2**20)))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    fails("bomb.csv.gz unpacks to more than 0 GiB, which is not read. Write the table as Parquet, or split it.", path)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_the_stated_limit_of_unpacked_bytes():
    assert csv_files.MOST_UNPACKED == 4 * 2**30


def test_a_parquet_file_of_too_many_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_ROWS", 1000)
    table(200, 10).to_parquet(tmp_path / "long.parquet")
    fails("long.parquet has 2,000 rows; at most 1,000 are read.", tmp_path / "long.parquet")


@pytest.mark.parametrize("name", ["wide.csv", "wide.parquet", "wide.csv.gz"])
def test_a_table_of_thousands_of_columns_is_read_for_the_columns_it_needs(tmp_path, name):
    others = {f"metric{n}": np.zeros(6) for n in range(3000)}
    frame = pd.concat([table(), pd.DataFrame(others), pd.DataFrame({"status": ["finished"] * 6})], axis=1)
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    with pytest.warns(UserWarning, match=f"{name}: 3,000 further columns are not read. If runs differ in a setting"):
        curves = read_curves(path)
    pd.testing.assert_frame_equal(curves, validate(table(status="finished")))


@pytest.mark.parametrize("name", ["wide.csv", "wide.parquet"])
def test_a_missing_column_is_found_in_the_header(tmp_path, monkeypatch, name):
    path = tmp_path / name
    frame = table().drop(columns="seed")
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)

    def fail(*_, **__):
        raise AssertionError("the rows were read")

    monkeypatch.setattr(pd, "read_parquet", fail)
    monkeypatch.setattr(csv_files, "_frame", fail)
    fails(f"{path} has no column 'seed'; its columns are suite, ", path)


def test_parquet_files_of_odd_types(tmp_path):
    path = tmp_path / "odd.parquet"
    plain = pa.Table.from_pandas(table(), preserve_index=False).replace_schema_metadata(None)
    for name, values in {
        "env_id": pa.array([{"a": 1}] * 6),
        "utd": pa.array([[1.0]] * 6),
        "seed": pa.array([None] * 6, pa.null()),
        "batch_size": pa.array([b"64"] * 6),
        "learning_rate": pa.array(pd.to_timedelta([1] * 6)),
        "env_steps": pa.array(pd.to_datetime(["2025-01-01"] * 6)),
        "episode_return": pa.array(["high"] * 6),
    }.items():
        pq.write_table(plain.set_column(plain.column_names.index(name), name, values), path)
        fails(f"{path}: {name} must be", path)


@pytest.mark.parametrize("names", [[1, 2, 3], [("a", "b"), ("a", "c")], [None, "x"], ["env_id", 7]])
def test_frames_with_odd_column_names(names):
    with pytest.raises(InputError):
        read_curves(pd.DataFrame([[1.0] * len(names)] * 3, columns=names))
    frame = table()
    frame[5] = 1.0
    frame[None] = 2.0
    assert len(validate(frame)) == 6
