"""Test that output files are complete or absent."""

import errno
import os
from pathlib import Path

import pytest

from bayescale.data.output_files import written
from bayescale.errors import InputError


def write_half(path: Path, error: Exception) -> None:
    """Begin to write the file, then raise the error."""
    with written(path) as partial:
        partial.write_text("half")
        raise error


def test_output_is_complete_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with written(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_input_error(tmp_path: Path) -> None:
    said = r"table.csv cannot be written \(No space left on device\). Free some space"
    with pytest.raises(InputError, match=said):
        write_half(tmp_path / "table.csv", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []
