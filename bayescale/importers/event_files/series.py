"""Collect the scalars of event files, and join the files of one run.

A resumed run writes a new file, in which the steps since its checkpoint come again. TensorBoard and this module treat
them alike: a file that began after another file ended replaces it from its own `purge_step` or, if it has none, from
its own first step on. Files that were written at the same time add up.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescale.importers.event_files.hyperparameters import settings_of
from bayescale.importers.event_files.records import CutShort, read_events
from bayescale.importers.run_folders import Unusable

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

MOST_TAGS = 10_000  # series of one file


class Series(NamedTuple):
    """The points of one series in the order of logging."""

    steps: Int[np.ndarray, " point"]
    values: Float[np.ndarray, " point"]


@dataclass(frozen=True)
class EventFile:
    """The scalars of one event file.

    Attributes:
        file: the event file.
        series: points by tag.
        times: wall times of the first and the last point by tag.
        purges: steps from which on the file states that it replaces earlier files.
        purge_times: wall times of these statements.
        settings: hyperparameters that the file holds.
        cut: sentence that says that the file is cut short, or None.
    """

    file: Path
    series: Mapping[str, Series]
    times: Mapping[str, tuple[float, float]]
    purges: Sequence[int]
    purge_times: Sequence[float]
    settings: Mapping[str, Any]
    cut: str | None


@dataclass
class _Points:
    """Points of one series while a file is read."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    began: float = np.inf
    ended: float = -np.inf


class StartsOver(Exception):
    """A series starts over in a file that says nothing of a resumed run, as another run does.

    Attributes:
        file: the file in which the series starts over.
        before: the file before it.
    """

    def __init__(self, file: Path, before: Path) -> None:
        super().__init__(file, before)
        self.file, self.before = file, before


def read_event_file(file: Path) -> EventFile:
    """Return the scalars and the settings of an event file.

    Raises:
        Unusable: the file is damaged, no plain file or no event file.
        MissingExtra: tensorboard is not installed.
    """
    points: dict[str, _Points] = {}
    purges: list[int] = []
    purge_times: list[float] = []
    settings: dict[str, Any] = {}
    cut = None
    try:
        for event in read_events(file):
            if event.session_log.status == event.session_log.START:
                purges.append(event.step)
                purge_times.append(event.wall_time)
                for own in points.values():
                    _purge(own, event.step)
            for value in event.summary.value:
                number = _number(value)
                if number is None:
                    settings |= settings_of(value)
                    continue
                if value.tag not in points and len(points) == MOST_TAGS:
                    raise Unusable(f"it has more than {MOST_TAGS:,} series.")
                own = points.setdefault(value.tag, _Points())
                own.steps.append(event.step)
                own.values.append(number)
                own.began, own.ended = min(own.began, event.wall_time), max(own.ended, event.wall_time)
    except CutShort as reason:
        cut = str(reason)
    series = {tag: Series(np.array(own.steps, np.int64), np.array(own.values)) for tag, own in points.items()}
    times = {tag: (own.began, own.ended) for tag, own in points.items()}
    return EventFile(file, series, times, purges, purge_times, settings, cut)


def _purge(points: _Points, step: int) -> None:
    """Remove the points from a step on."""
    kept = [i for i, own in enumerate(points.steps) if own < step]
    points.steps = array("q", [points.steps[i] for i in kept])
    points.values = array("d", [points.values[i] for i in kept])


def _number(value: "Summary.Value") -> float | None:
    """Return the number of a value as torch and tensorboardX write it (simple_value) or TensorFlow 2 (a tensor).

    TensorFlow 2 writes histograms and texts as tensors too; tensors of other sizes than 1 hold no number.
    """
    if value.HasField("simple_value"):
        return float(value.simple_value)
    return _tensor_number(value.tensor) if value.HasField("tensor") else None


def _tensor_number(tensor: "TensorProto") -> float | None:
    from tensorboard.compat.proto import types_pb2 as types

    stored = {
        types.DT_FLOAT: ("float_val", "<f4"), types.DT_DOUBLE: ("double_val", "<f8"),
        types.DT_INT32: ("int_val", "<i4"), types.DT_INT64: ("int64_val", "<i8"),
        types.DT_INT16: ("int_val", "<i2"), types.DT_INT8: ("int_val", "<i1"), types.DT_UINT8: ("int_val", "<u1"),
        types.DT_UINT32: ("uint32_val", "<u4"), types.DT_UINT64: ("uint64_val", "<u8"),
    }.get(tensor.dtype)  # fmt: skip
    if stored is None or any(axis.size != 1 for axis in tensor.tensor_shape.dim):
        return None
    name, dtype = stored
    if tensor.tensor_content:
        exact = len(tensor.tensor_content) == np.dtype(dtype).itemsize
        return float(np.frombuffer(tensor.tensor_content, dtype)[0]) if exact else None
    values = getattr(tensor, name)
    return float(values[0]) if len(values) == 1 else None


def joined(files: Sequence[EventFile], tag: str, *, may_start_over: bool) -> Series | None:
    """Return the points of a series that count over the files of one run, None if there are none.

    Args:
        files: the event files of one folder.
        tag: name of the series.
        may_start_over: True keeps all points where a series starts over; otherwise StartsOver is raised.
    """
    logs = [_Log.of(file, tag) for file in files if tag in file.series or file.purges]
    logs.sort(key=lambda log: log.began)
    if not any(len(log.series.steps) for log in logs):
        return None
    steps, values, ended = logs[0].series.steps, logs[0].series.values, logs[0].ended
    for before, log in pairwise(logs):
        if log.began > ended:
            if len(steps) and log.first <= steps.min() and not log.purges:
                if not may_start_over:
                    raise StartsOver(log.file, before.file)
            else:
                kept = steps < log.first
                steps, values = steps[kept], values[kept]
        steps, values = np.append(steps, log.series.steps), np.append(values, log.series.values)
        ended = max(ended, log.ended)
    return Series(steps, values)


class _Log(NamedTuple):
    """One series in one event file.

    Attributes:
        file: the event file.
        series: the points.
        first: the step from which on this file replaces files that ended before it began.
        purges: the file states that step itself, as `purge_step`.
        began: wall time of the first event.
        ended: wall time of the last event.
    """

    file: Path
    series: Series
    first: int
    purges: bool
    began: float
    ended: float

    @staticmethod
    def of(file: EventFile, tag: str) -> "_Log":
        series = file.series.get(tag, Series(np.empty(0, np.int64), np.empty(0)))
        times = [*file.times.get(tag, ()), *file.purge_times]
        first = min([*file.purges, *(int(step) for step in series.steps.min(keepdims=True, initial=2**62))])
        return _Log(file.file, series, first, bool(file.purges), min(times), max(times))
