"""netCDF files with groups of arrays, as ArviZ reads them: whole or not there, and hashed so that damage shows."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.data.output_files import written


def write_groups(groups: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes xarray datasets by name to one file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    content = BytesIO()  # HDF5 takes the process down when it cannot close a file on a full disk
    for i, (group, dataset) in enumerate(groups.items()):
        dataset.to_netcdf(content, mode="a" if i else "w", group=group, engine="h5netcdf")
    with written(Path(path)) as partial:
        partial.write_bytes(content.getvalue())  # of getbuffer CPython 3.12.1 crashes when a write fails


def read_groups(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, Any]:
    """The xarray datasets of these names in a file; of one that is none of ours, some error of h5py or xarray."""
    import h5py
    import xarray as xr

    with h5py.File(path) as file:
        dict(file.attrs)  # h5netcdf leaves a half-made file behind where these are damaged, and its traceback
    groups = {}
    for group in names:
        with xr.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            groups[group] = dataset.load()
    return groups


def content_hash(groups: Mapping[str, Any]) -> str:
    """SHA-256 of the arrays of xarray datasets, as a file keeps them: numbers bit by bit, all else as text."""
    digest = hashlib.sha256()
    for name, part in (item for group in groups.values() for item in group.items()):
        values = part.to_numpy()
        numbers = values.dtype.kind in "biuf"
        digest.update(f"{name} {values.dtype if numbers else 'text'} {values.shape} ".encode())
        digest.update(values.tobytes() if numbers else "\0".join(map(str, values.ravel())).encode())
    return digest.hexdigest()


def storable(column: pd.Series) -> np.ndarray:
    """As a file keeps it: numbers, and all else as text, what is missing as none."""
    if column.dtype.kind in "biuf":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)
