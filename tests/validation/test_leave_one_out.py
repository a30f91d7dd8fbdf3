"""Test leave-one-configuration-out scores against a conjugate model, and against a fit without a configuration."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import bayescale as bs
from bayescale.inference.arviz_compat import smoothed_weights
from bayescale.inference.convergence import Status
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation.leave_one_out import RELIABLE, _log_likelihoods, _log_score, _observe_each, leave_one_out
from tests.scaffolding.bare_model import BareModel
from tests.scaffolding.prior_posterior import prior_posterior
from tests.scaffolding.simulated_curves import simulated_curves

SPREAD = 0.3  # known spread of log env steps around their mean
STEP = 1e-3  # log env steps between evaluations


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Observed:
    log_steps: np.ndarray
    weight: float
    reached: None = None


@dataclass(frozen=True)
class OneLevel(BareModel):
    """A model with one mean for all configurations and a flat prior, so that its posterior is known."""

    env_ids: tuple[str, ...] = ("A",)
    thresholds: tuple[float, ...] = (1.0,)

    def observe(self, crossings):
        return Observed(np.log(crossings["env_steps_upper"].to_numpy(float)) - STEP / 2, 1.0)

    def observe_each(self, tables):
        return [replace(self.observe(table), weight=0.1) for table in tables]

    def log_likelihood(self, sites, observed):
        return -observed.weight * ((observed.log_steps - sites["level"]) ** 2).sum() / (2 * SPREAD**2)

    def points(self, configs):
        return jnp.zeros(len(configs))

    def run_lengths(self, sites, points):
        location = sites["level"] + points[:, None]
        return RunLengthDistribution(
            location, jnp.full_like(location, SPREAD), jnp.zeros_like(location), jnp.ones_like(location)
        )

    def add_task(self, draws, _):
        return {name: jnp.asarray(values) for name, values in draws.items()}


def one_level(times):
    """Return the exact posterior of runs with these log env steps, one at each UTD."""
    upper = np.exp(np.asarray(times) + STEP / 2)
    crossings = pd.DataFrame({"env_id": "A", "utd": np.arange(1.0, len(times) + 1), "batch_size": 8})
    crossings = crossings.assign(learning_rate=1e-3, seed=0, algorithm="SAC", threshold=1.0, censored=False)
    crossings = crossings.assign(env_steps_lower=upper * np.exp(-STEP), env_steps_upper=upper)
    level = np.mean(times) + SPREAD / np.sqrt(len(times)) * norm.ppf((np.arange(4000) + 0.5) / 4000)
    level = np.random.default_rng(0).permutation(level).reshape(4, 1000)
    return Posterior(OneLevel(), {"level": level}, {}, crossings, Status.CONVERGED, {})


def exact(times, i, without):
    """Return the log predictive density of run i, under the posterior of all runs or of the other runs."""
    known = np.delete(times, i) if without else times
    return norm.logpdf(times[i], np.mean(known), SPREAD * np.sqrt(1 + 1 / len(known)))


def test_the_weighted_draws_are_those_of_the_posterior_without_a_configuration():
    times = np.random.default_rng(1).normal(9.0, SPREAD, 12)
    table = leave_one_out(one_level(times))
    assert table["utd"].tolist() == list(range(1, 13))
    assert table["observations"].tolist() == [1] * 12
    without, within = (np.array([exact(times, i, way) for i in range(12)]) for way in (True, False))
    np.testing.assert_allclose(table["log_score"], without, atol=0.02)
    assert abs(within - without).max() > 0.1  # control: unweighted draws score differently
    assert table["pareto_k"].max() < RELIABLE


def test_a_configuration_that_alone_says_where_the_draws_lie_is_not_to_be_trusted():
    table = leave_one_out(one_level(np.array([9.0, 9.1, 12.0])))
    assert table["pareto_k"].iloc[2] > RELIABLE
    assert leave_one_out(one_level(np.array([9.0, 9.1, 9.05]))).loc[2, "pareto_k"] < table["pareto_k"].iloc[2]


def test_censored_runs_and_those_before_the_first_evaluation_count_by_their_chance():
    posterior = one_level(np.array([9.0, 9.1, 8.9, 9.2]))
    rows = posterior.crossings.copy()
    rows.loc[0, ["env_steps_lower", "env_steps_upper", "censored"]] = np.exp(9.1), np.inf, True
    rows.loc[1, ["env_steps_lower", "env_steps_upper"]] = 0.0, np.exp(9.2)
    rows.loc[2, ["env_steps_lower", "env_steps_upper"]] = 0.0, 0.0
    model = replace_observed(posterior.model, np.array([9.0, 9.1, 8.9, 9.2]))
    table = leave_one_out(replace(posterior, crossings=rows.astype({"censored": bool}), model=model))
    spread = SPREAD * np.sqrt(1 + 1 / 3)
    assert table["log_score"][0] == pytest.approx(norm.logsf(9.1, np.mean([9.1, 8.9, 9.2]), spread), abs=0.02)
    assert table["log_score"][1] == pytest.approx(norm.logcdf(9.2, np.mean([9.0, 8.9, 9.2]), spread), abs=0.02)
    assert np.isnan(table["log_score"][2])
    assert table["observations"].tolist() == [1, 1, 0, 1]


def replace_observed(model, times):
    """Return the model with these log env steps as its observations, by UTD."""

    @dataclass(frozen=True)
    class Given(type(model)):
        def observe(self, crossings):
            return Observed(times[crossings["utd"].to_numpy(int) - 1], 1.0)

    return Given()


@pytest.mark.usefixtures("jax_float64")
def test_the_likelihoods_of_configurations_add_up_to_that_of_all():
    posterior = prior_posterior()
    crossings = posterior.crossings.sort_values("seed", kind="stable").reset_index(drop=True)
    model, draws = posterior.model, posterior.flat_draws(2)
    keys = ["env_id", "utd", "batch_size", "learning_rate"]
    tables = [table for _, table in crossings.groupby(keys, sort=False)]
    each = np.stack([_log_likelihoods(model, draws, one) for one in _observe_each(model, crossings, tables)])
    assert each.shape == (16, 2)
    total = _log_likelihoods(model, draws, model.observe(crossings))
    np.testing.assert_allclose(each.sum(axis=0), total, rtol=1e-9)


def test_smoothed_weights_favour_the_largest_ratios_and_sum_to_one():
    ratios = np.random.default_rng(0).normal(size=(2, 1000))
    weights, pareto_k = smoothed_weights(ratios)
    assert weights.sum(axis=1) == pytest.approx([1, 1])
    assert weights.argmax(axis=1).tolist() == ratios.argmax(axis=1).tolist()
    assert (np.corrcoef(weights[0], np.exp(ratios[0]))[0, 1], pareto_k.max() < RELIABLE) == (
        pytest.approx(1, abs=0.01),
        True,
    )


def test_a_configuration_scores_as_by_a_fit_without_it_and_not_as_by_the_fit_with_it():
    curves = simulated_curves()
    crossings = bs.time_to_threshold(curves[curves["env_id"] == "Ant-v4"], thresholds=[500.0])
    options = {"chains": 2, "draws": 500, "warmup": 300, "require_convergence": False}
    fitted = bs.fit(crossings, **options)
    table = leave_one_out(fitted)
    keys = ["env_id", "utd", "batch_size", "learning_rate"]

    def score(posterior, i):
        mine = (crossings[keys] == table.loc[i, keys]).all(axis=1)
        draws = posterior.flat_draws()
        return _log_score(posterior, table.loc[[i], keys], crossings[mine], np.full(1000, 1 / 1000), draws)

    trusted = table.index[table["pareto_k"] <= RELIABLE]
    seen = pd.Series({i: score(fitted, i) for i in trusted})
    # Take the configuration whose own runs raise its score most, by at least 0.3.
    i = (seen - table["log_score"][trusted]).idxmax()
    rest = crossings[(crossings[keys] != table.loc[i, keys]).any(axis=1)].reset_index(drop=True)
    unseen = score(bs.fit(rest, **options), i)
    assert abs(table.loc[i, "log_score"] - unseen) < (seen[i] - unseen) / 3
