"""Every axis of a sweep, declared once, and all declarations of the joint model together.

A declaration states a parameter's name, unit, meaning, pooling and priors; each prior has its reason beside it. The
equations that use the parameters stand at the head of `bayescale.models.joint`.

An axis is a setting that a sweep varies; the model of a sweep has the parameters of the axes that vary in it. To add
an axis, declare it here and list it in `AXES`.
"""

from collections.abc import Mapping
from math import inf, isfinite, log

from bayescale.errors import InputError
from bayescale.models.axes import Axis, Declared, Interaction, PowerShift, Resource, SaturatingShift, Tuned
from bayescale.models.pooling import ByTask, Cumulative, Shared
from bayescale.models.priors import Prior, fixed, lognormal, normal, student_t
from bayescale.models.run_parameters import (
    CONFIGURATION_EFFECT,
    ERROR_GROWTH,
    FAILURE,
    FAILURE_PENALTY,
    FAILURE_RISE,
    LOG_NOISE,
    SKEWNESS,
)

DRIFT_SPREAD = fixed(0.4)  # a task's drift around the population's
WALK = fixed(0.5)  # a task's random walk, per square root of a half range of the thresholds

LOG_ENV_STEPS_AT_CENTRE = Cumulative(
    name="log_env_steps_at_centre",
    unit="log env steps",
    meaning="env steps of the median run with every setting at its reference",
    prior=normal(log(1e5), 2.0),  # 2e3 to 5e6 env steps to the lowest threshold within two scales
    spread=fixed(1.0),  # tasks differ by a factor of e, give or take
    rise=normal(1.5, 1.0),  # a factor of 4.5 from the lowest threshold to the highest, loosely
    rise_spread=fixed(0.8),
)

UTD = Resource(
    name="utd",
    log_saved_odds=ByTask(
        name="utd_share",
        unit="logit",
        meaning="slope -d log D / d log UTD at the reference UTD: 1 - (D_min / D)^p",
        prior=normal(0.0, 1.0),  # published laws: 0.15 to 0.6 at the middle of their sweeps
        spread=fixed(0.8),
        drift=normal(0.0, 0.5),
        drift_spread=DRIFT_SPREAD,
        walk=WALK,
    ),
    log_sharpness=Shared(
        name="log_sharpness",
        unit="log exponent",
        meaning="sharpness p of the crossover from D ~ 1 / UTD, where updates are rare, to D_min, where they are many",
        prior=normal(-0.6, 0.3),  # p of 0.3 to 1 within two scales; few UTDs do not identify it
        drift=normal(0.0, 0.1),
    ),
    noise_slope=ByTask(
        name="utd_noise_slope",
        unit="log seed noise per log UTD",
        meaning="growth of the seed noise with UTD, within the swept range",
        prior=normal(0.1, 0.1),  # published tasks: 0.05 to 0.2
        spread=fixed(0.15),
    ),
    failure_slope=Shared(
        name="utd_failure_slope",
        unit="logit per log UTD",
        meaning="growth of the chance of failure with UTD",
        prior=student_t(0.25, 0.35),  # mostly gentle; runs that fail move it to an edge of stability, 5 or more
    ),
    noise_levels_off=True,
)

MODEL_SIZE = Resource(
    name="model_size",
    log_saved_odds=ByTask(
        name="size_share",
        unit="logit",
        meaning="share of the env steps at the task's mean model size that an infinitely large critic would save",
        prior=normal(-1.0, 1.0),
        spread=fixed(1.0),
        drift=normal(0.5, 0.7),  # high returns ask for large critics
        drift_spread=DRIFT_SPREAD,
        walk=WALK,
    ),
    log_exponent=ByTask(
        name="log_gamma",
        unit="log exponent",
        meaning="exponent of the data in critic parameters",
        prior=normal(log(0.8), 0.6),  # 0.25 to 2.7 within two scales
        spread=fixed(0.5),  # small critics hardly learn in some tasks
        drift=normal(0.0, 0.2),
    ),
    noise_slope=ByTask(
        name="size_noise_slope",
        unit="log seed noise per log critic parameters",
        meaning="growth of the seed noise with model size",
        prior=normal(0.0, 0.1),
        spread=fixed(0.2),
    ),
    failure_slope=Shared(
        name="size_failure_slope",
        unit="logit per log critic parameters",
        meaning="growth of the chance of failure with model size",
        prior=student_t(0.0, 0.5),  # either side of the swept sizes may fail
    ),
)

BATCH_SIZE = Tuned(
    name="batch_size",
    log_optimum=ByTask(
        name="log_batch_optimum",
        unit="log samples",
        meaning="optimal batch size B* at the reference UTD and model size",
        prior=normal(log(256.0), 1.0),  # 35 to 1,900 samples within two scales
        spread=fixed(0.6),  # published optima of one suite scatter by 0.1 to 0.6
        drift=normal(0.0, 0.5),
        drift_spread=DRIFT_SPREAD,
        walk=WALK,
    ),
    shifts=(
        PowerShift(
            resource="utd",
            exponent=ByTask(
                name="batch_utd_exponent",
                unit="exponent",
                meaning="exponent with which B* falls in UTD",
                prior=normal(0.4, 0.3),  # published: 0.31 (Gym), 0.49 (DMC), tasks from -0.1 to 0.9
                spread=fixed(0.2),  # published exponents scatter by 0.2 to 0.3
                drift=normal(0.0, 0.2),
            ),
        ),
        SaturatingShift(
            resource="model_size",
            room=Shared(
                name="batch_size_room",
                unit="ratio",
                meaning="B* of an infinitely large critic over B* at the mean model size, less 1",
                prior=lognormal(0.5, 1.0),
            ),
            exponent=Shared(
                name="batch_size_exponent",
                unit="exponent",
                meaning="exponent with which B* saturates in critic parameters",
                prior=lognormal(0.5, 0.5),
            ),
        ),
    ),
    log_curvature=ByTask(
        name="log_batch_curvature",
        unit="log of log env steps per squared log",
        meaning="curvature of the penalty in log batch size",
        prior=normal(log(0.1), 0.8),  # a batch size off by a factor of 4 costs 10%, loosely
        spread=fixed(0.7),  # some tasks hardly depend on it
        drift=normal(0.0, 0.3),
    ),
    noise_slope=ByTask(
        name="batch_noise_slope",
        unit="log seed noise per log samples",
        meaning="growth of the seed noise with batch size",
        prior=normal(0.0, 0.2),
        spread=fixed(0.2),
    ),
    failure_slope=Shared(
        name="batch_failure_slope",
        unit="logit per log samples",
        meaning="growth of the chance of failure with batch size",
        prior=student_t(0.0, 0.5),  # either side of the swept batch sizes may fail
    ),
)

