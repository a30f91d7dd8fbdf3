"""Test that simulated runs have the requested spread, and that their curves give back their crossings."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayescale as bs

THRESHOLDS = (300.0, 600.0, 800.0)
LAW = bs.KnownLaw(env_steps=(2e4, 5e4, 9e4), utd_ref=2.0)


def grid(seeds: int = 2) -> pd.DataFrame:
    cells = itertools.product(["B-v0", "A-v0"], [2.0, 1.0, 0.25], [64, 256], [5e-4])
    return pd.DataFrame(cells, columns=["env_id", "utd", "batch_size", "learning_rate"]).assign(seeds=seeds)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 500, 7777]),
    st.floats(1e4, 3e5),
    st.floats(0.0, 1.0),
    st.floats(0.5, 1.0),
)
def test_curves_give_back_the_crossings_that_made_them(seed, every, horizon, correlation, p_reach) -> None:
    if every == 1:
        horizon /= 100  # keeps the number of evaluations
    rng = np.random.default_rng(seed)
    design = grid(1).iloc[::3]
    runs = bs.simulate_runs(
        design,
        thresholds=THRESHOLDS,
        location=LAW.location(design),
        scale=0.4,
        rng=rng,
        p_reach=p_reach,
        correlation=correlation,
    )
    curves = bs.read_curves(bs.curves_of(runs, every=every, horizon=horizon, first_return=-50.0))
    found = bs.time_to_threshold(curves, thresholds=THRESHOLDS).drop(columns="highest_return")
    pd.testing.assert_frame_equal(found, bs.crossings_of(runs, every=every, horizon=horizon))


def test_the_order_of_the_rows_says_nothing() -> None:
    design = grid(2)
    runs = bs.simulate_runs(
        design,
        thresholds=THRESHOLDS,
        location=LAW.location(design),
        scale=0.4,
        rng=np.random.default_rng(0),
        p_reach=0.9,
    )
    shuffled = runs.sample(frac=1.0, random_state=0)
    curves = [
        bs.read_curves(bs.curves_of(rows, every=1000, horizon=2e5, first_return=-50.0)) for rows in (runs, shuffled)
    ]
    pd.testing.assert_frame_equal(*curves)
    pd.testing.assert_frame_equal(*(bs.crossings_of(rows, every=1000, horizon=2e5) for rows in (runs, shuffled)))


def test_crossings_hold_the_true_times() -> None:
    design = grid()
    runs = bs.simulate_runs(
        design,
        thresholds=THRESHOLDS,
        location=LAW.location(design),
        scale=0.3,
        rng=np.random.default_rng(0),
        p_reach=0.9,
    )
    seen = bs.crossings_of(runs, every=1000, horizon=1.2e5).merge(runs)
    assert len(seen) == len(runs) == 12 * 2 * 3
    assert (seen["env_steps_lower"] < seen["true_env_steps"]).all()
    assert (seen["true_env_steps"] <= seen["env_steps_upper"]).all()
    assert (seen["censored"] == (seen["true_env_steps"] > 1.2e5)).all()
    assert np.isinf(seen["true_env_steps"]).any()
    assert (seen["env_steps_upper"] - seen["env_steps_lower"])[~seen["censored"]].eq(1000).all()


def test_noisy_evaluations_move_crossings_and_need_a_source() -> None:
    design = grid()
    runs = bs.simulate_runs(
        design, thresholds=THRESHOLDS, location=LAW.location(design), scale=0.3, rng=np.random.default_rng(0)
    )
    noisy = bs.curves_of(runs, every=1000, horizon=2e5, first_return=0.0, noise=50.0, rng=np.random.default_rng(1))
    found, still = bs.time_to_threshold(noisy, thresholds=THRESHOLDS), bs.crossings_of(runs, every=1000, horizon=2e5)
    assert not found["env_steps_upper"].equals(still["env_steps_upper"])
    with pytest.raises(bs.InputError, match="needs a source"):
        bs.curves_of(runs, every=1000, horizon=2e5, first_return=0.0, noise=50.0)


def test_the_law_is_that_of_the_papers() -> None:
    at_optimum = pd.DataFrame({"utd": [2.0, 8.0], "batch_size": 256.0 * np.array([1.0, 4.0**-0.4])})
    at_optimum["learning_rate"] = 5e-4 * np.array([1.0, 4.0**-0.4])
    steps = np.exp(LAW.location(at_optimum))
    assert steps[0] == pytest.approx(LAW.env_steps)
    assert steps[1] / steps[0] == pytest.approx(0.5 + 0.5 * 4.0**-0.75)
    off = at_optimum.assign(batch_size=at_optimum["batch_size"] * np.e)
    assert LAW.location(off) - LAW.location(at_optimum) == pytest.approx(0.05)  # curvature 0.1 at one e-fold, halved


def test_spread_failures_and_correlations_are_those_asked_for() -> None:
    """4,000 pairs of seeds: each estimate within 5 standard errors, and the control without effects is not."""
    design = grid(2).iloc[:1].loc[[0] * 4000].assign(learning_rate=np.linspace(1e-4, 1e-3, 4000))
    wide = np.array([5.0, 20.0])  # far apart, so that the running maximum changes nothing

    def deviations(correlation: float, shared: float) -> np.ndarray:
        rng = np.random.default_rng(3)
        runs = bs.simulate_runs(
            design, thresholds=(1.0, 2.0), location=wide, scale=0.5, rng=rng, correlation=correlation, shared=shared
        )
        return (np.log(runs["true_env_steps"].to_numpy()).reshape(-1, 2, 2) - wide) / 0.5  # config, seed, threshold

    def correlations(x: np.ndarray) -> tuple[float, float]:
        return np.corrcoef(x[:, 0, 0], x[:, 0, 1])[0, 1], np.corrcoef(x[:, 0, 0], x[:, 1, 0])[0, 1]

    error = 5 / np.sqrt(4000)
    x = deviations(correlation=0.7, shared=0.3)
    assert x.std() == pytest.approx(1.0, abs=error)
    assert correlations(x) == pytest.approx((0.7, 0.3), abs=error)
    assert correlations(deviations(0.0, 0.0)) != pytest.approx((0.7, 0.3), abs=error)
    reach = np.array([0.9, 0.6])
    runs = bs.simulate_runs(
        design, thresholds=(1.0, 2.0), location=wide, scale=0.5, rng=np.random.default_rng(3), p_reach=reach
    )
    reached = np.isfinite(runs["true_env_steps"].to_numpy().reshape(-1, 2))
    assert reached.mean(axis=0) == pytest.approx(reach, abs=error)
    assert (reached[:, 0] >= reached[:, 1]).all()


def test_runs_that_never_reach_a_threshold_are_seen_to_diverge_on_request() -> None:
    reach = np.array([1.0, 0.5])
    rng = np.random.default_rng(3)
    middle = np.full(2, 9.0)
    runs = bs.simulate_runs(grid(4), thresholds=(1.0, 2.0), location=middle, scale=0.1, rng=rng, p_reach=reach)
    table = bs.crossings_of(runs, every=1000, horizon=1e6, diverged=True)
    never = table["censored"].to_numpy().reshape(-1, 2)[:, 1]  # all others reach it by 15,000 env steps
    assert never.sum() == np.isinf(runs["true_env_steps"]).sum()
    assert 0 < never.sum() < len(never)
    assert (table["status"].to_numpy().reshape(-1, 2) == np.where(never, "diverged", "finished")[:, None]).all()
    assert "status" not in bs.crossings_of(runs, every=1000, horizon=1e6)


def test_equal_generators_give_equal_runs() -> None:
    design = grid()

    def runs(seed: int) -> pd.DataFrame:
        return bs.simulate_runs(
            design, thresholds=THRESHOLDS, location=LAW.location(design), scale=0.3, rng=np.random.default_rng(seed)
        )

    pd.testing.assert_frame_equal(runs(5), runs(5))
    assert not runs(5).equals(runs(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": (2.0, 1.0)}, "thresholds must increase; got"),
        ({"location": np.zeros((5, 3))}, r"location must have shape \(12, 3\)"),
        ({"scale": -1.0}, "scale >= 0"),
        ({"p_reach": 1.5}, r"p_reach within \[0, 1\]"),
        ({"correlation": -0.1}, r"correlation must lie in \[0, 1\]; got -0.1"),
        ({"design": grid().drop(columns="utd")}, "utd"),
        ({"design": grid().assign(seeds=0)}, "seeds must be > 0"),
        ({"design": grid().assign(env_id="A-v0")}, "design has a configuration twice"),
    ],
)
def test_errors_name_the_remedy(change, message) -> None:
    good = {"design": grid(), "thresholds": THRESHOLDS, "location": np.array(10.0), "scale": 0.3}
    with pytest.raises(bs.InputError, match=message):
        bs.simulate_runs(**{**good, **change}, rng=np.random.default_rng(0))


def test_evaluations_that_cannot_be_are_refused() -> None:
    runs = bs.simulate_runs(
        grid(), thresholds=THRESHOLDS, location=np.array(10.0), scale=0.3, rng=np.random.default_rng(0)
    )
    with pytest.raises(bs.InputError, match="at most the horizon; got 1000 and 100"):
        bs.crossings_of(runs, every=1000, horizon=100)
    with pytest.raises(bs.InputError, match="first_return must be below all thresholds; got 300"):
        bs.curves_of(runs, every=1000, horizon=1e5, first_return=300.0)
