"""Test the value of candidate runs against closed forms, on a stand-in model of two settings."""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import norm

import bayescale as bs
from bayescale.decisions.experiments.next_experiments import EVSI_DRAWS, purchase_list
from bayescale.decisions.experiments.sample_information import CandidateRuns, expected_loss, log_likelihood
from bayescale.inference.convergence import Status
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from tests.scaffolding.bare_model import BareModel

SD = 0.4  # standard deviation of the unknown log env steps over draws
NOISE = 0.5  # seed noise of one run, in log env steps
SURE = 1000.0  # env steps that UTD 1 needs under every draw
FOREVER = 10**12
COUNT = bs.Prices(flop=0.0, env_step=1.0)  # a cost is a number of env steps


@dataclass(frozen=True)
class TwoSettings(BareModel):
    """A model in which UTD 1 needs SURE env steps and UTD 2 an unknown number, both multiplied by the threshold.

    Runs with batch size 1 depend on another unknown, which no decision needs.
    """

    env_ids: tuple[str, ...] = ("Known-v0",)
    thresholds: tuple[float, ...] = (1.0,)
    varying: tuple[str, ...] = ("utd",)
    p_reach: float = 1.0

    def add_task(self, draws, _):
        return {name: jnp.asarray(values) for name, values in draws.items()}

    def points(self, configs):
        return jnp.asarray(configs[["utd", "batch_size"]].to_numpy(float))

    def run_lengths(self, sites, points):
        utd, batch_size = points.T
        decisive = jnp.where(utd > 1.5, sites["unknown"], jnp.log(SURE))
        location = jnp.where(batch_size > 1, decisive, sites["idle"])[:, None] + jnp.log(jnp.asarray(self.thresholds))
        return RunLengthDistribution(
            location, *(jnp.full_like(location, value) for value in (NOISE, 0.0, self.p_reach))
        )


def stand_in(centre: float, draws: int = EVSI_DRAWS, model: TwoSettings | None = None) -> Posterior:
    """Return a posterior whose unknowns are normal: its draws are shuffled quantiles."""
    rng = np.random.default_rng(0)
    normal = ndtri((np.arange(draws) + 0.5) / draws)
    sites = {name: (centre + SD * rng.permutation(normal))[None] for name in ("unknown", "idle")}
    swept = pd.DataFrame({"env_id": "Known-v0", "utd": [1.0, 2.0], "batch_size": 64, "learning_rate": 1e-3})
    crossings = swept.assign(threshold=1.0, env_steps_lower=900.0, env_steps_upper=1000.0, censored=False)
    return Posterior(model or TwoSettings(), sites, {}, crossings, Status.CONVERGED, {})


def candidates(**columns: object) -> pd.DataFrame:
    whole = {"env_id": "Known-v0", "utd": 2.0, "batch_size": 64, "learning_rate": 1e-3, "env_steps": FOREVER}
    return pd.DataFrame({**whole, **columns}, index=range(max(np.size(value) for value in columns.values() or [0])))


def following(posterior: Posterior, table: pd.DataFrame, **options: object) -> pd.DataFrame:
    options = {"budget": 1e15, "n": 1, "prices": COUNT, "model_size": 1, **options}
    return bs.next_experiments(posterior, table, **options)


def exact_value(centre: float, runs: int) -> float:
    """Return min(K, F) - E min(K, X), the value of an option: X is lognormal with mean F and the strike K is SURE."""
    mean = np.exp(centre + SD**2 / 2)
    spread = SD**2 / np.sqrt(SD**2 + NOISE**2 / runs)
    d1 = np.log(mean / SURE) / spread + spread / 2
    put = SURE * ndtr(spread - d1) - mean * ndtr(-d1)
    return float(min(SURE, mean) - SURE + put)


@pytest.mark.parametrize("offset", [-0.1, 0.1])
def test_the_value_of_runs_is_that_of_an_option(offset: float) -> None:
    posterior = stand_in(np.log(SURE) + offset)
    plans = [following(posterior, candidates(), n=4, seed=seed) for seed in range(4)]
    values = np.mean([plan["score"] * plan["cost"] for plan in plans], axis=0)
    exact = [exact_value(np.log(SURE) + offset, runs) for runs in (1, 4)]
    assert values[0] == pytest.approx(exact[0], rel=0.15)
    assert values.sum() == pytest.approx(exact[1], rel=0.15)
    assert 4 * values[0] != pytest.approx(exact[1], rel=0.15)  # this control must fail: values that ignore earlier runs


