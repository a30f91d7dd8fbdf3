"""Every prior of the joint model, with its unit and its reason.

Families: normal(location, scale); lognormal(log median, log scale), used for what is positive so that none sits at
zero, where few tasks would make the sampler stall; fixed(value), stated and not sampled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, log

import numpyro.distributions as dist

from bayescale.errors import InputError


@dataclass(frozen=True)
class Prior:
    """One prior: its family and two numbers."""

    family: str
    location: float
    scale: float

    def distribution(self) -> dist.Distribution:
        """The NumPyro distribution."""
        if self.family == "normal":
            return dist.Normal(self.location, self.scale)
        if self.family == "lognormal":
            return dist.LogNormal(self.location, self.scale)
        if self.family == "fixed":
            return dist.Delta(self.location)
        raise InputError(f"a prior's family must be normal, lognormal or fixed; got '{self.family}'.")


def normal(location: float, scale: float) -> Prior:
    """A normal prior."""
    return Prior("normal", location, scale)


def lognormal(median: float, scale: float) -> Prior:
    """A lognormal prior by its median."""
    return Prior("lognormal", log(median), scale)


def fixed(value: float) -> Prior:
    """A number that the few tasks of a sweep cannot tell; it is stated instead of sampled."""
    return Prior("fixed", value, 0.0)


PRIORS: dict[str, Prior] = {
    # log env steps to the lowest threshold at the reference UTD: 2e3 to 5e6 env steps within two scales
    "level_mean": normal(log(1e5), 2.0),
    "level_sd": fixed(1.0),  # log env steps; tasks differ by a factor of e, give or take
    # rise in log env steps from a threshold to the next, times the number of rises: a factor of 4.5 over all, loosely
    "gap_mean": normal(1.5, 1.0),
    "gap_sd": fixed(0.8),  # log env steps; how much a task's rise departs from the mean task's
    # log samples: 35 to 1,900 within two scales
    "batch_size_mean": normal(log(256.0), 1.0),
    "batch_size_sd": fixed(0.6),  # published optima of one suite scatter by 0.1 to 0.6
    "batch_size_drift": normal(0.0, 0.5),  # log samples per half range of the thresholds
    "batch_size_slope": normal(0.4, 0.3),  # exponent; published: 0.31 (Gym), 0.49 (DMC), tasks from -0.1 to 0.9
    "batch_size_slope_drift": normal(0.0, 0.2),  # exponent per half range of the thresholds
    "batch_size_curvature": normal(log(0.1), 0.8),  # log of log env steps per squared log: x4 costs 10%, loosely
    "learning_rate_mean": normal(log(5e-4), 1.5),  # log rate: 2.5e-5 to 1e-2 within two scales
    "learning_rate_sd": fixed(0.8),  # published optima of one suite scatter by 0.4 to 1.1
    "learning_rate_drift": normal(0.0, 0.5),  # log rate per half range of the thresholds
    "learning_rate_slope": normal(0.4, 0.3),  # exponent; published: 0.29 (Gym), 0.32 (DMC)
    "learning_rate_slope_drift": normal(0.0, 0.2),  # exponent per half range of the thresholds
    "learning_rate_curvature": normal(log(0.2), 0.8),  # as for the batch size; x4 costs 20%, loosely
    "slope_sd": fixed(0.2),  # exponents of both rules between tasks; published ones scatter by 0.2 to 0.3
    "curvature_drift": normal(0.0, 0.3),  # log curvature per half range of the thresholds
    "curvature_sd": fixed(0.7),  # log curvature between tasks: some hardly mind their batch size or rate
    "interaction": normal(0.3, 0.5),  # inverse tanh of the correlation in K; larger batches bear larger rates
    "min_share": normal(0.0, 1.0),  # logit of D_min over the data at the reference UTD; published: 0.35 to 0.8
    "min_share_sd": fixed(0.8),  # logit, between tasks
    "min_share_drift": normal(0.0, 0.5),  # logit per half range of the thresholds
    "log_alpha": normal(log(0.75), 0.4),  # published: 0.58 to 0.82 (Gym), 0.86 to 1.15 (DMC); UTDs seldom identify it
    "log_alpha_drift": normal(0.0, 0.1),  # log exponent per half range of the thresholds
    "size_share": normal(-1.0, 1.0),  # logit of the share of the data at the mean model size that an endless one saves
    "size_share_sd": fixed(1.0),  # logit, between tasks
    "size_share_drift": normal(0.5, 0.7),  # logit per half range of the thresholds; high returns ask for large critics
    "log_gamma": normal(log(0.8), 0.6),  # exponent of the data in critic parameters, 0.25 to 2.7 within two scales
    "log_gamma_sd": fixed(0.5),  # log exponent, between tasks: in some of them small critics hardly learn
    "log_gamma_drift": normal(0.0, 0.2),  # log exponent per half range of the thresholds
    "batch_size_room": lognormal(0.5, 1.0),  # B* of an endless critic over that at the mean size, less 1
    "batch_size_gamma": lognormal(0.5, 0.5),  # exponent of that shortfall in critic parameters
    "learning_rate_size": normal(0.0, 0.2),  # exponent of eta* in critic parameters; -1/2 where eta* falls with width
    "drift_sd": fixed(0.4),  # departures of a task's drift from the shared one
    "walk_sd": fixed(0.5),  # of a task's random walk around its line, per square root of a half range of the thresholds
    "log_noise_mean": normal(log(0.25), 0.5),  # log of the seed spread of log env steps; published runs: 0.1 to 0.45
    "log_noise_sd": fixed(0.4),  # its departure by task and threshold
    "utd_noise": normal(0.1, 0.1),  # log seed spread per log of UTD; published tasks: 0.05 to 0.2
    "utd_noise_sd": fixed(0.15),  # of these exponents between tasks, as below
    "batch_size_noise": normal(0.0, 0.2),  # log seed spread per log of batch size
    "learning_rate_noise": normal(0.0, 0.2),  # log seed spread per log of rate; large rates scatter
    "batch_size_noise_sd": fixed(0.2),
    "learning_rate_noise_sd": fixed(0.2),
    "model_size_noise": normal(0.0, 0.1),  # log seed spread per log of critic parameters
    "model_size_noise_sd": fixed(0.2),
    "skew_mean": normal(0.0, 0.15),  # mean minus median of log env steps, in units of their spread; late runs straggle
    "skew_sd": fixed(0.1),  # its departure by task and threshold; published tasks: 0 to 0.2
    "misfit": lognormal(0.3, 0.5),  # spread of configurations around the surface, in units of the seed spread
    "failure": normal(-5.0, 1.0),  # logit of the chance that a run never reaches the middle threshold
    "failure_sd": fixed(0.7),  # logit, between tasks
    "failure_penalty": lognormal(1.0, 0.7),  # logit per unit of the penalty: failing grows off the optimum
    "failure_rise": lognormal(1.5, 0.5),  # logit per half range of the thresholds: failing is for the high ones
}


def with_replacements(priors: Mapping[str, Prior] | None) -> dict[str, Prior]:
    """`PRIORS` with some replaced by name.

    Raises:
        InputError: an unknown name, numbers that no prior has, or a spread for what is stated and not sampled.
    """
    for name, prior in (priors or {}).items():
        if name not in PRIORS:
            raise InputError(f"priors has no '{name}'; the names are those of bayescale.models.PRIORS.")
        if not (isfinite(prior.location) and 0 <= prior.scale < inf):
            raise InputError(f"the prior of {name} must have finite numbers and a scale >= 0; got {prior}. Correct it.")
        stated = PRIORS[name].family == "fixed"
        if prior.family != "fixed" and (stated or prior.scale == 0):
            rule = "is stated and not sampled" if stated else "has no spread"
            raise InputError(f"the prior of {name} {rule}; got {prior}. Give bayescale.models.priors.fixed(value).")
    return {**PRIORS, **(priors or {})}
