"""The hierarchical Bayesian model of env steps to thresholds.

priors                 prior distributions as plain data
pooling                how a parameter varies over tasks and thresholds
axes                   the kinds of axes of a sweep: resources and tuned settings
parameters             every axis and its parameters, declared once, with their priors
run_parameters         the parameters of single runs: noise, skewness, chance of failure
surface                the response surface as functions of the parameters
sampler_coordinates    coordinates that the sampler moves through
sufficient_statistics  crossings collapsed to what the likelihood reads
likelihood             the log likelihood of what was observed
joint                  the joint model: its whole generative story, likelihood and predictions
"""

from bayescale.models.joint import JointModel
from bayescale.models.parameters import PRIORS
from bayescale.models.priors import Prior

__all__ = ["PRIORS", "JointModel", "Prior"]
