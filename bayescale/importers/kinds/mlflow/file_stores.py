"""List and read the runs in a folder of files of MLflow, such as `mlruns/EXPERIMENT/RUN`.

A folder of a run holds meta.yaml, and a file for each metric, parameter and tag. Links are not followed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bayescale.importers.kinds.mlflow.stored_runs import Points, StoredRun
from bayescale.importers.kinds.zoo_settings import read_yaml
from bayescale.importers.run_folders import Unusable, read_text, skipped, whole_lines
from bayescale.importers.run_logs import Skipped

META = "meta.yaml"
NO_RUNS = {
    "artifacts", "metrics", "params", "tags", "inputs", "outputs", "traces", "models", "datasets", "assessments",
    ".trash",
}  # fmt: skip
STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
LARGEST_META = 2**18  # characters
LARGEST_TEXT = 2**16  # characters of a parameter or tag


def folder_runs(folders: Sequence[Path], left_out: list[Skipped]) -> list[StoredRun]:
    """Return the runs in the folders that hold a meta.yaml; those of experiments give their names.

    Args:
        folders: folders of runs and experiments.
        left_out: list to which files that cannot be used are added.

    Raises:
        MissingExtra: PyYAML is not installed.
    """
    metas = {}
    for folder in dict.fromkeys([*folders, *(folder.parent for folder in folders)]):
        if folder in folders or (folder / META).is_file():
            try:
                metas[folder] = _meta(folder / META)
            except Unusable as reason:
                left_out.append(skipped(folder / META, reason))
    runs = []
    for folder in folders:
        meta = metas.get(folder, {})
        if not _id(meta) or meta.get("lifecycle_stage", "active") != "active":
            continue
        try:
            runs.append(_run(folder, meta, metas.get(folder.parent, {}), left_out))
        except Unusable as reason:
            left_out.append(skipped(folder, reason))
    return runs


def _id(meta: Mapping[str, Any]) -> str:
    return str(meta.get("run_id") or meta.get("run_uuid") or "")


def _meta(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if len(text) > LARGEST_META:
        raise Unusable(f"it has more than {LARGEST_META:,} characters.")
    meta = read_yaml(text, extra="mlflow")
    if not isinstance(meta, dict):
        raise Unusable("it describes no run and no experiment.")
    return meta


def _run(folder: Path, meta: Mapping[str, Any], experiment: Mapping[str, Any], left_out: list[Skipped]) -> StoredRun:
    last: dict[str, float] = {}
    last_step = points = 0
    files = dict(_files(folder / "metrics"))
    for key, file in files.items():
        try:
            metric = _points(key, file, left_out)
        except Unusable as reason:
            left_out.append(skipped(file, reason))
            continue
        if len(metric.values):
            last[key] = float(metric.values[-1])
            last_step, points = max(last_step, int(metric.steps.max())), max(points, len(metric.steps))
    texts = {place: {key: _text(file) for key, file in _files(folder / place)} for place in ("params", "tags")}
    started, status = meta.get("start_time"), meta.get("status")
    return StoredRun(
        id=_id(meta),
        name=str(meta.get("run_name") or texts["tags"].get("mlflow.runName") or ""),
        experiment=str(experiment.get("name") or folder.parent.name),
        started=started if isinstance(started, int) else 0,
        status=STATUSES.get(status, "") if isinstance(status, int) else str(status),
        params=texts["params"],
        tags=texts["tags"],
        last=last,
        last_step=last_step,
        points=points,
        read=lambda keys: [_points(key, files[key], []) for key in keys],
    )


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Yield the files at or below the folder by the names of their metrics, parameters or tags: `eval/return`."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, Path(entry.path)


def _text(file: Path) -> str:
    text = read_text(file)
    if len(text) > LARGEST_TEXT:
        raise Unusable(f"its file {file.name} has more than {LARGEST_TEXT:,} characters.")
    return text.strip()


def _points(key: str, file: Path, left_out: list[Skipped]) -> Points:
    """Return the points of a metric, one per line: time, value and, since MLflow 1.0, step."""
    text, cut = whole_lines(read_text(file))
    if cut:
        left_out.append(skipped(file, cut))
    steps, times, values = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        try:
            times.append(int(parts[0]))
            values.append(float(parts[1]))
            steps.append(int(parts[2]) if len(parts) > 2 else 0)
        except (ValueError, IndexError):
            raise Unusable(f"its line {number} is no point of a metric.") from None
    try:
        order = np.argsort(np.array(times, np.int64), kind="stable")
        return Points(key, np.array(steps, np.int64)[order], np.array(times, np.int64)[order], np.array(values)[order])
    except OverflowError:
        raise Unusable("it holds a step or a time that is too large.") from None
