"""Test that the chance of failure is calibrated over simulated sweeps whose runs diverge at large UTDs and rates.

The prior draws of the model are weighted by how likely they make the runs that reached and those that diverged. Run
lengths play no part, so no chain is needed.
"""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from bayescale.float64 import float64
from bayescale.inference.model import prior_draws
from bayescale.models import JointModel
from bayescale.posterior.predictive import run_lengths

SETTINGS = ["env_id", "utd", "batch_size", "learning_rate"]
UTDS, RATES, SEEDS = np.array([0.5, 1.0, 2.0, 4.0]), np.array([1e-4, 3e-4, 1e-3, 3e-3]), 2
SWEEPS, DRAWS = 100, 20_000


def grid(utds: np.ndarray, rates: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(itertools.product(["A-v0"], utds, [256], rates), columns=SETTINGS)


SWEPT = grid(UTDS, RATES)
BETWEEN = grid(np.sqrt(UTDS[1:] * UTDS[:-1]), np.sqrt(RATES[1:] * RATES[:-1]))
BEYOND = grid(2 * UTDS[-1:], RATES)
AT = pd.concat([SWEPT, BETWEEN, BEYOND], ignore_index=True)
WHERE = np.repeat(["swept", "between", "beyond"], [len(SWEPT), len(BETWEEN), len(BEYOND)])


def true_chances(rng: np.random.Generator) -> np.ndarray:
    """Return the chance of failure at each setting: a hard or a soft edge of stability, anywhere or beyond the grid."""
    logs = np.log(AT[["utd", "learning_rate"]].to_numpy()) - np.log([1.4, 5e-4])
    steepness = rng.choice([20.0, rng.uniform(1.0, 3.0)])
    return 0.003 + 0.997 * expit(steepness * (logs @ rng.uniform([0.0, 0.3], [1.2, 1.2]) - rng.uniform(0.2, 3.5)))


@pytest.fixture(scope="module")
def assessed() -> pd.DataFrame:
    """Return the true chance of failure, and the predicted one with and without the failures, of each new run."""
    model = JointModel.for_crossings(SWEPT.assign(threshold=500.0))
    with float64():
        draws = prior_draws(model, jax.random.PRNGKey(0), DRAWS)
    reach = run_lengths(model, draws, AT).p_reach[:, :, 0].clip(1e-12, 1 - 1e-12)
    log_reach, log_fail = np.log(reach[:, : len(SWEPT)]), np.log1p(-reach[:, : len(SWEPT)])
    rng = np.random.default_rng(0)
    rows = []
    for sweep in range(SWEEPS):
        true = true_chances(rng)
        failed = rng.binomial(SEEDS, true[: len(SWEPT)])
        row = {"sweep": sweep, "where": WHERE, "true": true, "share": failed.mean() / SEEDS}
        reached = log_reach @ (SEEDS - failed)
        for name, log_weight in (("predicted", reached + log_fail @ failed), ("control", reached)):
            weight = np.exp(log_weight - log_weight.max())
            row[name] = weight @ (1 - reach) / weight.sum()
        rows.append(pd.DataFrame(row))
    return pd.concat(rows, ignore_index=True)


def brier(assessed: pd.DataFrame, name: str) -> float:
    """Return the expected Brier score of a predicted chance of failure."""
    return float((assessed["true"] * (1 - assessed[name]) ** 2 + (1 - assessed["true"]) * assessed[name] ** 2).mean())


def bias_in_bins(assessed: pd.DataFrame, name: str) -> pd.Series:
    """Return the mean predicted chance of failure less the true one, in bins of the predicted one."""
    bins = pd.cut(assessed[name], [0, 0.1, 0.3, 0.7, 1.0])
    return (assessed[name] - assessed["true"]).groupby(bins, observed=True).mean()


def test_the_simulated_sweeps_have_from_no_failures_to_more_than_half(assessed: pd.DataFrame) -> None:
    assert assessed["share"].min() == 0
    assert assessed["share"].max() > 0.5


def test_the_chance_of_failure_is_calibrated_and_that_of_a_fit_that_ignores_failures_is_not(
    assessed: pd.DataFrame,
) -> None:
    """Each bin holds tens of cells of some ten sweeps; their mean true chances have standard errors up to 0.03."""
    assert abs(bias_in_bins(assessed, "predicted")).max() < 0.1
    assert (abs(assessed["predicted"] - assessed["true"]).mean()) < 0.08
    control = assessed[assessed["true"] > 0.3]
    assert (control["control"] - control["true"]).mean() < -0.5  # the control that must fail
    for where, own in assessed.groupby("where"):
        assert abs(own["predicted"].mean() - own["true"].mean()) < (0.1 if where == "beyond" else 0.03)
        assert own["control"].mean() < own["true"].mean() - 0.08


def test_the_brier_score_is_near_that_of_the_truth(assessed: pd.DataFrame) -> None:
    best = brier(assessed, "true")
    assert brier(assessed, "predicted") < best + 0.02
    assert brier(assessed, "control") > best + 0.06  # the control that must fail
