"""Test the ten default thresholds, of which four configurations in five reach the highest."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from bayescale.data.crossings import time_to_threshold
from bayescale.errors import InputError
from tests.scaffolding.short_runs import curves_of_runs, run


def default_thresholds(curves, **options):
    """Return the thresholds that `time_to_threshold` chooses."""
    return time_to_threshold(curves, **options)["threshold"].unique()


def test_default_thresholds_by_hand():
    # The median last returns of the five configurations over three seeds are 100, 700, 800, 900, 1000. Four of five
    # reach 700, the highest threshold. All start at 0. So the thresholds go from 0.3 x 700 to 700 in steps of 490 / 9.
    runs = [
        run([0, last + spread], seed=seed, utd=utd)
        for utd, last in [(1, 1000), (2, 900), (3, 800), (4, 700), (5, 100)]
        for seed, spread in [(0, -60), (1, 0), (2, 500)]
    ]
    by_hand = [210, 264.4, 318.9, 373.3, 427.8, 482.2, 536.7, 591.1, 645.6, 700]
    np.testing.assert_array_equal(default_thresholds(pd.concat(runs)), by_hand)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        *((name, "ABCD") for name in ("suite", "algorithm", "env_id")),
        *((name, (1, 2, 3, 4)) for name in ("utd", "batch_size", "learning_rate", "model_size")),
    ],
)
def test_a_threshold_that_three_configurations_in_four_reach_is_too_high(setting, values):
    runs = [run([0, last], **{setting: value}) for value, last in zip(values, (1000, 900, 800, 700), strict=True)]
    assert default_thresholds(pd.concat(runs))[-1] == 700


def test_default_thresholds_start_above_the_task_that_starts_highest_and_stay_below_the_top():
    runs = [run([first, 123.456], env_id=env_id) for env_id, first in [("A", -50.0), ("B", 23.456)]]
    thresholds = default_thresholds(pd.concat(runs))
    assert thresholds[0] == 53.46  # 23.456 + 0.3 x 100
    assert thresholds[-1] == 123.4  # 123.456, rounded down


@pytest.mark.parametrize(
    ("starts", "lowest"),
    [([0] * 19 + [80], 30), ([0] * 36 + [50] * 4, 50), ([0] * 30 + [90] * 10, 70)],
    ids=["one high start", "a tenth start at half", "a quarter start near the top"],
)
def test_default_thresholds_start_above_the_returns_of_untrained_agents(starts, lowest):
    runs = [run([start, 100], seed=seed) for seed, start in enumerate(starts)]
    assert default_thresholds(pd.concat(runs))[[0, -1]].tolist() == [lowest, 100]
    higher = [each.assign(episode_return=each["episode_return"] + 500) for each in runs]
    assert default_thresholds(pd.concat(higher))[[0, -1]].tolist() == [lowest + 500, 600]
    other = [run([0, 100], seed=seed, env_id="B") for seed in range(40)]  # a second task, all of whose runs start at 0
    assert default_thresholds(pd.concat(runs + other))[[0, -1]].tolist() == [lowest, 100]


def test_default_thresholds_are_normalised_by_the_return_scale():
    curves = pd.concat([run([-1600, -150], env_id="A"), run([0, 5], env_id="B")])
    thresholds = default_thresholds(curves, return_scale={"A": (-1600, -150), "B": (0, 5)})
    assert (thresholds[0], thresholds[-1]) == (300, 1000)


def test_default_thresholds_are_not_rounded_where_four_digits_would_make_two_equal():
    for top in (100_001.0, 100_400.0):
        thresholds = default_thresholds(run([100_000.0, top]))
        assert len(thresholds) == 10
        assert (np.diff(thresholds) > 0).all()
        assert (thresholds[0] > 100_000, thresholds[-1]) == (True, top)


def test_no_default_thresholds_without_learning():
    with pytest.raises(InputError, match=r"configurations in five reach 5, which is not above the first returns \(5\)"):
        time_to_threshold(run([5.0, 6.0, 4.0]))


@given(curves_of_runs())
def test_default_thresholds_increase_and_are_reached_by_most_configurations(curves):
    try:
        crossings = time_to_threshold(curves)
    except InputError as error:
        assert "no default thresholds" in str(error)  # noqa: PT017 - random curves may show no learning
        return
    thresholds = crossings["threshold"].unique()
    assert len(thresholds) == 10
    assert (np.diff(thresholds) > 0).all()
    top = crossings[crossings["threshold"] == thresholds[-1]]
    reached = 1 - top.groupby("env_id")["censored"].median()
    assert (reached >= 0.5).mean() >= 0.8
