"""Read learning curves from the arrays of the package qscaled: a folder, or a zip of one.

A file holds the runs of one configuration. Its column 0 holds env steps, and each further column the returns of one
seed, NaN after the run's end. The path holds the settings, in one of these layouts:

    NAME/utd_4/ENV/KEY/bs_208_lr_0.0001.npy           KEY: name of the return, such as episode.return
    NAME/w512p2286792/utd_4/ENV/KEY/bs_208_lr_0.0001.npy     critic of width 512 with 2,286,792 parameters
    NAME/w256/utd_1/ENV/KEY/bs_512.npy                without a learning rate
    NAME/rr10_s/ENV.npy                               replay ratio 10, model s

The algorithm, and what else the layout lacks, comes from the mapping.
"""

import io
import math
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from bayescale.data.tables.paths import matching_paths
from bayescale.errors import InputError
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.kinds.evaluations_npz import UNREADABLE
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, Skipped, shown

NUMBER = r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)"
FILE = re.compile(rf"bs_(\d+)(?:_lr_{NUMBER})?\.npy", re.IGNORECASE)
UTD = re.compile(rf"utd_{NUMBER}", re.IGNORECASE)
WIDTH = re.compile(r"w(\d+)(?:p(\d+))?")
REPLAY_RATIO = re.compile(rf"rr{NUMBER}(?:_(\w+))?")
UNNAMED = "return"  # key of the return where the path names none
LARGEST_FILE = 256 * 2**20  # bytes of one unpacked file
LONGEST_NAME = 300  # letters of a name in a zip that messages show
LARGEST_SUM = 2 * 2**30  # bytes of all unpacked files of a source


