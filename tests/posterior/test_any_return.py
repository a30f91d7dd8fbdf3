"""Test frontiers and choices for returns between the fitted thresholds and beyond them."""

import json
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.decisions.law_optima import optima
from bayescale.decisions.utility import parse_risk
from bayescale.inference.convergence import Status
from bayescale.posterior import extrapolation
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution
from tests.scaffolding.bare_model import BareModel
from tests.scaffolding.prior_posterior import prior_posterior, sweep

THRESHOLDS = (300.0, 500.0, 800.0)
TASK, UTDS = "<b>x", np.array([1.0, 4.0])


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    low, high = (sweep()[lambda table, at=at: table["threshold"] == at] for at in (321.0, 654.0))
    rows = [
        low.assign(threshold=THRESHOLDS[0]),
        low.assign(threshold=THRESHOLDS[1]),
        high.assign(threshold=THRESHOLDS[2]),
    ]
    table = pd.concat(rows, ignore_index=True)
    run = ["env_id", "utd", "batch_size", "learning_rate", "seed"]
    return prior_posterior(table.sort_values([*run, "threshold"], ignore_index=True))


def test_between_two_thresholds_a_frontier_is_linear_in_the_return(posterior: Posterior) -> None:
    between = bs.frontier(posterior, env_id=TASK, threshold=440.0, utd=UTDS, settings="law")
    for name, part in zip(
        ("batch_size", "learning_rate", "env_steps"), optima(posterior, TASK, UTDS, 150_000), strict=False
    ):
        below, above = np.log(part[:, :, 0]), np.log(part[:, :, 1])
        np.testing.assert_allclose(np.log(getattr(between, name)), 0.3 * below + 0.7 * above, rtol=1e-6)
    assert between.threshold == 440
    assert not between.extrapolated.any()


def test_a_threshold_as_tables_print_it_is_the_fitted_one(posterior: Posterior) -> None:
    fitted, printed = (bs.frontier(posterior, env_id=TASK, threshold=J, utd=UTDS) for J in (500.0, 500.004))
    assert printed.threshold == 500
    pd.testing.assert_frame_equal(printed.table(), fitted.table())
    assert bs.frontier(posterior, env_id=TASK, threshold=500.4, utd=UTDS).threshold == 500.4


def test_beyond_the_thresholds_a_frontier_agrees_with_predictions_at_its_optimum(posterior: Posterior) -> None:
    """The posterior has one draw, so the optimum is one configuration."""
    draws = {name: values[:1, :1] for name, values in posterior.draws.items()}
    one = Posterior(posterior.model, draws, {}, posterior.crossings, Status.CONVERGED, {})
    front = bs.frontier(one, env_id=TASK, threshold=900.0, utd=UTDS)
    assert front.extrapolated.all()
    for i, utd in enumerate(UTDS):
        best = {"batch_size": front.batch_size[0, i], "learning_rate": front.learning_rate[0, i]}
        predicted = one.predict(pd.DataFrame({"env_id": [TASK], "utd": utd, **best}), thresholds=[900.0])
        assert front.env_steps[0, i] == pytest.approx(predicted["law_q50"].item(), rel=1e-5)
        assert front.p_reach[i] == pytest.approx(predicted["p_reach"].item(), rel=1e-5)
    top = bs.frontier(one, env_id=TASK, threshold=800.0, utd=UTDS)
    np.testing.assert_array_equal(front.batch_size, top.batch_size)
    assert (front.env_steps > top.env_steps).all()


def test_a_frontier_above_the_ceiling_needs_infinite_env_steps(posterior: Posterior) -> None:
    table = bs.frontier(posterior, env_id=TASK, threshold=900.0, utd=UTDS, ceiling=850.0).table()
    assert np.isinf(table[["env_steps_q05", "env_steps_q95", "flops_q50"]]).all(axis=None)
    assert (table["p_reach"] == 0).all()
    each = {TASK: 850.0, "Hopper & co": np.inf}
    assert (bs.frontier(posterior, env_id="Hopper & co", threshold=900.0, utd=UTDS, ceiling=each).p_reach > 0).all()
    assert (bs.frontier(posterior, env_id=TASK, threshold=900.0, utd=UTDS, ceiling=each).p_reach == 0).all()
    ax = bs.plot_frontier(
        [bs.frontier(posterior, env_id=TASK, threshold=J, utd=UTDS, ceiling=850.0) for J in (500.0, 900.0)]
    )
    assert {"return 500", "return 900"} <= {text.get_text() for text in ax.texts}


