"""Estimate the expected value of sample information (EVSI) of candidate runs from posterior draws, without refitting.

With c(a) the cost of action a and y the results of some candidate runs (Raiffa & Schlaifer, 1961),

    EVSI = min_a E[c(a)] - E_y min_a E[c(a) | y]  >= 0,   in the unit of the cost, for one use of the decision.

Each posterior draw simulates results y, and weights p(y | draw') over all draws give E[c(a) | y].

The minimum of several noisy means is biased low, which would make uninformative results look valuable. Therefore one
half of the draws chooses a, with and without y, and the other half evaluates the cost of the chosen a. In expectation
the estimated value of an uninformative run is then at most 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr


@dataclass(frozen=True)
class CandidateRuns:
    """The distribution of one run at each candidate under each draw, its length and its cost.

    Attributes:
        location: median log env steps to each threshold.
        scale: standard deviation of log env steps, treated as normal; > 0.
        p_reach: probability that the run reaches the threshold.
        log_length: log env steps after which the run ends.
        cost: expected cost in the unit of the prices.
    """

    location: Float[np.ndarray, "draw candidate threshold"]
    scale: Float[np.ndarray, "draw candidate threshold"]
    p_reach: Float[np.ndarray, "draw candidate threshold"]
    log_length: Float[np.ndarray, " candidate"]
    cost: Float[np.ndarray, " candidate"]


def expected_loss(
    log_likelihood: Float[np.ndarray, "draw draw"], losses: Sequence[Float[np.ndarray, "draw _"]]
) -> float:
    """Return the expected loss of decisions made after seeing simulated results, summed over decisions.

        mean over i of  sum_j w_ij loss_j(a_i),   a_i = argmin_a sum_k v_ik loss_k(a)

    The weights v (of the draws that choose) and w (of the draws that evaluate) belong to different halves of the
    draws; the result averages over both assignments of the halves. Lower is better.

    Args:
        log_likelihood: log p(y_i | draw j) at [i, j], where y_i was simulated from draw i; zeros stand for no results.
        losses: for each decision, the loss of every action under every draw.
    """
    even = np.arange(len(log_likelihood)) % 2 == 0
    total = 0.0
    for choosing in (even, ~even):
        choosing_weights, evaluating_weights = (_weights(log_likelihood, half) for half in (choosing, ~choosing))
        for loss in losses:
            action = (choosing_weights @ loss[choosing]).argmin(axis=1)
            total += float((evaluating_weights * loss[~choosing][:, action].T).sum(axis=1).mean()) / 2
    return total


def _weights(log_likelihood: Float[np.ndarray, "draw draw"], half: Bool[np.ndarray, " draw"]) -> np.ndarray:
    """Return the weights of half of the draws given each draw's simulated results.

    A draw gets weight 0 given the results that it simulated itself, as these would favour it.
    """
    logs = np.where(np.eye(len(half), dtype=bool), -np.inf, log_likelihood)[:, half]
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def log_likelihood(
    offer: CandidateRuns, j: int, seed_noise: Float[np.ndarray, " draw"], uniform: Float[np.ndarray, " draw"]
) -> Float[np.ndarray, "draw draw"]:
    """Return log p(y_i | draw k) at [i, k] for one run at candidate j, averaged over the thresholds.

    The average, not the sum: all thresholds of a run share its seed noise. A threshold that the run does not reach
    contributes log(1 - p_reach + p_reach P(log T > end)): the run never reaches it, or later than its end. A reached
    threshold contributes a quadratic in log env steps, so all pairs of draws are computed by one matrix product.

    Args:
        offer: the candidate runs.
        j: row number of the candidate.
        seed_noise: standard normal, one number per simulated run.
        uniform: in [0, 1), one number per simulated run; it decides which thresholds the run can reach.
    """
    middle = offer.location[:, j].mean(axis=0)
    location, scale, p_reach = offer.location[:, j] - middle, offer.scale[:, j], offer.p_reach[:, j]
    end = offer.log_length[j] - middle
    simulated = location + scale * seed_noise[:, None]
    reached = (uniform[:, None] < p_reach) & (simulated <= end)
    tiny = np.finfo(float).tiny
    censored = np.log(np.maximum(1 - p_reach + p_reach * ndtr((location - end) / scale), tiny))
    constant = np.log(np.maximum(p_reach, tiny)) - np.log(scale) - 0.5 * (location / scale) ** 2
    results = np.concatenate(
        [np.where(reached, -0.5 * simulated**2, 0), np.where(reached, simulated, 0), reached, ~reached], axis=1
    )
    terms = np.concatenate([scale**-2.0, location / scale**2, constant, censored], axis=1)
    return np.asarray(results @ terms.T / location.shape[1])
