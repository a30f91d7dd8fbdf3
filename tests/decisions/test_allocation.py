"""Test allocations against numbers worked by hand, on a model of two settings and four draws."""

import json
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from bayescale.decisions.allocation import allocate, allocations, at_edge
from bayescale.decisions.budget_path import budget_path
from bayescale.decisions.utility import MOST_RUNS, Prices
from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from tests.scaffolding.bare_model import BareModel
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior


@pytest.fixture(scope="module")
def posterior():
    return prior_posterior()


def test_choices_for_several_thresholds_equal_the_choices_for_each_alone(posterior):
    prices = Prices(flop=2.0, env_step=3e9)
    together = allocations(posterior, env_id=TASKS[0], thresholds=THRESHOLDS, prices=prices, model_size=1000)
    assert together == {
        J: allocate(posterior, env_id=TASKS[0], threshold=J, prices=prices, model_size=1000) for J in THRESHOLDS
    }
    assert together != allocations(posterior, env_id=TASKS[0], thresholds=THRESHOLDS, prices=prices, model_size=10**7)


def test_a_threshold_that_was_not_fitted_is_refused_among_several_too(posterior):
    with pytest.raises(InputError, match=r"threshold 500 was not fitted; choose one of 321, 654"):
        allocations(posterior, env_id=TASKS[0], thresholds=(321.0, 500.0))


def test_the_axes_at_whose_ends_a_choice_lies_are_named(posterior):
    choice = allocate(posterior, env_id=TASKS[0], threshold=THRESHOLDS[0], model_size=1000)
    inside = replace(choice, utd=2.0, batch_size=200, learning_rate=2e-4)
    assert at_edge(posterior, inside) == ()  # all runs have one model size
    assert at_edge(posterior, replace(inside, utd=4 * (1 - 1e-9))) == ("UTD",)
    assert at_edge(posterior, replace(inside, batch_size=128, learning_rate=3e-4)) == ("batch size", "learning rate")


COUNT = Prices(flop=0.0, env_step=1.0)  # a cost is a number of env steps
SHAKY, SURE = 64, 65  # the batch sizes of the two settings


@dataclass(frozen=True)
class TwoSettings(BareModel):
    """A model in which SHAKY needs 10, 30, 10 or 10 env steps by draw and SURE 16; twice as many to the upper.

    Four of five runs reach the return, so a success costs 1.25 median runs.
    """

    env_ids: tuple[str, ...] = ("Known-v0",)
    thresholds: tuple[float, ...] = (1.0, 2.0)

    def add_task(self, draws, _):
        return {name: jnp.asarray(values) for name, values in draws.items()}

    def points(self, configs):
        return jnp.asarray(configs["batch_size"].to_numpy(float))

    def run_lengths(self, sites, points):
        lower = jnp.where(points == SHAKY, sites["shaky"], 16.0)
        location = jnp.log(lower[:, None] * jnp.array([1.0, 2.0]))
        return location, jnp.full_like(location, 1e-6), jnp.zeros_like(location), jnp.full_like(location, 0.8)


def two_settings(shaky=(10.0, 30.0, 10.0, 10.0)):
    swept = pd.DataFrame({"env_id": "Known-v0", "utd": 1.0, "batch_size": [SHAKY, SURE], "learning_rate": 1e-3})
    crossings = swept.assign(threshold=1.0, env_steps_lower=9.0, env_steps_upper=10.0, censored=False)
    return Posterior(TwoSettings(), {"shaky": np.array([shaky])}, {}, crossings, Status.CONVERGED, {})


