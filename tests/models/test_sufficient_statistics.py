"""Sufficient statistics of crossings by hand."""

import numpy as np
import pandas as pd
import pytest

from bayescale.models.sufficient_statistics import AFTER_ALL_STEPS, _weight, collapse

RUNS = [  # task, utd, seed and the intervals of two thresholds; an interval without an end is censored
    ("A", 2.0, 0, (10, 20), (80, 160)),
    ("A", 2.0, 1, (40, 80), (100, np.inf)),
    ("A", 1.0, 0, (0, 10), (10, 20)),  # there at its first evaluation
    ("B", 1.0, 0, (0, 0), (20, 40)),  # there before training
]


def table() -> pd.DataFrame:
    rows = [
        (env_id, utd, seed, threshold, *interval, interval[1] == np.inf)
        for env_id, utd, seed, *intervals in RUNS
        for threshold, interval in zip((1.0, 2.0), intervals, strict=True)
    ]
    names = ["env_id", "utd", "seed", "threshold", "env_steps_lower", "env_steps_upper", "censored"]
    return pd.DataFrame(rows, columns=names).assign(batch_size=64, learning_rate=1e-3)


def test_cells_by_hand() -> None:
    cells = collapse(table(), ("B", "A"))
    assert cells.task.tolist() == [1, 1, 0]
    np.testing.assert_allclose(np.exp(cells.log_settings["utd"]), [1, 2, 1])
    assert "model_size" not in cells.log_settings
    np.testing.assert_array_equal(cells.count.T, [[0, 1], [2, 1], [0, 1]])
    middle = np.array([[1, 10 * 20], [np.sqrt(10 * 20 * 40 * 80), 80 * 160], [1, 20 * 40]])
    np.testing.assert_allclose(cells.mean.T, np.log(middle) / 2)
    np.testing.assert_allclose(cells.squares.T, [[0, 0], [np.log(4) ** 2 / 2, 0], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(cells.grid_variance, np.log(2) ** 2 / 12 * (cells.count > 0))
    entries = zip(cells.censored_config, cells.censored_threshold, cells.censored_side, cells.log_bound, strict=True)
    expected = [(0, 0, -1.0, np.log(10)), (1, 1, 1.0, np.log(100)), (2, 0, -1.0, AFTER_ALL_STEPS)]
    np.testing.assert_allclose(sorted(entries), expected)
    sized = collapse(table().assign(model_size=1000), ("A", "B"))
    np.testing.assert_allclose(sized.log_settings["model_size"], np.log(1000))
    assert sized.task.tolist() == [0, 0, 1]


def test_failed_runs_are_counted_in_place_of_a_bound() -> None:
    seen = table().assign(status="finished")
    diverged = seen.assign(status=np.where((seen["utd"] == 2) & (seen["seed"] == 1), "diverged", "finished"))
    before, after = collapse(seen, ("A", "B")), collapse(diverged, ("A", "B"))
    assert before.failed.sum() == 0
    np.testing.assert_array_equal(after.failed.T, [[0, 0], [0, 1], [0, 0]])
    assert len(before.log_bound) == 3
    assert after.censored_side.tolist() == [-1.0, -1.0]
    np.testing.assert_array_equal(after.mean, before.mean)


def test_the_weight_of_a_runs_times_follows_their_correlation() -> None:
    one, other = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    assert _weight(np.column_stack([one, one, one])) == pytest.approx(3 ** (-2 / 3))
    assert _weight(np.column_stack([one, other])) == pytest.approx(1.0)
    assert _weight(np.column_stack([one, one + other])) == pytest.approx((1 + np.sqrt(0.5)) ** (-2 / 3))
    for untold in (np.array([[1.0, -1.0], [-1.0, 1.0]]), np.column_stack([one, 0 * one]), np.empty((0, 2))):
        assert _weight(untold) == pytest.approx(2 ** (-2 / 3))


def test_the_weight_is_told_by_runs_that_were_seen_to_reach_every_threshold() -> None:
    runs = pd.DataFrame({"seed": np.repeat(range(4), 2), "threshold": [1.0, 2.0] * 4})
    runs = runs.assign(env_id="A", utd=1.0, batch_size=64, learning_rate=1e-3)
    runs["env_steps_lower"] = [10, 20, 40, 80, 160, 320, 5000, 9000]
    runs["env_steps_upper"] = [20, 40, 80, 160, 320, 640, 6000, np.inf]
    assert collapse(runs.assign(censored=np.isinf(runs["env_steps_upper"])), ("A",)).weight == pytest.approx(
        2 ** (-2 / 3)
    )


def test_runs_whose_times_go_against_each_other_count_in_full() -> None:
    """Two seeds of which the one is first here and the other there, and one seed of another configuration."""
    for a, b in np.random.default_rng(0).random((100, 2)):
        assert _weight(np.array([[a, -b], [-a, b], [0.0, 0.0]])) == pytest.approx(1.0)
