"""Compare the sampling methods with each other, and check what the fast one does when its chains disagree."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

import bayescale as bs
from bayescale.inference import convergence, sampling
from bayescale.inference.chains import compile_chain, run_chains
from bayescale.inference.convergence import Status
from bayescale.inference.laplace import Laplace
from bayescale.inference.log_density import Density
from tests.scaffolding.simulated_curves import simulated_crossings

CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]


def test_fast_intervals_end_within_a_tenth_of_the_intervals_of_full_sampling():
    table = simulated_crossings()
    fast, full = bs.fit(table, method="fast"), bs.fit(table)
    assert fast.status is Status.APPROXIMATE
    assert fast.require_convergence() is fast
    assert (fast.provenance["method"], full.provenance["method"]) == ("fast", "hmc")
    configs = table[CONFIG].drop_duplicates()
    ends = ["q05", "q95", "law_q05", "law_q95"]
    ratio = fast.predict(configs)[ends] / full.predict(configs)[ends]
    assert (abs(ratio - 1) < 0.1).all(axis=None)
    elsewhere = fast.predict(configs.assign(utd=4 * configs["utd"]))[ends] / full.predict(configs)[ends]
    assert (abs(elsewhere - 1) > 0.1).any(axis=None)  # the control that must fail: predictions for other configurations


def test_hmc_and_nuts_agree_to_sampling_error():
    table = simulated_crossings()
    hmc, nuts = bs.fit(table), bs.fit(table, method="nuts", warmup=500)
    assert (hmc.provenance["method"], nuts.provenance["method"]) == ("hmc", "nuts")
    one, other = hmc.diagnostics(), nuts.diagnostics()
    error = np.sqrt(one["sd"] ** 2 / one["ess_bulk"] + other["sd"] ** 2 / other["ess_bulk"])
    assert (abs(one["mean"] - other["mean"]) / error).max() < 4.5  # the largest of about a hundred normal deviates
    assert (abs(one["mean"] + 0.1 * one["sd"] - other["mean"]) / error).max() > 4.5  # the control that must fail
    assert (abs(np.log(one["sd"] / other["sd"])) < 0.15).all()


@pytest.mark.usefixtures("jax_float64")
def test_short_chains_draw_from_a_density_whose_scales_the_root_missed():
    scales = jnp.array([0.4, 1.0, 2.0])  # the first direction would return to its start after 3 turns of one length

    def potential(centre, z):
        return 0.5 * jnp.sum(((z - centre) / scales) ** 2)

    density = Density(potential, jax.jit(jax.value_and_grad(potential, argnums=1)), lambda z: {"z": z}, 3)
    centre = jnp.array([1.0, -2.0, 0.0])
    value_and_grad = partial(density.value_and_grad, centre)
    with ThreadPoolExecutor(1) as pool:
        chain = compile_chain(density, centre, sampling.FAST, pool)
        approximation, key = Laplace(np.asarray(centre), np.eye(3), 0.0), jax.random.PRNGKey(0)
        draws, statistics = next(run_chains(chain, value_and_grad, approximation, key, 4, 2_000, lambda _: None))
    z = ((draws - centre) / scales).reshape(-1, 3)[::4].T
    assert min(kstest(one, "norm").pvalue for one in z) > 1e-3
    assert kstest(1.3 * z[1], "norm").pvalue < 1e-3  # the control that must fail: a scale off by 30%
    assert len(np.unique(statistics["num_steps"])) > 2


def test_chains_that_disagree_give_a_warning_and_are_sampled_in_full(monkeypatch):
    monkeypatch.setattr(convergence, "FAST_R_HAT", 0.9)
    with pytest.warns(UserWarning, match="the fast chains disagree: sampling in full"):
        posterior = bs.fit(
            simulated_crossings(), chains=2, draws=30, warmup=30, method="fast", require_convergence=False
        )
    assert posterior.provenance["method"] == "hmc"
    assert posterior.statistics["num_steps"].shape == (2, 30)


def test_short_chains_with_too_few_effective_draws_go_on(monkeypatch):
    monkeypatch.setattr(sampling, "FAST_DRAWS", 60)
    monkeypatch.setattr(convergence, "FAST_ESS_PER_CHAIN", 61)
    posterior = bs.fit(simulated_crossings(), method="fast")
    assert posterior.status is convergence.Status.APPROXIMATE
    assert posterior.statistics["num_steps"].shape in ((4, 120), (4, 180))


def test_an_unknown_method_is_refused():
    with pytest.raises(bs.InputError, match="method must be one of hmc, fast, nuts; got 'slow'"):
        bs.fit(simulated_crossings(), method="slow")
