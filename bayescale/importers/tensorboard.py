"""Learning curves from TensorBoard event files, as CleanRL, Stable-Baselines3 and most trainers write them.

A training that is resumed writes another file, with the steps since its checkpoint once more. As in TensorBoard, the
file that was begun after another had ended replaces it from its own first step on, or from its `purge_step`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.data.curves import read_curves
from bayescale.data.tables import Table
from bayescale.errors import InputError, MissingExtra
from bayescale.importers.event_files import read_events

Settings = Mapping[str, str | float]


@dataclass(frozen=True)
class _Log:
    """What one file says of a series."""

    file: Path
    points: list[tuple[int, float]]  # env steps and return
    first: int  # step from which on it replaces earlier files
    purges: bool  # it says so itself
    began: float  # wall time
    ended: float


def read_tensorboard(
    runs: Mapping[str, Settings] | Mapping[Path, Settings], tag: str = "eval/mean_reward"
) -> pd.DataFrame:
    """The learning-curve table of one scalar series in each run's event files; its steps are the env steps.

    A whole folder of runs: `read_tensorboard({d: configuration(d) for d in Path("logs").iterdir()})`.
    Steps that a resumed training logged again, in a file of its own, are those of the later file. A file that ends
    within a record, as that of a run that was killed may, is read up to there, with a warning.

    Args:
        runs: folder with one run's event files -> its settings, which the events do not hold: algorithm, env_id, utd,
            batch_size, learning_rate, seed and, if known, suite, model_size and further columns.
        tag: name of the series of returns.

    Raises:
        InputError: a folder without the series or with several runs, a damaged file, or a table that is not valid.
        MissingExtra: tensorboard is not installed.
    """
    return read_curves(
        Table(_series(Path(folder), tag).assign(**settings), str(folder)) for folder, settings in runs.items()
    )


def _series(folder: Path, tag: str) -> pd.DataFrame:
    try:
        from tensorboard.backend.event_processing.io_wrapper import IsSummaryEventsFile
    except ImportError:
        raise MissingExtra("tensorboard", "importers") from None
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that holds a run's event files.")
    files = [file for file in sorted(folder.iterdir()) if IsSummaryEventsFile(str(file))]
    logs = [log for file in files if (log := _log(file, tag)) is not None]
    if not any(log.points for log in logs):
        found = ", ".join(sorted(_tags(files))) or "no series at all"
        raise InputError(f"{folder} has no series '{tag}'; it has {found}. Give one of them as tag.")
    points = _joined(sorted(logs, key=lambda log: log.began))
    return pd.DataFrame(points, columns=["env_steps", "episode_return"])


def _tags(files: list[Path]) -> set[str]:
    values = (value for file in files for event in read_events(file) for value in event.summary.value)
    return {value.tag for value in values if _holds_number(value)}


def _holds_number(value: Any) -> bool:
    """As torch and tensorboardX write it, or as TensorFlow 2 does, whose histograms and texts are tensors too."""
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    sizes = [axis.size for axis in value.tensor.tensor_shape.dim]
    one = value.HasField("tensor") and value.tensor.dtype != DT_STRING and math.prod(sizes) == 1
    return bool(one or value.HasField("simple_value"))


def _log(file: Path, tag: str) -> _Log | None:
    """What the file says of the series, if anything."""
    from tensorboard.compat.proto.event_pb2 import SessionLog
    from tensorboard.util.tensor_util import make_ndarray

    points: list[tuple[int, float]] = []
    times: list[float] = []
    purges: list[int] = []
    for event in read_events(file):
        if event.session_log.status == SessionLog.START:
            points = [point for point in points if point[0] < event.step]
            purges.append(event.step)
            times.append(event.wall_time)
        for value in event.summary.value:
            if value.tag == tag and _holds_number(value):
                tensor = value.HasField("tensor")
                number = np.asarray(make_ndarray(value.tensor)).item() if tensor else value.simple_value
                points.append((event.step, number))
                times.append(event.wall_time)
    if not times:
        return None
    first = min([*purges, *(step for step, _ in points)])
    return _Log(file, points, first, bool(purges), min(times), max(times))


def _joined(logs: list[_Log]) -> list[tuple[int, float]]:
    """The points of logs that come in the order in which they were begun."""
    kept, ended = logs[0].points, logs[0].ended
    for before, log in pairwise(logs):
        if log.began > ended:
            if kept and log.first <= min(kept)[0] and not log.purges:
                raise InputError(
                    f"{log.file} starts over after {before.file}, as another run does. "
                    "Remove the one that does not count, or give each run a folder."
                )
            kept = [point for point in kept if point[0] < log.first]
        kept, ended = kept + log.points, max(ended, log.ended)
    return kept
