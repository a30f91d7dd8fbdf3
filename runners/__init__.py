"""Runners: train agents on Gymnasium tasks and write learning-curve tables; needs the extra `runners`.

Plans can be read without torch: it is imported when `train` or `update` is first used, or in a sweep's workers.
"""

from typing import TYPE_CHECKING, Any

from bayescale.errors import MissingExtra
from bayescale.runners.config import SACConfig
from bayescale.runners.plan import Plan, SweepSize, describe, load_plan, make_plan
from bayescale.runners.sweep import run_sweep

if TYPE_CHECKING:
    from bayescale.runners.sac import update
    from bayescale.runners.training import train

__all__ = [
    "Plan",
    "SACConfig",
    "SweepSize",
    "describe",
    "load_plan",
    "make_plan",
    "run_sweep",
    "train",
    "update",
]


def __getattr__(name: str) -> Any:
    if name not in ("train", "update"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from bayescale.runners import sac, training
    except ModuleNotFoundError as error:
        if error.name in ("torch", "gymnasium"):
            raise MissingExtra(error.name, "runners") from None
        raise
    return {"train": training.train, "update": sac.update}[name]
