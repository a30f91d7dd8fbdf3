"""Test crossings of agents that were reset: evaluations after a reset count once the run regains its earlier return."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from bayescale.data.crossings import time_to_threshold
from bayescale.errors import InputError
from tests.scaffolding.short_runs import curves_of_runs, intervals, run, threshold_lists

# Resets come every 40 updates: at env steps 40 and 80 with UTD 1. Returns below the last one before them are left out.
WITH_RESETS = [1, 2, 3, 1, 2, 5, 6, 2, 4]


def test_resets_by_hand():
    # Evaluations at steps 40 and 50 lie below the 3 of step 30; evaluations at 80 and 90 lie below the 6 of step 70.
    crossings = time_to_threshold(run(WITH_RESETS), thresholds=[3, 5, 6, 7], reset_period=40)
    assert intervals(crossings) == [(20, 30), (30, 60), (60, 70), (90, np.inf)]
    pooled = time_to_threshold(run(WITH_RESETS), thresholds=[3, 5, 6, 7])
    assert intervals(pooled) == [(50, 60), (90, np.inf), (90, np.inf), (90, np.inf)]


def test_a_return_equal_to_the_last_one_before_the_reset_counts():
    # The reset is at step 30. The 1 there is left out; the 5 of step 40 is kept and ends the interval before the 6.
    crossings = time_to_threshold(run([4, 5, 1, 5, 6]), thresholds=[5, 5.5], reset_period=30)
    assert intervals(crossings) == [(10, 20), (40, 50)]


def test_after_two_resets_without_recovery_the_return_before_the_first_must_be_regained():
    crossings = time_to_threshold(run([5, 1, 2, 3, 6, 7]), thresholds=[4, 6, 7], reset_period=20)
    # Resets come at 20, 40, 60. The returns 1, 2, 3 lie below 5; 6 regains 5; 7 regains 6.
    assert intervals(crossings) == [(0, 10), (10, 50), (50, 60)]


def test_several_resets_between_two_evaluations_count_as_one():
    # Resets come at 40 and 80 without an evaluation between them. The 1 of step 90 lies below the 5 before them.
    crossings = time_to_threshold(run([5, 1, 6], [10, 90, 100]), thresholds=[4, 6], reset_period=40)
    assert intervals(crossings) == [(0, 10), (10, 100)]


def test_the_last_return_before_a_reset_must_be_regained_and_not_the_highest():
    # The agent is reset at step 40. The 5 of step 50 regains the 4 and is kept, so 6 is reached after it.
    crossings = time_to_threshold(run([2, 6, 4, 1, 5, 9]), thresholds=[5, 6], reset_period=40)
    assert intervals(crossings) == [(10, 20), (50, 60)]


def test_resets_follow_the_updates_not_the_steps():
    curves = pd.concat([run(WITH_RESETS, utd=1.0), run(WITH_RESETS, np.arange(1, 10) * 5, utd=2.0)])
    crossings = time_to_threshold(curves, thresholds=[3, 5, 6, 7], reset_period=40)
    slow, fast = (frame for _, frame in crossings.groupby("utd"))
    assert [(2 * low, 2 * high) for low, high in intervals(fast)] == intervals(slow)


def test_a_run_that_ends_before_the_first_reset_is_untouched():
    curves = pd.concat([run([3, 1, 2, 4], utd=0.5), run(WITH_RESETS, utd=1.0)])
    crossings = time_to_threshold(curves, thresholds=[2, 3], reset_period=40)
    assert intervals(crossings[crossings["utd"] == 0.5]) == [(0, 10), (30, 40)]


def test_a_first_evaluation_after_a_reset_has_nothing_to_regain():
    crossings = time_to_threshold(run([1, 2, 3], [50, 60, 70]), thresholds=[1, 3], reset_period=40)
    assert intervals(crossings) == [(0, 50), (60, 70)]


@given(curves_of_runs(), threshold_lists)
def test_a_reset_after_the_end_changes_nothing(curves, thresholds):
    crossings = time_to_threshold(curves, thresholds=thresholds, reset_period=1e9)
    pd.testing.assert_frame_equal(crossings, time_to_threshold(curves, thresholds=thresholds))


@pytest.mark.parametrize("period", [0, -1.0, np.nan, np.inf])
def test_bad_reset_periods(period):
    with pytest.raises(InputError, match=f"reset_period must be a finite number > 0; got {period}. Correct it"):
        time_to_threshold(run([1.0]), thresholds=[1], reset_period=period)
