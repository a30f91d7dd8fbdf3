"""Write files that are either complete or absent, even if the writer is killed."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}(\.\w+)?")  # names of unfinished files


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the path of an unfinished file beside `path`; after the block, sync it to disk and rename it to `path`.

    Raises:
        OSError: the disk is full or the folder cannot be written to. The unfinished file is removed.
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
    """Make renames in the folder survive a power cut, on systems that can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> None:
    """Remove the unfinished files of killed writers in the folder and its direct subfolders."""
    for path in [*folder.glob(".*"), *folder.glob("*/.*")]:
        if PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)
