"""Compare the density of a model with three sites, and the parameters at a vector, with values worked out by hand."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax import Array
from scipy.stats import halfnorm, norm

from bayescale.inference.log_density import density_of
from tests.scaffolding.bare_model import BareModel

SEEN = np.array([1.0, 2.5])


class ThreeSites(BareModel):
    """Normal observations, and shares that the observations do not inform."""

    def observe(self, crossings: pd.DataFrame) -> Array:
        return jnp.asarray(crossings["x"].to_numpy())

    def sample_parameters(self) -> dict[str, Array]:
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        shares = numpyro.sample("shares", dist.Dirichlet(jnp.ones(3)))
        spread = numpyro.sample("spread", dist.HalfNormal(1.0))
        return {"mean": mean, "shares": shares, "spread": spread, "twice": 2 * mean}

    def log_likelihood(self, p: dict[str, Array], observed: Array) -> Array:
        log_density: Array = dist.Normal(p["twice"], p["spread"]).log_prob(observed).sum()
        return log_density


def log_density(mean: float, spread: float) -> float:
    """Return the log density without the term of the shares; the Jacobian of exp is spread."""
    prior = norm.logpdf(mean, 0, 3) + halfnorm.logpdf(spread) + np.log(spread)
    return float(prior + norm.logpdf(SEEN, 2 * mean, spread).sum())


@pytest.mark.usefixtures("jax_float64")
def test_the_potential_and_the_parameters_of_a_vector_by_hand() -> None:
    density = density_of(ThreeSites())
    assert density.dimension == 4  # three shares that sum to 1 are two numbers
    one, other = (jnp.array([mean, 0.0, 0.0, np.log(spread)]) for mean, spread in ((0.5, 2.0), (-1.0, 0.7)))
    observed = jnp.asarray(SEEN)
    difference = density.potential(observed, one) - density.potential(observed, other)
    assert float(difference) == pytest.approx(log_density(-1.0, 0.7) - log_density(0.5, 2.0))
    parameters = density.constrain(one)
    assert {name: np.asarray(value).tolist() for name, value in parameters.items()} == {
        "mean": pytest.approx(0.5),
        "shares": pytest.approx([1 / 3] * 3),
        "spread": pytest.approx(2.0),
        "twice": pytest.approx(1.0),
    }
