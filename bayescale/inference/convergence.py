"""Judge whether the draws of several chains can be trusted: R-hat, effective sample size and divergences."""

from enum import Enum

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.inference.arviz_compat import arviz

LEAST_DRAWS = 8  # draws per chain: R-hat and effective sample size need four in each half of a chain
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100  # bulk and tail; 400 with four chains (Vehtari et al., Bayesian Analysis 2021)
TAILS = (0.05, 0.95)  # quantile levels of the tail ESS; ArviZ 1.x wants them stated, earlier versions take these
MAX_DIVERGENT = 0.001  # share of draws
FAST_R_HAT = 1.05
FAST_ESS_PER_CHAIN = 25  # the error of a 5% quantile is then at most about a fifth of a standard deviation


class Status(Enum):
    """The verdict on a fit's draws; the value is the message for the user."""

    CONVERGED = "converged: R-hat at most 1.01, effective draws at least 100 per chain, divergences at most 0.1%"
    APPROXIMATE = "approximate, by short chains: R-hat at most 1.05, effective draws at least 25 per chain"
    DIVERGED = "not converged: more than 0.1% of the draws diverged; raise warmup, or give more runs"
    NOT_MIXED = "not converged: the chains disagree; raise warmup and draws"
    TOO_FEW = "not converged: too few effective draws; raise draws"

    @property
    def usable(self) -> bool:
        """True if predictions and decisions may use the draws."""
        return self in (Status.CONVERGED, Status.APPROXIMATE)

    @property
    def limits(self) -> tuple[float, int]:
        """The largest R-hat and the fewest effective draws per chain that draws of this status must keep."""
        return (FAST_R_HAT, FAST_ESS_PER_CHAIN) if self is Status.APPROXIMATE else (MAX_R_HAT, MIN_ESS_PER_CHAIN)


def diagnose(parameters: dict[str, Float[np.ndarray, "chain draw ..."]]) -> pd.DataFrame:
    """Return mean, sd, r_hat, ess_bulk and ess_tail of every scalar parameter, by a name such as `log_noise[0]`.

    The two halves of a single chain count as two chains for R-hat. Chains that never move have an R-hat of NaN.
    """
    az = arviz()
    rows = {}
    for name, values in parameters.items():
        for index in np.ndindex(values.shape[2:]):
            one = values[(slice(None), slice(None), *index)]
            label = name + (f"[{','.join(map(str, index))}]" if index else "")
            several = one if len(one) > 1 else one[:, : one.size // 2 * 2].reshape(2, -1)
            bulk, tail = az.ess(one, method="bulk"), az.ess(one, method="tail", prob=TAILS)
            with np.errstate(invalid="ignore", divide="ignore"):
                r_hat = float(az.rhat(several))
            rows[label] = one.mean(), one.std(), r_hat, float(bulk), float(tail)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "sd", "r_hat", "ess_bulk", "ess_tail"])


def unconverged(diagnostics: pd.DataFrame, chains: int) -> tuple[str, ...]:
    """Return the parameters whose R-hat or ESS is NaN or misses the limits of full sampling, worst R-hat first.

    Args:
        diagnostics: the table of `diagnose`.
        chains: number of chains.
    """
    ess = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1)
    bad = diagnostics[~((diagnostics["r_hat"] <= MAX_R_HAT) & (ess >= MIN_ESS_PER_CHAIN * chains))]
    return tuple(bad.sort_values("r_hat", ascending=False, na_position="first").index)


def status_of(
    diagnostics: pd.DataFrame, diverging: Bool[np.ndarray, "chain draw"], aim: Status = Status.CONVERGED
) -> Status:
    """Return `aim` if the draws keep its limits of R-hat and effective draws, else what is wrong with them.

    Args:
        diagnostics: the table of `diagnose`.
        diverging: True for draws that diverged.
        aim: CONVERGED for the limits of full sampling, APPROXIMATE for the looser ones of the fast method.
    """
    most_r_hat, least_ess = aim.limits
    if diverging.mean() > MAX_DIVERGENT:
        return Status.DIVERGED
    if not (diagnostics["r_hat"] <= most_r_hat).all():
        return Status.NOT_MIXED
    enough = diagnostics[["ess_bulk", "ess_tail"]] >= least_ess * len(diverging)
    return aim if enough.all(axis=None) else Status.TOO_FEW
