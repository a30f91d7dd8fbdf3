"""Test crossings by hand, against slow twins, and for invariance to units and row order."""

import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

import bayescale as bs
from bayescale.data.crossings import time_to_threshold, validate_crossings
from bayescale.errors import InputError
from tests.scaffolding.short_runs import curves_of_runs, intervals, run, threshold_lists


def test_a_rising_run_by_hand():
    crossings = time_to_threshold(run([1, 2, 4, 8], [5, 10, 20, 50]), thresholds=[0.5, 2, 3, 8, 9])
    assert intervals(crossings) == [(0, 5), (5, 10), (10, 20), (20, 50), (50, np.inf)]
    assert list(crossings["censored"]) == [False, False, False, False, True]
    assert list(crossings["threshold"]) == [0.5, 2, 3, 8, 9]


def test_a_high_evaluation_between_low_ones_is_pooled_by_hand():
    # The isotonic regression of 0, 9, 0, 6, 9 is 0, 4.5, 4.5, 6, 9: the early 9 does not count as reaching 5.
    crossings = time_to_threshold(run([0, 9, 0, 6, 9]), thresholds=[4, 5, 7, 10])
    assert intervals(crossings) == [(10, 20), (30, 40), (40, 50), (50, np.inf)]


def test_one_evaluation_only():
    assert intervals(time_to_threshold(run([3.0]), thresholds=[3, 4])) == [(0, 10), (10, np.inf)]


def test_a_return_reached_before_training_has_both_ends_zero():
    assert intervals(time_to_threshold(run([3.0, 5.0], [0, 10]), thresholds=[2, 4])) == [(0, 0), (0, 10)]


def test_columns_types_and_order():
    curves = pd.concat([run([1, 2], seed=s, utd=u, model_size=9) for s in (1, 0) for u in (8.0, 0.5)])
    crossings = time_to_threshold(curves, thresholds=(1, 5))
    assert list(crossings.columns) == [
        *("algorithm", "env_id", "utd", "batch_size", "learning_rate", "model_size", "seed"),
        *("threshold", "env_steps_lower", "env_steps_upper", "censored", "highest_return"),
    ]
    assert list(crossings["utd"]) == [0.5] * 4 + [8] * 4
    assert list(crossings["seed"]) == [0, 0, 1, 1] * 2
    assert list(crossings["threshold"]) == [1, 5] * 4
    assert [crossings[c].dtype for c in ("threshold", "env_steps_lower", "env_steps_upper")] == [np.float64] * 3
    assert crossings["censored"].dtype == bool
    assert list(crossings.index) == list(range(8))


def slow_crossings(curves, thresholds, fit):
    """Return the crossings, computed run by run and evaluation by evaluation."""
    rows = []
    for (env_id, seed), frame in curves.sort_values("env_steps").groupby(["env_id", "seed"]):
        steps, smooth = [0, *frame["env_steps"]], fit(list(frame["episode_return"]))
        for threshold in thresholds:
            reached = [i for i, value in enumerate(smooth) if value >= threshold]
            ends = (steps[reached[0]], steps[reached[0] + 1]) if reached else (steps[-1], np.inf)
            rows.append((env_id, seed, threshold, *ends))
    return rows


def fast_rows(crossings):
    """Return the rows of a crossings table in the form of `slow_crossings`."""
    names = ["env_id", "seed", "threshold", "env_steps_lower", "env_steps_upper"]
    return list(crossings[names].itertuples(index=False, name=None))