def test_run_lengths_at_other_returns_do_not_depend_on_the_chunk_size(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = sweep()[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates()
    ceiling = np.where(configs["env_id"] == TASK, 900.0, np.inf)
    distribution = run_lengths(posterior.model, posterior.flat_draws(20), configs)
    asked = distribution, posterior.thresholds, [440.0, 850.0], ceiling
    together = at_thresholds(*asked)
    monkeypatch.setattr(extrapolation, "CHUNK", 5)
    for part, whole in zip(at_thresholds(*asked), together, strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-9)
    assert len(configs) > 5
    assert together.location.std(axis=1).min() > 0  # the control: the configurations differ


def test_returns_below_the_thresholds_are_refused(posterior: Posterior) -> None:
    for decide in (bs.frontier, bs.allocate):
        with pytest.raises(bs.InputError, match="thresholds must be at least the lowest fitted, 300; got 200"):
            decide(posterior, env_id=TASK, threshold=200.0)


@dataclass(frozen=True)
class SlowAndFast(BareModel):
    """A model in which batch size 8 needs 10, 20, 40 env steps to returns 1, 2, 3, and 9 needs 14, 16, 20 or fails."""

    env_ids: tuple[str, ...] = ("Known-v0",)
    thresholds: tuple[float, ...] = (1.0, 2.0, 3.0)

    def add_task(self, draws, _):
        return {name: jnp.asarray(values) for name, values in draws.items()}

    def points(self, configs):
        return jnp.asarray(configs["batch_size"].to_numpy(float))

    def run_lengths(self, sites, points):
        steps = jnp.where((points == 8)[:, None], jnp.array([10.0, 20.0, 40.0]), jnp.array([14.0, 16.0, 20.0]))
        location = jnp.log(steps) + 0 * sites["none"]
        p_reach = jnp.where((points == 8)[:, None], 1.0, 0.7) * jnp.ones_like(location)
        return RunLengthDistribution(location, jnp.full_like(location, 1e-3), jnp.zeros_like(location), p_reach)


@pytest.fixture(scope="module")
def known() -> Posterior:
    swept = pd.DataFrame({"env_id": "Known-v0", "utd": 1.0, "batch_size": [8, 9], "learning_rate": 1e-3})
    table = swept.assign(threshold=1.0, censored=False, env_steps_lower=0.0, env_steps_upper=20.0)
    return Posterior(SlowAndFast(), {"none": np.zeros((1, 50))}, {}, table, Status.CONVERGED, {})


COUNT = {"prices": bs.Prices(flop=0.0, env_step=1.0), "model_size": 1}


@pytest.mark.parametrize(
    ("threshold", "batch_size", "cost"), [(1.5, 8, (10 * 20) ** 0.5), (2.5, 9, (16 * 20) ** 0.5 / 0.7)]
)
def test_between_two_thresholds_the_choice_has_the_least_cost(known, threshold, batch_size, cost):
    choice = bs.allocate(known, env_id="Known-v0", threshold=threshold, **COUNT)
    assert (choice.threshold, choice.batch_size, choice.feasible) == (threshold, batch_size, True)
    assert choice.budget["mean"] == pytest.approx(cost)
    assert choice.p_success == pytest.approx(1.0 if batch_size == 8 else 0.7)
    sure = bs.allocate(known, env_id="Known-v0", threshold=threshold, risk="run:0.9", **COUNT)
    assert sure.batch_size == 8  # batch size 9 reaches the threshold in only 70% of runs
    assert sure.risk == pytest.approx((10 * 20 if threshold < 2 else 20 * 40) ** 0.5, rel=3e-3)


def test_a_return_that_no_run_may_reach_costs_more_than_any_budget(known: Posterior) -> None:
    choice = bs.allocate(known, env_id="Known-v0", threshold=3.5, ceiling=3.4, **COUNT)
    assert not choice.feasible
    assert choice.p_success == 0
    written = json.loads(choice.to_json())
    assert written["risk"] is None
    assert written["budget"] == dict.fromkeys(("mean", "q05", "q50", "q95"))
    assert written["regret"]["mean"] == 0  # every setting costs inf


def test_beyond_the_thresholds_a_quantile_of_the_cost_is_finite_where_the_mean_is_not(known: Posterior) -> None:
    """The sampled asymptote lies below 3.8 in some draws, so their cost is inf, and above it in most draws."""
    far = {"threshold": 3.8, **COUNT}
    assert bs.allocate(known, env_id="Known-v0", **far).risk == np.inf
    probable = bs.allocate(known, env_id="Known-v0", risk="prob:0.5", **far)
    assert probable.feasible
    assert 20 / 0.7 < probable.risk < 200
    assert probable.budget["mean"] == np.inf > probable.budget["q50"]
    assert 0 < probable.p_success < 1
    held = bs.allocate(known, env_id="Known-v0", budget=probable.risk * 0.99, risk="prob:0.5", **far)
    assert not held.feasible


def test_an_infinite_cost_leaves_the_other_tail_finite() -> None:
    cost = np.array([[1.0], [2.0], [3.0], [np.inf]])
    assert parse_risk("cvar:0.5")(cost) == np.inf
    assert parse_risk("prob:0.75")(cost) == 3
    assert parse_risk("cvar:0.5")(np.column_stack([cost[:, 0], [4.0, 1, 1, 1]])).tolist() == [np.inf, 2.5]


def test_a_large_budget_of_a_fit_of_two_thresholds_does_not_suggest_a_request_that_it_refuses(tmp_path, capsys):
    fit = tmp_path / "fit.nc"
    prior_posterior().save(fit)
    assert cli.main(["allocate", str(fit), "--env", TASK, "--budget", "1e300"]) == 0
    assert (
        "highest fitted threshold costs. Fit at least 3 thresholds to ask for returns beyond it."
        in capsys.readouterr().out
    )
