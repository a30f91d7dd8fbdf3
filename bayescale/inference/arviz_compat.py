"""ArviZ behind one door: before 1.0 a posterior is an InferenceData, from then on a DataTree."""

import warnings
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float


def arviz() -> ModuleType:
    """ArviZ, imported without the notice of 1.0 that 0.23 gives to the first import of a day."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing a major refactor", FutureWarning)
        import arviz
    return arviz


def inference_data(groups: Mapping[str, Any]) -> Any:
    """The groups' datasets as the InferenceData (ArviZ before 1.0) or DataTree (from 1.0) that ArviZ reads."""
    az = arviz()
    if _before_1(az):
        return az.InferenceData(**groups)
    import xarray as xr

    return xr.DataTree.from_dict(groups)


def smoothed_weights(log_ratios: Float[np.ndarray, "*rest draw"]) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed importance weights of the draws, which sum to 1, and the Pareto k of each set of them.

    Above a k of 0.7 a few draws carry too much of the weight for an average to be trusted (Vehtari et al., "Pareto
    Smoothed Importance Sampling", JMLR 2024).

    Args:
        log_ratios: of the density that is wanted to that of the draws, up to a constant.
    """
    az = arviz()
    if _before_1(az):
        logs, pareto_k = az.psislw(log_ratios)
    else:
        stats = import_module("arviz_stats.base").array_stats  # comes with ArviZ 1.x
        logs, pareto_k = stats.psislw(-log_ratios)  # it takes log likelihoods, of what is left out
    return np.exp(logs), np.asarray(pareto_k)


def _before_1(az: ModuleType) -> bool:
    return int(az.__version__.partition(".")[0]) < 1
