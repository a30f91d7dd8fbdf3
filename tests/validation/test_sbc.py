"""Test ranks worked by hand and their histograms: exact fits stay within the band, biased and narrow ones leave it."""

import numpy as np
import pandas as pd
import pytest
from numpyro.diagnostics import effective_sample_size
from scipy.stats import chi2

import bayescale as bs
from bayescale.errors import InputError
from bayescale.validation.sbc import NULL_DRAWS, _bias_and_width

DATASETS, DRAWS = 300, 99


@pytest.fixture(scope="module")
def test_of_ranks():
    """Rank standard normals among exact draws, draws that are 0.5 too high, and draws that are half as wide."""
    rng = np.random.default_rng(0)
    true = pd.DataFrame(rng.standard_normal((DATASETS, 3)), columns=["exact", "high", "narrow"])
    draws = rng.standard_normal((DATASETS, DRAWS, 3)) * [1.0, 1.0, 0.5] + [0.0, 0.5, 0.0]
    made = bs.Replications(true, draws, true.std(), np.zeros(DATASETS), np.ones(DATASETS))
    return bs.rank_test(made, rng=rng)


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
    assert histogram.counts["high"].iloc[0] > histogram.high[0]  # draws that are too high give low ranks
    ends = histogram.counts["narrow"].iloc[[0, -1]]
    assert (ends > histogram.high[[0, -1]]).all()  # a valley


def test_the_band_holds_all_bins_as_often_as_it_says():
    """The share of 1,000 uniform tests inside the band: Bonferroni's band is a little too wide.

    The tolerance below is 3.3 standard errors, a false alarm of 0.1%.
    """
    ranks = np.random.default_rng(0).integers(0, DRAWS + 1, (DATASETS, 1000))
    uniform = bs.RankTest(pd.DataFrame(ranks), DRAWS, pd.Series(dtype=float), 0.01)
    histogram = bs.rank_histogram(uniform, probability=0.9)
    inside = histogram.counts.ge(histogram.low, axis=0) & histogram.counts.le(histogram.high, axis=0)
    assert 0.9 - 3.3 * 0.0095 < inside.all().mean() < 0.97


def alternating(draws):
    """Return 0, the last, 1, the last but one, ...: a permutation of the whole numbers below `draws`.

    Successive numbers are negatively correlated, so their effective sample size exceeds their number.
    """
    return np.stack([np.arange(draws), np.arange(draws)[::-1]], axis=1).ravel()[:draws]


def ranked(draws, true):
    """Return the rank test of data sets whose fits all have these draws of one quantity."""
    each = np.tile(np.asarray(draws, float)[:, None], (len(true), 1, 1))
    none = np.zeros(len(true))
    made = bs.Replications(pd.DataFrame({"a": true}), each, pd.Series({"a": 1.0}), none, none)
    return bs.rank_test(made, rng=np.random.default_rng(0))


@pytest.mark.parametrize("draws", [19, 40])
def test_ranks_count_the_draws_below_by_hand(draws):
    test = ranked(alternating(draws), [-1.0, 0.0, 0.5, 3.0, draws - 0.5])
    assert test.draws == draws
    assert test.ranks["a"].tolist() == [0, 0, 1, 3, draws]


def test_fewer_than_nineteen_draws_are_too_few():
    with pytest.raises(InputError, match="draws are too few: 18 effective ones of a quantity"):
        ranked(alternating(18), [0.5])


@pytest.mark.parametrize("sticky", [5, 6])
def test_as_many_draws_are_ranked_as_are_effective_in_all_fits_but_five_in_a_hundred(sticky):
    good, slow = alternating(200).astype(float), np.repeat(np.random.default_rng(0).permutation(100), 2).astype(float)
    draws = np.stack([np.stack([good, slow if i < sticky else good], axis=1) for i in range(101)])
    true = pd.DataFrame(np.zeros((101, 2)), columns=["a", "b"])
    test = bs.rank_test(
        bs.Replications(true, draws, true.std(), np.zeros(101), np.ones(101)), rng=np.random.default_rng(0)
    )
    effective = int(effective_sample_size(slow[None, :, None])[0])
    assert 19 < effective < 150
    assert test.draws == (200 if sticky == 5 else effective)


def test_p_values_are_shares_of_right_models_that_are_as_far_off():
    never = ranked(alternating(19), np.full(30, -1.0))
    assert never.p_values["a"] == pytest.approx(1 / (1 + NULL_DRAWS))
    some = ranked(alternating(19), np.concatenate([np.repeat(np.arange(20), 15), np.full(12, 19)]) - 0.5)
    off = _bias_and_width(some.ranks.to_numpy(), 19)[0]
    assert some.p_values["a"] == pytest.approx(chi2(2).sf(off), abs=0.01)
    assert 0.02 < some.p_values["a"] < 0.2


@pytest.mark.parametrize(
    ("p_values", "uniform"), [([0.004, 0.5, 0.9], True), ([0.003, 0.5, 0.9], False), ([0.25, 0.5], True)]
)
def test_the_false_alarm_is_shared_out_among_the_quantities(p_values, uniform):
    test = bs.RankTest(pd.DataFrame(), 99, pd.Series(p_values), 0.5 if len(p_values) == 2 else 0.01)
    assert test.uniform is uniform


@pytest.mark.parametrize(
    ("datasets", "draws", "counts", "expected"),
    [
        (19, 19, [10, 9], [9.5, 9.5]),
        (25, 19, [15, 10], [12.5, 12.5]),
        (21, 20, [11, 10], [11, 10]),
        (30, 20, [14, 9, 7], [10, 10, 10]),
        (200, 9, [20] * 10, [20] * 10),
    ],
)
def test_few_data_sets_or_draws_have_few_bins(datasets, draws, counts, expected):
    ranks = pd.DataFrame({"a": np.arange(datasets) % (draws + 1)})
    few = bs.rank_histogram(bs.RankTest(ranks, draws, pd.Series(dtype=float), 0.01))
    assert few.counts["a"].tolist() == counts
    assert few.expected.tolist() == pytest.approx(expected)


def test_the_band_of_two_bins_by_hand():
    """A coin tossed 25 times shows at most 6 heads with probability 0.0073, and at most 7 with 0.0216."""
    few = bs.rank_histogram(bs.RankTest(pd.DataFrame({"a": np.arange(25) % 20}), 19, pd.Series(dtype=float), 0.01))
    assert (few.low.tolist(), few.high.tolist()) == ([7, 7], [18, 18])  # 0.0125 in each tail of each bin


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
    assert bs.plot_ranks(histogram, "exact", ax=ax) is ax


def test_bad_arguments_are_refused(histogram, test_of_ranks):
    with pytest.raises(InputError, match=r"quantity must be among exact, high, narrow; got 'beta'\. Choose"):
        bs.plot_ranks(histogram, "beta")
    with pytest.raises(InputError, match=r"probability must lie in \(0, 1\); got 1\."):
        bs.rank_histogram(test_of_ranks, probability=1)
    true = pd.DataFrame({"exact": np.zeros(2)})
    made = bs.Replications(true, np.zeros((2, 9, 1)), true.std(), np.zeros(2), np.ones(2))
    with pytest.raises(InputError, match=r"false_alarm must lie in \(0, 1\); got 5\.0\. Correct it"):
        bs.rank_test(made, rng=np.random.default_rng(0), false_alarm=5.0)
