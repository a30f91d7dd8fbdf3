"""Runs as a store of MLflow holds them, and the rows of their metrics.

MLflow stores each point of a metric by itself: value, step and time. Points of one step share a row. Where a step
repeats, the last points of all metrics share a row, and so do the ones before them, if the metrics have as many points
there; otherwise points of one time share a row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bayescale.importers.run_logs import RunLog, starts_over

STEP = "mlflow.step"


@dataclass(frozen=True)
class Points:
    """Points of one metric in the order in which they were logged.

    Attributes:
        key: name of the metric.
        steps: step of each point.
        times: time of each point, milliseconds.
        values: value of each point.
    """

    key: str
    steps: Int[np.ndarray, " point"]
    times: Int[np.ndarray, " point"]
    values: Float[np.ndarray, " point"]


@dataclass(frozen=True)
class StoredRun:
    """A run as a store holds it.

    Attributes:
        id: id of the run.
        name: name that the user gave it; may be empty.
        experiment: name of its experiment.
        started: time at which it began, milliseconds.
        status: MLflow's word for its status.
        params: parameters by name.
        tags: tags by name, among them MLflow's own.
        last: last value of each metric by name.
        last_step: last step of all metrics.
        points: number of points of the metric that has most.
        read: function that returns the points of the metrics with the given names; raises `Unusable`.
    """

    id: str
    name: str
    experiment: str
    started: int
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    last: Mapping[str, float]
    last_step: int
    points: int
    read: Callable[[Sequence[str]], list[Points]]


def with_rows(run: RunLog, metrics: Sequence[Points]) -> RunLog:
    """Return the run with the points of the metrics as rows, in the order of the steps.

    If the steps of a metric go back, the rows are in the order of time. The run then was resumed, unless its steps
    start over.
    """
    backward = any(_goes_back(metric.steps) for metric in metrics)
    resumed = backward and not any(starts_over(metric.steps) for metric in metrics)
    return RunLog(run.name, run.config, _rows(metrics, by_time=backward), run.status, resumed, run.label)


def _rows(metrics: Sequence[Points], *, by_time: bool) -> pd.DataFrame:
    filled = [metric for metric in metrics if len(metric.steps)]
    if not filled:
        return pd.DataFrame({STEP: np.empty(0, np.int64)})
    points = pd.concat(
        [pd.DataFrame({"key": m.key, "step": m.steps, "time": m.times, "value": m.values}) for m in filled],
        ignore_index=True,
    )
    at_step = points.groupby(["step", "key"], sort=False)
    count = at_step["time"].transform("size")
    as_many = count.where(count > 1).groupby(points["step"]).transform("nunique") <= 1
    points["turn"] = (-at_step.cumcount(ascending=False)).where(as_many, points["time"])
    points = points.drop_duplicates(["step", "turn", "key"], keep="last")
    wide = points.pivot(index=["step", "turn"], columns="key", values="value")
    times = points.groupby(["step", "turn"])["time"].max().reindex(wide.index)
    wide = wide.rename_axis(columns=None).reset_index()
    order = np.lexsort([wide["turn"], wide["step"], *([times.to_numpy()] if by_time else [])])
    return wide.iloc[order].drop(columns="turn").rename(columns={"step": STEP}).reset_index(drop=True)


def _goes_back(steps: Int[np.ndarray, " point"]) -> bool:
    """Return True if a step comes again or after a later one, unless all points have one step, which counts nothing."""
    return bool((np.diff(steps) <= 0).any() and (steps != steps[:1]).any())
