"""Test prices and risk measures against numbers worked by hand, and risk measures on negated costs too."""

import numpy as np
import pytest

from bayescale import InputError, Prices
from bayescale.decisions.utility import MOST_RUNS, expected_cost, parse_risk

COST = np.arange(1.0, 11.0)[:, None] * np.array([1.0, 10.0])  # ten draws of two settings


@pytest.mark.parametrize(
    ("risk", "by_hand", "of_the_negated"),
    [
        ("mean", 5.5, -5.5),
        ("cvar:0.8", 9.5, -1.5),  # the two most expensive of ten draws: 9 and 10; negated, -1 and -2
        ("cvar:0.9", 10.0, -1.0),
        ("cvar:0.85", (10 + 9 / 2) / 1.5, -(1 + 2 / 2) / 1.5),  # the most expensive one and a half draws
        ("cvar:0.95", 10.0, -1.0),  # half a draw is the most expensive one
        ("prob:0.9", 9.0, -2.0),  # nine of ten draws are at most 9
        ("prob:0.85", 9.0, -2.0),
        ("prob:0.5", 5.0, -6.0),
    ],
)
def test_risk_reads_the_upper_tail_of_cost(risk: str, by_hand: float, of_the_negated: float) -> None:
    shuffled = np.random.default_rng(0).permutation(COST)
    assert parse_risk(risk)(shuffled) == pytest.approx([by_hand, 10 * by_hand])
    assert parse_risk(risk)(-shuffled) == pytest.approx([of_the_negated, 10 * of_the_negated])


def test_a_budget_of_the_size_of_prob_suffices_for_that_share_of_the_draws_and_a_smaller_one_does_not() -> None:
    cost = np.random.default_rng(1).lognormal(size=(401, 3))
    budget = parse_risk("prob:0.9")(cost)
    assert ((cost <= budget).mean(axis=0) >= 0.9).all()
    assert ((cost < budget).mean(axis=0) < 0.9).all()


def test_cost_adds_compute_and_data() -> None:
    assert Prices(flop=2.0, env_step=3.0).cost(np.array([5.0]), np.array([7.0])) == pytest.approx([31.0])
    assert Prices().cost(np.array([5e9]), np.array([7.0])) == pytest.approx([33e9])


def test_the_expected_cost_is_that_of_runs_repeated_until_one_succeeds() -> None:
    """The number of runs to the first success is geometric: its mean is 4 at a chance of 1/4."""
    cost = expected_cost(np.array([10.0, 10.0, 10.0]), step_cost=np.array(3.0), p_reach=np.array([1.0, 0.25, 0.0]))
    assert cost.tolist() == [30.0, 120.0, np.inf]
    runs = np.random.default_rng(0).geometric(0.25, 200_000)
    assert (30.0 * runs).mean() == pytest.approx(cost[1], rel=0.01)


def test_no_more_than_the_bound_of_runs_is_paid_for() -> None:
    """Runs end at the first success or at the bound: the mean of the smaller of the two numbers."""
    chance = np.array([1e-12, 1 / MOST_RUNS, 0.5])
    runs = expected_cost(np.ones(3), step_cost=np.array(1.0), p_reach=chance)
    drawn = np.random.default_rng(0).geometric(chance[1], 200_000)
    assert runs[0] == pytest.approx(MOST_RUNS)
    assert runs[1] == pytest.approx(np.minimum(drawn, MOST_RUNS).mean(), rel=0.01)
    assert drawn.mean() > 1.4 * runs[1]  # the control: without the bound more runs are paid for
    assert runs[2] == pytest.approx(2.0)


@pytest.mark.parametrize("text", ["median", "median:0.5", "mean:0.5", "cvar", "cvar:1", "prob:0", "prob:x"])
def test_a_bad_risk_names_the_choices(text: str) -> None:
    with pytest.raises(InputError, match="risk must be mean, cvar:LEVEL, prob:LEVEL or run:LEVEL"):
        parse_risk(text)


@pytest.mark.parametrize(
    ("flop", "env_step"), [(-1.0, 4e9), (1.0, -0.5), (np.inf, 1.0), (1.0, np.inf), (np.nan, 1.0), (1.0, np.nan), (0, 0)]
)
def test_bad_prices_are_refused(flop: float, env_step: float) -> None:
    with pytest.raises(InputError, match="prices must be finite numbers >= 0 and not both 0; got flop="):
        Prices(flop=flop, env_step=env_step)


def test_either_price_may_be_zero() -> None:
    assert Prices(flop=0.0, env_step=2.0).cost(np.array([5.0]), np.array([7.0])) == 14.0
    assert Prices(flop=2.0, env_step=0.0).cost(np.array([5.0]), np.array([7.0])) == 10.0
