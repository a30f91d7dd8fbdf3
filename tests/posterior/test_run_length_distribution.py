"""Test the skewed normal distribution of log env steps against draws, and the estimate of its skewness from seeds."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import bayescale as bs
from bayescale.models.sufficient_statistics import collapse
from bayescale.run_length_distribution import RunLengthDistribution, normal_score


def one(location: float, scale: float, skewness: float, p_reach: float = 1.0) -> RunLengthDistribution:
    return RunLengthDistribution(*(np.array([[value]]) for value in (location, scale, skewness, p_reach)))


@pytest.mark.parametrize("skewness", [-0.2, 0.0, 0.15])
def test_probabilities_match_draws(skewness: float) -> None:
    z = np.random.default_rng(0).standard_normal(200_000)
    drawn = np.log(1e5) + 0.3 * (z + skewness * z**2)
    for at in (-1.5, -0.5, 0.0, 1.0, 2.0):
        steps = np.log(1e5) + 0.3 * at
        share = (drawn <= steps).mean()
        beyond_the_turn = 2 * ndtr(-0.5 / max(abs(skewness), 1e-9))  # share of draws that the inverse cannot follow
        error = 5 * np.sqrt(0.25 / len(z)) + beyond_the_turn
        assert one(np.log(1e5), 0.3, skewness).reached_by(steps).item() == pytest.approx(share, abs=error)
    if skewness:  # this control must fail: a normal of the same median and spread
        normal = one(np.log(1e5), 0.3, 0.0).reached_by(np.log(1e5) + 0.3).item()
        assert abs(normal - (drawn <= np.log(1e5) + 0.3).mean()) > 0.02


def test_the_location_is_the_median_and_failing_runs_have_no_run_length() -> None:
    runs = one(11.0, 0.4, 0.1, p_reach=0.8)
    assert runs.reached_by(11.0).item() == pytest.approx(0.4)
    assert runs.reached_by(np.inf).item() == pytest.approx(0.8)
    assert runs.reached_by(-np.inf).item() == 0.0


@pytest.mark.parametrize("skewness", [-0.4, -0.1, 0.0, 0.1, 0.4])
def test_scores_solve_the_quadratic_and_never_fall(skewness: float) -> None:
    steps = np.linspace(-30.0, 30.0, 2001)
    score = normal_score(steps, skewness)
    assert (np.diff(score) > 0).all()
    solved = 1 + 4 * skewness * steps > 0.04
    np.testing.assert_allclose(score[solved] + skewness * score[solved] ** 2, steps[solved], atol=1e-9)


@pytest.mark.parametrize("skewness", [-0.4, -0.1, 0.1, 0.4])
def test_scores_bend_without_a_kink(skewness: float) -> None:
    bend, step = (0.04 - 1) / (4 * skewness), 1e-5
    before, at, after = normal_score(np.array([bend - step, bend, bend + step]), skewness)
    assert after - at == pytest.approx(at - before, rel=1e-2)


def simulated(skewness: float, seeds: int) -> pd.DataFrame:
    grid = itertools.product(["Known-v0"], [1.0, 2.0, 4.0, 8.0], 2 ** np.arange(4, 12), [1e-4, 2e-4, 4e-4, 8e-4])
    design = pd.DataFrame(grid, columns=["env_id", "utd", "batch_size", "learning_rate"]).assign(seeds=seeds)
    rng = np.random.default_rng(0)
    runs = bs.simulate_runs(
        design, thresholds=[500.0], location=np.full((len(design), 1), 12.0), scale=0.3, rng=rng, skew=skewness
    )
    return bs.crossings_of(runs, every=100, horizon=1e8)


@pytest.mark.parametrize("seeds", [4, 5, 8])
@pytest.mark.parametrize("skewness", [0.0, 0.15])
def test_cells_estimate_the_skewness_without_bias(skewness: float, seeds: int) -> None:
    """The estimate from 128 configurations lies within 3.3 standard errors of the truth, and not of a wrong value."""
    cells = collapse(simulated(skewness, seeds), ("Known-v0",))
    weight = cells.skewness_precision
    error = 1 / np.sqrt(weight.sum())
    estimate = (weight * cells.skewness).sum() / weight.sum()
    shrinkage = 0.9 if skewness else 1.0  # skewness also widens the sd, which lowers an estimate of 0.15 by up to 10%
    assert shrinkage * skewness - 3.3 * error < estimate < skewness + 3.3 * error
    assert abs(estimate - (skewness + 0.3)) > 3.3 * error  # this control must fail
    spread = ((cells.skewness - estimate) ** 2 * weight).mean()
    assert 0.7 < spread < 1.4  # the mean of 128 squared normal deviates is 1 +- 0.125


def test_cells_with_a_censored_or_a_lone_seed_say_nothing_about_the_skewness() -> None:
    few = collapse(simulated(0.0, 3), ("Known-v0",))
    assert not few.skewness_precision.any()
    crossings = simulated(0.0, 5)
    first = crossings["seed"] == 0
    late = crossings.assign(censored=first, env_steps_upper=crossings["env_steps_upper"].mask(first, np.inf))
    assert not collapse(late, ("Known-v0",)).skewness_precision.any()
