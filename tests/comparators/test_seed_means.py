import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from bayescale.comparators.seed_means import first_passages, seed_means
from bayescale.data.curves import validate_curves


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(-5, 5))
def test_first_passage_equals_that_of_the_isotonic_regression(returns: list[int], level: int) -> None:
    values = np.array(returns, float)
    steps = np.arange(1.0, len(values) + 1)
    exact = level + 0.5**20  # no mean of 30 such integers equals it, so that rounding decides no tie
    reached = np.flatnonzero(isotonic_regression(values).x >= exact)
    expected = steps[reached[0]] if len(reached) else np.inf
    assert first_passages(values[None], steps, np.array([exact]))[0, 0] == expected


def test_seeds_are_averaged_over_the_steps_that_all_of_them_have() -> None:
    runs = [{"seed": 0, "env_steps": [0, 10, 20], "episode_return": [0, 10, 20]}]
    runs += [{"seed": 1, "env_steps": [0, 20, 40], "episode_return": [0, 40, 80]}]
    config = {"algorithm": "SAC", "env_id": "A", "utd": 1.0, "batch_size": 64, "learning_rate": 1e-3}
    runs += [{"env_id": "B", "seed": 0, "env_steps": [0, 10], "episode_return": [0, 50]}]  # another configuration
    curves = validate_curves(pd.concat([pd.DataFrame(config | run) for run in runs]), "curves")
    found = seed_means(curves, np.array([12.0, 25.0, 35.0, 45.0]), None, np.random.default_rng(3), bootstraps=30)
    assert found.runs.tolist() == [[20, np.inf, np.inf, np.inf], [20, 20, 20, 40], [10] * 4]
    assert (found.means[:, 1] == 10).all()
    assert found.means[0, 0].tolist() == [10, 20, np.inf, np.inf]  # mean returns are 0, 15, 30 at 0, 10, 20
    ways = {tuple(draw) for draw in found.means[1:, 0]}  # the mean, or either seed twice, up to 20 env steps
    assert ways == {(10, 20, np.inf, np.inf), (20, np.inf, np.inf, np.inf), (10, 20, 20, np.inf)}
