"""Say what a source of W&B is, and read it: a place of the service, run files on disk, or exported CSV files."""

import os
import re
from pathlib import Path

from bayescale.data.tables.paths import matching_paths
from bayescale.errors import InputError
from bayescale.importers.kinds.wandb.charts import log_charts
from bayescale.importers.kinds.wandb.run_files import SUFFIX, log_run_files
from bayescale.importers.kinds.wandb.service import Download, Place, log_service
from bayescale.importers.run_logs import Logs, RunLog, Skipped

NAME = r"[\w][\w.\- ]*"
PLACE = re.compile(
    rf"(?:https?://(?P<host>[\w.:-]+)/)?(?P<entity>{NAME})/(?P<project>{NAME})(?:/(?:(?P<kind>runs|sweeps)/)?(?P<id>[\w-]+))?"
    r"(?:/workspace|/table|/overview|/)?(?:\?.*)?"
)
CSV = (".csv", ".csv.gz")


def log_wandb(*sources: str | os.PathLike[str], download: Download | None = None) -> Logs:
    """Return the runs of the sources, of the service with the last values of their keys only, and what was left out.

    Raises:
        InputError: a source does not exist, or the service refuses or fails.
        MissingExtra: wandb is not installed and a source is no CSV file.
    """
    places: list[Place] = []
    folders: list[Path] = []
    tables: list[Path] = []
    for source in sources:
        text = os.fspath(source)
        place = None if os.path.lexists(text) else PLACE.fullmatch(text)
        if place is not None and not text.endswith((SUFFIX, *CSV)):
            found = place.groupdict()
            own_server = str(found["host"]) in os.environ.get("WANDB_BASE_URL", "")
            if found["host"] not in (None, "wandb.ai", "www.wandb.ai") and not own_server:
                raise InputError(f"{text} is not on wandb.ai. Set WANDB_BASE_URL to the address of your server.")
            places.append(Place(found["entity"], found["project"], found["kind"], found["id"]))
            continue
        for path in matching_paths(text):
            (tables if path.name.endswith(CSV) and not path.is_dir() else folders).append(path)
    logs = [log_charts(tables)] if tables else []
    logs += [log_run_files(folders)] if folders else []
    logs += [log_service(places, download or Download())] if places else []
    runs: list[RunLog] = [run for log in logs for run in log.runs]
    skipped: list[Skipped] = [one for log in logs for one in log.skipped]
    return Logs(runs, skipped)
