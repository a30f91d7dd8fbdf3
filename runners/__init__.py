"""Runners: train agents on tasks of several suites and write learning-curve tables; needs the extra `runners`.

Plans can be read without torch: it is imported when `train` or `run_ensemble` is first used, or in a sweep's workers.
"""

from typing import TYPE_CHECKING, Any

from bayescale.errors import MissingExtra
from bayescale.runners.config import BROConfig, PQLConfig, RunConfig, SACConfig
from bayescale.runners.sweeps.estimates import Estimate, estimate
from bayescale.runners.sweeps.plan import Plan, SweepSize, describe, load_plan, make_plan
from bayescale.runners.sweeps.progress import Progress
from bayescale.runners.sweeps.sweep import TRAINED_WITH, run_sweep

if TYPE_CHECKING:
    from bayescale.runners.training.loop import run_ensemble, train

__all__ = [
    "BROConfig",
    "Estimate",
    "PQLConfig",
    "Plan",
    "Progress",
    "RunConfig",
    "SACConfig",
    "SweepSize",
    "describe",
    "estimate",
    "load_plan",
    "make_plan",
    "run_ensemble",
    "run_sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in ("run_ensemble", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from bayescale.runners.training import loop
    except ModuleNotFoundError as error:
        if error.name in TRAINED_WITH:
            raise MissingExtra(error.name, "runners") from None
        raise
    return getattr(loop, name)
