"""Check output paths before long work starts, and write files that are either complete or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayescale.arguments import require_possible_path
from bayescale.atomic_files import whole_file
from bayescale.errors import InputError


def check_output(path: Path, suffix: str) -> None:
    """Raise InputError unless `path` is a file name ending in `suffix` in a folder that can be written to."""
    require_possible_path(path)
    if path.suffix != suffix:
        raise InputError(f"--out must end in {suffix}; got {path}. Rename it.")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder; name a file in it.")
    check_folder(path)


def check_out_folder(path: Path) -> None:
    """Raise InputError unless `path` is a folder that can be written to, or can be created."""
    require_possible_path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file; name a folder.")
    check_folder(path / "file" if path.is_dir() else path)


def check_folder(path: Path) -> None:
    """Raise InputError unless the folder that holds `path` exists and can be written to."""
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InputError(f"the folder {parent} does not exist. Create it, or choose another --out.")
    if not os.access(parent, os.W_OK):
        raise InputError(f"the folder {parent} cannot be written to. Choose another --out.")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield the path of an unfinished file that replaces `path` after the block; see `whole_file`.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written ({reason}). Free some space or choose another path.") from None
