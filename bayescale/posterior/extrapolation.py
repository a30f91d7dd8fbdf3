"""New runs at returns between the fitted thresholds and beyond the highest.

Between thresholds everything is linear in the return. Beyond the highest, J_K, the distance to a return A that no run
exceeds falls as a power of env steps,

    log T(J) = log T(J_K) + c log((A - J_K) / (A - J)),   T = inf from A on,

a law that needs no zero of the return. For each draw c follows from the upper half of the thresholds, given A, and A is
drawn from a wide prior weighted by how well that law fits them; a ceiling that is known bounds A. Spread and skew stay
those of J_K; the logit of the chance never to get there goes on in a line.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num
from scipy.special import expit, logit, ndtri

from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError
from bayescale.run_length_distribution import RunLengthDistribution

# Median and log sd of (A - J_K) / (J_K - J_1): chosen, as the tolerance, by returns left out of fits.
HEADROOM = (4.0, 1.5)
CANDIDATES = 24  # of A, equally likely a priori
LEAST_ROOM = 1e-9  # of J_K - J_1, below a ceiling that J_K reaches
TOLERANCE = 0.1  # log env steps; how far a draw's median runs may lie off the law
AT_ONCE = 256  # points, whose candidates of A are held in memory together
FEWEST = 3  # thresholds that show how the gaps grow


def at_thresholds(
    times: RunLengthDistribution,
    fitted: Float[np.ndarray, " threshold"],
    wanted: Sequence[float] | Num[np.ndarray, " wanted"],
    ceiling: Float[np.ndarray, " point"] | None = None,
    seed: int = 0,
) -> RunLengthDistribution:
    """New runs at other returns than those fitted, draw axis first.

    Args:
        times: at the fitted thresholds.
        fitted: the thresholds, increasing.
        wanted: returns, increasing, none below the lowest threshold.
        ceiling: the best return there is, of each point; inf where it is not known. None: nowhere.
        seed: of the draws of A.

    Raises:
        InputError: returns that do not increase or start too low, or too few thresholds to go beyond them.
    """
    levels = increasing_thresholds(wanted)
    best = np.full(times.location.shape[1], np.inf) if ceiling is None else ceiling
    if levels[0] < fitted[0] * (1 - np.sign(fitted[0]) * 1e-9):
        raise InputError(f"thresholds must be at least the lowest fitted, {fitted[0]:g}; got {levels[0]:g}. Raise it.")
    within = np.minimum(levels, fitted[-1])
    parts = RunLengthDistribution(*(between_thresholds(np.asarray(part, float), fitted, within) for part in times))
    parts = parts._replace(p_reach=np.where(levels > best[:, None], 0.0, parts.p_reach))
    beyond = np.flatnonzero(levels > fitted[-1])
    if not len(beyond):
        return parts
    if len(fitted) < FEWEST:
        raise InputError(f"returns beyond {fitted[-1]:g} need {FEWEST} fitted thresholds; got {len(fitted)}. Fit more.")
    location, p_reach = parts.location.copy(), parts.p_reach.copy()
    chance = np.random.default_rng(seed).random((len(location), 1, 1))
    rises = []
    for first in range(0, len(best), AT_ONCE):
        here = slice(first, first + AT_ONCE)
        rises.append(_rise(np.asarray(times.location[:, here], float), fitted, levels[beyond], best[here], chance))
    rise = np.concatenate(rises, axis=1)
    failing = logit(np.clip(1 - np.asarray(times.p_reach, float), 1e-12, 1 - 1e-12))
    slope = np.maximum(failing[..., -1] - failing[..., -2], 0.0) / (fitted[-1] - fitted[-2])
    later = failing[..., -1:] + slope[..., None] * (levels[beyond] - fitted[-1])
    location[..., beyond] += np.where(np.isfinite(rise), rise, 0.0)
    p_reach[..., beyond] = np.where(np.isfinite(rise), expit(-later), 0.0)
    return RunLengthDistribution(location, parts.scale, parts.skewness, p_reach)


def _rise(
    location: Float[np.ndarray, "draw point threshold"],
    fitted: Float[np.ndarray, " threshold"],
    beyond: Float[np.ndarray, " wanted"],
    best: Float[np.ndarray, " point"],
    chance: Float[np.ndarray, "draw 1 1"],
) -> Float[np.ndarray, "draw point wanted"]:
    """Log env steps from the highest threshold on; inf from A on. One uniform number a draw tells A at all points."""
    span = fitted[-1] - fitted[0]
    first = min(int(np.searchsorted(fitted, fitted[-1] - span / 2)), len(fitted) - FEWEST)
    upper = fitted[first:-1]
    median, spread = HEADROOM
    room = span * median * np.exp(spread * ndtri((np.arange(CANDIDATES) + 0.5) / CANDIDATES))
    room = np.minimum(room, np.maximum(best - fitted[-1], LEAST_ROOM * span)[:, None])  # point, candidate
    reach = np.log(room[..., None] / (room[..., None] + fitted[-1] - upper))  # point, candidate, threshold; < 0
    fall = location[..., first:-1] - location[..., -1:]
    steepness = np.maximum(np.einsum("dpt,pct->dpc", fall, reach) / (reach**2).sum(axis=-1), 0.0)
    misfit = ((fall[..., None, :] - steepness[..., None] * reach) ** 2).sum(axis=-1)
    logs = -misfit / (2 * TOLERANCE**2)
    weight = np.exp(logs - logs.max(axis=-1, keepdims=True))
    chosen = (np.cumsum(weight, axis=-1) < chance * weight.sum(axis=-1, keepdims=True)).sum(axis=-1)
    steep = np.take_along_axis(steepness, chosen[..., None], axis=-1)
    headroom = np.take_along_axis(room[None], chosen[..., None], axis=-1)
    left = headroom - (beyond - fitted[-1])
    short = np.log(headroom / np.where(left > 0, left, 1.0))
    return np.asarray(np.where(left > 0, steep * short, np.inf))


def between_thresholds(
    part: Float[np.ndarray, "*shape threshold"],
    fitted: Float[np.ndarray, " threshold"],
    within: Float[np.ndarray, " wanted"],
) -> Float[np.ndarray, "*shape wanted"]:
    """What is known at the fitted thresholds, linear in the return between them."""
    if len(fitted) == 1:
        return np.repeat(part, len(within), axis=-1)
    right = np.clip(np.searchsorted(fitted, within), 1, len(fitted) - 1)
    share = (within - fitted[right - 1]) / (fitted[right] - fitted[right - 1])
    return np.asarray(part[..., right - 1] * (1 - share) + part[..., right] * share)
