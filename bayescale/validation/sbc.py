"""Simulation-based calibration: rank true values among posterior draws, and test that the ranks are uniform.

Source: Talts et al., "Validating Bayesian Inference Algorithms with Simulation-Based Calibration", arXiv:1804.06788.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpyro.diagnostics import effective_sample_size
from scipy.special import ndtri
from scipy.stats import binom

from bayescale.arguments import require_share
from bayescale.errors import InputError
from bayescale.validation.calibration import Replications

NULL_DRAWS = 20_000  # simulated statistics of uniform ranks; the standard error of a p-value near 0.001 is 0.0002
FEWEST_DRAWS = 19  # fewest thinned draws; ranks among fewer are too coarse to test
PER_BIN = 10  # fewest data sets expected in a bin of the histogram
MOST_BINS = 20  # most bins of the histogram


@dataclass(frozen=True)
class RankTest:
    """Simulation-based calibration of each quantity.

    Attributes:
        ranks: number of draws below the true value, from 0 to `draws`; one row per data set, one column per quantity.
        draws: number of posterior draws that a true value is ranked among.
        p_values: p-value of each quantity, under the hypothesis that its ranks are uniform.
        false_alarm: upper bound on the probability that `uniform` is False for a right model.
    """

    ranks: pd.DataFrame
    draws: int
    p_values: pd.Series
    false_alarm: float

    @property
    def uniform(self) -> bool:
        """True if every quantity passes, with Bonferroni's correction for their number."""
        return bool(self.p_values.min() * len(self.p_values) >= self.false_alarm)


@dataclass(frozen=True)
class RankHistogram:
    """Histograms of the ranks of true values, with a band for uniform ranks.

    Attributes:
        counts: number of data sets; one row per bin, from low ranks to high, and one column per quantity.
        expected: expected count of each bin for uniform ranks.
        low: lower end of the band in each bin.
        high: upper end of the band in each bin.
        probability: for uniform ranks, all counts of a quantity lie in the band with at least this probability.
    """

    counts: pd.DataFrame
    expected: Float[np.ndarray, " bin"]
    low: Float[np.ndarray, " bin"]
    high: Float[np.ndarray, " bin"]
    probability: float


def rank_test(replications: Replications, *, rng: np.random.Generator, false_alarm: float = 0.01) -> RankTest:
    """Rank the true values among posterior draws, and test that the ranks are uniform.

    Fits that are exact give uniform ranks if the data come from the fitted model. The joint model simulates from its
    own likelihood only with one threshold. With several thresholds its likelihood is composite; `credible_coverage`
    then measures the error of its intervals. Draws are thinned to the effective sample size that 95% of the fits have
    in every quantity.

    The test detects bias and a wrong width. Its statistic for the normal scores z of n ranks is

        n (mean(z)^2 / m_2 + (mean(z^2) - m_2)^2 / (m_4 - m_2^2)),

    with m_p the mean of z^p over all possible ranks. For a right model it is close to a chi-square variable with 2
    degrees of freedom. Its exact distribution is simulated.

    Args:
        replications: the result of `replicate`.
        rng: source of the simulated distribution.
        false_alarm: upper bound in (0, 1) on the probability to reject a right model, over all quantities together.

    Raises:
        InputError: `false_alarm` lies outside (0, 1), or there are too few effective draws.
    """
    require_share("false_alarm", false_alarm)
    datasets, draws, _ = replications.draws.shape
    with np.errstate(divide="ignore"):
        effective = np.stack([effective_sample_size(fit[None]) for fit in replications.draws])
    effective = np.where((effective > 0) & (effective < draws), effective, draws)  # antithetic draws may exceed draws
    kept = int(np.quantile(effective.min(axis=1), 0.05))
    if kept < FEWEST_DRAWS:
        raise InputError(f"draws are too few: {kept} effective ones of a quantity. Raise draws in replicate.")
    thinned = replications.draws[:, np.linspace(0, draws - 1, kept).round().astype(int)]
    ranks = (thinned < replications.true.to_numpy()[:, None]).sum(axis=1)
    null = np.sort(_bias_and_width(rng.integers(0, kept + 1, (datasets, NULL_DRAWS)), kept))
    statistic = _bias_and_width(ranks, kept)
    p_values = (1 + NULL_DRAWS - np.searchsorted(null, statistic)) / (1 + NULL_DRAWS)
    names = replications.true.columns
    return RankTest(pd.DataFrame(ranks, columns=names), kept, pd.Series(p_values, names), false_alarm)


def rank_histogram(test: RankTest, *, probability: float = 0.95) -> RankHistogram:
    """Return histograms of the ranks, with a band for the ranks of a right model.

    The band is binomial, with Bonferroni's correction for the number of bins. A hill in the middle means that intervals
    are too wide, a valley that they are too narrow. Too many low ranks mean that draws are too high.

    Args:
        test: the result of `rank_test`.
        probability: probability of the band for each quantity, in (0, 1).

    Raises:
        InputError: `probability` lies outside (0, 1).
    """
    require_share("probability", probability)
    datasets = len(test.ranks)
    bins = int(np.clip(datasets // PER_BIN, 2, min(MOST_BINS, test.draws + 1)))
    of_rank = np.arange(test.draws + 1) * bins // (test.draws + 1)
    counts = {name: np.bincount(of_rank[ranks], minlength=bins) for name, ranks in test.ranks.items()}
    share = np.bincount(of_rank) / (test.draws + 1)
    tail = (1 - probability) / 2 / bins
    low, high = (binom.ppf(level, datasets, share) for level in (tail, 1 - tail))
    return RankHistogram(pd.DataFrame(counts), datasets * share, low, high, probability)


def _bias_and_width(ranks: Int[np.ndarray, "dataset test"], draws: int) -> Float[np.ndarray, " test"]:
    """Return the statistic of `rank_test` for each column of ranks from 0 to `draws`."""
    scores = ndtri((np.arange(draws + 1) + 0.5) / (draws + 1))
    square, fourth = (scores**2).mean(), (scores**4).mean()
    bias, width = scores[ranks].mean(axis=0), (scores[ranks] ** 2).mean(axis=0) - square
    statistic: Float[np.ndarray, " test"] = len(ranks) * (bias**2 / square + width**2 / (fourth - square**2))
    return statistic
