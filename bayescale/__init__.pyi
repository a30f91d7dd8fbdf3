"""The public names of the package and the module that each comes from."""

from . import plots as plots
from .comparators import (
    fit_complete_pooling as fit_complete_pooling,
)
from .comparators import (
    fit_law as fit_law,
)
from .comparators import (
    fit_no_pooling as fit_no_pooling,
)
from .comparators import (
    fit_published as fit_published,
)
from .comparators import (
    fit_size_law as fit_size_law,
)
from .comparators.held_out import compare as compare
from .data.crossings import time_to_threshold as time_to_threshold
from .data.curves import (
    read_curves as read_curves,
)
from .data.curves import (
    write_curves as write_curves,
)
from .data.return_scale import read_return_scale as read_return_scale
from .decisions.allocation import allocate as allocate
from .decisions.budget_path import BudgetPath as BudgetPath
from .decisions.budget_path import budget_path as budget_path
from .decisions.experiments.next_experiments import next_experiments as next_experiments
from .decisions.experiments.recommendations import recommend as recommend
from .decisions.frontier import Frontier as Frontier
from .decisions.frontier import frontier as frontier
from .decisions.performance import performance as performance
from .decisions.portfolio import Portfolio as Portfolio
from .decisions.portfolio import portfolio as portfolio
from .decisions.records import Allocation as Allocation
from .decisions.utility import Prices as Prices
from .errors import (
    BayeScaleError as BayeScaleError,
)
from .errors import (
    Infeasible as Infeasible,
)
from .errors import (
    InputError as InputError,
)
from .errors import (
    MissingExtra as MissingExtra,
)
from .errors import (
    NotConverged as NotConverged,
)
from .plots import plot_frontier as plot_frontier
from .plots import plot_ranks as plot_ranks
from .posterior.posterior import Posterior as Posterior
from .reporting.report import report as report
from .validation.calibration import (
    Replications as Replications,
)
from .validation.calibration import (
    contraction as contraction,
)
from .validation.calibration import (
    coverage as coverage,
)
from .validation.calibration import (
    credible_coverage as credible_coverage,
)
from .validation.calibration import (
    pit as pit,
)
from .validation.calibration import (
    replicate as replicate,
)
from .validation.design_check import (
    DesignCheck as DesignCheck,
)
from .validation.design_check import (
    check_design as check_design,
)
from .validation.design_check import (
    prior_predictive as prior_predictive,
)
from .validation.leave_one_out import leave_one_out as leave_one_out
from .validation.predictive_checks import posterior_predictive_checks as posterior_predictive_checks
from .validation.sbc import (
    RankHistogram as RankHistogram,
)
from .validation.sbc import (
    RankTest as RankTest,
)
from .validation.sbc import (
    rank_histogram as rank_histogram,
)
from .validation.sbc import (
    rank_test as rank_test,
)
from .validation.scores import (
    Scores as Scores,
)
from .validation.scores import (
    pinball_loss as pinball_loss,
)
from .validation.scores import (
    score as score,
)
from .validation.simulate import (
    KnownLaw as KnownLaw,
)
from .validation.simulate import (
    crossings_of as crossings_of,
)
from .validation.simulate import (
    curves_of as curves_of,
)
from .validation.simulate import (
    simulate_runs as simulate_runs,
)
from .workflow import fit as fit
from .workflow import load as load

__version__: str
