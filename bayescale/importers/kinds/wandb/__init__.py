"""Read learning curves from Weights & Biases (W&B): its service, run files on disk, and exported CSV files.

sources      say what a source is
service      list and download the runs of a project or sweep
requests     try requests again while the service is busy
parts        keep downloaded histories, so that an interrupted import goes on
run_files    read the .wandb files of run folders, without network
charts       read the CSV that a chart exports, and the CSV of the table of runs

The config of a run holds its hyperparameters, nested keys joined by dots, and W&B's own values as `wandb.name`,
`wandb.group`, `wandb.job_type` and `wandb.project`. The history holds W&B's own step as `_step`.

W&B continues a run when it is resumed, so its rows come in the order of logging. Where the step counter goes back, but
not to its start, the run was resumed: later rows count.
"""

import os
from dataclasses import replace
from functools import partial

import pandas as pd

from bayescale.importers.importer import Importer, read_with
from bayescale.importers.kinds.wandb.charts import BINNED, LONE_METRIC
from bayescale.importers.kinds.wandb.run_files import LAST_STEP, ROWS, STEP
from bayescale.importers.kinds.wandb.service import Download
from bayescale.importers.kinds.wandb.sources import log_wandb
from bayescale.importers.listed_runs import Progress, read_histories
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, starts_over
from bayescale.importers.usual_names import OwnStep, guess_usual

__all__ = ["WANDB", "Download", "guess_wandb", "log_wandb", "read_wandb", "wandb_histories"]

WORKERS = 8  # histories that are downloaded at a time


def read_wandb(
    *sources: str | os.PathLike[str], mapping: ColumnMapping | None = None, download: Download | None = None
) -> pd.DataFrame:
    """Return the learning-curve table of runs of Weights & Biases.

    Args:
        sources: ENTITY/PROJECT, ENTITY/PROJECT/sweeps/ID or ENTITY/PROJECT/runs/ID of the service; run folders, or
            folders that hold some; .wandb files; CSV files of charts, with the CSV of the table of runs if it holds
            their settings; globs of files.
        mapping: keys of configs and histories by column. It adds to what `guess_wandb` finds, and replaces it where
            both name a column.
        download: how runs of the service are chosen and fetched.

    Raises:
        InputError: a source does not exist, the service fails, no run can be used, or the table is not valid.
        MissingExtra: wandb is not installed and a source is no CSV file.
    """
    return read_with(WANDB._replace(log=partial(log_wandb, download=download)), sources, mapping)


def guess_wandb(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from the keys of configs and histories to columns, and a sentence for each guess."""
    runs = logs.runs
    mapping, said = guess_usual(runs, own_step=OwnStep(STEP, last=LAST_STEP, rows=ROWS), system="wandb.")
    lone = {run.config.get(LONE_METRIC) for run in runs}
    if mapping.episode_return is None and len(lone) == 1 and None not in lone:
        (metric,) = lone
        mapping = replace(mapping, episode_return=metric)
        said.append(f"episode_return: {metric}, the only metric of the chart.")
    binned = sum(run.config.get(BINNED, 0) for run in runs)
    if binned:
        said.append(
            f"{binned:,} points of the chart are means over several steps or runs, because its __MIN and __MAX differ "
            "there. Import the project for the points that were logged."
        )
    return mapping, said


def wandb_histories(logs: Logs, mapping: ColumnMapping, *, on_progress: Progress | None = None) -> Logs:
    """Return the runs with the rows of the keys that the mapping names, and mark the runs that were resumed."""
    full = read_histories(logs, mapping, workers=WORKERS, on_progress=on_progress)
    return replace(full, runs=[_marked(run, mapping.env_steps or "env_steps") for run in full.runs])


def _marked(run: RunLog, env_steps: str) -> RunLog:
    if env_steps not in run.history:
        return run
    steps = pd.to_numeric(run.history[env_steps], errors="coerce").dropna().to_numpy()
    goes_back = run.resumed or bool((steps[1:] < steps[:-1]).any())
    return replace(run, resumed=goes_back and not starts_over(steps))


WANDB = Importer(log_wandb, guess_wandb, wandb_histories)
