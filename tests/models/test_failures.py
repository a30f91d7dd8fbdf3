"""Test the chance to reach a threshold where runs diverge."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

THRESHOLDS = (300.0, 600.0)
SETTINGS = ["env_id", "utd", "batch_size", "learning_rate"]
UTDS = (1.0, 2.0, 4.0)
RATES = (2e-4, 6e-4)
HORIZON = 1e6


def sweep(*env_ids: str) -> pd.DataFrame:
    """Return crossings of two runs at each setting; every median run reaches both thresholds well before the end."""
    grid = itertools.product(env_ids, UTDS, [256], RATES)
    design = pd.DataFrame(grid, columns=SETTINGS).assign(algorithm="SAC", seeds=2)
    law = bs.KnownLaw(env_steps=(4e4, 9e4), utd_ref=2.0)
    rng = np.random.default_rng(0)
    runs = bs.simulate_runs(design, thresholds=THRESHOLDS, location=law.location(design), scale=0.2, rng=rng)
    return bs.crossings_of(runs, every=2000, horizon=HORIZON).assign(status="finished")


def p_reach(posterior: bs.Posterior, env_id: str, *settings: tuple[float, int, float]) -> np.ndarray:
    """Return the chance to reach each threshold at (UTD, batch size, learning rate)."""
    at = pd.DataFrame([(env_id, *setting) for setting in settings], columns=SETTINGS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "none of 12 runs on Never-v0 reached 300")
        table = posterior.predict(at)
    return table["p_reach"].to_numpy().reshape(len(settings), len(THRESHOLDS))


@pytest.fixture(scope="module")
def posterior() -> bs.Posterior:
    """Fit a task of which all runs at UTD 4 diverge, and one of which no run reaches a threshold."""
    table = sweep("Edge-v0", "Never-v0")
    diverged = (table["env_id"] == "Edge-v0") & (table["utd"] == 4)
    never = table["env_id"] == "Never-v0"
    table.loc[diverged, "status"] = "diverged"
    table.loc[diverged, "env_steps_lower"] = 4000.0
    table.loc[never, "env_steps_lower"] = HORIZON
    table.loc[diverged | never, "env_steps_upper"] = np.inf
    table["censored"] = diverged | never
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        fitted = bs.fit(table, chains=2, draws=300, warmup=300, require_convergence=False)
    said = [str(one.message) for one in heard]
    assert (
        said[0] == "4 of 24 runs diverged: Edge-v0, UTD 4, learning rate 0.0002: 2 of 2; Edge-v0, UTD 4, learning rate "
        "0.0006: 2 of 2."
    )
    assert len(said) == 3  # the other two: failed settings, a task that reached nothing
    return fitted


def test_a_setting_at_which_every_run_diverged_has_a_low_chance_and_its_neighbours_a_high_one(
    posterior: bs.Posterior,
) -> None:
    below, edge, beyond = p_reach(posterior, "Edge-v0", *((utd, 256, 3e-4) for utd in (1.0, 4.0, 8.0)))
    assert (below > 0.9).all()
    assert (edge < 0.35).all()
    assert (beyond < edge).all()


def test_a_task_that_nothing_learnt_has_a_low_chance_wherever_it_is_asked(posterior: bs.Posterior) -> None:
    settings = [(utd, 256, rate) for utd in (1.0, 2.0, 4.0) for rate in RATES]
    assert (p_reach(posterior, "Never-v0", *settings) < 0.1).all()
    learnt = p_reach(posterior, "Edge-v0", *settings[:2])  # the control: the population says the opposite
    assert (learnt > 0.9).all()
