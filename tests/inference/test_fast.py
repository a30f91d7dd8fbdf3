"""The fast method beside full sampling, and what it does where its chains disagree."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

import bayescale as bs
from bayescale.inference import sampling as inference
from bayescale.inference.chains import compile_chain, run_chains
from bayescale.inference.laplace import Laplace
from bayescale.inference.log_density import Density
from bayescale.inference.sampling import Status
from tests.scaffolding.simulated_curves import simulated_crossings

CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]


def test_fast_intervals_end_within_a_tenth_of_those_of_full_sampling():
    table = simulated_crossings()
    fast, full = bs.fit(table, method="fast"), bs.fit(table)
    assert fast.status is Status.APPROXIMATE
    assert fast.require_convergence() is fast
    assert (fast.provenance["method"], full.provenance["method"]) == ("fast", "nuts")
    configs = table[CONFIG].drop_duplicates()
    ends = ["q05", "q95", "law_q05", "law_q95"]
    ratio = fast.predict(configs)[ends] / full.predict(configs)[ends]
    assert (abs(ratio - 1) < 0.1).all(axis=None)
    elsewhere = fast.predict(configs.assign(utd=4 * configs["utd"]))[ends] / full.predict(configs)[ends]
    assert (abs(elsewhere - 1) > 0.1).any(axis=None)  # the control that must fail: predictions for other configurations


def test_short_chains_draw_from_a_density_whose_scales_the_whitening_missed():
    scales = jnp.array([0.4, 1.0, 2.0])  # with trajectories of one length, 3 turns of the first come back to its start
    density = Density(lambda centre, z: 0.5 * jnp.sum(((z - centre) / scales) ** 2), lambda _, z: {"z": z}, 3)
    centre = jnp.array([1.0, -2.0, 0.0])
    slope = partial(jax.jit(jax.value_and_grad(density.potential, argnums=1)), centre)
    with ThreadPoolExecutor(1) as pool:
        chain = compile_chain(density, centre, inference.FAST, pool)
        at_mode = Laplace(np.asarray(centre), np.eye(3), 0.0)
        draws, statistics = next(run_chains(chain, slope, at_mode, jax.random.PRNGKey(0), 4, 2_000, lambda _: None))
    z = ((draws - centre) / scales).reshape(-1, 3)[::4].T
    assert min(kstest(one, "norm").pvalue for one in z) > 1e-3
    assert kstest(1.3 * z[1], "norm").pvalue < 1e-3  # the control that must fail: a scale off by 30%
    assert len(np.unique(statistics["num_steps"])) > 2


def test_chains_that_disagree_are_said_to_and_sampled_in_full(monkeypatch):
    monkeypatch.setattr(inference, "FAST_R_HAT", 0.9)
    with pytest.warns(UserWarning, match="the fast chains disagree: sampling in full"):
        posterior = bs.fit(
            simulated_crossings(), chains=2, draws=30, warmup=30, method="fast", require_convergence=False
        )
    assert posterior.provenance["method"] == "nuts"
    assert posterior.statistics["num_steps"].shape == (2, 30)


def test_an_unknown_method_is_refused():
    with pytest.raises(bs.InputError, match="method must be one of nuts, fast; got 'slow'"):
        bs.fit(simulated_crossings(), method="slow")