@pytest.mark.parametrize(
    ("risk", "batch_size", "mean", "regret"),
    [
        ("mean", SHAKY, 15.0, [0, 14 / 16, 0, 0]),  # mean 15 against 16
        ("cvar:0.75", SURE, 16.0, [0.6, 0, 0.6, 0.6]),  # 30 in the worst quarter against 16
        ("cvar:0.1", SHAKY, 15.0, [0, 14 / 16, 0, 0]),  # (30 + 10 + 10 + 0.6 x 10) / 3.6 = 15.6
        ("prob:0.75", SHAKY, 15.0, [0, 14 / 16, 0, 0]),  # 10 suffices in three draws of four
        ("prob:0.9", SURE, 16.0, [0.6, 0, 0.6, 0.6]),  # 90% of four draws means all four: 30 against 16
    ],
)
def test_the_choice_for_a_threshold_has_the_least_risk(risk, batch_size, mean, regret):
    choice = allocate(two_settings(), env_id="Known-v0", threshold=1.0, prices=COUNT, risk=risk, model_size=1)
    assert choice.batch_size == batch_size
    assert choice.feasible
    assert choice.env_steps["mean"] == pytest.approx(mean)
    assert choice.budget == pytest.approx({name: steps / 0.8 for name, steps in choice.env_steps.items()})
    assert choice.regret["mean"] == pytest.approx(np.mean(regret))  # a mean of ratios by draw, not a ratio of means
    assert choice.regret["q05"] == pytest.approx(np.quantile(regret, 0.05))
    assert choice.regret["q50"] == pytest.approx(np.median(regret))
    assert choice.regret["q95"] == pytest.approx(np.quantile(regret, 0.95))
    assert choice.risk == pytest.approx({"cvar:0.1": 56 / 3.6, "prob:0.75": 10.0}.get(risk, mean) / 0.8)
    assert choice.p_success == pytest.approx(0.8)  # only a run that never learns fails, as there is no budget


@pytest.mark.parametrize(
    ("budget", "risk", "threshold", "batch_size", "feasible", "p_success"),
    [
        (37.6, "mean", 2.0, SHAKY, True, 0.6),  # mean 30 / 0.8; one draw of four needs 60, more than the budget
        (37.4, "mean", 1.0, SHAKY, True, 0.8),
        (40.1, "cvar:0.75", 2.0, SURE, True, 0.8),
        (39.9, "cvar:0.75", 1.0, SURE, True, 0.8),
        (25.1, "prob:0.75", 2.0, SHAKY, True, 0.6),
        (15.9, "prob:0.9", 1.0, SURE, False, 0.0),  # shows the cheapest setting; none of its draws is within the budget
        (9.0, "prob:0.75", 1.0, SHAKY, False, 0.0),
    ],
)
def test_a_budget_reaches_the_highest_threshold_whose_risk_it_holds(
    budget, risk, threshold, batch_size, feasible, p_success
):
    choice = allocate(two_settings(), env_id="Known-v0", budget=budget, prices=COUNT, risk=risk, model_size=1)
    assert (choice.threshold, choice.batch_size, choice.feasible) == (threshold, batch_size, feasible)
    assert choice.p_success == pytest.approx(p_success)


def test_a_threshold_beyond_the_budget_is_infeasible_and_keeps_its_cheapest_choice():
    options = {"prices": COUNT, "model_size": 1}
    choice = allocate(two_settings(), env_id="Known-v0", budget=37.4, threshold=2.0, **options)
    assert (choice.threshold, choice.batch_size, choice.feasible) == (2.0, SHAKY, False)
    assert allocate(two_settings(), env_id="Known-v0", budget=37.6, threshold=2.0, **options).feasible
    sure = allocate(two_settings(), env_id="Known-v0", threshold=2.0, risk="prob:0.9", **options)
    exact = sure.budget["q50"]  # every draw needs these env steps
    assert allocate(two_settings(), env_id="Known-v0", budget=exact, threshold=2.0, risk="prob:0.9", **options).feasible


@dataclass(frozen=True)
class NoisyRuns(TwoSettings):
    """A model in which the median run of SHAKY needs 10 env steps with much seed noise, and SURE 16 with hardly any."""

    p_reach: tuple[float, float] = (1.0, 1.0)

    def run_lengths(self, sites, points):
        noisy = (points == SHAKY)[:, None] & jnp.ones(2, bool)
        location = jnp.log(jnp.where(noisy, 10.0, 16.0) * jnp.array([1.0, 2.0])) + 0 * sites["shaky"]
        scale = jnp.where(noisy, 0.5, 1e-3)
        return RunLengthDistribution(location, scale, jnp.zeros_like(location), jnp.where(noisy, *self.p_reach))


def noisy_runs(*p_reach):
    return replace(two_settings(), model=NoisyRuns(p_reach=p_reach))


