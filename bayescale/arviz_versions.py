"""ArviZ behind one door: before 1.0 a posterior is an InferenceData, from then on a DataTree."""

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def arviz() -> ModuleType:
    """ArviZ, imported without the notice of 1.0 that 0.23 gives to the first import of a day."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing a major refactor", FutureWarning)
        import arviz
    return arviz


def inference_data(groups: Mapping[str, Any]) -> Any:
    """The groups' datasets as the InferenceData (ArviZ before 1.0) or DataTree (from 1.0) that ArviZ reads."""
    az = arviz()
    if int(az.__version__.partition(".")[0]) < 1:
        return az.InferenceData(**groups)
    import xarray as xr

    return xr.DataTree.from_dict(groups)
