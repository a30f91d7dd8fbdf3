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

from bayescale.importers.listed_runs import Rows
from bayescale.importers.run_logs import starts_over

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
        store: path of the store, in messages.
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
    store: str = ""


def rows_of(metrics: Sequence[Points], further: Sequence[Points] = ()) -> Rows:
    """Return the points of the last metric, with those of the others at their steps, as rows in the order of the steps.

    If the steps of a metric go back, the rows are in the order of time. The run then was resumed, unless its steps
    start over.

    Args:
        metrics: the return, and before it the step counter, if that is a metric.
        further: metrics whose values need not share rows with the return.
    """
    backward = any(_goes_back(metric.steps) for metric in metrics)
    resumed = backward and not any(starts_over(metric.steps) for metric in metrics)
    rows = [_joined(metrics, by_time=backward), *(pd.DataFrame({metric.key: metric.values}) for metric in further)]
    return Rows(pd.concat(rows, ignore_index=True) if further else rows[0], resumed)


def _joined(metrics: Sequence[Points], *, by_time: bool) -> pd.DataFrame:
    points = pd.concat(
        [pd.DataFrame({"key": m.key, "step": m.steps, "time": m.times, "value": m.values}) for m in metrics],
        ignore_index=True,
    )
    at_step = points.groupby(["step", "key"], sort=False)
    count = at_step["time"].transform("size")
    as_many = count.where(count > 1).groupby(points["step"]).transform("nunique") <= 1
    points["turn"] = (-at_step.cumcount(ascending=False)).where(as_many, points["time"])
    points = points.drop_duplicates(["step", "turn", "key"], keep="last")
    values = points.pivot(index=["step", "turn"], columns="key", values="value")
    returns = points[points["key"] == metrics[-1].key].sort_values(
        ["time" if by_time else "step", "turn"], kind="stable"
    )
    rows = values.reindex(pd.MultiIndex.from_frame(returns[["step", "turn"]]))
    return rows.rename_axis(columns=None).reset_index().drop(columns="turn").rename(columns={"step": STEP})


def _goes_back(steps: Int[np.ndarray, " point"]) -> bool:
    """Return True if a step comes again or after a later one, unless all points have one step, which counts nothing."""
    return bool((np.diff(steps) <= 0).any() and (steps != steps[:1]).any())
