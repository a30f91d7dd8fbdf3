"""Say what a file or a folder is that holds no table, and how to bring it in.

Only names are looked at; no file is opened.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

READABLE = "tables are read from .csv, .csv.gz and .parquet"
MOST_ENTRIES, DEPTH = 2000, 6  # files of a folder that are looked at, and folders below one another


@dataclass(frozen=True)
class Kind:
    """A kind of file that another tool writes.

    Attributes:
        pattern: glob on the name of the file.
        noun: noun phrase that names the file.
        remedy: sentence that says how to bring its curves in.
    """

    pattern: str
    noun: str
    remedy: str


SETTINGS = "algorithm, env_id, utd, batch_size, learning_rate, seed"
TUNE_REMEDY = "Import the folder of its trials: bayescale import rllib FOLDER --out curves.parquet."
QSCALED_REMEDY = "Import them: bayescale import qscaled FOLDER --out curves.parquet."
SB3_REMEDY = "Import the folder of the run: bayescale import sb3 FOLDER --out curves.parquet."
WANDB_REMEDY = "Import the folder of its runs: bayescale import wandb FOLDER --out curves.parquet."
MLFLOW_REMEDY = "Import it: bayescale import mlflow STORE --out curves.parquet."
KINDS = (
    Kind("bs_*_lr_*.npy", "arrays of the package qscaled", QSCALED_REMEDY),
    Kind("bs_*.npy", "arrays of the package qscaled", QSCALED_REMEDY),
    Kind("result.json", "results of Ray Tune", TUNE_REMEDY),
    Kind("params.json", "settings of a trial of Ray Tune", TUNE_REMEDY),
    Kind(
        "*tfevents*",
        "event files of TensorBoard",
        "Import the folder: bayescale import tensorboard FOLDER --out curves.parquet.",
    ),
    Kind(
        "evaluations.npz",
        "evaluations of Stable-Baselines3",
        SB3_REMEDY,
    ),
    Kind("*.wandb", "a run of Weights & Biases", WANDB_REMEDY),
    Kind("mlflow.db", "a store of MLflow", MLFLOW_REMEDY),
    Kind("meta.yaml", "a store of MLflow", MLFLOW_REMEDY),
    Kind(
        "*monitor.csv",
        "Monitor files of Stable-Baselines3",
        SB3_REMEDY,
    ),
    Kind("*.nc", "a saved fit", "Give the learning curves that it was made from."),
    Kind("*.json", "JSON", "Convert it with pandas.read_json to a .parquet file."),
    Kind("*.jsonl", "JSON", "Convert it with pandas.read_json(path, lines=True) to a .parquet file."),
    Kind("*.np[yz]", "NumPy arrays", f"Make a table of env_steps, episode_return and {SETTINGS}."),
    Kind("*.p*kl*", "a pickle, which is never opened", "Write its table with to_parquet."),
    Kind(
        "progress.txt",
        "a progress.txt of Spinning Up",
        "Import its folder: bayescale import spinningup FOLDER --out curves.parquet.",
    ),
    Kind("*.xls*", "a spreadsheet", "Save it as a CSV."),
    Kind("*.tsv", "a table with tabs between its fields", "Rename it to end in .csv, which may have tabs."),
    Kind("*.tab", "a table with tabs between its fields", "Rename it to end in .csv, which may have tabs."),
    Kind("*.zip", "an archive", "Unpack it and give its files."),
    Kind("*.tar*", "an archive", "Unpack it and give its files."),
)
FOLDER_KINDS = KINDS[:10]


def no_table(path: Path) -> str:
    """Return the sentences that say what lies at a path that does not end in .csv, .csv.gz or .parquet."""
    if path.is_dir():
        return f"{path} is a folder{_folder(path)}"
    known = _first_kind([path.name], KINDS)
    if known:
        return f"{path} looks like {known.noun}; {READABLE}. {known.remedy}"
    return f"{path} has the extension '{path.suffix}'; {READABLE}. Convert it to one of these."


def require_plain_file(path: Path) -> str | None:
    """Return the sentence that says why a path cannot be read as a file, or None if it can be."""
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else f"{path} is a pipe or a device. Copy it to a file."


def _folder(path: Path) -> str:
    files = list(islice(_files_below(path), MOST_ENTRIES))
    here = {file.name for file in files if file.parent == path}
    if {"plan.json", "curves.parquet"} <= here:
        return f" of a sweep. Give {path / 'curves.parquet'}."
    if "plan.json" in here:
        return " of a sweep that has not finished. Resume it, or give its groups/*.parquet."
    for pattern in ("*.parquet", "*.csv", "*.csv.gz"):
        if any(fnmatch(name, pattern) and not _first_kind([name], FOLDER_KINDS) for name in here):
            return f"; {READABLE}. Give its files, as in '{path}/{pattern}'."
    known = _first_kind((file.name for file in files), FOLDER_KINDS)
    if known:
        return f" of {known.noun}; {READABLE}. {known.remedy}"
    return f"; {READABLE}. Give its files, as in '{path}/*.parquet'."


def _files_below(path: Path) -> Iterable[Path]:
    """Yield files at most DEPTH folders below the path; links to folders are not followed."""
    for folder, below, names in os.walk(path):
        if len(Path(folder).relative_to(path).parts) >= DEPTH:
            below.clear()
        below.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _first_kind(names: Iterable[str], kinds: tuple[Kind, ...]) -> Kind | None:
    """Return the first kind that one of the names has."""
    lower = {name.lower() for name in names}
    return next((kind for kind in kinds if any(fnmatch(name, kind.pattern) for name in lower)), None)
