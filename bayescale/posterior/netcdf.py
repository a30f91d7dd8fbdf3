"""netCDF files of several groups of arrays, as ArviZ reads them, with hashes that reveal damage.

A write either completes or leaves the older file in place.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.data.output_files import written

HASH = "content_sha256"  # name of the attribute that holds the hash of everything else
AXIS_ALONE = b"This is a netCDF dimension but not a netCDF variable"  # mark of an axis without labels
FORMAT = 4  # version of the file format of posteriors; raise it when this code would misread an older file


def write_groups(groups: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write xarray datasets by name to one file, each as a group.

    Raises:
        InputError: the file cannot be written.
    """
    content = BytesIO()  # HDF5 ends the process if it cannot close a file on a full disk, so it writes to memory
    for i, (group, dataset) in enumerate(groups.items()):
        dataset.to_netcdf(content, mode="a" if i else "w", group=group, engine="h5netcdf")
    with written(Path(path)) as partial:
        partial.write_bytes(content.getvalue())  # CPython 3.12.1 crashes if writing the result of getbuffer() fails


class Group(NamedTuple):
    """The content of one group of a file.

    Attributes:
        attrs: attributes by name.
        variables: arrays by name; text is an array of objects.
        labels: names of the variables that label an axis.
    """

    attrs: dict[str, Any]
    variables: dict[str, np.ndarray]
    labels: frozenset[str]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The variables that label no axis."""
        return {name: values for name, values in self.variables.items() if name not in self.labels}


def read_groups(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, Group]:
    """Read the named groups of a file that `write_groups` wrote; any other file raises an error of h5py.

    h5py alone does this in a fraction of the time that xarray takes.
    """
    import h5py

    with h5py.File(path) as file:
        return {name: _group(file[name]) for name in names}


def _group(group: Any) -> Group:
    """Return the content of an HDF5 group, without what netCDF adds to mark axes."""
    variables, labels = {}, set()
    for name, stored in group.items():
        marks = dict(stored.attrs)
        if bytes(marks.get("NAME", b"")).startswith(AXIS_ALONE):
            continue
        text = stored.dtype.kind == "O"
        values = (stored.asstr(errors="surrogateescape") if text else stored)[()]
        variables[name] = values.astype(bool) if marks.get("dtype") == "bool" else values
        if "CLASS" in marks:
            labels.add(name)
    # HDF5 holds a number as an array of one.
    attributes = {
        name: value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        for name, value in group.attrs.items()
    }
    return Group(attributes, variables, frozenset(labels))


def chains_dataset(
    arrays: Mapping[str, np.ndarray],
    dimensions: Mapping[str, tuple[str, ...]] | None = None,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
    coordinates: Mapping[str, Sequence[Any]] | None = None,
) -> Any:
    """Return an xarray dataset of arrays whose first axis is the chain and whose second axis is the draw.

    Args:
        arrays: values by name.
        dimensions: names of the further axes of each array; None: there are none.
        attributes: unit and other notes on each array.
        coordinates: labels along the further axes.
    """
    import xarray as xr

    named = dimensions or {}
    notes = attributes or {}
    variables = {
        name: (("chain", "draw", *named.get(name, ())), values, dict(notes.get(name, {})))
        for name, values in arrays.items()
    }
    return xr.Dataset(variables, coords={name: list(labels) for name, labels in (coordinates or {}).items()})


def table_dataset(table: pd.DataFrame) -> Any:
    """Return an xarray dataset of the columns whose names are text, one observation per row of the table."""
    import xarray as xr

    numbered = table.reset_index(drop=True).rename_axis("observation")
    columns = {name: ("observation", _storable(part)) for name, part in numbered.items() if isinstance(name, str)}
    return xr.Dataset(columns)


def content_hash(groups: Mapping[str, Any]) -> str:
    """Return the SHA-256 hash of the arrays and attributes of groups; the attribute `HASH` is left out.

    Numbers are hashed bit by bit, everything else as text. Text of a damaged file need not be UTF-8.

    Args:
        groups: xarray datasets, or the result of `read_groups`.
    """
    digest = hashlib.sha256()
    for group in groups.values():
        for name, value in sorted(group.attrs.items()):
            if name != HASH:
                digest.update(f"{name}={value};".encode(errors="surrogatepass"))
    for name, part in (item for group in groups.values() for item in sorted(group.variables.items())):
        values = np.asarray(part)
        numbers = values.dtype.kind in "biuf"
        digest.update(f"{name} {values.dtype if numbers else 'text'} {values.shape} ".encode(errors="surrogatepass"))
        digest.update(
            values.tobytes() if numbers else "\0".join(map(str, values.ravel())).encode(errors="surrogatepass")
        )
    return digest.hexdigest()


def table_hash(table: pd.DataFrame) -> str:
    """Return the SHA-256 hash of a table; equal tables have equal hashes."""
    values = pd.util.hash_pandas_object(table, index=False).to_numpy()
    names = ",".join(map(str, table.columns)).encode()
    return hashlib.sha256(names + values.tobytes()).hexdigest()


def _storable(column: pd.Series) -> np.ndarray:
    """Return a column as a netCDF file can hold it: numbers unchanged, everything else as text, missing text empty."""
    if column.dtype.kind in "biuf":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)
