"""Read the CSV that a chart of W&B exports: a column of steps, and columns `RUN - METRIC` for each run.

Columns `RUN - METRIC__MIN` and `RUN - METRIC__MAX` hold the least and the largest value of the points that the chart
joins. Settings come from the CSV of the table of runs, whose column `Name` holds the names of the runs, from names such
as `utd=4, seed=1`, or from a pattern.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.data.tables.csv_files import EXACT
from bayescale.data.tables.csv_layout import decimal_of, separator_of, warn_of_layout
from bayescale.errors import InputError
from bayescale.importers.kinds.csv_tables import NAMED_VALUE
from bayescale.importers.run_folders import UNREADABLE, Unusable, read_text
from bayescale.importers.run_logs import Logs, RunLog, Skipped, shown

BETWEEN = " - "  # text between the name of a run and its metric
LEAST, LARGEST = "__MIN", "__MAX"
RUN_TABLE = {"State", "ID", "Created", "Runtime", "User", "Sweep"}  # columns of which the table of runs has one
BINNED = "wandb.binned_points"  # config key: points of a run that join several
LONE_METRIC = "wandb.lone_metric"  # config key: the metric of a chart that has one
STATES = {
    "finished": "finished", "crashed": "crashed", "failed": "crashed", "killed": "stopped early",
    "preempted": "crashed", "preempting": "running", "running": "running", "pending": "running",
}  # fmt: skip


def log_charts(files: Sequence[Path]) -> Logs:
    """Return the runs in the CSV files of charts, with the settings that the CSV file of the table of runs holds.

    Raises:
        InputError: a file cannot be read, or is neither a chart nor a table of runs.
    """
    left_out: list[Skipped] = []
    settings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    charts = []
    for file in files:
        header, table = _read(file)
        if "Name" in header and RUN_TABLE & set(header):
            for row in table.set_axis(header, axis=1).to_dict("records"):
                settings[str(row["Name"])].append({str(k): v for k, v in row.items() if k != "Name" and not pd.isna(v)})
        elif any(BETWEEN in name for name in header[1:]):
            charts.append((file, header, table))
        else:
            raise InputError(
                f"{file} is no chart of W&B, whose columns are named RUN - METRIC, and no table of its runs. Other "
                "tables: bayescale import csv."
            )
    if not charts:
        raise InputError(f"{files[0]} is the table of runs and holds no curves. Give the CSV of a chart too.")
    runs: list[RunLog] = []
    for file, header, table in charts:
        for run in _runs(header, table):
            found = settings.get(str(run.label), [{}] if not settings else [])
            if len(found) == 1:
                own = {key: value for key, value in found[0].items() if key != "State"}
                status = STATES.get(str(found[0].get("State", "")).lower())
                runs.append(RunLog(f"{file}: {run.name}", {**run.config, **own}, run.history, status, label=run.label))
            else:
                many = "no run" if not found else f"{len(found)} runs"
                left_out.append(Skipped(f"{file}: {run.name}", f"the table of runs has {many} of its name."))
    return Logs(runs, left_out)


def _read(file: Path) -> tuple[list[str], pd.DataFrame]:
    """Return the header of a CSV file and its rows, whose columns are numbered."""

    def rows(decimal: str) -> pd.DataFrame:
        table: pd.DataFrame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            decimal=decimal,
            header=None,
            skiprows=1,
            names=range(len(header)),
            index_col=False,
            low_memory=False,
            **EXACT,
        )
        return table

    try:
        text = read_text(file)
        separator = separator_of(str(file), text, ())
        lines = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        header = [name.strip() for name in next(lines, [])]
        table = rows(".")
        if separator != ",":
            decimal = decimal_of(str(file), table.iloc[:, :0], table)
            table = rows(decimal)
            warn_of_layout(str(file), separator, decimal)
    except Unusable as reason:
        raise InputError(f"{file}: {reason} Export it again.") from None
    except (csv.Error, *UNREADABLE):
        raise InputError(f"{file} cannot be read as a CSV file of W&B. Export it again.") from None
    return header, table


def _runs(header: Sequence[str], table: pd.DataFrame) -> Iterator[RunLog]:
    """Yield the runs of a chart; runs of one name and metric are runs of their own."""
    ends = {name: place for place, name in enumerate(header) if name.endswith((LEAST, LARGEST))}
    seen: Counter[str] = Counter()
    columns: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for place, name in enumerate(header[1:], start=1):
        if BETWEEN not in name or (name in ends and name[: -len(LEAST)] in header):
            continue
        run, metric = name.rsplit(BETWEEN, 1)
        columns[run, seen[name]][metric] = place
        seen[name] += 1
    for (run, _), places in columns.items():
        metrics = [metric for metric in places if not metric.startswith("_")]
        if not metrics:
            continue
        history = table[[0, *places.values()]].set_axis([header[0], *places], axis=1)
        history = history[history[metrics].notna().any(axis=1)].reset_index(drop=True)
        binned = sum(_binned(table, ends, f"{run}{BETWEEN}{metric}") for metric in metrics)
        config: dict[str, Any] = {**dict(NAMED_VALUE.findall(run)), **({BINNED: binned} if binned else {})}
        if len(metrics) == 1:
            config[LONE_METRIC] = metrics[0]
        yield RunLog(f"run {shown(run)}", config, history, label=run)


def _binned(table: pd.DataFrame, ends: Mapping[str, int], name: str) -> int:
    """Return the number of points whose least and largest value differ."""
    if name + LEAST not in ends or name + LARGEST not in ends:
        return 0
    least, largest = (pd.to_numeric(table[ends[name + end]], errors="coerce") for end in (LEAST, LARGEST))
    return int((least < largest).sum())
