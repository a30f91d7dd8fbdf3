import re
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from bayescale.crossings import time_to_threshold
from bayescale.errors import InputError

RUN: dict[str, Any] = {
    "algorithm": "SAC",
    "env_id": "A",
    "utd": 1.0,
    "batch_size": 256,
    "learning_rate": 3e-4,
    "seed": 0,
}


def run(returns, env_steps=None, **settings) -> pd.DataFrame:
    steps = np.arange(1, len(returns) + 1) * 10 if env_steps is None else env_steps
    return pd.DataFrame({"env_steps": steps, "episode_return": np.asarray(returns, float)}).assign(
        **{**RUN, **settings}
    )


def intervals(crossings):
    return list(zip(crossings["env_steps_lower"], crossings["env_steps_upper"], strict=True))


def test_a_rising_run_by_hand():
    crossings = time_to_threshold(run([1, 2, 4, 8], [5, 10, 20, 50]), [0.5, 2, 3, 8, 9])
    assert intervals(crossings) == [(0, 5), (5, 10), (10, 20), (20, 50), (50, np.inf)]
    assert list(crossings["censored"]) == [False, False, False, False, True]
    assert list(crossings["threshold"]) == [0.5, 2, 3, 8, 9]


def test_a_lucky_evaluation_is_pooled_by_hand():
    # The isotonic regression of 0, 9, 0, 6, 9 is 0, 4.5, 4.5, 6, 9: the early 9 does not count as reaching 5.
    crossings = time_to_threshold(run([0, 9, 0, 6, 9]), [4, 5, 7, 10])
    assert intervals(crossings) == [(10, 20), (30, 40), (40, 50), (50, np.inf)]


def test_one_evaluation_only():
    assert intervals(time_to_threshold(run([3.0]), [3, 4])) == [(0, 10), (10, np.inf)]


def test_a_return_reached_before_training_has_both_ends_zero():
    assert intervals(time_to_threshold(run([3.0, 5.0], [0, 10]), [2, 4])) == [(0, 0), (0, 10)]


def test_columns_types_and_order():
    curves = pd.concat([run([1, 2], seed=s, utd=u, model_size=9) for s in (1, 0) for u in (8.0, 0.5)])
    crossings = time_to_threshold(curves, (1, 5))
    assert list(crossings.columns) == [
        *("algorithm", "env_id", "utd", "batch_size", "learning_rate", "model_size", "seed"),
        *("threshold", "env_steps_lower", "env_steps_upper", "censored"),
    ]
    assert list(crossings["utd"]) == [0.5] * 4 + [8] * 4
    assert list(crossings["seed"]) == [0, 0, 1, 1] * 2
    assert list(crossings["threshold"]) == [1, 5] * 4
    assert [crossings[c].dtype for c in ("threshold", "env_steps_lower", "env_steps_upper")] == [np.float64] * 3
    assert crossings["censored"].dtype == bool
    assert list(crossings.index) == list(range(8))


WHOLE_RETURNS = st.integers(-50, 50)


@st.composite
def curves_of_runs(draw, values=WHOLE_RETURNS):
    """Runs of different lengths at irregular steps, in any row order; whole returns, so that sums are exact."""
    runs = []
    for seed in range(draw(st.integers(1, 4))):
        returns = draw(st.lists(values, min_size=1, max_size=12))
        gaps = draw(st.lists(st.integers(1, 1000), min_size=len(returns), max_size=len(returns)))
        runs.append(run(returns, np.cumsum(gaps), seed=seed, env_id=draw(st.sampled_from("AB"))))
    curves = pd.concat(runs, ignore_index=True)
    return curves.iloc[draw(st.permutations(range(len(curves))))]


levels = st.lists(st.integers(-60, 60), min_size=1, max_size=5, unique=True).map(sorted)


def slow_crossings(curves, thresholds, fit):
    """Run by run, evaluation by evaluation."""
    rows = []
    for (env_id, seed), frame in curves.sort_values("env_steps").groupby(["env_id", "seed"]):
        steps, smooth = [0, *frame["env_steps"]], fit(list(frame["episode_return"]))
        for threshold in thresholds:
            reached = [i for i, value in enumerate(smooth) if value >= threshold]
            ends = (steps[reached[0]], steps[reached[0] + 1]) if reached else (steps[-1], np.inf)
            rows.append((env_id, seed, threshold, *ends))
    return rows


