"""Files that are either complete or not there, whatever kills the writer."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}(\.\w+)?")  # names of files while they are written


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path`, on the disk and not only in memory, after the block.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes renames in the folder survive a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> None:
    """Removes what killed writers left in the folder and in those directly below."""
    for path in [*folder.glob(".*"), *folder.glob("*/.*")]:
        if PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)
