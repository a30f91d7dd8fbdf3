"""Parquet tables in partitions and at URLs give the same curves as one file does."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from bayescale.data.curves import read_curves
from bayescale.data.curves import validate_curves as validate
from bayescale.data.tables import datasets, files
from tests.scaffolding.small_curves import fails, table

BIG = 1731000000123456701  # the nearest float is another number


def sweep():
    parts = [table(utd=utd, env_id=env_id) for utd in (0.5, 2.0) for env_id in ("Ant-v4", "007", "A b/c=d")]
    return pd.concat(parts, ignore_index=True)


def write(frame, folder, keys):
    schema = pa.schema([(key, pa.Table.from_pandas(frame).schema.field(key).type) for key in keys])
    ds.write_dataset(
        pa.Table.from_pandas(frame, preserve_index=False),
        folder,
        format="parquet",
        partitioning=ds.partitioning(schema, flavor="hive"),
    )
    return folder


@pytest.mark.parametrize("keys", [["env_id"], ["env_id", "utd"], ["seed", "algorithm", "learning_rate"]])
def test_names_of_folders_become_columns(tmp_path, keys):
    folder = write(sweep(), tmp_path / "curves", keys)
    pd.testing.assert_frame_equal(read_curves(folder), validate(sweep()))


def test_whole_numbers_in_names_of_folders_keep_every_digit(tmp_path):
    frame = table(seed=np.repeat([BIG, BIG + 1], 3))
    assert sorted(read_curves(write(frame, tmp_path / "curves", ["seed"]))["seed"].unique()) == [BIG, BIG + 1]


def test_a_further_partition_is_a_further_column(tmp_path):
    frame = sweep().assign(host="a", part=7)
    curves = read_curves(write(frame, tmp_path / "curves", ["host", "part"]))
    assert set(curves["host"]) == {"a"}
    assert set(curves["part"]) == {7}


def test_a_dataset_at_a_url(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(write(sweep(), tmp_path / "curves", ["env_id", "utd"])), "/bucket/curves", recursive=True)
    sweep().to_parquet(tmp_path / "one.parquet")
    memory.put(str(tmp_path / "one.parquet"), "/bucket/one.parquet")
    memory.pipe("/bucket/cut.parquet", b"PAR1 and no more")
    memory.pipe("/bucket/curves.csv", b"a,b")
    for url in ("memory://bucket/curves", "memory://bucket/one.parquet"):
        pd.testing.assert_frame_equal(read_curves(url), validate(sweep()))
    fails("memory://bucket/none.parquet was not found. Check the path.", "memory://bucket/none.parquet")
    fails("memory://bucket/cut.parquet cannot be read as Parquet (", "memory://bucket/cut.parquet")
    fails("memory://bucket/curves.csv is no Parquet file", "memory://bucket/curves.csv")
    fails("nonsense://x.parquet cannot be opened (Protocol not known", "nonsense://x.parquet")


def test_files_of_a_dataset_may_differ_in_type(tmp_path):
    for number, kind in enumerate(("int64", "float64", "int32")):
        place = tmp_path / "curves" / f"utd={2**number}"
        place.mkdir(parents=True)
        table().drop(columns="utd").astype({"batch_size": kind}).to_parquet(place / "part-0.parquet")
    curves = read_curves(tmp_path / "curves")
    assert sorted(curves["utd"].unique()) == [1.0, 2.0, 4.0]
    assert curves["batch_size"].dtype == np.int64


def test_broken_datasets_are_refused_in_one_sentence(tmp_path, monkeypatch):
    folder = write(sweep(), tmp_path / "curves", ["utd"])
    (folder / "utd=2" / "part-0.parquet").write_bytes(b"no parquet")
    fails(f"{folder} cannot be read as Parquet (", folder)
    (folder / "utd=2" / "part-0.parquet").unlink()
    read_curves(folder)
    monkeypatch.setattr(files, "MOST_ROWS", 10)
    fails(f"{folder} has 18 rows; at most 10 are read.", folder)
    monkeypatch.setattr(datasets, "MOST_FILES", 0)
    fails(f"{folder} holds more than 0 files. Join them to fewer.", folder)
    (tmp_path / "empty.parquet").mkdir()
    fails("empty.parquet holds no .parquet files. Check the path.", tmp_path / "empty.parquet")
    sweep().to_parquet(folder / "utd=0.5" / "whole.parquet")
    monkeypatch.setattr(datasets, "MOST_FILES", 9)
    fails(f"{folder} has 'utd' in the names of its folders and as a column. Keep one of them.", folder)
    lacking = write(sweep().drop(columns="seed"), tmp_path / "lacking", ["utd"])
    fails(f"{lacking} has no column 'seed'", lacking)


def test_a_value_that_is_no_number_names_the_dataset(tmp_path):
    folder = write(table().assign(utd="high"), tmp_path / "curves", ["utd"])
    fails(f"{folder}: utd must be a number; got high", folder)
    missing = table(env_id=["Ant-v4"] * 3 + [None] * 3)
    fails("env_id must be filled in", write(missing, tmp_path / "missing", ["env_id"]))
