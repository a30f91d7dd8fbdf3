"""Read learning curves from TensorBoard event files, which CleanRL, Stable-Baselines3 and most trainers write.

A resumed run writes a new file, in which the steps since its checkpoint come again. TensorBoard and this module treat
them alike: a file that began after another file ended replaces it from its own `purge_step` or, if it has none, from
its own first step on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.data.curves import read_curves
from bayescale.data.tables import Table
from bayescale.errors import InputError, MissingExtra
from bayescale.importers.kinds.event_files import read_events

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

Settings = Mapping[str, str | float]


@dataclass(frozen=True)
class _Log:
    """One series in one event file.

    Attributes:
        file: the event file.
        points: env steps and return of each point.
        first: the step from which on this file replaces files that ended before it began.
        purges: the file states that step itself, as `purge_step`.
        began: wall time of the first event.
        ended: wall time of the last event.
    """

    file: Path
    points: list[tuple[int, float]]
    first: int
    purges: bool
    began: float
    ended: float


def read_tensorboard(
    runs: Mapping[str, Settings] | Mapping[Path, Settings], *, tag: str = "eval/mean_reward"
) -> pd.DataFrame:
    """Return the learning-curve table of one scalar series in the event files of each run; its steps are the env steps.

    To read a folder of runs, with your own function `settings` from a folder to its settings:
    `read_tensorboard({d: settings(d) for d in Path("logs").iterdir()})`.

    If a resumed run logged steps again in a new file, the new file counts. A file that ends within a record, which
    happens when the run is killed, is read up to that record, with a warning.

    Args:
        runs: the folder of each run's event files, with the settings that the files do not hold: algorithm, env_id,
            utd, batch_size, learning_rate, seed and, if known, suite, model_size and further columns.
        tag: name of the series of returns.

    Raises:
        InputError: a folder lacks the series or holds several runs, a file is damaged, or the table is not valid.
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
        found = ", ".join(sorted(_tags(files))) or "no series"
        raise InputError(f"{folder} has no series '{tag}'; it has {found}. Give one of them as tag.")
    points = _joined(sorted(logs, key=lambda log: log.began))
    return pd.DataFrame(points, columns=["env_steps", "episode_return"])


def _tags(files: list[Path]) -> set[str]:
    values = (value for file in files for event in read_events(file) for value in event.summary.value)
    return {value.tag for value in values if _holds_number(value)}


def _holds_number(value: "Summary.Value") -> bool:
    """Return True for a number, as torch and tensorboardX write it (simple_value) or TensorFlow 2 (tensor of size 1).

    TensorFlow 2 writes histograms and texts as tensors too.
    """
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    sizes = [axis.size for axis in value.tensor.tensor_shape.dim]
    one_number = value.HasField("tensor") and value.tensor.dtype != DT_STRING and math.prod(sizes) == 1
    return bool(one_number or value.HasField("simple_value"))


def _log(file: Path, tag: str) -> _Log | None:
    """Return the series in the file; None if the file has neither points nor a `purge_step`."""
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
    """Return the points that count of logs sorted by the time when they began."""
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
