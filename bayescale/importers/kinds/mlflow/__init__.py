"""Read learning curves from the stores of MLflow: SQLite databases and folders of files.

stores        find the stores in the sources
databases     list and read the runs of a SQLite database
file_stores   list and read the runs of a folder of files
stored_runs   a run as a store holds it, and the rows of its metrics

MLflow itself is not needed: its client creates and upgrades tables when it opens a database, and refuses folders and
older databases. A store is only read, and no artifact is opened. Runs that were deleted in MLflow are left out.

A child run has the parameters and tags of its parent where it has none itself. The config of a run holds its
parameters and tags by their names; a parameter counts before a tag of the same name. The history holds MLflow's step as
`mlflow.step`. Where the steps of a metric go back, the run was resumed: later points count.
"""

import os

import pandas as pd

from bayescale.importers.importer import Importer, read_with
from bayescale.importers.kinds.mlflow.stored_runs import STEP
from bayescale.importers.kinds.mlflow.stores import LAST_STEP, POINTS, log_mlflow
from bayescale.importers.listed_runs import read_histories
from bayescale.importers.run_logs import ColumnMapping, Logs
from bayescale.importers.usual_names import OwnStep, guess_usual

__all__ = ["MLFLOW", "guess_mlflow", "log_mlflow", "read_mlflow"]


def read_mlflow(*sources: str | os.PathLike[str], mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """Return the learning-curve table of the runs in stores of MLflow.

    Args:
        sources: databases such as `mlflow.db` or `sqlite:///mlflow.db`, folders such as `mlruns`, or folders that hold
            either.
        mapping: keys of the parameters, tags and metrics by column. It adds to what `guess_mlflow` finds, and replaces
            it where both name a column.

    Raises:
        InputError: a source is no store, no run can be used, or the table is not valid.
        MissingExtra: a source is a folder of files and PyYAML is not installed.
    """
    return read_with(MLFLOW, sources, mapping)


def guess_mlflow(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from parameters, tags and metrics to columns, and a sentence for each guess."""
    return guess_usual(logs.runs, own_step=OwnStep(STEP, last=LAST_STEP, rows=POINTS), system="mlflow.")


MLFLOW = Importer(log_mlflow, guess_mlflow, read_histories)
