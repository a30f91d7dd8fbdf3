"""Call ArviZ in one way before and after its version 1.0.

A posterior is an InferenceData before 1.0, and a DataTree of xarray from 1.0 on.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float


def arviz() -> ModuleType:
    """Import ArviZ without what version 0.23 does at the first import of a day: announce 1.0, and write a date to disk.

    The cache folder that it writes to may be full, read-only or in use by another first import. ArviZ announces nothing
    to those who have the packages of 1.0, so its list of these packages is replaced during the import.
    """
    if "arviz" not in sys.modules:
        preview = ModuleType("arviz.preview")
        preview.info = "arviz_base available, arviz_stats available, arviz_plots available"  # type: ignore[attr-defined]
        sys.modules["arviz.preview"] = preview
        try:
            az = import_module("arviz")
        finally:
            del sys.modules["arviz.preview"]
        if _before_1(az):
            import_module("arviz.preview")
    return import_module("arviz")


def inference_data(groups: Mapping[str, Any]) -> Any:
    """Return xarray datasets by group name as an InferenceData (ArviZ before 1.0) or a DataTree (from 1.0)."""
    az = arviz()
    if _before_1(az):
        return az.InferenceData(**groups)
    import xarray as xr

    return xr.DataTree.from_dict(groups)


def smoothed_weights(log_ratios: Float[np.ndarray, "*rest draw"]) -> tuple[np.ndarray, np.ndarray]:
    """Return Pareto-smoothed importance weights of draws, and the Pareto k of each set of weights.

    Weights sum to 1 over the draws. If k exceeds 0.7, a few draws carry so much of the weight that averages are not
    reliable (Vehtari et al., "Pareto Smoothed Importance Sampling", JMLR 2024).

    Args:
        log_ratios: log of the wanted density over the density of the draws, up to a constant.
    """
    az = arviz()
    if _before_1(az):
        logs, pareto_k = az.psislw(log_ratios)
    else:
        stats = import_module("arviz_stats.base").array_stats  # a requirement of ArviZ 1.x
        logs, pareto_k = stats.psislw(-log_ratios)  # takes the log likelihoods of what is left out
    return np.exp(logs), np.asarray(pareto_k)


def _before_1(az: ModuleType) -> bool:
    return int(az.__version__.partition(".")[0]) < 1
