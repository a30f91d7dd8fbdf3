"""Check paths and expand globs."""

import glob
import os
from pathlib import Path

from bayescale.arguments import require_possible_path
from bayescale.errors import InputError


def usable_path(path: str | os.PathLike[str]) -> Path:
    """Return the path with `~` replaced by the home folder.

    Raises:
        InputError: no file can have this path, or the home folder is not known.
    """
    require_possible_path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"the home folder in {os.fspath(path)} is not known. Write the whole path.") from None


def matching_paths(source: str | os.PathLike[str]) -> list[Path]:
    """Return the path, or the sorted paths that match it if it is a glob and no file has its name.

    Raises:
        InputError: no file can have this path, or no file matches the glob.
    """
    path = usable_path(source)
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
    if not matches:
        raise InputError(f"no file matches {source}. Check the pattern and the folder.")
    return [Path(match) for match in matches]
