"""Other methods with the same `predict`, to compare with: published pipelines, other pooling, other fields' laws."""

from bayescale.comparators.curve_fit import LawFit, fit_law
from bayescale.comparators.formulas import LAWS, Law, additive
from bayescale.comparators.pooling import NoPooling, fit_complete_pooling, fit_no_pooling
from bayescale.comparators.published import BudgetLine, PublishedFit, fit_published
from bayescale.comparators.size_law import BatchRule, SizeFit, fit_size_law

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