@pytest.mark.parametrize(
    ("risk", "batch_size", "cost"),
    [
        ("prob:0.9", SHAKY, 10.0),  # all draws agree on the median run, so its cost is certain
        (
            "run:0.6",
            SHAKY,
            10 * np.exp(0.5 * 0.2533471),
        ),  # 11.4; a standard normal lies below 0.2533 with probability 60%
        ("run:0.9", SURE, 16.0),  # 10 e^(0.5 x 1.2816) = 19
    ],
)
def test_a_risk_of_one_run_counts_its_seed_noise(risk, batch_size, cost):
    choice = allocate(noisy_runs(1.0, 1.0), env_id="Known-v0", threshold=1.0, prices=COUNT, risk=risk, model_size=1)
    assert (choice.batch_size, choice.feasible) == (batch_size, True)
    assert choice.risk == pytest.approx(cost, rel=2e-3)


def test_a_budget_for_one_run_suffices_with_the_requested_probability():
    options = {"prices": COUNT, "risk": "run:0.6", "model_size": 1}
    choice = allocate(noisy_runs(1.0, 1.0), env_id="Known-v0", budget=11.36, **options)
    assert (choice.threshold, choice.feasible) == (1.0, True)
    assert choice.p_success == pytest.approx(0.6, abs=0.01)
    assert not allocate(noisy_runs(1.0, 1.0), env_id="Known-v0", budget=11.33, **options).feasible


def test_runs_that_may_never_get_there_count_in_the_risk_of_one_run():
    """One setting reaches the threshold in 60% of runs, the other in 40%: no budget suffices with probability 0.7."""
    options = {"threshold": 1.0, "prices": COUNT, "model_size": 1}
    choice = allocate(noisy_runs(0.6, 0.4), env_id="Known-v0", risk="run:0.3", **options)
    assert choice.risk == pytest.approx(10.0, rel=2e-3)  # half of the 60% that reach the threshold
    never = allocate(noisy_runs(0.6, 0.4), env_id="Known-v0", risk="run:0.7", **options)
    assert (never.batch_size, never.feasible, never.risk) == (SHAKY, False, np.inf)
    assert json.loads(never.to_json())["risk"] is None
    assert allocate(noisy_runs(0.4, 0.6), env_id="Known-v0", risk="run:0.7", **options).batch_size == SURE
    assert allocate(
        noisy_runs(0.6, 0.4), env_id="Known-v0", risk="prob:0.7", **options
    ).feasible  # the risk of the median run's cost is finite


def test_failed_runs_are_paid_for_and_repeated():
    """SHAKY needs 10 env steps, SURE 16: if half of its runs succeed SHAKY costs 20, if four of five do 12.5."""
    options = {"env_id": "Known-v0", "threshold": 1.0, "prices": COUNT, "model_size": 1}
    often = allocate(noisy_runs(0.5, 1.0), **options)
    assert (often.batch_size, often.p_success) == (SURE, pytest.approx(1.0))
    assert (often.env_steps["mean"], often.budget["mean"], often.risk) == pytest.approx((16.0, 16.0, 16.0))
    seldom = allocate(noisy_runs(0.8, 1.0), **options)
    assert (seldom.batch_size, seldom.p_success) == (SHAKY, pytest.approx(0.8))
    assert (seldom.env_steps["mean"], seldom.budget["mean"], seldom.risk) == pytest.approx((10.0, 12.5, 12.5))
    assert seldom.budget["q95"] == pytest.approx(12.5)
    never = allocate(noisy_runs(0.0, 0.01), **options)  # no number of runs of SHAKY reaches the return
    paid = 1600.0 * (1 - 0.99**MOST_RUNS)
    assert (never.batch_size, never.budget["mean"]) == (SURE, pytest.approx(paid))


def test_swapping_good_and_bad_draws_swaps_the_choice():
    """SHAKY is expensive in three draws and cheap in one: the upper tail avoids it, the lower tail prefers it."""
    options = {"threshold": 1.0, "prices": COUNT, "model_size": 1}
    for risk in ("mean", "cvar:0.75", "prob:0.75"):
        assert (
            allocate(two_settings((30.0, 10.0, 30.0, 30.0)), env_id="Known-v0", risk=risk, **options).batch_size == SURE
        )
    assert (
        allocate(two_settings((30.0, 10.0, 30.0, 30.0)), env_id="Known-v0", risk="prob:0.25", **options).batch_size
        == SHAKY
    )