LEARNING_RATE = Tuned(
    name="learning_rate",
    log_optimum=ByTask(
        name="log_rate_optimum",
        unit="log rate",
        meaning="optimal learning rate eta* at the reference UTD and model size",
        prior=normal(log(5e-4), 1.5),  # 2.5e-5 to 1e-2 within two scales
        spread=fixed(0.8),  # published optima of one suite scatter by 0.4 to 1.1
        drift=normal(0.0, 0.5),
        drift_spread=DRIFT_SPREAD,
        walk=WALK,
    ),
    shifts=(
        PowerShift(
            resource="utd",
            exponent=ByTask(
                name="rate_utd_exponent",
                unit="exponent",
                meaning="exponent with which eta* falls in UTD",
                prior=normal(0.4, 0.3),  # published: 0.29 (Gym), 0.32 (DMC)
                spread=fixed(0.2),  # published exponents scatter by 0.2 to 0.3
                drift=normal(0.0, 0.2),
            ),
        ),
        PowerShift(
            resource="model_size",
            exponent=Shared(
                name="rate_size_exponent",
                unit="exponent",
                meaning="exponent with which eta* falls in critic parameters",
                prior=normal(0.0, 0.2),  # 1/2 where eta* falls with the width of the layers
            ),
        ),
    ),
    log_curvature=ByTask(
        name="log_rate_curvature",
        unit="log of log env steps per squared log",
        meaning="curvature of the penalty in log learning rate",
        prior=normal(log(0.2), 0.8),  # a rate off by a factor of 4 costs 20%, loosely
        spread=fixed(0.7),  # some tasks hardly depend on it
        drift=normal(0.0, 0.3),
    ),
    noise_slope=ByTask(
        name="rate_noise_slope",
        unit="log seed noise per log rate",
        meaning="growth of the seed noise with the learning rate",
        prior=normal(0.0, 0.2),  # seeds vary more at large rates
        spread=fixed(0.2),
    ),
    failure_slope=Shared(
        name="rate_failure_slope",
        unit="logit per log rate",
        meaning="growth of the chance of failure with the learning rate",
        prior=student_t(0.7, 1.0),  # large rates diverge, often abruptly
    ),
)

BATCH_AND_RATE = Interaction(
    axes=("batch_size", "learning_rate"),
    strength=Shared(
        name="interaction",
        unit="atanh of a correlation",
        meaning="correlation of log batch size and log learning rate in the penalty",
        prior=normal(0.3, 0.5),  # > 0: a rate above eta* costs more at a batch above B*; published Gym runs: 0.4 to 0.9
    ),
)

AXES: tuple[Axis, ...] = (UTD, BATCH_SIZE, LEARNING_RATE, MODEL_SIZE)

DECLARED = Declared(
    axes=AXES,
    interactions=(BATCH_AND_RATE,),
    log_env_steps_at_centre=LOG_ENV_STEPS_AT_CENTRE,
    log_noise=LOG_NOISE,
    skewness=SKEWNESS,
    configuration_effect=CONFIGURATION_EFFECT,
    error_growth=ERROR_GROWTH,
    failure=FAILURE,
    failure_penalty=FAILURE_PENALTY,
    failure_rise=FAILURE_RISE,
)

PRIORS: dict[str, Prior] = {name: prior for one in DECLARED.parameters() for name, prior in one.priors().items()}

# Priors that make all tasks alike: no spread between them.
ONE_TASK_FOR_ALL: dict[str, Prior] = {name: fixed(0.0) for one in DECLARED.parameters() for name in one.spreads()}


def with_replacements(priors: Mapping[str, Prior] | None) -> dict[str, Prior]:
    """Return `PRIORS` with some replaced by name.

    Raises:
        InputError: unknown name, numbers that no prior has, or a spread that is stated and cannot be sampled.
    """
    for name, prior in (priors or {}).items():
        if name not in PRIORS:
            raise InputError(f"priors has no '{name}'; the names are those of bayescale.models.PRIORS.")
        if not (isfinite(prior.location) and 0 <= prior.scale < inf):
            raise InputError(f"the prior of {name} must have finite numbers and a scale >= 0; got {prior}. Correct it.")
        stated = PRIORS[name].family == "fixed"
        if prior.family != "fixed" and (stated or prior.scale == 0):
            rule = "is fixed" if stated else "has scale 0"
            raise InputError(f"the prior of {name} {rule}; got {prior}. Give bayescale.models.priors.fixed(value).")
    return {**PRIORS, **(priors or {})}