def test_a_run_that_cannot_change_the_choice_is_worth_nothing_and_the_cheapest_is_chosen() -> None:
    table = candidates(utd=[1.0, 1.0], env_steps=[9000, 8000])
    chosen = following(stand_in(np.log(SURE)), table, n=3)
    assert (chosen["score"] == 0).all()
    assert (chosen["cost"] == 8000).all()


def test_a_run_beyond_the_sweep_is_worth_something_if_the_decision_may_choose_there() -> None:
    posterior = stand_in(np.log(SURE))
    narrow = replace(posterior, crossings=posterior.crossings.replace({"utd": {2.0: 1.2}}))
    assert following(narrow, candidates())["score"].item() == 0
    whole = following(posterior, candidates())["score"].item()
    assert following(narrow, candidates(), within={"utd": (1, 2)})["score"].item() == pytest.approx(whole)
    with pytest.raises(bs.InputError, match="within must name axes that the fitted runs vary"):
        following(narrow, candidates(), within={"batch_size": (1, 2)})


def test_an_irrelevant_run_is_not_chosen_before_a_relevant_one() -> None:
    table = candidates(batch_size=[1, 64], env_steps=[FOREVER // 2, FOREVER])
    chosen = following(stand_in(np.log(SURE)), table)
    assert chosen["batch_size"].tolist() == [64]
    assert following(stand_in(np.log(SURE)), table.assign(utd=1.0))["batch_size"].tolist() == [
        1
    ]  # no run changes the decision


def test_an_irrelevant_run_has_no_value_although_the_plain_minimum_finds_one() -> None:
    """Six actions are equally good on average over forty posteriors of 120 draws; the run depends on none of them."""
    ours, plain = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loss, idle = rng.standard_normal((120, 6)), rng.standard_normal(120)
        logs = norm.logpdf((idle + 0.3 * rng.standard_normal(120))[:, None], idle, 0.3)
        ours.append(expected_loss(np.zeros((120, 120)), [loss]) - expected_loss(logs, [loss]))
        weights = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
        plain.append(loss.mean(axis=0).min() - (weights @ loss).min(axis=1).mean())
    z_ours, z_plain = (np.mean(gain) / (np.std(gain) / np.sqrt(40)) for gain in (ours, plain))
    assert z_ours < 2.33  # false-alarm rate 1%
    assert z_plain > 2.33  # this control must fail: the same draws choose and evaluate


@pytest.mark.parametrize(("length", "decisive"), [(600, 600), (1000, 882), (10**6, 882)])
def test_a_run_is_worth_what_its_length_can_change(length: int, decisive: int) -> None:
    """A run length below 882 env steps favours the unknown setting, so a run of that length shows everything needed."""
    plans = [following(stand_in(np.log(SURE)), candidates(env_steps=[length]), seed=seed) for seed in range(4)]
    value = np.mean([(plan["score"] * plan["cost"]).iloc[0] for plan in plans])
    shown = np.hypot(SD, NOISE)
    at = np.log(decisive / SURE) / shown
    exact = SURE * ndtr(at) - SURE * np.exp(SD**2 / 2) * ndtr(at - SD**2 / shown)
    assert value == pytest.approx(exact, rel=0.15)


def test_a_run_too_short_to_show_anything_is_worth_nothing() -> None:
    assert following(stand_in(np.log(SURE)), candidates(env_steps=[1]))["score"].tolist() == [0.0]


def test_the_likelihood_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(5)
    location, scale = rng.normal(7.0, 1.0, (6, 1, 2)), rng.uniform(0.2, 0.6, (6, 1, 2))
    p_reach, end = rng.uniform(0.5, 1.0, (6, 1, 2)), 7.5
    runs = CandidateRuns(location, scale, p_reach, np.array([end]), np.ones(1))
    seed_noise, uniform = rng.standard_normal(6), rng.random(6)
    slow = np.zeros((6, 6))
    for i, j, k in np.ndindex(6, 6, 2):
        time = location[i, 0, k] + scale[i, 0, k] * seed_noise[i]
        law = norm(location[j, 0, k], scale[j, 0, k])
        if uniform[i] < p_reach[i, 0, k] and time <= end:
            slow[i, j] += np.log(p_reach[j, 0, k]) + law.logpdf(time) + 0.5 * np.log(2 * np.pi)
        else:
            slow[i, j] += np.log(1 - p_reach[j, 0, k] * law.cdf(end))
    np.testing.assert_allclose(log_likelihood(runs, 0, seed_noise, uniform), slow / 2, rtol=1e-9)


def test_the_cost_of_a_run_without_a_length_is_its_expected_time_up_to_the_longest() -> None:
    """Half of the runs never reach the threshold and stop after 1000 env steps, the longest run length in the fit."""
    model = TwoSettings(p_reach=0.5)
    chosen = following(stand_in(np.log(SURE), model=model), candidates(utd=1.0).drop(columns="env_steps"))
    env_steps = np.minimum(SURE * np.exp(NOISE * np.random.default_rng(0).standard_normal(1_000_000)), 1000.0)
    assert chosen["cost"].iloc[0] == pytest.approx(0.5 * env_steps.mean() + 0.5 * 1000, rel=2e-3)


@pytest.mark.parametrize(("p_reach", "decided"), [(0.4, 1.0), (0.6, 2.0)])
def test_the_return_to_decide_about_is_the_highest_that_is_likely(p_reach: float, decided: float) -> None:
    posterior = stand_in(np.log(SURE), model=TwoSettings(thresholds=(1.0, 2.0), p_reach=p_reach))
    lower, upper = (following(posterior, candidates(), threshold=threshold) for threshold in (1.0, 2.0))
    expected = lower if decided == 1.0 else upper
    pd.testing.assert_frame_equal(following(posterior, candidates()), expected, check_exact=True)
    assert upper["score"].item() == pytest.approx(2 * lower["score"].item())  # all run lengths are doubled there


def test_the_return_to_decide_about_may_lie_between_two_thresholds_and_not_beyond() -> None:
    posterior = stand_in(np.log(SURE), model=TwoSettings(thresholds=(1.0, 2.0)))
    lower, between = (following(posterior, candidates(), threshold=threshold) for threshold in (1.0, 1.25))
    assert between["score"].item() == pytest.approx(
        2**0.25 * lower["score"].item()
    )  # log env steps at a quarter of the way
    for beyond in (0.5, 3.0):
        with pytest.raises(bs.InputError, match=f"fitted ones, 1 to 2, as none .* got {beyond:g}. Choose one within"):
            following(posterior, candidates(), threshold=beyond)
    with pytest.raises(bs.InputError, match="threshold must be a finite number; got nan"):
        following(posterior, candidates(), threshold=np.nan)


FEW = stand_in(np.log(SURE), draws=40)
LENGTHS = [700, 900, 1600, 5000]


@settings(max_examples=25)
@given(budget=st.floats(1, 5e4), n=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_budget_is_never_exceeded(budget: float, n: int, seed: int) -> None:
    table = candidates(env_steps=LENGTHS, note=list("abcd"))
    if budget < min(LENGTHS):
        with pytest.raises(bs.Infeasible, match="the cheapest, row 1, costs 700"):
            following(FEW, table, budget=budget, n=n, seed=seed)
        return
    chosen = following(FEW, table, budget=budget, n=n, seed=seed)
    assert chosen["cost"].sum() <= budget
    assert len(chosen) == n or chosen["cost"].sum() + min(LENGTHS) > budget
    assert chosen["rank"].tolist() == list(range(1, len(chosen) + 1))
    assert (chosen["score"] >= 0).all()
    assert set(chosen["note"]) <= set("abcd")


def test_equal_seeds_give_equal_plans_and_others_do_not() -> None:
    plans = [following(FEW, candidates(env_steps=LENGTHS), n=4, seed=seed) for seed in (3, 3, 4)]
    pd.testing.assert_frame_equal(plans[0], plans[1])
    assert not plans[0].equals(plans[2])


def test_dearer_steps_change_the_cost_not_the_score() -> None:
    table = candidates(env_steps=LENGTHS)
    one, ten = (following(FEW, table, n=4, prices=bs.Prices(flop=0.0, env_step=price)) for price in (1.0, 10.0))
    np.testing.assert_allclose(ten["cost"], 10 * one["cost"])
    np.testing.assert_allclose(ten["score"], one["score"])


def test_values_add_over_tasks() -> None:
    two = TwoSettings(env_ids=("Known-v0", "Other-v0"))
    posterior = replace(stand_in(np.log(SURE), model=two), crossings=both_tasks())
    table = candidates(env_id=["Known-v0", "Other-v0"])
    one, both = following(posterior, table, env_id="Known-v0"), following(posterior, table)
    np.testing.assert_allclose(both["score"], 2 * one["score"])  # both tasks of the stand-in are equal


def test_costs_that_add_up_to_the_budget_are_within_it() -> None:
    """Three costs of 0.1 fit into a budget of 0.3, although their floating-point sum exceeds it."""
    tenth = {"prices": bs.Prices(flop=0.0, env_step=0.1), "n": 5}
    assert len(following(FEW, candidates(env_steps=1), budget=0.3, **tenth)) == 3
    assert len(following(FEW, candidates(env_steps=1), budget=0.299, **tenth)) == 2


def both_tasks() -> pd.DataFrame:
    crossings = stand_in(np.log(SURE), draws=2).crossings
    return pd.concat([crossings, crossings.assign(env_id="Other-v0")], ignore_index=True)


def test_one_task_without_runs_can_be_planned_for_and_two_cannot() -> None:
    assert len(following(FEW, candidates(env_id="New-v0"), new_task=True)) == 1
    with pytest.raises(bs.InputError, match="one task at a time can be without runs; got New-v0, Newer-v0"):
        following(FEW, candidates(env_id=["New-v0", "Newer-v0"]), new_task=True)
    with pytest.raises(bs.InputError, match=r"the fit has no run of Know-v0\. Did you mean Known-v0\?"):
        following(FEW, candidates(env_id="Know-v0"))


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (candidates().drop(columns="utd"), {}, "candidates has no column 'utd'"),
        (candidates(utd=[np.nan]), {}, "utd must be filled in; got nan at row 0"),
        (candidates(learning_rate=[0.0]), {}, "learning_rate must be > 0; got 0.0"),
        (candidates(env_steps=[0]), {}, "env_steps must be > 0; got 0"),
        (candidates().iloc[:0], {}, "candidates has no rows"),
        (candidates(), {"budget": 0.0}, "budget must be a finite number > 0; got 0.0"),
        (candidates(), {"budget": -1.0}, "budget must be a finite number > 0; got -1.0"),
        (candidates(), {"budget": np.nan}, "budget must be a finite number > 0; got nan"),
        (candidates(), {"n": 0}, "n must be at least 1; got 0"),
        (candidates(), {"seed": -1}, "seed must be at least 0; got -1"),
        (candidates(), {"model_size": 0}, "model_size must be a finite number > 0; got 0"),
    ],
)
def test_an_unusable_argument_is_named(table: pd.DataFrame, options: dict[str, object], said: str) -> None:
    with pytest.raises(bs.InputError, match=said):
        following(FEW, table, **options)


def test_a_purchase_list_counts_the_seeds_of_equal_runs_and_leaves_out_worthless_ones() -> None:
    """Scores times costs are 10, 12, 3 and 0; the first and the third run differ by rounding alone."""
    plan = candidates(
        utd=[2.0, 1.0, 2.0, 1.0],
        learning_rate=[3e-4, 3e-4, 3e-4 * (1 + 1e-15), 3e-4],
        env_steps=[100, 100, 100, 50],
        note=list("abcd"),
    ).assign(score=[0.1, 0.12, 0.03, 0.0], cost=[100.0, 100.0, 100.0, 50.0], rank=[1, 2, 3, 4])
    bought = purchase_list(plan)
    assert bought["note"].tolist() == ["a", "b"]
    assert bought["seeds"].tolist() == [2, 1]
    assert bought["rank"].tolist() == [1, 2]
    assert bought["cost"].tolist() == [100, 100]
    assert bought["total_cost"].tolist() == [200, 100]
    assert bought["score"].tolist() == pytest.approx([0.065, 0.12])
    assert bought.columns.tolist() == [*plan.columns, "seeds", "total_cost"]
    nothing = purchase_list(plan.assign(score=0.0))
    assert (len(nothing), nothing.columns.tolist()) == (0, bought.columns.tolist())