def test_prices_of_compute_count_the_flops_of_the_setting():
    prices = Prices(flop=2.0, env_step=3.0)
    choice = allocate(two_settings(), env_id="Known-v0", threshold=1.0, prices=prices, risk="prob:0.9", model_size=7)
    flops = 10 * 7 * SURE * 1.0 * 16  # 10 N B sigma D
    assert choice.flops["q50"] == pytest.approx(flops)
    assert choice.budget["q50"] == pytest.approx((2 * flops + 3 * 16) / 0.8)


@pytest.mark.parametrize("budget", [0.0, -1.0, np.inf, np.nan])
def test_an_unusable_budget_is_refused(budget):
    with pytest.raises(InputError, match=f"budget must be a finite number > 0; got {budget}"):
        allocate(two_settings(), env_id="Known-v0", budget=budget, model_size=1)


def test_a_budget_or_a_threshold_is_needed():
    with pytest.raises(InputError, match="allocate needs a budget or a threshold"):
        allocate(two_settings(), env_id="Known-v0", model_size=1)


BEST = {  # env steps by model size; rows are draws, columns are UTD 1 and 2
    100: [[10.0, 20.0], [10.0, 20.0], [90.0, 20.0]],
    200: [[8.0, 30.0], [30.0, 30.0], [30.0, 30.0]],
}


@pytest.fixture
def two_utds_and_sizes(monkeypatch):
    """Replace the optima by `BEST`, with batch size 5 and twice as many env steps to the upper threshold."""

    def optima(_posterior, _env_id, _utds, size):
        steps = np.array(BEST[size])[..., None] * [1.0, 2.0]
        return np.full_like(steps, 5.0), np.ones_like(steps), steps, np.ones_like(steps)

    monkeypatch.setattr("bayescale.decisions.budget_path.optima", optima)
    monkeypatch.setattr("bayescale.decisions.budget_path.swept_utds", lambda *_: np.array([1.0, 2.0]))
    monkeypatch.setattr("bayescale.decisions.budget_path.swept_sizes", lambda *_: np.array([100.0, 200.0]))


@pytest.mark.usefixtures("two_utds_and_sizes")
def test_the_budget_path_by_hand():
    path = budget_path(two_settings(), env_id="Known-v0", prices=COUNT)
    assert path.thresholds.tolist() == [1.0, 2.0]
    assert path.utd.tolist() == [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]
    assert path.model_size.tolist() == [[200, 200], [100, 100], [100, 100]]
    assert path.budget.tolist() == [[8.0, 16.0], [10.0, 20.0], [20.0, 40.0]]
    # The mean costs are 36.7, 20, 22.7 and 30. Medians would choose UTD 1 at size 100.
    assert (path.utd_chosen.tolist(), path.model_size_chosen.tolist()) == ([2.0, 2.0], [100, 100])
    row = path.table().iloc[0]
    assert row[["budget_q05", "budget_q50", "budget_q95"]].tolist() == pytest.approx([8.2, 10.0, 19.0])
    assert row[["utd_q05", "utd_q50", "utd_q95", "model_size_q50"]].tolist() == pytest.approx([1.0, 1.0, 1.9, 100.0])
    assert row[["threshold", "utd_chosen", "model_size_chosen"]].tolist() == [1.0, 2.0, 100.0]


@pytest.mark.usefixtures("two_utds_and_sizes")
def test_the_budget_path_pays_for_flops_of_each_utd_batch_and_size():
    path = budget_path(two_settings(), env_id="Known-v0", prices=Prices(flop=1.0, env_step=3.0))
    # An env step costs 10 N B sigma + 3: 5,003 at UTD 1 and model size 100, and 10,003 at UTD 2.
    assert path.budget[:, 0].tolist() == [10 * 5_003, 10 * 5_003, 20 * 10_003]
    assert path.utd_chosen.tolist() == [1.0, 1.0]  # mean 183,443 against 200,060