def max_min_isotonic(returns):
    """Return the isotonic regression in exact fractions: max over a <= i of min over b >= i of mean(a..b)."""
    y, n = [Fraction(value) for value in returns], len(returns)
    return [max(min(sum(y[a : b + 1]) / (b + 1 - a) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]


@given(curves_of_runs(), threshold_lists)
def test_crossings_equal_the_definition_in_exact_arithmetic_without_ties(curves, thresholds):
    # A mean of whole numbers never equals an irrational threshold, so rounding decides nothing.
    thresholds = [threshold + 1 / np.pi for threshold in thresholds]
    slow = slow_crossings(curves, thresholds, max_min_isotonic)
    assert fast_rows(time_to_threshold(curves, thresholds=thresholds)) == slow


@given(curves_of_runs(values=st.floats(-1e3, 1e3)), threshold_lists)
def test_equals_scipy_run_by_run(curves, thresholds):
    slow = slow_crossings(curves, thresholds, lambda returns: isotonic_regression(returns).x)
    assert fast_rows(time_to_threshold(curves, thresholds=thresholds)) == slow


def test_equals_scipy_on_long_noisy_runs():
    rng = np.random.default_rng(0)
    runs = [
        run(
            np.cumsum(rng.normal(0.2, 3.0, n)) + rng.normal(0, 20, n),
            np.cumsum(rng.integers(1, 2000, n)),
            seed=seed,
            env_id="AB"[seed % 2],
        )
        for seed, n in enumerate(rng.integers(1, 400, 40))
    ]
    curves, thresholds = pd.concat(runs), np.linspace(-20, 60, 9)
    slow = slow_crossings(curves, thresholds, lambda returns: isotonic_regression(returns).x)
    assert fast_rows(time_to_threshold(curves, thresholds=thresholds)) == slow


@given(curves_of_runs(), threshold_lists)
def test_crossings_never_fall_as_thresholds_rise(curves, thresholds):
    crossings = time_to_threshold(curves, thresholds=thresholds)
    for _, frame in crossings.groupby(["env_id", "seed"]):
        assert frame["threshold"].is_monotonic_increasing
        assert frame["env_steps_upper"].is_monotonic_increasing
        assert frame["env_steps_lower"].is_monotonic_increasing
        assert frame["censored"].is_monotonic_increasing


@given(curves_of_runs(), threshold_lists)
def test_lower_lies_below_upper_and_only_censored_runs_end_at_infinity(curves, thresholds):
    crossings = time_to_threshold(curves, thresholds=thresholds)
    assert (crossings["env_steps_lower"] < crossings["env_steps_upper"]).all()
    assert (crossings["censored"] == np.isinf(crossings["env_steps_upper"])).all()
    last = curves.groupby(["env_id", "seed"])["env_steps"].max()
    keys = pd.MultiIndex.from_frame(crossings[["env_id", "seed"]])
    assert (crossings["env_steps_lower"].to_numpy() <= last.loc[keys].to_numpy()).all()
    assert (crossings["env_steps_lower"] == last.loc[keys].to_numpy())[crossings["censored"]].all()


@given(curves_of_runs(), threshold_lists, st.sampled_from([0.25, 0.5, 2.0, 1024.0]), st.integers(-1000, 1000))
def test_a_change_of_units_of_the_return_changes_nothing(curves, thresholds, scale, shift):
    moved = curves.assign(episode_return=scale * curves["episode_return"] + shift)
    thresholds = np.array(thresholds) + 1 / np.pi
    crossings = time_to_threshold(moved, thresholds=scale * thresholds + shift)
    expected, in_units = time_to_threshold(curves, thresholds=thresholds), ["threshold", "highest_return"]
    pd.testing.assert_frame_equal(crossings.drop(columns=in_units), expected.drop(columns=in_units))
    np.testing.assert_allclose(crossings["highest_return"], scale * expected["highest_return"] + shift)


def test_the_highest_return_and_the_last_status_of_each_run_are_kept():
    curves = pd.concat([run([1, 3, 2], seed=0), run([1], seed=1), run([4, 9], seed=2)])
    crossings = time_to_threshold(curves, thresholds=(1, 5))
    assert list(crossings["highest_return"]) == [2.5, 2.5, 1, 1, 9, 9]  # isotonic, so 3 and 2 are averaged
    assert "status" not in crossings
    status = ["running", "running", "finished", None, "running", "diverged"]
    again = time_to_threshold(curves.assign(status=status), thresholds=(1, 5))
    assert list(again["status"]) == ["finished", "finished", "", "", "diverged", "diverged"]
    pd.testing.assert_frame_equal(again.drop(columns="status"), crossings)


@given(curves_of_runs(), threshold_lists, st.integers(2, 9))
def test_a_change_of_units_of_the_steps_rescales_the_answer(curves, thresholds, scale):
    crossings = time_to_threshold(curves.assign(env_steps=scale * curves["env_steps"]), thresholds=thresholds)
    expected = time_to_threshold(curves, thresholds=thresholds)
    expected[["env_steps_lower", "env_steps_upper"]] *= scale
    pd.testing.assert_frame_equal(crossings, expected)


@given(curves_of_runs(), threshold_lists, st.data())
def test_neither_the_order_of_rows_nor_further_columns_matter(curves, thresholds, data):
    order = data.draw(st.permutations(range(len(curves))))
    shuffled = curves.iloc[order].assign(wall_time=1.0)
    expected = time_to_threshold(curves, thresholds=thresholds)
    pd.testing.assert_frame_equal(time_to_threshold(shuffled, thresholds=thresholds), expected)


def test_each_task_has_its_own_return_scale():
    curves = pd.concat([run([-100, -50, 0], env_id="A"), run([0, 5, 10], env_id="B")])
    scaled = time_to_threshold(curves, thresholds=[500, 1000], return_scale={"A": (-100, 0), "B": (0, 20), "C": (0, 1)})
    assert intervals(scaled) == [(10, 20), (20, 30), (20, 30), (30, np.inf)]


def test_a_task_without_a_scale_is_named():
    curves = pd.concat([run([1.0], env_id="A"), run([1.0], env_id="B")])
    with pytest.raises(InputError, match=re.escape("return_scale has no B; it has A, C. Add its low and high.")):
        time_to_threshold(curves, thresholds=[1], return_scale={"A": (0, 1), "C": (0, 1)})


@pytest.mark.parametrize(
    ("thresholds", "text"),
    [
        ((0.9, 0.5), "thresholds must increase; got (0.9, 0.5). Sort them."),
        ([1, 1], "thresholds must increase; got (1, 1). Sort them and keep each once."),
        ([1, np.nan], "thresholds must be finite; got (1, nan). Remove infinite and missing ones."),
        ([1, np.inf], "thresholds must be finite; got (1, inf)."),
        ([], "thresholds must be one or more returns; got none."),
        ([[1], [2]], "thresholds must be a list of returns; got an array of shape (2, 1)."),
        (["high"], "thresholds must be numbers; got ['high']."),
    ],
)
def test_bad_thresholds(thresholds, text):
    with pytest.raises(InputError, match=re.escape(text)):
        time_to_threshold(run([1.0]), thresholds=thresholds)


def test_invalid_curves_are_refused():
    with pytest.raises(InputError, match="episode_return is missing from curves row 1 to the end of the run"):
        time_to_threshold(run([1.0, np.nan]), thresholds=[1])


def table_of_crossings():
    curves = pd.concat([run([1, 3, 5], seed=seed, utd=utd) for utd in (1.0, 2.0) for seed in (0, 1, 2)])
    return time_to_threshold(curves, thresholds=[2, 4, 6])


def test_unsorted_crossings_are_sorted_and_sorted_ones_returned_unchanged():
    table = table_of_crossings()
    assert validate_crossings(table) is table
    later_first = pd.concat([table[table["utd"] == 2.0], table[table["utd"] == 1.0]])
    assert validate_crossings(later_first) is later_first
    for other in (table.sort_values(["threshold", "seed"]), table[::-1]):
        pd.testing.assert_frame_equal(validate_crossings(other), table)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda table: table[~table["censored"] | (table["seed"] > 0)], "one row for every run and threshold; got 16"),
        (lambda table: pd.concat([table, table]), "one row for every run and threshold; got 36 rows for 3"),
        (lambda table: table.drop(columns="seed"), "crossings has no column 'seed'"),
        (lambda table: table.drop(columns="censored"), "crossings must have a column 'censored' of booleans"),
        (lambda table: table.astype({"censored": int}), "crossings must have a column 'censored' of booleans"),
        (lambda table: table.assign(censored=False), "infinite where censored and only there"),
        (lambda table: table.assign(censored=True), "infinite where censored and only there"),
        (lambda table: table.assign(env_steps_lower=1e9), "env_steps_lower <= env_steps_upper"),
        (lambda table: table.assign(utd=-1.0), "crossings: utd must be > 0; got -1.0"),
        (lambda table: table.assign(env_steps_lower=np.inf), "crossings: env_steps_lower must be finite; got inf"),
        (lambda table: table.assign(env_steps_lower=-1.0), "crossings: env_steps_lower must be >= 0; got -1.0"),
        (lambda table: table.assign(env_steps_upper=-1.0), "crossings: env_steps_upper must be >= 0; got -1.0"),
        (lambda _: run([1, 3, 5]), "crossings has no column 'threshold'"),
    ],
)
def test_every_fit_refuses_tables_that_are_not_crossings(spoil, text):
    table = spoil(table_of_crossings())
    for enter in (bs.fit, bs.fit_size_law, bs.fit_no_pooling):
        with pytest.raises(InputError, match=re.escape(text)):
            enter(table)
