"""Judge whether the draws of several chains can be trusted: R-hat, effective sample size and divergences.

R-hat and the effective sample size (ESS) are those of Vehtari et al., "Rank-Normalization, Folding, and Localization"
(Bayesian Analysis, 2021), computed for all scalars of a parameter at once.
"""

from enum import Enum

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped
from scipy.special import ndtri

LEAST_DRAWS = 8  # draws per chain: R-hat and effective sample size need four in each half of a chain
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100  # bulk and tail; 400 with four chains (Vehtari et al., Bayesian Analysis 2021)
TAILS = (0.05, 0.95)  # quantile levels of the tail ESS
LEAST_TO_JUDGE = 4  # draws per chain; with fewer, R-hat and ESS are NaN
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
    labels, figures = [], []
    for name, values in parameters.items():
        indices = np.ndindex(values.shape[2:])
        labels += [name + (f"[{','.join(map(str, index))}]" if index else "") for index in indices]
        figures.append(_diagnosed(np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0)))
    columns = ["mean", "sd", "r_hat", "ess_bulk", "ess_tail"]
    return pd.DataFrame(np.concatenate(figures), index=labels, columns=columns)


def _diagnosed(draws: Float[np.ndarray, "scalar chain draw"]) -> Float[np.ndarray, "scalar 5"]:
    """Return the columns of `diagnose`."""
    count, chains, length = draws.shape
    figures = np.full((count, 5), np.nan)
    figures[:, 0], figures[:, 1] = draws.mean(axis=(1, 2)), draws.std(axis=(1, 2))
    if length >= LEAST_TO_JUDGE:
        halves = _halves(draws)
        scores = _normal_scores(halves)
        limits = np.quantile(draws, TAILS, axis=(1, 2))[:, :, None, None]
        figures[:, 3] = _ess(scores)
        figures[:, 4] = np.minimum(*(_ess((halves <= limit).astype(float)) for limit in limits))
        if chains == 1 and length >= 2 * LEAST_TO_JUDGE:
            halves = _halves(draws[:, :, : length // 2 * 2].reshape(count, 2, -1))
            scores = _normal_scores(halves)
        if chains > 1 or length >= 2 * LEAST_TO_JUDGE:
            folded = abs(halves - np.median(halves, axis=(1, 2), keepdims=True))
            figures[:, 2] = np.fmax(_r_hat(scores), _r_hat(_normal_scores(folded)))
    figures[np.isnan(draws).any(axis=(1, 2)), 2:] = np.nan
    return figures


def _halves(draws: Shaped[np.ndarray, "scalar chain draw"]) -> Shaped[np.ndarray, "scalar half half_draw"]:
    """Return the two halves of each chain as chains; the middle of an odd number of draws is left out."""
    half = draws.shape[2] // 2
    return np.concatenate([draws[:, :, :half], draws[:, :, -half:]], axis=1)


def _normal_scores(draws: Float[np.ndarray, "scalar chain draw"]) -> Float[np.ndarray, "scalar chain draw"]:
    """Return the normal scores of the ranks over all chains."""
    flat = draws.reshape(len(draws), -1)
    return np.asarray(ndtri((average_ranks(flat) - 3 / 8) / (flat.shape[1] + 1 / 4))).reshape(draws.shape)


def average_ranks(values: Float[np.ndarray, "row value"]) -> Float[np.ndarray, "row value"]:
    """Return the ranks within each row, from 1; equal values get the mean of their ranks."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.arange(values.shape[1])
    new = np.diff(ordered, axis=1, prepend=np.nan) != 0  # True where a value differs from the one before
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.append(new[:, 1:], np.ones((len(values), 1), bool), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks


def _r_hat(draws: Float[np.ndarray, "scalar chain draw"]) -> Float[np.ndarray, " scalar"]:
    """Return the root of the variance of all draws over the variance within chains; NaN for chains that never move."""
    length = draws.shape[2]
    within = draws.var(axis=2, ddof=1).mean(axis=1)
    between = length * draws.mean(axis=2).var(axis=1, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt((between / within + length - 1) / length))


def _ess(draws: Float[np.ndarray, "scalar chain draw"]) -> Float[np.ndarray, " scalar"]:
    """Return the effective sample size of the mean: the number of draws over their autocorrelation time.

    The autocorrelations are summed in pairs of lags, up to the first pair whose sum is not positive, with sums that do
    not rise (Geyer, "Practical Markov Chain Monte Carlo", 1992).
    """
    chains, length = draws.shape[1:]
    centred = draws - draws.mean(axis=2, keepdims=True)
    padded = 1 << (2 * length - 1).bit_length()  # zeros keep the ends of a chain apart
    spectrum = np.fft.rfft(centred, n=padded, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    autocovariance = np.fft.irfft(power, n=padded, axis=1)[:, :length] / length  # scalar, lag; mean over chains
    within = autocovariance[:, :1] * length / (length - 1)
    total = autocovariance[:, :1] + draws.mean(axis=2).var(axis=1, ddof=1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = 1 - (within - autocovariance) / total
    correlation[:, 0] = 1
    pairs = correlation[:, 0 : length // 2 * 2 : 2] + correlation[:, 1::2]
    most = max(0, -(-(length - 4) // 2))  # most pairs
    positive = np.logical_and.accumulate(pairs[:, :most] > 0, axis=1)
    number = positive.sum(axis=1)
    summed = np.where(positive, np.minimum.accumulate(pairs[:, :most], axis=1), 0).sum(axis=1)
    rows = np.arange(len(draws))
    after, pair_after = correlation[rows, 2 * number], pairs[rows, number]
    time = -1 + 2 * summed + np.where((after > 0) | (pair_after >= 0), after, 0)
    count = chains * length
    ess = count / np.maximum(time, 1 / np.log10(count))
    constant = np.ptp(draws, axis=(1, 2)) < np.finfo(float).resolution
    return np.asarray(np.where(constant, count, ess))


def unconverged(diagnostics: pd.DataFrame, chains: int) -> tuple[str, ...]:
    """Return the names of the parameters whose R-hat or ESS is NaN or misses the limits of NUTS, worst R-hat first.

    Args:
        diagnostics: the table of `diagnose`.
        chains: number of chains.
    """
    ess = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1)
    bad = diagnostics[~((diagnostics["r_hat"] <= MAX_R_HAT) & (ess >= MIN_ESS_PER_CHAIN * chains))]
    return tuple(bad.sort_values("r_hat", ascending=False, na_position="first").index)


def status_of(diagnostics: pd.DataFrame, diverging: Bool[np.ndarray, "chain draw"]) -> Status:
    """Return the verdict on draws by the limits of NUTS.

    Args:
        diagnostics: the table of `diagnose`.
        diverging: True for draws that diverged.
    """
    if diverging.mean() > MAX_DIVERGENT:
        return Status.DIVERGED
    if not (diagnostics["r_hat"] <= MAX_R_HAT).all():
        return Status.NOT_MIXED
    return Status.TOO_FEW if unconverged(diagnostics, len(diverging)) else Status.CONVERGED


def is_approximate(diagnostics: pd.DataFrame, diverging: Bool[np.ndarray, "chain draw"]) -> bool:
    """Return True if draws keep the looser limits of the fast method.

    Args:
        diagnostics: the table of `diagnose`.
        diverging: True for draws that diverged.
    """
    enough = (diagnostics[["ess_bulk", "ess_tail"]] >= FAST_ESS_PER_CHAIN * len(diverging)).all(axis=None)
    agree = (diagnostics["r_hat"] <= FAST_R_HAT).all()
    return bool(enough and agree and diverging.mean() <= MAX_DIVERGENT)
