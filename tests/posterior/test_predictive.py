"""Test quantiles of new runs against a slow twin that finds each quantile by root finding."""

import numpy as np
import pytest
from scipy.optimize import brentq

from bayescale.posterior import predictive
from bayescale.posterior.prediction_table import QUANTILE_LEVELS
from bayescale.posterior.predictive import mixture_quantiles
from bayescale.run_length_distribution import RunLengthDistribution
from tests.scaffolding.prior_posterior import prior_posterior

POINTS, DRAWS = 6, 150


def mixture(kind):
    """Return run-length distributions by draw, point and threshold, of a named shape."""
    rng = np.random.default_rng(0)
    shape = DRAWS, POINTS, 2
    location = np.array([10.0, 11.0]) + rng.standard_normal(shape) * np.geomspace(0.02, 2.0, POINTS)[:, None]
    scale = np.exp(rng.normal(-1.5, 0.5, shape))
    p_reach = np.full(shape, 0.999)
    if kind == "skewed":
        location += rng.exponential(1.0, shape)
    if kind == "two humps":
        location += 2.5 * (rng.random((DRAWS, 1, 1)) < 0.3)
    if kind == "failing":
        p_reach = rng.beta(3.0, 1.2, shape)
    skew = rng.uniform(-0.1, 0.2, shape) if kind == "skewed" else np.zeros(shape)
    return RunLengthDistribution(location, scale, skew, p_reach)


def by_root_finding(distribution):
    """Return log env steps at each quantile level by root finding, not decreasing in threshold; inf without a root."""
    out = np.full((POINTS, 2, len(QUANTILE_LEVELS)), np.inf)
    for point, threshold, at in np.ndindex(out.shape):
        here = RunLengthDistribution(*(part[:, point, threshold] for part in distribution))

        def excess(x, here=here, at=at):
            return float(here.reached_by(x).mean() - QUANTILE_LEVELS[at])

        if here.p_reach.mean() > QUANTILE_LEVELS[at]:
            out[point, threshold, at] = brentq(excess, -100.0, 200.0)
    return np.maximum.accumulate(out, axis=1)


@pytest.mark.usefixtures("jax_float64")
@pytest.mark.parametrize("kind", ["plain", "skewed", "two humps", "failing"])
def test_quantiles_of_a_mixture_equal_their_slow_twin(kind):
    distribution = mixture(kind)
    slow, fast = (
        by_root_finding(distribution),
        np.log(np.asarray(mixture_quantiles(distribution, QUANTILE_LEVELS))),
    )
    spread = np.sqrt(distribution.location.var(axis=0) + (distribution.scale**2).mean(axis=0))[..., None]
    assert (np.isinf(fast) == np.isinf(slow)).all()
    assert np.isinf(slow).any() == (kind == "failing")
    reached = np.isfinite(slow)
    error = abs(np.where(reached, fast, 0.0) - np.where(reached, slow, 0.0)) / spread
    assert error.max() < 0.005
    normal = (
        distribution.location.mean(axis=0)[..., None] - 1.645 * spread
    )  # this control must fail: one normal distribution in place of the mixture
    assert kind == "plain" or (abs(normal[..., 0] - slow[..., 0]) / spread[..., 0]).max() > 0.05


def test_predictions_do_not_depend_on_the_chunk_size(monkeypatch):
    posterior = prior_posterior()
    configs = posterior.crossings[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates().head(11)
    monkeypatch.setattr(predictive, "CHUNK", 4)
    together = posterior.predict(configs)
    monkeypatch.setattr(predictive, "CHUNK", 1)
    alone = posterior.predict(configs)
    assert len(together) == 22
    assert (together.drop(columns=together.columns[5:]) == alone.drop(columns=alone.columns[5:])).all(axis=None)
    np.testing.assert_allclose(together.iloc[:, 5:15].to_numpy(float), alone.iloc[:, 5:15].to_numpy(float), rtol=1e-5)
    distribution = predictive.run_lengths(posterior.model, posterior.flat_draws(), configs)
    law = np.exp(np.quantile(distribution.location, [0.05, 0.5, 0.95], axis=0)).reshape(3, -1).T
    np.testing.assert_allclose(together[["law_q05", "law_q50", "law_q95"]], law)
    np.testing.assert_allclose(together["p_reach"], distribution.p_reach.mean(axis=0).ravel())
