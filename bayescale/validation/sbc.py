"""Simulation-based calibration: the ranks of true values among posterior draws (Talts et al., arXiv:1804.06788)."""

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

NULL_DRAWS = 20_000  # of uniform ranks; p-values are known to 0.0002 near 0.001
FEWEST_RANKS = 19  # thinned draws below which ranks are too coarse to test
PER_BIN = 10  # data sets expected in a bin of the histogram, at least, and MOST_BINS bins at most
MOST_BINS = 20


@dataclass(frozen=True)
class RankTest:
    """Simulation-based calibration of each quantity.

    Attributes:
        ranks: draws below the true value, from 0 to `draws`; one row per data set, one column per quantity.
        draws: posterior draws that a true value is ranked among.
        p_values: of the hypothesis that a quantity's ranks are uniform.
        false_alarm: the chance that `uniform` is false for a right model, at most.
    """

    ranks: pd.DataFrame
    draws: int
    p_values: pd.Series
    false_alarm: float

    @property
    def uniform(self) -> bool:
        """Whether every quantity passes, at the false-alarm rate shared out among them (Bonferroni)."""
        return bool(self.p_values.min() * len(self.p_values) >= self.false_alarm)


@dataclass(frozen=True)
class RankHistogram:
    """How often true values fall into each part of the ranks.

    Attributes:
        counts: of data sets; one row per bin, from low ranks to high, one column per quantity.
        expected: of each bin, for uniform ranks.
        low, high: the counts that all bins of a quantity lie within with `probability` at least, for uniform ranks.
        probability: as said.
    """

    counts: pd.DataFrame
    expected: Float[np.ndarray, " bin"]
    low: Float[np.ndarray, " bin"]
    high: Float[np.ndarray, " bin"]
    probability: float


def rank_test(replications: Replications, *, rng: np.random.Generator, false_alarm: float = 0.01) -> RankTest:
    """The ranks of the true values among posterior draws, and whether they are uniform.

    Uniform ranks prove exact fits only if the data come from the model that is fitted. For the joint model that is so
    with one threshold: with several, its likelihood is composite, and `credible_coverage` says by how much its
    intervals miss. Draws are thinned to the effective number that 95% of the fits have of every quantity.

    The test asks for the two ways in which intervals go wrong, bias and a wrong width. With z the normal scores of the
    n ranks and m_p the mean of z^p over all ranks, its statistic n (mean(z)^2 / m_2 + (mean(z^2) - m_2)^2 / (m_4 -
    m_2^2)) is about chi-square of 2 degrees of freedom for a right model; its exact null is simulated.

    Args:
        replications: what `replicate` made.
        rng: source of the simulated null.
        false_alarm: the chance to reject a right model, at most, over all quantities together.

    Raises:
        InputError: a false alarm outside (0, 1), too few effective draws to rank among.
    """
    require_share("false_alarm", false_alarm)
    datasets, draws, _ = replications.draws.shape
    with np.errstate(divide="ignore"):
        effective = np.stack([effective_sample_size(fit[None]) for fit in replications.draws])
    effective = np.where((effective > 0) & (effective < draws), effective, draws)  # antithetic draws: more, or no limit
    kept = int(np.quantile(effective.min(axis=1), 0.05))
    if kept < FEWEST_RANKS:
        raise InputError(f"draws are too few: {kept} effective ones of a quantity. Raise draws in replicate.")
    thinned = replications.draws[:, np.linspace(0, draws - 1, kept).round().astype(int)]
    ranks = (thinned < replications.true.to_numpy()[:, None]).sum(axis=1)
    null = np.sort(_bias_and_width(rng.integers(0, kept + 1, (datasets, NULL_DRAWS)), kept))
    statistic = _bias_and_width(ranks, kept)
    p_values = (1 + NULL_DRAWS - np.searchsorted(null, statistic)) / (1 + NULL_DRAWS)
    names = replications.true.columns
    return RankTest(pd.DataFrame(ranks, columns=names), kept, pd.Series(p_values, names), false_alarm)


def rank_histogram(test: RankTest, *, probability: float = 0.95) -> RankHistogram:
    """Histograms of the ranks, with the band that a right model's stay within (binomial, shared out among the bins).

    A hill says that intervals are too wide, a valley too narrow; a slope to the left, with most true values among the
    low ranks, says that draws lie too high.

    Args:
        test: what `rank_test` made.
        probability: of the band, for each quantity.

    Raises:
        InputError: a probability outside (0, 1).
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
    """The statistic of `rank_test` for ranks from 0 to `draws`."""
    scores = ndtri((np.arange(draws + 1) + 0.5) / (draws + 1))
    square, fourth = (scores**2).mean(), (scores**4).mean()
    bias, width = scores[ranks].mean(axis=0), (scores[ranks] ** 2).mean(axis=0) - square
    statistic: Float[np.ndarray, " test"] = len(ranks) * (bias**2 / square + width**2 / (fourth - square**2))
    return statistic
