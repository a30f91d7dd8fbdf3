"""Find the folders of runs and read their text files, of which some are damaged, cut short or hostile.

Links below a source are not followed, so that loops of links end; pipes and devices are never opened. A file of more
than `LARGEST` bytes is refused. The last line of a log counts only if it ends with a line feed: a trainer that was
killed leaves a cut line.
"""

import errno
import io
import json
import os
import stat
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from bayescale.data.tables.csv_files import EXACT
from bayescale.data.tables.paths import matching_paths
from bayescale.errors import InputError
from bayescale.importers.run_logs import Skipped

LARGEST = 2**28  # bytes of a file
MOST_KEYS = 10_000  # keys of nested groups, joined
UNREADABLE = (ValueError, RecursionError, MemoryError, OverflowError)  # raised by parsers for damaged content

Source = str | os.PathLike[str]


class Unusable(Exception):
    """A file cannot be used; the text says why, without the name of the file."""


def run_folders(
    sources: Iterable[Source], is_log: Callable[[str], bool], *, but: Callable[[str], bool] = lambda _: False
) -> list[Path]:
    """Return the folders at or below the sources that hold a log, sorted by path, each once.

    Args:
        sources: folders, globs, or log files, which stand for their folder.
        is_log: function that recognises the name of a log.
        but: function that recognises the names of folders to leave out.

    Raises:
        InputError: a source does not exist or is neither a folder nor a log.
    """
    found: dict[Path, None] = {}
    for path in (path for source in sources for path in matching_paths(source)):
        if path.is_dir():
            for folder in _below(path, but):
                if any(is_log(name) for name in _names(folder)):
                    found[folder] = None
        elif is_log(path.name) and os.path.lexists(path):
            found[path.parent] = None
        else:
            said = "is no log of this kind" if os.path.lexists(path) else "does not exist"
            raise InputError(f"{path} {said}. Give the folder of a run, or a folder of such folders.")
    return sorted(found)


def _below(top: Path, but: Callable[[str], bool]) -> Iterator[Path]:
    """Yield the folder and the folders below it, without following links."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            with os.scandir(folder) as entries:
                waiting += [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not but(e.name)]
        except OSError:
            continue


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - the names alone are needed
    except OSError:
        return []


@contextmanager
def open_plain(file: Path) -> Iterator[BinaryIO]:
    """Open a plain file to read its bytes; pipes and devices are never waited for.

    Raises:
        Unusable: the file is missing or no plain file, or it cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe does not block
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unusable("it is no plain file.")
            yield stream
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise Unusable("it is no plain file.") from None
        raise Unusable(f"it cannot be read ({error.strerror}).") from None


def read_text(file: Path) -> str:
    """Return the text of a plain file.

    Raises:
        Unusable: the file is missing, no plain file, too large, or no UTF-8 text.
    """
    with open_plain(file) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Unusable(f"it has more than {LARGEST / 2**20:.0f} MiB.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable("it is no UTF-8 text.") from None


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object that the file holds.

    Raises:
        Unusable: the file cannot be read or holds no JSON object.
    """
    try:
        value = json.loads(read_text(file))
    except UNREADABLE:
        value = None
    if not isinstance(value, dict):
        raise Unusable("it holds no JSON object.")
    return value


def whole_lines(text: str) -> tuple[str, str | None]:
    """Return the text without a last line that was cut, and a sentence that says so if there is one."""
    if not text or text.endswith("\n"):
        return text, None
    return text[: text.rfind("\n") + 1], "its last line is cut short; the lines before it are read."


def read_delimited(text: str, separator: str = ",") -> pd.DataFrame:
    """Return the table of numbers in a text with a header.

    Columns that hold text are left out.

    Raises:
        Unusable: there is no header, a header comes again, or the lines are no table.
    """
    header = text[: text.find("\n")]
    names = [name.strip().strip('"') for name in header.split(separator)]
    if sum(map(_is_number, names)) > len(names) / 4:
        raise Unusable("its first line looks like data, not like a header. Add the header.")
    if f"\n{header}\n" in text:
        raise Unusable("its header comes again, as two trainings write it. Give each training a file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line has more fields than the header
            table: pd.DataFrame = pd.read_csv(
                io.StringIO(text), sep=separator, index_col=False, low_memory=False, **EXACT
            )
    except (*UNREADABLE, pd.errors.ParserWarning):
        raise Unusable("its lines do not form a table.") from None
    return table[[name for name in table if table[name].dtype.kind in "biuf"]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def flattened(group: Mapping[Any, Any], separator: str = ".", *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the values of nested groups, by keys joined by the separator.

    Args:
        group: mapping of mappings.
        separator: text between joined keys.
        leave_out: keys at the top that are left out.

    Raises:
        Unusable: there are more than `MOST_KEYS` keys, or the groups hold themselves.
    """
    found: dict[str, Any] = {}
    waiting = [(str(key), value, 1) for key, value in group.items() if key not in leave_out]
    waiting.reverse()
    seen = 0
    while waiting:
        key, value, depth = waiting.pop()
        seen += 1
        if seen > MOST_KEYS or depth > 50:
            raise Unusable(f"its groups nest deeper than 50 or hold more than {MOST_KEYS:,} keys.")
        if isinstance(value, Mapping):
            waiting += [(f"{key}{separator}{inner}", deeper, depth + 1) for inner, deeper in reversed([*value.items()])]
        else:
            found[key] = value
    return found


def skipped(file: Path, reason: object) -> Skipped:
    """Return the entry of a file that was left out."""
    return Skipped(str(file), str(reason))
