import signal
import threading
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

import bayescale as bs
from bayescale.inference import sampling
from bayescale.inference.chains import Tuning
from bayescale.inference.convergence import LEAST_DRAWS, Status, diagnose, unconverged
from tests.scaffolding.prior_posterior import sweep
from tests.scaffolding.simulated_curves import simulated_crossings

RNG = np.random.default_rng(0)


def test_what_cannot_be_judged_has_not_converged():
    """A chain that never moved has no R-hat, which is no sign of convergence. The control moves."""
    table = diagnose({"stuck": np.ones((4, 500)), "moving": RNG.standard_normal((4, 500))})
    assert np.isnan(table.loc["stuck", "r_hat"])
    assert unconverged(table, 4) == ("stuck",)


@pytest.mark.parametrize("draws", [LEAST_DRAWS, LEAST_DRAWS + 1, 501])
def test_one_chain_is_judged_by_its_halves(draws):
    moving = RNG.standard_normal((1, draws))
    drifting = moving + np.linspace(0, 20, draws)
    table = diagnose({"moving": moving, "drifting": drifting})
    assert np.isfinite(table.to_numpy()).all()
    assert table.loc["drifting", "r_hat"] > 1.5 > table.loc["moving", "r_hat"]


def test_too_few_draws_to_judge_are_refused():
    with pytest.raises(bs.InputError, match=rf"draws must be at least {LEAST_DRAWS}; got {LEAST_DRAWS - 1}\. Raise it"):
        bs.fit(sweep(), draws=LEAST_DRAWS - 1)


def test_chains_go_on_until_they_have_converged():
    """Two hundred draws cannot hold four hundred effective draws; the control may not take more."""
    table = simulated_crossings()
    with pytest.raises(bs.NotConverged, match="not converged"):
        bs.fit(table, draws=50, most_draws=50)
    posterior = bs.fit(table, draws=50, most_draws=2_000)
    chains, draws = posterior.draws["configuration_effect"].shape
    assert (chains, draws % 50) == (4, 0)
    assert draws > 50
    assert posterior.statistics["diverging"].shape == (chains, draws)
    assert posterior.status is Status.CONVERGED
    short = bs.fit(table, draws=50, require_convergence=False)
    for name, values in short.draws.items():
        assert values.shape[:2] == (4, 50)
        np.testing.assert_array_equal(values, posterior.draws[name][:, :50])


def test_ctrl_c_ends_the_chains_within_a_block(monkeypatch):
    """Chains that ignored Ctrl-C would run to the end of their hundred thousand draws."""
    blocks = []

    def interrupt(done):
        blocks.append(done)
        if len(blocks) == 2:  # the first call counts the iterations of a checkpoint: none
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr(sampling, "sampling_progress", lambda _: nullcontext((interrupt, lambda _: None)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore SIGINT
    try:
        with pytest.raises(KeyboardInterrupt):
            bs.fit(simulated_crossings(), chains=4, draws=100_000)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(blocks) <= 50


def test_chains_whose_draws_diverge_start_again_with_smaller_steps(monkeypatch):
    """The first attempt takes far too long steps; the control may not take more draws than these."""
    monkeypatch.setattr(sampling, "Tuning", partial(Tuning, target_acceptance=0.1))
    table = simulated_crossings()
    with pytest.raises(bs.NotConverged, match="diverged"):
        bs.fit(table, draws=300, most_draws=300)
    with pytest.warns(UserWarning, match="too many draws diverged: sampling anew in shorter steps"):
        posterior = bs.fit(table, draws=300)
    assert posterior.status is Status.CONVERGED
    assert posterior.statistics["accept_prob"].mean() > 0.9


def test_fewer_draws_at_most_than_at_first_are_refused():
    with pytest.raises(bs.InputError, match="most_draws must be at least 100; got 50"):
        bs.fit(sweep(), draws=100, most_draws=50)