def fast_rows(crossings):
    names = ["env_id", "seed", "threshold", "env_steps_lower", "env_steps_upper"]
    return list(crossings[names].itertuples(index=False, name=None))


def max_min_isotonic(returns):
    """The isotonic regression in exact fractions: max over starts a <= i of min over ends b >= i of mean(a..b)."""
    y, n = [Fraction(value) for value in returns], len(returns)
    return [max(min(sum(y[a : b + 1]) / (b + 1 - a) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]


@given(curves_of_runs(), levels)
def test_equals_the_definition_in_exact_arithmetic_off_ties(curves, thresholds):
    # A mean of whole numbers never ties with an irrational level, so rounding decides nothing.
    thresholds = [threshold + 1 / np.pi for threshold in thresholds]
    assert fast_rows(time_to_threshold(curves, thresholds)) == slow_crossings(curves, thresholds, max_min_isotonic)


@given(curves_of_runs(values=st.floats(-1e3, 1e3)), levels)
def test_equals_scipy_run_by_run(curves, thresholds):
    slow = slow_crossings(curves, thresholds, lambda returns: isotonic_regression(returns).x)
    assert fast_rows(time_to_threshold(curves, thresholds)) == slow


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
    assert fast_rows(time_to_threshold(curves, thresholds)) == slow


@given(curves_of_runs(), levels)
def test_crossings_never_fall_as_thresholds_rise(curves, thresholds):
    crossings = time_to_threshold(curves, thresholds)
    for _, frame in crossings.groupby(["env_id", "seed"]):
        assert frame["threshold"].is_monotonic_increasing
        assert frame["env_steps_upper"].is_monotonic_increasing
        assert frame["env_steps_lower"].is_monotonic_increasing
        assert frame["censored"].is_monotonic_increasing


@given(curves_of_runs(), levels)
def test_lower_lies_below_upper_and_only_censored_runs_end_at_infinity(curves, thresholds):
    crossings = time_to_threshold(curves, thresholds)
    assert (crossings["env_steps_lower"] < crossings["env_steps_upper"]).all()
    assert (crossings["censored"] == np.isinf(crossings["env_steps_upper"])).all()
    last = curves.groupby(["env_id", "seed"])["env_steps"].max()
    keys = pd.MultiIndex.from_frame(crossings[["env_id", "seed"]])
    assert (crossings["env_steps_lower"].to_numpy() <= last.loc[keys].to_numpy()).all()
    assert (crossings["env_steps_lower"] == last.loc[keys].to_numpy())[crossings["censored"]].all()


@given(curves_of_runs(), levels, st.sampled_from([0.25, 0.5, 2.0, 1024.0]), st.integers(-1000, 1000))
def test_a_change_of_units_of_the_return_changes_nothing(curves, thresholds, scale, shift):
    moved = curves.assign(episode_return=scale * curves["episode_return"] + shift)
    thresholds = np.array(thresholds) + 1 / np.pi
    crossings = time_to_threshold(moved, scale * thresholds + shift)
    pd.testing.assert_frame_equal(
        crossings.drop(columns="threshold"), time_to_threshold(curves, thresholds).drop(columns="threshold")
    )


@given(curves_of_runs(), levels, st.integers(2, 9))
def test_a_change_of_units_of_the_steps_rescales_the_answer(curves, thresholds, scale):
    crossings = time_to_threshold(curves.assign(env_steps=scale * curves["env_steps"]), thresholds)
    expected = time_to_threshold(curves, thresholds)
    expected[["env_steps_lower", "env_steps_upper"]] *= scale
    pd.testing.assert_frame_equal(crossings, expected)


@given(curves_of_runs(), levels, st.data())
def test_neither_the_order_of_rows_nor_further_columns_matter(curves, thresholds, data):
    order = data.draw(st.permutations(range(len(curves))))
    shuffled = curves.iloc[order].assign(wall_time=1.0)
    pd.testing.assert_frame_equal(time_to_threshold(shuffled, thresholds), time_to_threshold(curves, thresholds))


def test_the_return_scale_is_each_tasks_own():
    curves = pd.concat([run([-100, -50, 0], env_id="A"), run([0, 5, 10], env_id="B")])
    scaled = time_to_threshold(curves, [500, 1000], {"A": (-100, 0), "B": (0, 20), "C": (0, 1)})
    assert intervals(scaled) == [(10, 20), (20, 30), (20, 30), (30, np.inf)]


def test_a_task_without_a_scale_is_named():
    curves = pd.concat([run([1.0], env_id="A"), run([1.0], env_id="B")])
    with pytest.raises(InputError, match=re.escape("return_scale has no B; it has A, C. Add its low and high.")):
        time_to_threshold(curves, [1], {"A": (0, 1), "C": (0, 1)})


@pytest.mark.parametrize(
    ("thresholds", "text"),
    [
        ((0.9, 0.5), "thresholds must increase; got (0.9, 0.5). Sort them."),
        ([1, 1], "thresholds must increase; got (1, 1). Sort them and keep each once."),
        ([1, np.nan], "thresholds must be finite; got (1, nan). Remove the others."),
        ([1, np.inf], "thresholds must be finite; got (1, inf)."),
        ([], "thresholds must be one or more returns; got an array of shape (0,)."),
        ([[1], [2]], "thresholds must be one or more returns; got an array of shape (2, 1)."),
        (["high"], "thresholds must be numbers; got ['high']."),
    ],
)
def test_bad_thresholds(thresholds, text):
    with pytest.raises(InputError, match=re.escape(text)):
        time_to_threshold(run([1.0]), thresholds)


def test_bad_curves_are_refused_at_the_door():
    with pytest.raises(InputError, match="curves: episode_return must be filled in; got nan at row 1"):
        time_to_threshold(run([1.0, np.nan]), [1])


# Resets every 40 updates: at env steps 40 and 80 with UTD 1. Kept of the dips: nothing below the return before them.
WITH_RESETS = [1, 2, 3, 1, 2, 5, 6, 2, 4]


def test_resets_by_hand():
    # Evaluations at steps 40 and 50 lie below the 3 of step 30, those at 80 and 90 below the 6 of step 70.
    crossings = time_to_threshold(run(WITH_RESETS), [3, 5, 6, 7], reset_period=40)
    assert intervals(crossings) == [(20, 30), (30, 60), (60, 70), (90, np.inf)]
    pooled = time_to_threshold(run(WITH_RESETS), [3, 5, 6, 7])
    assert intervals(pooled) == [(50, 60), (90, np.inf), (90, np.inf), (90, np.inf)]


def test_a_return_equal_to_the_one_before_the_reset_counts_as_regained():
    # Reset at step 30: the 1 there is left out, the 5 of step 40 is kept and ends the interval before the 6.
    crossings = time_to_threshold(run([4, 5, 1, 5, 6]), [5, 5.5], reset_period=30)
    assert intervals(crossings) == [(10, 20), (40, 50)]


def test_a_reset_before_recovery_still_waits_for_the_return_before_the_first():
    crossings = time_to_threshold(run([5, 1, 2, 3, 6, 7]), [4, 6, 7], reset_period=20)
    # Resets at 20, 40, 60: 1, 2, 3 lie below 5; 6 regains it; 7 regains 6.
    assert intervals(crossings) == [(0, 10), (10, 50), (50, 60)]


def test_resets_follow_the_updates_not_the_steps():
    curves = pd.concat([run(WITH_RESETS, utd=1.0), run(WITH_RESETS, np.arange(1, 10) * 5, utd=2.0)])
    slow, fast = (frame for _, frame in time_to_threshold(curves, [3, 5, 6, 7], reset_period=40).groupby("utd"))
    assert [(2 * low, 2 * high) for low, high in intervals(fast)] == intervals(slow)


def test_a_run_that_ends_before_the_first_reset_is_untouched():
    curves = pd.concat([run([3, 1, 2, 4], utd=0.5), run(WITH_RESETS, utd=1.0)])
    crossings = time_to_threshold(curves, [2, 3], reset_period=40)
    assert intervals(crossings[crossings["utd"] == 0.5]) == [(0, 10), (30, 40)]


def test_a_first_evaluation_after_a_reset_has_nothing_to_regain():
    assert intervals(time_to_threshold(run([1, 2, 3], [50, 60, 70]), [1, 3], reset_period=40)) == [(0, 50), (60, 70)]


@given(curves_of_runs(), levels)
def test_a_reset_after_the_end_changes_nothing(curves, thresholds):
    pd.testing.assert_frame_equal(
        time_to_threshold(curves, thresholds, reset_period=1e9), time_to_threshold(curves, thresholds)
    )


@pytest.mark.parametrize("period", [0, -1.0, np.nan, np.inf])
def test_bad_reset_periods(period):
    with pytest.raises(
        InputError, match=f"reset_period must be a finite number of updates > 0; got {period}. Correct it"
    ):
        time_to_threshold(run([1.0]), [1], reset_period=period)


def default_thresholds(curves, **options):
    return time_to_threshold(curves, **options)["threshold"].unique()


def test_default_thresholds_by_hand():
    # Last returns of five configurations, medians over three seeds: 100, 700, 800, 900, 1000. Four of five reach 700,
    # which is the top; all start at 0; so the levels run from 0.3 x 700 to 700 in steps of 490 / 9.
    runs = [
        run([0, last + spread], seed=seed, utd=utd)
        for utd, last in [(1, 1000), (2, 900), (3, 800), (4, 700), (5, 100)]
        for seed, spread in [(0, -60), (1, 0), (2, 500)]
    ]
    by_hand = [210, 264.4, 318.9, 373.3, 427.8, 482.2, 536.7, 591.1, 645.6, 700]
    np.testing.assert_array_equal(default_thresholds(pd.concat(runs)), by_hand)


def test_three_configurations_in_four_are_not_enough_for_the_top():
    runs = [run([0, last], utd=utd) for utd, last in [(1, 1000), (2, 900), (3, 800), (4, 700)]]
    assert default_thresholds(pd.concat(runs))[-1] == 700


def test_default_thresholds_start_above_the_task_that_starts_highest_and_stay_below_the_top():
    runs = [run([first, 123.456], env_id=env_id) for env_id, first in [("A", -50.0), ("B", 23.456)]]
    levels = default_thresholds(pd.concat(runs))
    assert levels[0] == 53.46  # 23.456 + 0.3 x 100
    assert levels[-1] == 123.4  # 123.456, rounded down


def test_default_thresholds_are_normalised_by_the_return_scale():
    curves = pd.concat([run([-1600, -150], env_id="A"), run([0, 5], env_id="B")])
    levels = default_thresholds(curves, return_scale={"A": (-1600, -150), "B": (0, 5)})
    assert (levels[0], levels[-1]) == (300, 1000)


def test_default_thresholds_stay_apart_where_four_digits_cannot_tell_them():
    levels = default_thresholds(run([100_000.0, 100_001.0]))
    assert (np.diff(levels) > 0).all()
    assert levels[-1] == 100_001


def test_no_default_thresholds_without_learning():
    with pytest.raises(InputError, match=r"configurations in five reach 5, which is not above the first returns \(5\)"):
        time_to_threshold(run([5.0, 6.0, 4.0]))


@given(curves_of_runs())
def test_default_thresholds_increase_and_are_reached_by_most_configurations(curves):
    try:
        crossings = time_to_threshold(curves)
    except InputError as error:
        assert "no default thresholds" in str(error)  # noqa: PT017 - random curves need not learn
        return
    levels = crossings["threshold"].unique()
    assert len(levels) == 10
    assert (np.diff(levels) > 0).all()
    top = crossings[crossings["threshold"] == levels[-1]]
    reached = 1 - top.groupby("env_id")["censored"].median()
    assert (reached >= 0.5).mean() >= 0.8
