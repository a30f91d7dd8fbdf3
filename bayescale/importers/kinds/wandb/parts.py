"""Keep each downloaded history in a Parquet file, so that an interrupted import goes on where it stopped.

The name of a part is a hash of the run, of its state on the service and of the keys: a run that went on, or another
mapping, is downloaded anew. A part is complete or absent.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from bayescale.data.output_files import written

SUFFIX = ".history.parquet"


def part_of(folder: Path, identity: Sequence[object], keys: Sequence[str]) -> Path:
    """Return the file of a run's history in the folder.

    Args:
        folder: folder of the parts.
        identity: what tells this state of this run from all others.
        keys: keys of the history.
    """
    text = json.dumps([list(map(str, identity)), list(keys)])
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{SUFFIX}"


def read_part(part: Path) -> pd.DataFrame | None:
    """Return the history in a part, or None if there is no such part or it is damaged."""
    try:
        return pd.read_parquet(part)
    except (OSError, ValueError, pa.ArrowException):
        return None


def write_part(part: Path, history: pd.DataFrame) -> None:
    """Write a history to a part.

    Raises:
        InputError: the folder cannot be written to.
    """
    with written(part) as partial:
        history.to_parquet(partial, index=False)


def remove_parts(folder: Path) -> None:
    """Remove the parts in the folder, and the folder if it holds nothing else."""
    for part in folder.glob(f"*{SUFFIX}"):
        part.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
