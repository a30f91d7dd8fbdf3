"""List the runs of a project or sweep of W&B's service through its client, and download their histories.

Histories are read with `scan_history`, which returns every row; `history` returns a sample. A request covers
`page_size` steps of W&B, or all steps of a run that has no more rows than that, so that no request has more rows than
`page_size`.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from bayescale.arguments import require_count
from bayescale.data.output_files import check_out_folder
from bayescale.errors import InputError, MissingExtra
from bayescale.importers.kinds.wandb.charts import STATES
from bayescale.importers.kinds.wandb.parts import part_of, read_part, write_part
from bayescale.importers.kinds.wandb.requests import Refused, answered
from bayescale.importers.kinds.wandb.run_files import LAST_STEP, ROWS, STEP, chosen_rows, is_value
from bayescale.importers.listed_runs import ListedRun, Rows
from bayescale.importers.run_folders import Unusable, flattened
from bayescale.importers.run_logs import Logs, Skipped, shown

TIMEOUT = 60  # seconds until a request that lists runs has failed
CHANGING = ("running", "pending", "preempting")  # states of runs whose history may grow
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # spelling of these numbers in W&B's JSON


class ServiceRun(Protocol):
    """The part of `wandb.apis.public.Run` that is read."""

    id: str
    name: str | None
    state: str
    config: Mapping[str, Any]
    summary_metrics: Mapping[str, Any]

    def scan_history(self, keys: list[str], page_size: int) -> Iterable[dict[str, Any]]:
        """Return the rows that have all keys."""


@dataclass(frozen=True)
class Download:
    """Rules by which runs of the service are chosen and fetched.

    Attributes:
        filters: filter of W&B's API, such as {"config.env_id": "Ant-v4", "state": "finished"}.
        page_size: rows of a history per request.
        parts: folder in which the histories of runs that have ended are kept, so that an interrupted import goes on.
    """

    filters: Mapping[str, Any] | None = None
    page_size: int = 1000
    parts: Path | None = None

    def __post_init__(self) -> None:
        """Raise InputError unless the fields can be used."""
        require_count("page_size", self.page_size)
        if self.filters is not None and not isinstance(self.filters, Mapping):
            raise InputError(f"the filter must be a JSON object; got {json.dumps(self.filters)[:60]}. Correct it.")
        if self.parts is not None:
            check_out_folder(self.parts)


@dataclass(frozen=True)
class Place:
    """A place of the service: a project, or a run or sweep in it."""

    entity: str
    project: str
    kind: str | None = None
    id: str | None = None

    def __str__(self) -> str:
        """Return the path of the place, as the address of its page has it."""
        within = f"/{self.kind or 'runs'}/{self.id}" if self.id else ""
        return f"{self.entity}/{self.project}{within}"


def log_service(places: Sequence[Place], download: Download) -> Logs:
    """Return the runs of the places, listed from the oldest to the newest, with the last values of their keys.

    Raises:
        InputError: the service refuses or fails, or a place has no run that the filter takes.
        MissingExtra: wandb is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise MissingExtra("wandb", "wandb") from None
    api = answered(lambda: wandb.Api(timeout=TIMEOUT), "the service")
    listed: dict[str, ListedRun] = {}
    skipped: list[Skipped] = []
    for place in dict.fromkeys(places):
        filters = [dict(download.filters)] if download.filters else []
        if place.id:
            filters.append({"sweep" if place.kind == "sweeps" else "name": place.id})
        ask = partial(api.runs, filters={"$and": filters} if filters else {}, order="+created_at", lazy=False)
        runs = answered(partial(ask, f"{place.entity}/{place.project}"), str(place))
        found = 0
        while (run := answered(partial(next, runs, None), str(place))) is not None:
            found += 1
            name = f"{place.entity}/{place.project}/{run.id}"
            try:
                listed.setdefault(name, _listed(run, name, place, download))
            except Unusable as reason:
                skipped.append(Skipped(name, str(reason)))
        if not found:
            chosen = " that the filter takes" if download.filters else ""
            raise InputError(f"{place} has no run{chosen}. Check the name of the place on its page.")
    return Logs(list(listed.values()), skipped)


def _listed(run: ServiceRun, name: str, place: Place, download: Download) -> ListedRun:
    config = {key: value for key, value in flattened(run.config).items() if not key.startswith("_wandb")}
    last = {key: _number(value) for key, value in flattened(run.summary_metrics).items()}
    last = {key: value for key, value in last.items() if is_value(value)}
    last |= {key: 1.0 for key in _number_keys(run) if key not in last}
    rows = int(getattr(run, "history_line_count", None) or 0)
    own = {"wandb.name": run.name, "wandb.group": getattr(run, "group", None), "wandb.project": place.project}
    config |= {key: value for key, value in own.items() if value}
    if STEP in last and rows:
        config |= {LAST_STEP: last[STEP], ROWS: rows}
    pages = download.page_size if rows > download.page_size else max(download.page_size, int(last.get(STEP, 0)) + 1)
    state = str(run.state)
    identity = [name, state, rows, getattr(run, "created_at", None), getattr(run, "heartbeat_at", None)]

    def read(keys: Sequence[str]) -> Rows:
        part = None if download.parts is None or state in CHANGING else part_of(download.parts, identity, keys)
        history = read_part(part) if part else None
        if history is None:
            history = _history(run, name, keys, pages)
            if part is not None:
                part.parent.mkdir(exist_ok=True)
                write_part(part, history)
        return Rows(history)

    return ListedRun(
        name=f"{name} ({shown(run.name)})" if run.name else name,
        config=config,
        history=pd.DataFrame([last]),
        status=STATES.get(state),
        label=run.name or run.id,
        read=read,
    )


def _number_keys(run: ServiceRun) -> list[str]:
    """Return the keys of the history that hold numbers, of which the summary may lack some."""
    keys = getattr(run, "history_keys", None)
    keys = keys.get("keys") if isinstance(keys, Mapping) else None
    counts = {key: about.get("typeCounts") for key, about in (keys or {}).items() if isinstance(about, Mapping)}
    return [
        key
        for key, types in counts.items()
        if isinstance(types, list) and any(isinstance(one, Mapping) and one.get("type") == "number" for one in types)
    ]


def _history(run: ServiceRun, name: str, keys: Sequence[str], page_size: int) -> pd.DataFrame:
    """Return the rows that have the step counter and the return, the first two keys, then those of each further key."""
    rows: list[dict[str, Any]] = []
    for group in [list(keys[:2]), *([key] for key in keys[2:])]:
        try:
            found = answered(partial(_rows, run, group, page_size), name)
        except Refused as error:
            raise Unusable(str(error)) from None
        rows += [{key: _number(row[key]) for key in group if key in row} for row in found]
    return chosen_rows(rows, keys)


def _rows(run: ServiceRun, keys: list[str], page_size: int) -> list[dict[str, Any]]:
    return list(run.scan_history(keys=keys, page_size=page_size))


def _number(value: Any) -> Any:
    """Return the number for which W&B's JSON has a word; return anything else unchanged."""
    return SPECIAL.get(value, value) if isinstance(value, str) else value
