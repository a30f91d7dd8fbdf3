"""Predict new runs at returns between the fitted thresholds and above the highest.

Between two thresholds, every parameter of the run-length distribution is linear in the return. Above the highest
threshold J_K, the distance to an asymptote A, a return that no run exceeds, falls as a power of env steps:

    log T(J) = log T(J_K) + c log((A - J_K) / (A - J))  for J < A,   T(J) = inf  for J >= A

The law does not depend on the zero of the return. For each draw and each candidate A, least squares on the thresholds
in the upper half of the fitted range give the exponent c >= 0. A is then sampled from a lognormal prior of A - J_K,
weighted by how well its law fits these thresholds. A known ceiling bounds A from above. Below A, the scale, the
skewness and the probability to reach J stay as at J_K.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num
from scipy.special import ndtri

from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError
from bayescale.run_length_distribution import RunLengthDistribution

# Prior of the headroom (A - J_K) / (J_K - J_1): median and standard deviation of its log. This prior and the
# tolerance were chosen by predicting returns that had been left out of fits.
HEADROOM = (4.0, 1.5)
CANDIDATES = 24  # candidate values of A, equally likely under the prior
LEAST_HEADROOM = 1e-9  # least headroom, for a ceiling that the highest threshold already reaches
TOLERANCE = 0.1  # standard deviation, in log env steps, of a draw's median runs around the law
CHUNK = 256  # points per pass; bounds the memory for their candidates of A
FEWEST_THRESHOLDS = 3  # fitted thresholds that extrapolation needs


def at_thresholds(
    distribution: RunLengthDistribution,
    fitted: Float[np.ndarray, " threshold"],
    wanted: Sequence[float] | Num[np.ndarray, " wanted"],
    ceiling: Float[np.ndarray, " point"] | None = None,
    seed: int = 0,
) -> RunLengthDistribution:
    """Return the run-length distribution at the wanted returns, draw axis first.

    Args:
        distribution: at the fitted thresholds; axes draw, point, threshold.
        fitted: the fitted thresholds, increasing.
        wanted: increasing returns, none below the lowest fitted threshold.
        ceiling: the highest return at each point; inf where it is unknown. None: unknown everywhere.
        seed: of the sampled asymptotes A.

    Raises:
        InputError: the returns do not increase or start below the lowest fitted threshold, or a return exceeds the
            highest of fewer than three fitted thresholds.
    """
    returns = increasing_thresholds(wanted)
    best = np.full(distribution.location.shape[1], np.inf) if ceiling is None else ceiling
    if returns[0] < fitted[0] * (1 - np.sign(fitted[0]) * 1e-9):
        raise InputError(f"thresholds must be at least the lowest fitted, {fitted[0]:g}; got {returns[0]:g}. Raise it.")
    within = np.minimum(returns, fitted[-1])
    inside = RunLengthDistribution(
        *(between_thresholds(np.asarray(part, float), fitted, within) for part in distribution)
    )
    inside = inside._replace(p_reach=np.where(returns > best[:, None], 0.0, inside.p_reach))
    beyond = np.flatnonzero(returns > fitted[-1])
    if not len(beyond):
        return inside
    if len(fitted) < FEWEST_THRESHOLDS:
        raise InputError(
            f"returns beyond {fitted[-1]:g} need {FEWEST_THRESHOLDS} fitted thresholds; got {len(fitted)}. Fit more."
        )
    location, p_reach = inside.location.copy(), inside.p_reach.copy()
    uniform = np.random.default_rng(seed).random((len(location), 1, 1))
    extra = []
    for first in range(0, len(best), CHUNK):
        here = slice(first, first + CHUNK)
        at_fitted = np.asarray(distribution.location[:, here], float)
        extra.append(_extra_log_steps(at_fitted, fitted, returns[beyond], best[here], uniform))
    extra_log_steps = np.concatenate(extra, axis=1)
    location[..., beyond] += np.where(np.isfinite(extra_log_steps), extra_log_steps, 0.0)
    p_reach[..., beyond] = np.where(np.isfinite(extra_log_steps), p_reach[..., beyond], 0.0)
    return RunLengthDistribution(location, inside.scale, inside.skewness, p_reach)


def _extra_log_steps(
    location: Float[np.ndarray, "draw point threshold"],
    fitted: Float[np.ndarray, " threshold"],
    beyond: Float[np.ndarray, " wanted"],
    best: Float[np.ndarray, " point"],
    uniform: Float[np.ndarray, "draw 1 1"],
) -> Float[np.ndarray, "draw point wanted"]:
    """Return log T(J) - log T(J_K) for returns J above the highest threshold J_K; inf for J >= A.

    Args:
        location: log env steps of the median run at the fitted thresholds.
        fitted: the fitted thresholds, increasing.
        beyond: returns above the highest threshold.
        best: the ceiling of each point, or inf.
        uniform: one number in [0, 1) per draw. It picks the asymptote A at all points, so that points compare fairly.
    """
    span = fitted[-1] - fitted[0]
    first = min(int(np.searchsorted(fitted, fitted[-1] - span / 2)), len(fitted) - FEWEST_THRESHOLDS)
    upper = fitted[first:-1]
    median, log_sd = HEADROOM
    distance = span * median * np.exp(log_sd * ndtri((np.arange(CANDIDATES) + 0.5) / CANDIDATES))
    # A - J_K of each candidate A; axes point, candidate.
    distance = np.minimum(distance, np.maximum(best - fitted[-1], LEAST_HEADROOM * span)[:, None])
    # log((A - J_K) / (A - J)) at the upper thresholds J, negative; axes point, candidate, threshold.
    log_ratio = np.log(distance[..., None] / (distance[..., None] + fitted[-1] - upper))
    log_saving = location[..., first:-1] - location[..., -1:]  # log T(J) - log T(J_K), negative
    exponent = np.einsum("dpt,pct->dpc", log_saving, log_ratio) / (log_ratio**2).sum(axis=-1)
    exponent = np.maximum(exponent, 0.0)
    squares = ((log_saving[..., None, :] - exponent[..., None] * log_ratio) ** 2).sum(axis=-1)
    log_weight = -squares / (2 * TOLERANCE**2)
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    chosen = (np.cumsum(weight, axis=-1) < uniform * weight.sum(axis=-1, keepdims=True)).sum(axis=-1)
    chosen_exponent = np.take_along_axis(exponent, chosen[..., None], axis=-1)
    chosen_distance = np.take_along_axis(distance[None], chosen[..., None], axis=-1)
    left = chosen_distance - (beyond - fitted[-1])  # A - J
    log_ratio_beyond = np.log(chosen_distance / np.where(left > 0, left, 1.0))
    return np.asarray(np.where(left > 0, chosen_exponent * log_ratio_beyond, np.inf))


def between_thresholds(
    values: Float[np.ndarray, "*shape threshold"],
    fitted: Float[np.ndarray, " threshold"],
    within: Float[np.ndarray, " wanted"],
) -> Float[np.ndarray, "*shape wanted"]:
    """Interpolate values at the fitted thresholds linearly in the return.

    Args:
        values: threshold axis last.
        fitted: the fitted thresholds, increasing.
        within: returns between the lowest and the highest fitted threshold.
    """
    if len(fitted) == 1:
        return np.repeat(values, len(within), axis=-1)
    right = np.clip(np.searchsorted(fitted, within), 1, len(fitted) - 1)
    share = (within - fitted[right - 1]) / (fitted[right] - fitted[right - 1])
    return np.asarray(values[..., right - 1] * (1 - share) + values[..., right] * share)
