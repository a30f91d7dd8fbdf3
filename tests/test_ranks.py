"""Histograms of ranks: exact fits stay within the band, biased and narrow ones leave it."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import InputError

DATASETS, DRAWS = 300, 99


@pytest.fixture(scope="module")
def test_of_ranks():
    """Ranks of exact draws of standard normals, of draws half a spread too high, and of draws half as wide."""
    rng = np.random.default_rng(0)
    true = pd.DataFrame(rng.standard_normal((DATASETS, 3)), columns=["exact", "high", "narrow"])
    draws = rng.standard_normal((DATASETS, DRAWS, 3)) * [1.0, 1.0, 0.5] + [0.0, 0.5, 0.0]
    made = bs.Replications(true, draws, true.std(), np.zeros(DATASETS), np.ones(DATASETS))
    return bs.rank_test(made, rng)


@pytest.fixture(scope="module")
def histogram(test_of_ranks):
    return bs.rank_histogram(test_of_ranks)


def test_counts_are_those_of_the_ranks(test_of_ranks, histogram):
    counts = histogram.counts
    assert (counts.sum() == DATASETS).all()
    assert len(counts) == len(histogram.expected) == 20
    lowest = int(np.ceil((test_of_ranks.draws + 1) / 20))
    assert counts["high"].iloc[0] == (test_of_ranks.ranks["high"] < lowest).sum()
    assert histogram.expected.sum() == pytest.approx(DATASETS)


def test_exact_fits_stay_within_the_band_and_others_leave_it(histogram):
    inside = histogram.counts.ge(histogram.low, axis=0) & histogram.counts.le(histogram.high, axis=0)
    assert inside.all().to_dict() == {"exact": True, "high": False, "narrow": False}
    assert histogram.counts["high"].iloc[0] > histogram.high[0]  # most true values among the low ranks
    ends = histogram.counts["narrow"].iloc[[0, -1]]
    assert (ends > histogram.high[[0, -1]]).all()  # a valley


def test_the_band_holds_all_bins_as_often_as_it_says():
    """Of 1,000 uniform tests; Bonferroni's band is a little wide, and 3.3 standard errors are a false alarm of 0.1%."""
    ranks = np.random.default_rng(0).integers(0, DRAWS + 1, (DATASETS, 1000))
    uniform = bs.RankTest(pd.DataFrame(ranks), DRAWS, pd.Series(dtype=float), 0.01)
    histogram = bs.rank_histogram(uniform, 0.9)
    inside = histogram.counts.ge(histogram.low, axis=0) & histogram.counts.le(histogram.high, axis=0)
    assert 0.9 - 3.3 * 0.0095 < inside.all().mean() < 0.97


def test_few_data_sets_have_few_bins():
    ranks = pd.DataFrame({"a": np.arange(25) % 20})
    few = bs.rank_histogram(bs.RankTest(ranks, 19, pd.Series(dtype=float), 0.01))
    assert few.counts["a"].tolist() == [15, 10]
    assert few.expected.tolist() == [12.5, 12.5]


def test_the_picture_shows_the_counts_and_the_band(histogram):
    ax = bs.plot_ranks(histogram, "high")
    band, expected, counts = ax.patches
    np.testing.assert_array_equal(counts.get_data().values, histogram.counts["high"])
    np.testing.assert_array_equal(expected.get_data().values, histogram.expected)
    np.testing.assert_array_equal(band.get_data().values, histogram.high)
    np.testing.assert_array_equal(band.get_data().baseline, histogram.low)
    legend = ax.get_legend()
    assert legend.get_texts()[0].get_text() == "all bins within: 95% for exact fits"
    assert legend.get_title().get_text() == "high"
    assert bs.plot_ranks(histogram, "exact", ax) is ax


def test_bad_arguments_are_refused(histogram, test_of_ranks):
    with pytest.raises(InputError, match=r"quantity must be among exact, high, narrow; got 'beta'\. Choose"):
        bs.plot_ranks(histogram, "beta")
    with pytest.raises(InputError, match=r"probability must lie in \(0, 1\); got 1\."):
        bs.rank_histogram(test_of_ranks, 1)
    true = pd.DataFrame({"exact": np.zeros(2)})
    made = bs.Replications(true, np.zeros((2, 9, 1)), true.std(), np.zeros(2), np.ones(2))
    with pytest.raises(InputError, match=r"false_alarm must lie in \(0, 1\); got 5\.0\. Correct it"):
        bs.rank_test(made, np.random.default_rng(0), false_alarm=5.0)
