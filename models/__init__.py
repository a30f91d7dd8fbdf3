"""Hierarchical models of env steps to thresholds, functions of data and priors with one shared signature."""

from bayescale.models.joint import JointModel
from bayescale.models.priors import PRIORS, Prior

__all__ = ["PRIORS", "JointModel", "Prior"]
