"""Read the .wandb files that W&B writes for each run, online and offline, without network.

A file is a log in blocks of 32 KiB. A block holds chunks, each with a checksum, its length and its kind; a record is
one chunk or a first, middle and last one. A file that ends within a record, because the run was killed, or that is
damaged is read up to there, and listed.

Run folders with the same run id hold one run that was resumed: their rows are joined in the order in which they began.
"""

import json
import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pandas as pd

from bayescale.errors import MissingExtra
from bayescale.importers.listed_runs import ListedRun, Rows
from bayescale.importers.run_folders import UNREADABLE, Unusable, flattened, open_plain, run_folders, skipped
from bayescale.importers.run_logs import Logs, Skipped

if TYPE_CHECKING:
    from google.protobuf.message import Message

SUFFIX = ".wandb"
NO_RUNS = {"files", "logs", "media", "artifacts", "tmp", "node_modules", ".git"}
BLOCK = 2**15  # bytes
FILE_HEAD = 7  # bytes: ":W&B", a number and the version
CHUNK = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # kinds of chunks
LARGEST_RECORD = 2**26  # bytes
MOST_VALUES = 2**24  # values in the history of a run
STEP = "_step"
LAST_STEP, ROWS = "wandb.last_step", "wandb.rows"  # config keys: last step and number of rows of a run


@dataclass
class _Run:
    """The run that the records of a file describe."""

    file: Path
    id: str = ""
    project: str = ""
    names: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None


def log_run_files(sources: Sequence[Path]) -> Logs:
    """Return the runs in the .wandb files at or below the sources, and the files that cannot be used.

    Raises:
        InputError: a source is neither a folder nor a .wandb file.
        MissingExtra: wandb is not installed.
    """
    left_out: list[Skipped] = []
    runs: dict[tuple[str, str], list[_Run]] = defaultdict(list)
    files = {}
    for folder in run_folders(sources, lambda name: name.endswith(SUFFIX), but=NO_RUNS.__contains__):
        named = {path for path in sources if path.parent == folder}
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - the names alone are needed
            if name.endswith(SUFFIX) and (not named or folder / name in named):
                files[os.path.realpath(folder / name)] = folder / name
    for file in files.values():
        try:
            run = _read(file, left_out)
            if not run.rows:
                raise Unusable("it holds no row of a history.")
            runs[run.project, run.id or str(file)].append(run)
        except Unusable as reason:
            left_out.append(skipped(file, reason))
    return Logs([_joined(sorted(parts, key=lambda run: run.started)) for parts in runs.values()], left_out)


def _joined(parts: list[_Run]) -> ListedRun:
    """Return the run that one file holds, or several if it was resumed."""
    last = parts[-1]
    config = {key: value for part in parts for key, value in part.config.items() if key != "_wandb"}
    rows = [row for part in parts for row in part.rows]
    history = pd.DataFrame(rows)
    own: dict[str, Any] = {f"wandb.{name}": text for name, text in last.names.items() if text}
    if STEP in history:
        own |= {LAST_STEP: int(history[STEP].max()), ROWS: len(history)}
    status = "running" if last.exit_code is None else "crashed" if last.exit_code else "finished"
    return ListedRun(
        name=str(last.file),
        config={**flattened(config), **own},
        history=history,
        status=status,
        label=last.names.get("name") or last.id or None,
        read=lambda keys: Rows(chosen_rows(rows, keys), resumed=len(parts) > 1),
    )


def chosen_rows(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows that have the step counter and the return, the first two keys, then those of each further key."""
    groups = [list(keys[:2]), *([key] for key in keys[2:])]
    frames = [
        pd.DataFrame(
            [{key: row[key] for key in group} for row in rows if all(key in row for key in group)], columns=group
        )
        for group in groups
    ]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _read(file: Path, left_out: list[Skipped]) -> _Run:
    try:
        from google.protobuf.message import DecodeError
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError:
        raise MissingExtra("wandb", "wandb") from None
    run = _Run(file)
    values = 0
    with open_plain(file) as stream:
        if not stream.read(FILE_HEAD).startswith(b":W&B"):
            raise Unusable("it is no run file of W&B.")
        try:
            for data in _records(stream):
                values += _add(run, Record.FromString(data))
                if values > MOST_VALUES:
                    raise Unusable(f"its history holds more than {MOST_VALUES:,} values.")
        except (EOFError, DecodeError, *UNREADABLE) as error:
            what = "is cut short" if isinstance(error, EOFError) else "is damaged"
            left_out.append(skipped(file, f"it {what} at byte {stream.tell():,}; the records before it are read."))
    return run


def _records(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the records; raise EOFError if the last one is cut short, and ValueError if a chunk is damaged."""
    record, began, room = b"", False, BLOCK - FILE_HEAD
    while True:
        if room < CHUNK.size:
            stream.seek(room, os.SEEK_CUR)
            room = BLOCK
        head = stream.read(CHUNK.size)
        if not head and not began:
            return
        if len(head) < CHUNK.size:
            raise EOFError
        checksum, length, kind = CHUNK.unpack(head)
        room -= CHUNK.size + length
        if room < 0 or kind not in (FULL, FIRST, MIDDLE, LAST) or (kind in (FULL, FIRST)) == began:
            raise ValueError
        data = stream.read(length)
        if len(data) < length:
            raise EOFError
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum or len(record) + length > LARGEST_RECORD:
            raise ValueError
        record, began = record + data, True
        if kind in (FULL, LAST):
            yield record
            record, began = b"", False


def _add(run: _Run, record: "Message") -> int:
    """Add what a record says to the run, and return the number of values of its history."""
    kind = record.WhichOneof("record_type")
    if kind == "run":
        about = record.run
        run.id, run.project, run.started = about.run_id, about.project, about.start_time.ToNanoseconds() / 1e9
        run.names = {
            "name": about.display_name, "group": about.run_group, "job_type": about.job_type, "project": about.project,
        }  # fmt: skip
        _configure(run.config, about.config)
    elif kind == "config":
        _configure(run.config, record.config)
    elif kind == "exit":
        run.exit_code = record.exit.exit_code
    elif kind == "history":
        row = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        row = {key: value for key, value in row.items() if is_value(value)}
        row.setdefault(STEP, record.history.step.num)
        run.rows.append(row)
        return len(row)
    return 0


def _configure(config: dict[str, Any], changes: Any) -> None:
    for item in changes.update:
        *groups, key = [*item.nested_key] or [item.key]
        place = config
        for group in groups:
            inner = place.get(group)
            place[group] = place = inner if isinstance(inner, dict) else {}
        place[key] = json.loads(item.value_json)
    for item in changes.remove:
        config.pop(item.key or ".".join(item.nested_key), None)


def is_value(value: object) -> bool:
    """Return True for numbers and short text; lists, tables and images of a history are no values of a curve."""
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 200)
