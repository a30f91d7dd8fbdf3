"""Parameters of single runs: noise, error of the response surface, skewness of run lengths, and chance of failure.

The slopes of the noise and of the chance of failure along each axis stand with the axes, in
`bayescale.models.parameters`.
"""

from math import log

from bayescale.models.pooling import ByTask, ByTaskAndThreshold, Shared
from bayescale.models.priors import fixed, lognormal, normal

LOG_NOISE = ByTaskAndThreshold(
    name="log_noise",
    unit="log of log env steps",
    meaning="seed noise with every setting at its reference",
    prior=normal(log(0.25), 0.5),  # published runs: 0.1 to 0.45 in log env steps
    spread=fixed(0.4),
)

SKEWNESS = ByTaskAndThreshold(
    name="skewness",
    unit="spreads",
    meaning="mean minus median of log env steps, in units of their spread; > 0: a tail of late runs",
    prior=normal(0.0, 0.15),  # published tasks: 0 to 0.2
    spread=fixed(0.1),
)

CONFIGURATION_EFFECT = Shared(
    name="configuration_effect",
    unit="seed noises",
    meaning="spread of configurations around the response surface",
    prior=lognormal(0.3, 0.5),
)

ERROR_GROWTH = Shared(
    name="error_growth",
    unit="log env steps per log setting",
    meaning="spread of configurations around the response surface for each unit of log distance beyond the swept range",
    prior=lognormal(0.1, 0.7),  # sweeps predicted beyond their ends; no run of the fit identifies it
)

FAILURE = ByTask(
    name="failure",
    unit="logit",
    meaning="chance that a run at the optimum never reaches a threshold halfway between the lowest and the highest, at "
    "the reference of all settings",
    prior=normal(-5.0, 1.0),
    spread=fixed(1.5),  # a task whose runs all fail is the matter of its ceiling, `bayescale.models.attainable`
)

FAILURE_PENALTY = Shared(
    name="failure_penalty",
    unit="logit per log env steps",
    meaning="growth of the chance of failure with the penalty",
    prior=lognormal(1.0, 0.7),
)

FAILURE_RISE = Shared(
    name="failure_rise",
    unit="logit per half range of the thresholds",
    meaning="growth of the chance of failure with the threshold",
    prior=lognormal(0.5, 0.3),  # cut-short runs hardly inform it, and wider priors predict new UTDs worse
)
