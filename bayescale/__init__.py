"""Predict how value-based deep RL scales, with calibrated uncertainty, from small sweeps.

The chain, one function a step: `read_curves`, `time_to_threshold`, `fit`, then `frontier`, `allocate`,
`next_experiments` and `report` on the posterior. Each public name loads its module on first use, so that
`import bayescale` costs nothing.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayescale.allocation import Allocation, BudgetPath, allocate, budget_path
    from bayescale.calibration import (
        Replications,
        contraction,
        coverage,
        credible_coverage,
        pit,
        replicate,
    )
    from bayescale.calibration_plots import plot_ranks
    from bayescale.checks import posterior_predictive_checks
    from bayescale.comparators import (
        fit_complete_pooling,
        fit_law,
        fit_no_pooling,
        fit_published,
        fit_size_law,
    )
    from bayescale.compare import compare
    from bayescale.crossings import time_to_threshold
    from bayescale.curves import read_curves, read_return_scale, write_curves
    from bayescale.design import next_experiments
    from bayescale.errors import BayeScaleError, Infeasible, InputError, MissingExtra, NotConverged
    from bayescale.frontier import Frontier, frontier
    from bayescale.leave_one_out import leave_one_out
    from bayescale.performance import performance
    from bayescale.plots import plot_frontier
    from bayescale.portfolio import Portfolio, portfolio
    from bayescale.posterior import Posterior
    from bayescale.ranks import RankHistogram, RankTest, rank_histogram, rank_test
    from bayescale.rehearsal import DesignCheck, check_design, prior_predictive
    from bayescale.report import report
    from bayescale.scores import Scores, score
    from bayescale.simulate import KnownLaw, crossings_of, curves_of, simulate_runs
    from bayescale.utility import Prices
    from bayescale.workflow import fit, load

__version__ = version("bayescale")

__all__ = [
    "Allocation",
    "BayeScaleError",
    "BudgetPath",
    "DesignCheck",
    "Frontier",
    "Infeasible",
    "InputError",
    "KnownLaw",
    "MissingExtra",
    "NotConverged",
    "Portfolio",
    "Posterior",
    "Prices",
    "RankHistogram",
    "RankTest",
    "Replications",
    "Scores",
    "__version__",
    "allocate",
    "budget_path",
    "check_design",
    "compare",
    "contraction",
    "coverage",
    "credible_coverage",
    "crossings_of",
    "curves_of",
    "fit",
    "fit_complete_pooling",
    "fit_law",
    "fit_no_pooling",
    "fit_published",
    "fit_size_law",
    "frontier",
    "leave_one_out",
    "load",
    "next_experiments",
    "performance",
    "pit",
    "plot_frontier",
    "plot_ranks",
    "portfolio",
    "posterior_predictive_checks",
    "prior_predictive",
    "rank_histogram",
    "rank_test",
    "read_curves",
    "read_return_scale",
    "replicate",
    "report",
    "score",
    "simulate_runs",
    "time_to_threshold",
    "write_curves",
]

_HOMES = {
    "allocation": ("Allocation", "BudgetPath", "allocate", "budget_path"),
    "calibration": (
        "Replications",
        "contraction",
        "coverage",
        "credible_coverage",
        "pit",
        "replicate",
    ),
    "calibration_plots": ("plot_ranks",),
    "checks": ("posterior_predictive_checks",),
    "comparators": ("fit_complete_pooling", "fit_law", "fit_no_pooling", "fit_published", "fit_size_law"),
    "compare": ("compare",),
    "crossings": ("time_to_threshold",),
    "curves": ("read_curves", "read_return_scale", "write_curves"),
    "design": ("next_experiments",),
    "errors": ("BayeScaleError", "Infeasible", "InputError", "MissingExtra", "NotConverged"),
    "frontier": ("Frontier", "frontier"),
    "leave_one_out": ("leave_one_out",),
    "performance": ("performance",),
    "plots": ("plot_frontier",),
    "portfolio": ("Portfolio", "portfolio"),
    "posterior": ("Posterior",),
    "ranks": ("RankHistogram", "RankTest", "rank_histogram", "rank_test"),
    "rehearsal": ("DesignCheck", "check_design", "prior_predictive"),
    "report": ("report",),
    "scores": ("Scores", "score"),
    "simulate": ("KnownLaw", "crossings_of", "curves_of", "simulate_runs"),
    "utility": ("Prices",),
    "workflow": ("fit", "load"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


class _Package(ModuleType):
    """Keeps `bayescale.frontier` and `bayescale.report` functions when the submodules of those names load.

    Importing a submodule sets it as an attribute of its package, whoever imports it; here the function wins.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in _HOME_OF:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bayescale' has no attribute '{name}'")
    value: object = getattr(import_module(f"bayescale.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
