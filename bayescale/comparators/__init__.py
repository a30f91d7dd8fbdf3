"""Other methods that predict run lengths, to compare with: published pipelines, other pooling, other fields' laws.

held_out          score every method on runs that its fit has not seen
published         the published pipeline of Rybkin et al. (ICML 2025)
seed_means        run lengths of the mean return over seeds, for the published pipeline
published_rules   the published rules of the optimal batch size and learning rate
floor_laws        the published law of data over UTD, fitted for all bootstraps and thresholds at once
size_law          the law of data over UTD and model size of Fu et al. (NeurIPS 2025)
curve_fit         fit any law of `formulas` to a table, with bootstraps
formulas          scaling laws of other fields
least_squares     many small nonlinear least-squares problems at once
pooling           the joint model with complete pooling and without pooling
predictions       the prediction table of a method with bootstrap draws
"""

from bayescale.comparators.curve_fit import LawFit, fit_law
from bayescale.comparators.formulas import LAWS, Law, additive
from bayescale.comparators.pooling import NoPooling, fit_complete_pooling, fit_no_pooling
from bayescale.comparators.published import BudgetLine, PublishedFit, fit_published
from bayescale.comparators.published_rules import BatchRule
from bayescale.comparators.size_law import SizeFit, fit_size_law

__all__ = [
    "LAWS",
    "BatchRule",
    "BudgetLine",
    "Law",
    "LawFit",
    "NoPooling",
    "PublishedFit",
    "SizeFit",
    "additive",
    "fit_complete_pooling",
    "fit_law",
    "fit_no_pooling",
    "fit_published",
    "fit_size_law",
]
