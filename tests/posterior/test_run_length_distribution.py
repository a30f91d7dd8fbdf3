"""The skewed normal of log env steps against draws from it, and the model's estimate of its skew."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import bayescale as bs
from bayescale.models.sufficient_statistics import collapse
from bayescale.run_length_distribution import RunTimes, normal_score


def one(location: float, scale: float, skew: float, p_reach: float = 1.0) -> RunTimes:
    return RunTimes(*(np.array([[value]]) for value in (location, scale, skew, p_reach)))


@pytest.mark.parametrize("skew", [-0.2, 0.0, 0.15])
def test_chances_are_those_of_draws(skew: float) -> None:
    z = np.random.default_rng(0).standard_normal(200_000)
    drawn = np.log(1e5) + 0.3 * (z + skew * z**2)
    for at in (-1.5, -0.5, 0.0, 1.0, 2.0):
        steps = np.log(1e5) + 0.3 * at
        share = (drawn <= steps).mean()
        error = 5 * np.sqrt(0.25 / len(z)) + 2 * ndtr(-0.5 / max(abs(skew), 1e-9))  # and the draws that turn back
        assert one(np.log(1e5), 0.3, skew).reached_by(steps).item() == pytest.approx(share, abs=error)
    if skew:  # the control that must fail: a normal of the same median and spread
        normal = one(np.log(1e5), 0.3, 0.0).reached_by(np.log(1e5) + 0.3).item()
        assert abs(normal - (drawn <= np.log(1e5) + 0.3).mean()) > 0.02


def test_the_median_is_the_location_and_failing_runs_never_come() -> None:
    times = one(11.0, 0.4, 0.1, p_reach=0.8)
    assert times.reached_by(11.0).item() == pytest.approx(0.4)
    assert times.reached_by(np.inf).item() == pytest.approx(0.8)
    assert times.reached_by(-np.inf).item() == 0.0


@pytest.mark.parametrize("skew", [-0.4, -0.1, 0.0, 0.1, 0.4])
def test_scores_solve_the_quadratic_and_never_fall(skew: float) -> None:
    steps = np.linspace(-30.0, 30.0, 2001)
    score = normal_score(steps, skew)
    assert (np.diff(score) > 0).all()
    solved = 1 + 4 * skew * steps > 0.04
    np.testing.assert_allclose(score[solved] + skew * score[solved] ** 2, steps[solved], atol=1e-9)


@pytest.mark.parametrize("skew", [-0.4, -0.1, 0.1, 0.4])
def test_scores_bend_without_a_kink(skew: float) -> None:
    bend, step = (0.04 - 1) / (4 * skew), 1e-5
    before, at, after = normal_score(np.array([bend - step, bend, bend + step]), skew)
    assert after - at == pytest.approx(at - before, rel=1e-2)


def simulated(skew: float, seeds: int) -> pd.DataFrame:
    grid = itertools.product(["Known-v0"], [1.0, 2.0, 4.0, 8.0], 2 ** np.arange(4, 12), [1e-4, 2e-4, 4e-4, 8e-4])
    design = pd.DataFrame(grid, columns=["env_id", "utd", "batch_size", "learning_rate"]).assign(seeds=seeds)
    rng = np.random.default_rng(0)
    runs = bs.simulate_runs(
        design, thresholds=[500.0], location=np.full((len(design), 1), 12.0), scale=0.3, rng=rng, skew=skew
    )
    return bs.crossings_of(runs, every=100, horizon=1e8)


@pytest.mark.parametrize("seeds", [4, 5, 8])
@pytest.mark.parametrize("skew", [0.0, 0.15])
def test_cells_estimate_the_skew_without_bias(skew: float, seeds: int) -> None:
    """128 configurations: within 3.3 standard errors of the truth, and as far from another as the precision says."""
    cells = collapse(simulated(skew, seeds), ("Known-v0",))
    weight = cells.lean_precision
    error = 1 / np.sqrt(weight.sum())
    estimate = (weight * cells.lean).sum() / weight.sum()
    shrinkage = 0.9 if skew else 1.0  # the sd holds the skew too: an estimate of 0.15 is short by up to a tenth
    assert shrinkage * skew - 3.3 * error < estimate < skew + 3.3 * error
    assert abs(estimate - (skew + 0.3)) > 3.3 * error  # the control that must fail
    spread = ((cells.lean - estimate) ** 2 * weight).mean()
    assert 0.7 < spread < 1.4  # 128 squares of about normal deviates: 1 +- 0.125


def test_cells_with_a_censored_or_a_lone_seed_say_nothing_of_the_skew() -> None:
    few = collapse(simulated(0.0, 3), ("Known-v0",))
    assert not few.lean_precision.any()
    crossings = simulated(0.0, 5)
    first = crossings["seed"] == 0
    late = crossings.assign(censored=first, env_steps_upper=crossings["env_steps_upper"].mask(first, np.inf))
    assert not collapse(late, ("Known-v0",)).lean_precision.any()