def read_qscaled(*sources: str | os.PathLike[str], mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """Return the learning-curve table of the arrays in folders and zips.

    Args:
        sources: folders, which may lie anywhere in the layout, zips of them, or globs.
        mapping: what the paths do not hold, such as `ColumnMapping(constants={"algorithm": "SAC"})`. It adds to what
            the paths hold, and replaces it where both name a column.

    Raises:
        InputError: a source cannot be read, holds no such arrays, or the table is not valid.
    """
    return read_with(QSCALED, sources, mapping)


def log_qscaled(*sources: str | os.PathLike[str]) -> Logs:
    """Return one run per file and seed, with the settings that the path of the file holds.

    Raises:
        InputError: a source is no folder or zip, or unpacks to too many bytes.
    """
    runs: list[RunLog] = []
    skipped: list[Skipped] = []
    for path in (path for source in sources for path in matching_paths(source)):
        for file in _zipped(path, skipped) if path.is_file() else _files(path, skipped):
            found = _settings(file.parts)
            if found is None:
                skipped.append(
                    Skipped(file.name, "its path is none of qscaled's, such as utd_1/ENV/KEY/bs_256_lr_0.001.npy.")
                )
                continue
            config, key = found
            try:
                array = _array(file.data)
            except ValueError as error:
                skipped.append(Skipped(file.name, str(error)))
                continue
            for seed, returns in enumerate(array.T[1:]):
                name = f"{file.name} seed {seed}"
                known = np.flatnonzero(~np.isnan(returns))
                if not len(known):
                    skipped.append(Skipped(name, "all its returns are missing."))
                    continue
                rows = slice(int(known[-1]) + 1)
                history = pd.DataFrame({"env_steps": array[rows, 0], key: returns[rows]})
                runs.append(RunLog(name, {**config, "seed": seed}, history))
    return Logs(runs, skipped)


def guess_qscaled(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping of the settings in the paths, and sentences that say what was taken for what."""
    having = {key for run in logs.runs for key in run.config}
    in_all = {key for key in having if all(key in run.config for run in logs.runs)}
    columns: dict[str, str] = {
        name: name for name in ("env_id", "batch_size", "learning_rate", "seed") if name in having
    }
    guesses = ["seed: the number of the column; NaN after a run's last return: the run ended."]
    if "parameters" in in_all:
        columns["model_size"] = "parameters"
        guesses.append("model_size: the number after p in the folder wWIDTHpPARAMETERS.")
    elif len({run.config.get("width") for run in logs.runs}) > 1:
        columns |= {"width": "width"} if "width" in in_all else {}
        guesses.append("width: varies, and not all paths hold a number of parameters, so there is no model_size.")
    if len({run.config.get("model") for run in logs.runs}) > 1 and "model" in in_all:
        columns["model"] = "model"
        guesses.append("model: the name after rrNUMBER_ in the path varies; it is kept as a further column.")
    keys = sorted({str(key) for run in logs.runs for key in run.history.columns} - {"env_steps"})
    returns = keys if len(keys) == 1 else [key for key in keys if "return" in key.lower()]
    chosen = returns[0] if len(returns) == 1 else None
    if chosen:
        guesses.append(f"episode_return: {chosen}" + (f", of {', '.join(keys)}." if len(keys) > 1 else "."))
    return ColumnMapping(columns=columns, utd="utd", env_steps="env_steps", episode_return=chosen), guesses


QSCALED = Importer(log_qscaled, guess_qscaled)


@dataclass(frozen=True)
class _File:
    """One .npy file.

    Attributes:
        name: path of the file in messages.
        parts: parts of the path from the root or the zip's name on.
        data: bytes of the file.
    """

    name: str
    parts: tuple[str, ...]
    data: bytes


def _files(folder: Path, skipped: list[Skipped]) -> Iterator[_File]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder and no zip. Give a folder of qscaled's arrays, or a zip of one.")
    room = LARGEST_SUM
    for place, below, names in os.walk(folder, followlinks=False):
        below.sort()
        for path in (Path(place, name) for name in sorted(names) if name.endswith(".npy")):
            if not path.is_file():
                skipped.append(Skipped(str(path), "it is no regular file."))
                continue
            try:
                with path.open("rb") as stream:
                    data = stream.read(LARGEST_FILE + 1)
            except OSError as error:
                skipped.append(Skipped(str(path), f"it cannot be read ({error.strerror})."))
                continue
            room = _room_left(room, len(data), folder)
            if len(data) > LARGEST_FILE:
                skipped.append(Skipped(str(path), f"it is larger than {LARGEST_FILE // 2**20} MiB."))
                continue
            yield _File(str(path), path.absolute().parts, data)


def _zipped(file: Path, skipped: list[Skipped]) -> Iterator[_File]:
    try:
        with zipfile.ZipFile(file) as archive:
            room = LARGEST_SUM
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                path = PurePosixPath(member.filename.replace("\\", "/"))
                if path.suffix != ".npy" or "__MACOSX" in path.parts:
                    continue
                name = f"{file}/{shown(member.filename, LONGEST_NAME)}"
                if path.is_absolute() or ".." in path.parts:
                    skipped.append(Skipped(name, "its name leads out of the zip."))
                    continue
                try:
                    with archive.open(member) as stream:
                        data = stream.read(LARGEST_FILE + 1)
                except (OSError, NotImplementedError, *UNREADABLE) as error:
                    skipped.append(Skipped(name, f"it cannot be unpacked ({type(error).__name__})."))
                    continue
                room = _room_left(room, len(data), file)
                if len(data) > LARGEST_FILE:
                    skipped.append(Skipped(name, f"it unpacks to more than {LARGEST_FILE // 2**20} MiB."))
                    continue
                yield _File(name, (file.stem, *path.parts), data)
    except (OSError, NotImplementedError, *UNREADABLE) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file} cannot be read as a zip ({error}). Give a zip or a folder of qscaled's arrays."
        ) from None


def _room_left(room: int, size: int, source: Path) -> int:
    if size > room:
        raise InputError(f"the arrays in {source} exceed {LARGEST_SUM // 2**30} GiB. Import its folders one by one.")
    return room - size


def _settings(parts: tuple[str, ...]) -> tuple[dict[str, Any], str] | None:
    """Return the settings and the key of the return that the parts of a path hold, or None for other paths."""
    if len(parts) >= 2 and (ratio := REPLAY_RATIO.fullmatch(parts[-2])):
        config: dict[str, Any] = {"env_id": parts[-1].removesuffix(".npy"), "utd": float(ratio[1])}
        return config | ({"model": ratio[2]} if ratio[2] else {}) | _name(parts[:-2]), UNNAMED
    named = FILE.fullmatch(parts[-1])
    if named is None or len(parts) < 3:
        return None
    config = {"batch_size": int(named[1])} | ({"learning_rate": float(named[2])} if named[2] else {})
    folders, key = (parts[:-1], UNNAMED) if _is_setting(parts[-3]) else (parts[:-2], parts[-2])
    config["env_id"] = folders[-1]
    folders = folders[:-1]
    while folders and _is_setting(folders[-1]):
        if utd := UTD.fullmatch(folders[-1]):
            config["utd"] = float(utd[1])
        elif width := WIDTH.fullmatch(folders[-1]):
            config |= {"width": int(width[1])} | ({"parameters": int(width[2])} if width[2] else {})
        folders = folders[:-1]
    return (config | _name(folders), key) if "utd" in config else None


def _is_setting(folder: str) -> bool:
    return bool(UTD.fullmatch(folder) or WIDTH.fullmatch(folder))


def _name(folders: tuple[str, ...]) -> dict[str, str]:
    return {"name": folders[-1]} if folders else {}


def _array(data: bytes) -> Shaped[np.ndarray, "evaluation columns"]:
    """Return the array in the bytes of an .npy file; raise ValueError with a sentence unless it holds curves."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
    except (MemoryError, RecursionError, SyntaxError, *UNREADABLE):
        raise ValueError("it is no array of NumPy.") from None
    if dtype.kind not in "iuf" or len(shape) != 2 or shape[1] < 2:
        raise ValueError(f"it must hold numbers (evaluation, 1 + seeds); it holds {dtype.kind} of shape {shape}.")
    if min(shape) < 0 or math.prod(shape) * dtype.itemsize > len(data) - stream.tell():
        raise ValueError("it is cut short.")
    stream.seek(0)
    array = np.asarray(np.load(stream, allow_pickle=False))
    return array.astype(float) if array.dtype.kind == "f" else array
