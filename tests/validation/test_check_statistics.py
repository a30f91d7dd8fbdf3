"""Test the statistics of posterior predictive checks by hand and by simulation, without a fit."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import f as ratio_of_squares
from scipy.stats import multivariate_normal

import bayescale as bs
from bayescale.data.observations import observations
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation.predictive_checks import (
    Censored,
    _censored,
    _censored_check,
    _overall,
    _rows,
    holm,
    normal_scores,
)
from bayescale.validation.sums_of_squares import Squares, TaskSquares, ratio, task_squares


def test_scores_are_standard_normal_whether_times_are_seen_or_not():
    """The runs are left-censored, interval-censored and right-censored, and a tenth never reach the threshold."""
    rng = np.random.default_rng(0)
    design = pd.DataFrame({"env_id": ["A"], "utd": 1.0, "batch_size": 64, "learning_rate": 1e-3, "seeds": 4000})
    runs = bs.simulate_runs(
        design.assign(algorithm="SAC"),
        thresholds=(1.0,),
        location=np.log([2e4]),
        scale=0.5,
        rng=rng,
        p_reach=0.9,
        skew=0.1,
    )
    seen = bs.crossings_of(runs, every=10_000, horizon=40_000)
    assert (seen["env_steps_lower"] == 0).any()
    assert seen["censored"].any()
    shape = (1, 4000, 1)
    times = RunLengthDistribution(*(np.full(shape, value) for value in (np.log(2e4), 0.5, 0.1, 0.9)))
    with np.errstate(divide="ignore"):
        low, high = (np.log(seen[f"env_steps_{end}"].to_numpy())[:, None] for end in ("lower", "upper"))
    z = normal_scores(times, low, high, rng).ravel()
    for power, moment, error in ((1, 0.0, 1.0), (2, 1.0, np.sqrt(2)), (3, 0.0, np.sqrt(15)), (4, 3.0, np.sqrt(96))):
        assert abs((z**power).mean() - moment) < 3.3 * error / np.sqrt(4000)  # false alarm 0.1% each
    wrong = normal_scores(times._replace(location=times.location + 0.2), low, high, rng)
    assert abs(wrong.mean()) > 3.3 / np.sqrt(4000)


def test_ratios_of_a_task_and_of_all_by_hand():
    def task(structure, *others):
        """Return sums of squares of one draw from pairs (total, degrees of freedom)."""
        squares = [Squares(np.array([total]), freedom) for total, freedom in others]
        return TaskSquares({axis: Squares(np.array([a]), b) for axis, (a, b) in structure.items()}, *squares)

    squares = {
        "A": task({"utd": (6.0, 2), "batch_size": (5.0, 1)}, (8.0, 4), (9.0, 6), (10.0, 9), (4.0, 2), (3.0, 3)),
        "B": task({"utd": (9.0, 1)}, (7.0, 1), (1.0, 2), (6.0, 3), (2.0, 1), (9.0, 1)),
    }
    censored = {"A": Censored(3, np.array([0, 1, 2, 3]), 10), "B": Censored(1, np.array([1, 1, 0, 0]), 5)}
    mine = {name: value for name, value, *_ in _rows("A", squares, censored)}
    assert mine == pytest.approx(
        {
            "utd": (6 / 2) / (15 / 5),
            "batch_size": 5 / (15 / 5),
            "scatter": (9 / 6) / (1 / 2),
            "surface": (9 / 6) / (10 / 9),
            "spread": (4 / 2) / (3 / 3),
            "censored": 3 / 10,
        }
    )
    found = {name: found for name, *found in _overall(squares, censored)}
    value = {name: found[0] for name, found in found.items()}
    assert value == pytest.approx(
        {
            "utd": (15 / 3) / (15 / 5),
            "batch_size": 5 / (15 / 5),
            "surface": (10 / 8) / (16 / 12),
            "spread": (6 / 3) / (12 / 4),
            "censored": 4 / 15,
        }
    )
    chance = ratio_of_squares.sf(2 / 3, 3, 4)
    assert found["spread"][2] == pytest.approx(2 * min(chance, 1 - chance))
    assert found["censored"][1:] == pytest.approx([2 / 15, 2 * (1 + 0) / (1 + 4)])  # replicated: 1, 2, 2, 3
    assert _censored_check(Censored(2, np.array([2, 2]), 5)) == (0.4, 0.4, 1.0)


def test_model_sizes_are_configurations_of_their_own():
    """Runs that differ only in model size belong to different configurations."""
    size = np.repeat([1e4, 1e5, 1e6, 1e7], 4)
    configs = pd.DataFrame({"utd": np.tile([1.0, 2.0, 4.0, 8.0], 4), "batch_size": 64, "learning_rate": 1e-3})
    z = (np.log(size) - np.log(size).mean()) ** 2 + 0.01 * np.random.default_rng(0).standard_normal(16)
    squares = task_squares(z[None], configs.assign(model_size=size), np.arange(16), np.zeros(1))
    assert set(squares.structure) == {"utd", "model_size"}
    assert ratio(squares.structure["model_size"], squares.unstructured)[2] < 1e-6
    assert ratio(squares.structure["utd"], squares.unstructured)[2] > 0.01


def test_the_censored_are_counted_and_replicated_as_long_as_runs_were_watched():
    """The three run lengths are almost certain; the last run is above the lower threshold before training."""
    seen = pd.DataFrame(
        {
            "env_steps_lower": [8e4, 9e4, 4e4, 1e5, 0.0, 2e5],
            "env_steps_upper": [9e4, 1e5, 5e4, np.inf, 0.0, np.inf],
            "censored": [False, False, False, True, False, True],
        }
    )
    location = np.log([[[1e5, 3e5], [5e4, 1.5e5], [2.5e5, 1.9e5]]])
    times = RunLengthDistribution(location, *(np.full_like(location, value) for value in (1e-3, 0.0, 1.0)))
    observed = observations(seen).by_run(2)
    assert (observed.log_lower[2, 0], observed.log_upper[2, 0]) == (-np.inf, np.inf)
    counted = _censored(observed, times, np.arange(3), np.array([0.5]), np.random.default_rng(0))
    assert (counted.observed, counted.total) == (2, 5)
    # The higher threshold comes at 3e5, 1.5e5 and 1.9e5 env steps. Run 0 is watched until 2e5, where the longest run
    # ends, and run 1 until 1e5, so these two miss it.
    assert (counted.replicated == 2).all()


def test_replicated_seeds_share_their_configuration_effect():
    seen = pd.DataFrame({"env_steps_lower": [1e5, 1e5], "env_steps_upper": np.inf, "censored": True})
    shape = (100, 2, 1)
    # A run is later than 1e5 with probability 1 - 0.6 / 2 = 0.7.
    times = RunLengthDistribution(*(np.full(shape, value) for value in (np.log(1e5), 0.5, 0.0, 0.6)))
    counted = _censored(
        observations(seen).by_run(1), times, np.zeros(2, int), np.full(100, 0.5), np.random.default_rng(0)
    )
    both = multivariate_normal(cov=[[1.0, 0.5], [0.5, 1.0]]).cdf([ndtri(0.7)] * 2)
    error = 3.3 / np.sqrt(len(counted.replicated))  # false alarm 0.1% each, at most
    assert counted.replicated.mean() == pytest.approx(2 * 0.7, abs=error * np.sqrt(2 * 0.7 * 0.3 * 1.5))
    assert (counted.replicated == 2).mean() == pytest.approx(both, abs=error * np.sqrt(both * (1 - both)))


def test_ratio_by_hand():
    value, expected, chance = ratio(Squares(np.array([6.0]), 2), Squares(np.array([8.0]), 4))
    assert value == pytest.approx(6 / 2 / (8 / 4))
    assert chance == pytest.approx((1 + 2 * value / 4) ** -2)  # the survival function of F(2, 4)
    assert expected == pytest.approx(4 / 2 * (np.sqrt(2) - 1))
    some, none = Squares(np.array([6.0]), 2), Squares(np.array([0.0]), 0)
    assert ratio(some, none) is ratio(none, some) is None


def test_holm_by_hand():
    assert holm(np.array([0.04, 0.001, 0.02]), 0.05).tolist() == [True, True, True]
    assert holm(np.array([0.04, 0.001, 0.03]), 0.05).tolist() == [False, True, False]
    assert holm(np.array([0.02, 0.02]), 0.03).tolist() == [False, False]


def test_draws_without_anything_to_divide_by_are_left_out():
    nothing = Squares(np.array([2.0, 0.0]), 3)
    above = Squares(np.array([4.0, 9.0]), 2)
    assert ratio(above, nothing) == ratio(Squares(above.total[:1], 2), Squares(nothing.total[:1], 3))
    assert ratio(above, Squares(np.zeros(2), 3)) is None


def test_failed_runs_count_among_those_that_missed_a_threshold():
    seen = pd.DataFrame({"env_steps_lower": [1e5, 2e4], "env_steps_upper": np.inf, "censored": True})
    seen["status"] = ["finished", "diverged"]
    shape = (200, 2, 1)
    times = RunLengthDistribution(*(np.full(shape, value) for value in (np.log(1e5), 0.5, 0.0, 0.6)))
    counted = _censored(
        observations(seen).by_run(1), times, np.zeros(2, int), np.full(200, 0.5), np.random.default_rng(0)
    )
    assert (counted.observed, counted.total) == (2, 2)
    # The failed run is watched as long as the other one: each is later than 1e5 with probability 1 - 0.6 / 2 = 0.7.
    assert counted.replicated.mean() == pytest.approx(2 * 0.7, abs=3.3 * np.sqrt(2 * 0.7 * 0.3 * 1.5 / 200))
