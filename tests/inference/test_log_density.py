"""The density of a model of three sites and what follows from them, by hand."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax import Array
from scipy.stats import halfnorm, norm

from bayescale.inference.log_density import density_of

SEEN = np.array([1.0, 2.5])


class ThreeSites:
    """Normal observations, with shares that they tell nothing of."""

    def observe(self, crossings: pd.DataFrame) -> Array:
        return jnp.asarray(crossings["x"].to_numpy())

    def sites(self) -> None:
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        numpyro.sample("shares", dist.Dirichlet(jnp.ones(3)))
        numpyro.sample("spread", dist.HalfNormal(1.0))
        numpyro.deterministic("twice", 2 * mean)

    def log_likelihood(self, sites: dict[str, Array], observations: Array) -> Array:
        log_density: Array = dist.Normal(sites["twice"], sites["spread"]).log_prob(observations).sum()
        return log_density


def log_density(mean: float, spread: float) -> float:
    """But for the shares' part; the Jacobian of exp is spread."""
    prior = norm.logpdf(mean, 0, 3) + halfnorm.logpdf(spread) + np.log(spread)
    return float(prior + norm.logpdf(SEEN, 2 * mean, spread).sum())


def test_the_potential_and_the_sites_of_a_vector_by_hand() -> None:
    density = density_of(ThreeSites())
    assert density.dimension == 4  # three shares that sum to 1 are two numbers
    one, other = (jnp.array([mean, 0.0, 0.0, np.log(spread)]) for mean, spread in ((0.5, 2.0), (-1.0, 0.7)))
    observations = jnp.asarray(SEEN)
    apart = density.potential(observations, one) - density.potential(observations, other)
    assert float(apart) == pytest.approx(log_density(-1.0, 0.7) - log_density(0.5, 2.0))
    sites = density.constrain(observations, one)
    assert {name: np.asarray(value).tolist() for name, value in sites.items()} == {
        "mean": pytest.approx(0.5),
        "shares": pytest.approx([1 / 3] * 3),
        "spread": pytest.approx(2.0),
        "twice": pytest.approx(1.0),
    }
