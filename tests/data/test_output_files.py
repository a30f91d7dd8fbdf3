import errno
import os
from pathlib import Path

import pytest

from bayescale.data import output_files as outputs
from bayescale.errors import InputError


def write_half(path: Path, error: Exception) -> None:
    with outputs.written(path) as partial:
        partial.write_text("half")
        raise error


def test_output_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with outputs.written(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    said = r"table.csv cannot be written \(No space left on device\). Free some space"
    with pytest.raises(InputError, match=said):
        write_half(tmp_path / "table.csv", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []
