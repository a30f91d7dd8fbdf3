"""Read a posterior from the file that `Posterior.save` wrote.

The module imports no model: `load` takes a table of known models.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.inference.model import Model
from bayescale.posterior import netcdf
from bayescale.posterior.posterior import Posterior


def load(path: str | os.PathLike[str], models: Mapping[str, Callable[[dict[str, Any]], Model]]) -> Posterior:
    """Read a posterior that `Posterior.save` wrote; it predicts exactly as the saved one.

    Args:
        path: netCDF file.
        models: by model name, a function that makes the model from its stored fields.

    Raises:
        InputError: the file does not exist, is damaged, is in another format or holds no posterior of this package.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; give the file that `bayescale fit` wrote.")
    try:
        groups = netcdf.read_groups(path, ("posterior", "sample_stats", "observed_data"))
        attributes = groups["posterior"].attrs
        provenance, stored = json.loads(attributes["provenance"]), json.loads(attributes["model"])
        if (form := int(attributes["format"])) != netcdf.FORMAT:
            raise InputError(
                f"{path} was written by bayescale {provenance['bayescale']} in format {form}, not {netcdf.FORMAT}; "
                "fit it again, or read it with that version."
            )
        model = models[stored.pop("name")](stored)
        status = Status[attributes["status"]]
    except InputError:
        raise
    except BlockingIOError:
        raise InputError(_in_use(path)) from None
    except (OSError, RuntimeError, LookupError, AttributeError, ValueError, TypeError) as error:  # h5py raises all
        if "lock file" in str(error):
            raise InputError(_in_use(path)) from None
        raise InputError(
            f"{path} holds no posterior that this version of bayescale reads ({type(error).__name__}); fit it again."
        ) from None
    if netcdf.content_hash(groups) != attributes.get(netcdf.HASH):
        raise InputError(f"{path} is damaged: its content differs from what was saved. Copy it again, or fit it again.")
    draws, statistics, crossings = (group.values for group in groups.values())
    return Posterior(model, draws, statistics, pd.DataFrame(crossings), status, provenance)


def _in_use(path: str | os.PathLike[str]) -> str:
    return (
        f"{path} is in use by another process, or cannot be locked here. Close it there, or, if nothing writes to it, "
        "set the environment variable HDF5_USE_FILE_LOCKING=FALSE."
    )
