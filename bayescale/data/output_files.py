"""Output files: refused before the work if they cannot be written, and then whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayescale.atomic_files import whole_file
from bayescale.errors import InputError


def check_output(path: Path, suffix: str) -> None:
    """Nothing, if `path` is a file name ending in `suffix` in a folder that can be written to; InputError otherwise."""
    if path.suffix != suffix:
        raise InputError(f"--out must end in {suffix}; got {path}. Rename it.")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder; name a file in it.")
    check_folder(path)


def check_out_folder(path: Path) -> None:
    """Nothing, if `path` is a folder that can be written to, or can become one; InputError otherwise."""
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file; name a folder.")
    check_folder(path / "file" if path.is_dir() else path)


def check_folder(path: Path) -> None:
    """Nothing, if the folder that holds `path` exists and can be written to; InputError otherwise."""
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InputError(f"the folder {parent} does not exist. Create it, or choose another --out.")
    if not os.access(parent, os.W_OK):
        raise InputError(f"the folder {parent} cannot be written to. Choose another --out.")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """As `whole_file`, with an error for the user."""
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written ({reason}). Free some space or choose another.") from None
