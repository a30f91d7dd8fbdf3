"""Test the bounds on log env steps and the kind of each observation, by hand."""

import numpy as np
import pandas as pd
import pytest

from bayescale.data.observations import Kind, evaluation_intervals, observations, require_reached_in_training
from bayescale.errors import InputError
from tests.scaffolding.irregular_evaluations import TASKS, irregular_crossings

CROSSINGS = pd.DataFrame(
    [
        (10.0, 20.0, False, Kind.INTERVAL_CENSORED),
        (0.0, 10.0, False, Kind.LEFT_CENSORED),
        (50.0, np.inf, True, Kind.RIGHT_CENSORED),
        (0.0, 0.0, False, Kind.BEFORE_TRAINING),
        (1.0, 5.0, False, Kind.INTERVAL_CENSORED),
        (0.0, np.inf, True, Kind.RIGHT_CENSORED),  # a run that was evaluated only before training
    ],
    columns=["env_steps_lower", "env_steps_upper", "censored", "kind"],
)
ENDS = pd.DataFrame(
    [
        (10.0, 20.0, False, "diverged", Kind.INTERVAL_CENSORED),  # reached before the run diverged
        (50.0, np.inf, True, " Diverged", Kind.FAILED),
        (50.0, np.inf, True, "crashed", Kind.RIGHT_CENSORED),
        (50.0, np.inf, True, "running", Kind.RIGHT_CENSORED),
        (50.0, np.inf, True, "stopped early", Kind.RIGHT_CENSORED),
        (50.0, np.inf, True, "", Kind.RIGHT_CENSORED),
    ],
    columns=["env_steps_lower", "env_steps_upper", "censored", "status", "kind"],
)


def test_each_kind_has_its_bounds():
    observed = observations(CROSSINGS)
    assert observed.kind.tolist() == CROSSINGS["kind"].tolist()
    np.testing.assert_array_equal(observed.log_lower, [np.log(10), -np.inf, np.log(50), -np.inf, 0.0, -np.inf])
    np.testing.assert_array_equal(observed.log_upper, [np.log(20), np.log(10), np.inf, np.inf, np.log(5), np.inf])


def test_views_agree_with_the_kind():
    observed = observations(CROSSINGS)
    assert observed.interval_censored.tolist() == [True, False, False, False, True, False]
    assert observed.left_censored.tolist() == [False, True, False, False, False, False]
    assert observed.right_censored.tolist() == [False, False, True, False, False, True]
    assert observed.before_training.tolist() == [False, False, False, True, False, False]
    assert observed.reached_in_training.tolist() == [True, True, False, False, True, False]
    assert observed.bounded.tolist() == [True, True, True, False, True, False]


def test_a_diverged_run_failed_where_it_had_not_reached_the_threshold_and_no_other_run_failed():
    observed = observations(ENDS)
    assert observed.kind.tolist() == ENDS["kind"].tolist()
    assert observed.failed.tolist() == [False, True, False, False, False, False]
    assert (observed.log_lower[1], observed.log_upper[1]) == (np.inf, np.inf)
    assert observed.log_lower[2] == np.log(50)
    assert not observations(ENDS.drop(columns="status")).failed.any()


def test_observations_by_run_have_a_row_for_each_run():
    observed = observations(CROSSINGS).by_run(2)
    assert observed.log_lower.shape == observed.log_upper.shape == (3, 2)
    assert observed.before_training.tolist() == [[False, False], [False, True], [False, False]]


def test_crossings_must_hold_a_threshold_that_was_reached_in_training():
    require_reached_in_training(CROSSINGS)
    with pytest.raises(InputError, match="no run reaches any threshold; lower the thresholds or give longer runs"):
        require_reached_in_training(CROSSINGS[CROSSINGS["censored"]])
    with pytest.raises(InputError, match="no run reaches any threshold"):
        require_reached_in_training(ENDS[ENDS["censored"]])
    with pytest.raises(InputError, match="above it before their first env step; raise the thresholds"):
        require_reached_in_training(CROSSINGS[CROSSINGS["env_steps_lower"].eq(0) & (CROSSINGS["kind"] != 1)])


def reached(*intervals: tuple[float, float], seed: int = 0, env_id: str = "A") -> pd.DataFrame:
    """Return a run that reached its thresholds in these intervals of env steps."""
    frame = pd.DataFrame(intervals, columns=["env_steps_lower", "env_steps_upper"])
    settings = {"env_id": env_id, "utd": 1.0, "batch_size": 256, "learning_rate": 1e-3, "seed": seed}
    return frame.assign(**settings, threshold=frame.index, censored=np.isinf(frame["env_steps_upper"]))


def interval_of(*runs: pd.DataFrame, env_id: str = "A") -> float:
    return float(evaluation_intervals(pd.concat(runs), pd.Series([env_id]))[0])


def test_tasks_with_uneven_steps_or_two_intervals_have_no_evaluation_interval() -> None:
    asked = pd.Series([*TASKS, "New-v1"])
    assert evaluation_intervals(irregular_crossings(), asked).tolist() == [0, 0, 1_000, 0]
    even = irregular_crossings().query("env_id == 'Even-v1'")
    assert evaluation_intervals(even, asked).tolist() == [1_000] * 4  # other tasks get the median over all


@pytest.mark.parametrize(
    ("intervals", "every"),
    [
        ([(0, 100), (400, 500), (700, 800)], 100),
        ([(0, 0), (400, 500), (900, np.inf)], 100),  # only the second says how often the run is evaluated
        ([(0, 100), (400, 500), (500, 900)], 100),  # evaluations after a reset are left out
        ([(1_001, 2_001), (2_001, 3_000), (4_001, 5_001)], 1_000),  # steps that are one off
        ([(10, 110), (210, 310), (410, 510)], 0),  # evenly spaced, but not at multiples of the interval
        ([(0, 100), (150, 210), (210, 330)], 0),
        ([(4_997_120, 10_493_952), (10_493_952, 15_491_072), (45_474_816, 50_001_920)], 0),  # the steps of FlashSAC
    ],
)
def test_the_evaluation_interval_of_one_run_by_hand(intervals: list[tuple[float, float]], every: float) -> None:
    assert interval_of(reached(*intervals)) == pytest.approx(every, rel=1e-3)


def test_one_run_in_ten_may_be_evaluated_at_another_interval() -> None:
    often = [reached((400, 500), (700, 800), seed=seed) for seed in range(19)]
    seldom = [reached((400, 600), (600, 800), seed=19 + seed) for seed in range(3)]
    assert interval_of(*often, seldom[0]) == 100
    assert interval_of(*often, *seldom) == 0
