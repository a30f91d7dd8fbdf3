"""The joint model on data simulated from a known law, and its sufficient statistics against a slow twin."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pandas as pd
import pytest
from scipy.stats import norm

import bayescale as bs
from bayescale.inference.model import prior_draws
from bayescale.models import PRIORS, JointModel
from bayescale.models.sufficient_statistics import collapse
from bayescale.posterior.posterior import Posterior

THRESHOLDS = (300.0, 600.0)
LAW = bs.KnownLaw(
    env_steps=(4e4, 9e4),
    utd_ref=2.0,
    min_share=0.4,
    alpha=0.8,
    batch_size=200.0,
    batch_size_slope=0.4,
    batch_size_curvature=0.2,
    learning_rate=6e-4,
    learning_rate_slope=0.3,
    learning_rate_curvature=0.3,
)
NOISE = 0.15
CONFIG = ["env_id", "utd", "batch_size", "learning_rate", "algorithm"]


def simulated(seed: int, horizon: float = 4e5, seeds: int = 4) -> pd.DataFrame:
    grid = itertools.product(["Known-v0"], [1.0, 2.0, 4.0], [64, 256, 1024], [1e-4, 5e-4, 2.5e-3], ["SAC"])
    design = pd.DataFrame(grid, columns=["env_id", "utd", "batch_size", "learning_rate", "algorithm"])
    rng = np.random.default_rng(seed)
    design["seeds"] = seeds
    runs = bs.simulate_runs(
        design, thresholds=THRESHOLDS, location=LAW.location(design), scale=NOISE, rng=rng, correlation=1.0
    )
    return bs.crossings_of(runs, every=1000, horizon=horizon)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return bs.fit(simulated(0), chains=2, draws=400, warmup=300, require_convergence=False)


def test_the_law_is_recovered_beyond_the_swept_utds(posterior: Posterior) -> None:
    configs = pd.DataFrame({"env_id": "Known-v0", "utd": [1.0, 2.0, 3.0, 4.0, 8.0], "batch_size": 200})
    configs["learning_rate"] = 6e-4
    predicted = posterior.predict(configs)
    truth = np.exp(LAW.location(configs)).ravel()
    error = np.log(predicted["law_q50"] / truth)
    sd = np.log(predicted["law_q95"] / predicted["law_q05"]) / 3.29
    assert (abs(error) < 3.3 * sd).all()  # 10 dependent normal deviates: false alarm below 1%
    assert abs(error).max() < 0.2
    assert (abs(error + 0.5) > 3.3 * sd).all()  # the control that must fail: a law off by a factor of 1.65


def test_new_runs_fall_into_their_intervals_and_shifted_ones_do_not(posterior: Posterior) -> None:
    fresh = simulated(1)
    fresh = fresh[~fresh["censored"]]
    configs = ["env_id", "utd", "batch_size", "learning_rate"]
    both = fresh.merge(posterior.predict(fresh[configs].drop_duplicates()), on=[*configs, "threshold"])

    def coverage(steps: pd.Series) -> float:
        return float(((steps >= both["q05"]) & (steps <= both["q95"])).mean())

    assert 0.82 <= coverage(both["env_steps_upper"]) <= 0.99
    assert coverage(both["env_steps_upper"] * 1.5) < 0.6  # the control that must fail


def test_a_task_without_runs_is_less_certain(posterior: Posterior) -> None:
    configs = pd.DataFrame({"env_id": ["Known-v0", "New-v0"], "utd": 2.0, "batch_size": 200, "learning_rate": 6e-4})
    known, new = (group for _, group in posterior.predict(configs, new_task=True).groupby("env_id"))
    assert (np.log(new["q95"] / new["q05"]).to_numpy() > np.log(known["q95"] / known["q05"]).to_numpy()).all()
    assert new["extrapolated"].all()
    assert not known["extrapolated"].any()


def test_predictions_rise_with_the_threshold_and_the_level(posterior: Posterior) -> None:
    configs = pd.DataFrame({"env_id": "Known-v0", "utd": [0.1, 2.0, 50.0], "batch_size": [8, 200, 9000]})
    predicted = posterior.predict(configs.assign(learning_rate=6e-4))
    quantiles = predicted[["q05", "q10", "q25", "q50", "q75", "q90", "q95"]].to_numpy()
    assert (quantiles[:, 1:] >= quantiles[:, :-1]).all()
    by_threshold = quantiles.reshape(3, 2, -1)
    assert (by_threshold[:, 1] >= by_threshold[:, 0]).all()


def test_the_chance_to_reach_falls_with_distance_from_the_sweep_in_every_direction(posterior: Posterior) -> None:
    inside = (2.0, 256, 5e-4)
    directions = [
        (0, [4.0, 32.0, 512.0]),
        (0, [1.0, 0.03, 0.004]),
        (1, [1024, 8192, 32768]),
        (1, [64, 8, 2]),
        (2, [2.5e-3, 2e-2, 2e-1]),
        (2, [1e-4, 1e-5, 1e-6]),
    ]  # the end of the swept range, then two settings beyond
    rows = [
        inside,
        *(tuple(np.r_[inside[:axis], value, inside[axis + 1 :]]) for axis, ends in directions for value in ends),
    ]
    configs = pd.DataFrame(rows, columns=["utd", "batch_size", "learning_rate"]).assign(env_id="Known-v0")
    configs["batch_size"] = configs["batch_size"].astype(int)
    chance = posterior.predict(configs)["p_reach"].to_numpy().reshape(-1, len(THRESHOLDS))[:, -1]
    swept, near, far = chance[1:].reshape(-1, 3).T
    assert chance[0] > 0.97
    assert (swept > 0.93).all()
    assert (near < swept - 0.005).all()
    assert (far < near - 0.005).all()
    assert (far < [0.93, 0.975, 0.93, 0.975, 0.93, 0.93]).all()
    assert (posterior.predict(configs[:1].assign(utd=32.0, batch_size=4096, learning_rate=0.1))["p_reach"] < 0.6).all()


def test_a_saved_posterior_predicts_the_same(posterior: Posterior, tmp_path) -> None:
    posterior.save(tmp_path / "fit.nc")
    again = bs.load(tmp_path / "fit.nc")
    configs = pd.DataFrame({"env_id": ["Known-v0"], "utd": 2.0, "batch_size": 200, "learning_rate": 6e-4})
    pd.testing.assert_frame_equal(again.predict(configs), posterior.predict(configs))
    assert again.provenance == posterior.provenance
    assert again.status is posterior.status


def test_the_cheapest_setting_has_no_regret_without_uncertainty_and_budgets_hold(posterior: Posterior) -> None:
    size = 10_000
    choice = bs.allocate(posterior, env_id="Known-v0", threshold=300.0, model_size=size)
    assert choice.feasible
    assert choice.regret["q05"] >= 0
    within = bs.allocate(posterior, env_id="Known-v0", budget=choice.budget["mean"] * 1.01, model_size=size)
    assert within.feasible
    assert within.budget["mean"] <= choice.budget["mean"] * 1.01
    broke = bs.allocate(posterior, env_id="Known-v0", budget=choice.budget["q05"] / 100, model_size=size)
    assert not broke.feasible
    assert broke.threshold == 300.0


def test_spreads_that_grow_with_the_learning_rate_and_the_utd_and_late_stragglers_are_found(
    posterior: Posterior,
) -> None:
    design = simulated(0).drop_duplicates(["utd", "batch_size", "learning_rate"])[CONFIG].assign(seeds=8)
    growth = 0.3 * np.log(design["learning_rate"] / 5e-4) + 0.3 * np.log(design["utd"] / 2)
    rng = np.random.default_rng(4)
    runs = bs.simulate_runs(
        design,
        thresholds=[300.0],
        location=LAW.location(design)[:, :1],
        scale=NOISE * np.exp(growth.to_numpy())[:, None],
        rng=rng,
        skew=0.2,
    )
    uneven = bs.fit(
        bs.crossings_of(runs, every=500, horizon=4e5), chains=2, draws=300, warmup=300, require_convergence=False
    )

    def interval(of: Posterior, axis: str) -> np.ndarray:
        return np.quantile(of.draws[f"{axis}_noise_slope"][..., 0], [0.01, 0.99])

    for axis, least in (("rate", 0.05), ("utd", 0.0)):  # three UTDs, a factor of 4: they tell less
        low, high = interval(uneven, axis)
        assert least < low < 0.3 < high
    even = [interval(uneven, "batch"), interval(posterior, "rate"), interval(posterior, "utd")]
    assert (np.prod(even, axis=1) < 0).all()
    skew = [of.draws["skewness"][..., 0, 0] for of in (uneven, posterior)]
    assert np.quantile(skew[0], 0.01) > 0.03
    assert np.quantile(skew[1], 0.01) < 0 < np.quantile(skew[1], 0.99)  # the control: normal runs


def test_the_trend_of_the_spread_ends_with_the_swept_utds_and_the_error_of_the_law_grows(posterior: Posterior) -> None:
    configs = pd.DataFrame({"env_id": ["Known-v0", "New-v0"], "batch_size": 200, "learning_rate": 5e-4})
    some = posterior.model.add_task({n: v[0, :1] for n, v in posterior.draws.items()}, jax.random.PRNGKey(0))
    draw = {name: values[0] for name, values in some.items()}

    def spread(utd: float) -> np.ndarray:
        return np.asarray(posterior.model.run_lengths(draw, posterior.model.points(configs.assign(utd=utd))).scale)

    growth = (float(draw["error_growth"]) * np.log(2)) ** 2  # both UTDs are a factor of 2 beyond the sweep
    np.testing.assert_allclose(spread(8.0) ** 2, spread(4.0) ** 2 + growth)
    np.testing.assert_allclose(spread(0.5) ** 2, spread(1.0) ** 2 + growth)
    assert (spread(4.0) != spread(2.0)).all()


def test_the_likelihood_of_seeds_equals_its_slow_twin() -> None:
    """The likelihood of one threshold is a sum of normal log densities of runs if there is no configuration effect."""
    crossings = simulated(2).query("threshold == 300.0").reset_index(drop=True)
    model = JointModel.for_crossings(crossings)
    cells = collapse(crossings, model.env_ids)
    assert cells.weight == 1.0
    assert cells.count.sum() + len(cells.log_bound) == len(crossings)
    with numpyro.handlers.seed(rng_seed=3):
        p = model.sample_parameters()
    p |= {"configuration_effect": jnp.asarray(1e-6), "failure": jnp.full(2, -60.0), "failure_penalty": jnp.asarray(0.0)}
    p |= {"skewness": jnp.zeros_like(p["skewness"])}
    cells = dataclasses.replace(cells, skewness_precision=0 * cells.skewness_precision)
    runs = model.run_lengths(p, model.points(crossings))
    middle = (np.log(crossings["env_steps_lower"]) + np.log(crossings["env_steps_upper"])) / 2
    width2 = np.log(crossings["env_steps_upper"] / crossings["env_steps_lower"]) ** 2 / 12
    grid = width2.groupby([crossings["utd"], crossings["batch_size"], crossings["learning_rate"]]).transform("mean")
    scale = np.sqrt(np.asarray(runs.scale)[:, 0] ** 2 + grid)
    slow = norm.logpdf(middle, np.asarray(runs.location)[:, 0], scale).sum() + 0.5 * np.log(2 * np.pi) * len(middle)
    assert not crossings["censored"].any()
    assert float(model.log_likelihood(p, cells)) == pytest.approx(slow, rel=1e-6)


def test_a_run_above_the_threshold_before_training_says_nothing_of_learning() -> None:
    crossings = simulated(2).query("threshold == 300.0").reset_index(drop=True)
    model = JointModel.for_crossings(crossings)
    with numpyro.handlers.seed(rng_seed=3):
        p = model.sample_parameters()
    p |= {"failure": jnp.full(2, -60.0)}

    def slope(table: pd.DataFrame) -> float:
        cells = collapse(table, model.env_ids)
        name = "log_env_steps_at_centre"
        likelihood = jax.grad(lambda shift: model.log_likelihood(p | {name: p[name] + shift}, cells))
        return float(likelihood(0.0))

    everywhere = crossings.assign(env_steps_lower=0.0, env_steps_upper=0.0)
    assert slope(everywhere) == 0.0
    first = crossings.assign(env_steps_lower=0.0, env_steps_upper=1000.0)
    assert slope(first) < 0.0  # the control: seen first at the first evaluation, a run tells that learning is quick


def test_axes_that_do_not_vary_have_no_parameters() -> None:
    crossings = simulated(0).query("batch_size == 256 and learning_rate == 5e-4").reset_index(drop=True)
    model = JointModel.for_crossings(crossings)
    assert model.varying == ("utd",)
    with numpyro.handlers.seed(rng_seed=0):
        p = model.sample_parameters()
    assert not any(axis in name for name in p for axis in ("batch", "rate", "interaction"))


def test_a_sweep_of_one_hyperparameter_can_be_fitted() -> None:
    crossings = simulated(0, seeds=1).query("learning_rate == 5e-4").reset_index(drop=True)
    model = JointModel.for_crossings(crossings)
    assert model.varying == ("utd", "batch_size")
    with numpyro.handlers.seed(rng_seed=0):
        p = model.sample_parameters()
    cells = model.observe(crossings)
    slopes = jax.jit(jax.grad(lambda at: model.log_likelihood(at, cells)))(p)
    assert all(np.isfinite(slope).all() for slope in slopes.values())


def test_pulls_leave_the_departures_of_tasks_standard_normal() -> None:
    """Parameters keep their priors whatever coordinates are sampled: one task, one threshold, departures in spreads."""
    model = JointModel.for_crossings(simulated(0).query("threshold == 300.0"))

    def draw(key: jax.Array) -> dict[str, jax.Array]:
        with numpyro.handlers.seed(rng_seed=key), numpyro.handlers.trace() as trace:
            p = model.sample_parameters()
        return p | {"optimum_pull": trace["optimum_pull"]["value"]}

    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.PRNGKey(1), 4000))
    task, population = 0, 1
    names = ["log_batch_optimum", "log_rate_optimum", "log_batch_curvature"]
    values = {name: np.asarray(draws[name])[:, :, 0] for name in names}
    departures = {
        name: (values[name][:, task] - values[name][:, population]) / PRIORS[f"{name}.spread"].location
        for name in names
    }
    table = pd.DataFrame(departures).assign(
        mean=values["log_batch_optimum"][:, population], interaction=draws["interaction"]
    )
    for name in names[:2]:
        assert abs(table[name].mean()) < 4 / np.sqrt(4000)
        assert abs(table[name].var() - 1) < 4 * np.sqrt(2 / 4000)
    correlations = table.corr().to_numpy()[np.triu_indices(table.shape[1], 1)]
    assert abs(correlations).max() < 4 / np.sqrt(4000)
    pulls = pd.DataFrame(np.asarray(draws["optimum_pull"])[:, 0]).assign(interaction=table["interaction"])
    assert abs(pulls.var() - 1).max() > 1  # the control: the coordinates that are sampled are neither


def test_every_prior_predicts_times_that_runs_can_have() -> None:
    """Prior predictive: the middle 90% of times to the lowest threshold lie between 100 and 1e9 env steps."""
    crossings = simulated(0)
    model = JointModel.for_crossings(crossings)
    draws = prior_draws(model, jax.random.PRNGKey(0), 500)
    runs = jax.vmap(model.run_lengths, in_axes=(0, None))(draws, model.points(crossings.iloc[:2]))
    low, high = np.quantile(np.asarray(runs.location)[:, :, 0], [0.05, 0.95])
    assert np.log(100) < low < high < np.log(1e9)


def test_errors_name_the_remedy(posterior: Posterior) -> None:
    with pytest.raises(bs.InputError, match=r"returns beyond 600 need 3 fitted thresholds; got 2\. Fit more"):
        bs.frontier(posterior, env_id="Known-v0", threshold=777.0, model_size=1)
    with pytest.raises(bs.InputError, match="no model_size"):
        bs.frontier(posterior, env_id="Known-v0", threshold=300.0)
    for utd in ("fast", [1.0, "two"], [1.0, 0.0], np.array([np.nan]), []):
        with pytest.raises(bs.InputError, match="utd must be one or more numbers, finite and > 0; correct the grid"):
            bs.frontier(posterior, env_id="Known-v0", threshold=300.0, utd=utd, model_size=1)
    with pytest.raises(bs.InputError, match="no run reaches any threshold"):
        bs.fit(simulated(0, horizon=1000.0))
    there = simulated(0).assign(env_steps_lower=0.0, env_steps_upper=0.0, censored=False)
    with pytest.raises(bs.InputError, match=r"above it before their first env step; raise the thresholds\."):
        bs.fit(there)
