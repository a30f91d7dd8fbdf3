"""Test what `replicate` simulates and follows, for a model with known runs and fits with known draws."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax import Array

import bayescale as bs
from bayescale.inference.sampling import DrawsByTable
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation import calibration
from tests.scaffolding.bare_model import BareModel

DESIGN = pd.DataFrame({"env_id": "A-v0", "utd": [1.0, 2.0], "batch_size": 256, "learning_rate": 5e-4, "seeds": 2})
AT = DESIGN.drop(columns="seeds").assign(utd=[4.0, 8.0])
MIDDLE = np.log([10.0, 1e5, 2e5])  # env steps at UTD 1: before the first evaluation, after it, and never


class KnownRuns(BareModel):
    """A model with one level for all configurations, and two numbers that have no effect."""

    env_ids = ("A-v0",)
    thresholds = (300.0, 500.0, 600.0)

    def observe(self, crossings: pd.DataFrame) -> pd.DataFrame:
        return crossings

    def observe_each(self, tables: Sequence[pd.DataFrame]) -> Sequence[pd.DataFrame]:
        return tables

    def sample_parameters(self) -> dict[str, Array]:
        level = numpyro.sample("level", dist.Normal(0.0, 0.2))
        return {"idle": numpyro.sample("idle", dist.Normal(0.0, 5.0).expand([1, 2])), "level": level}

    def population(self, draws: dict[str, Array]) -> dict[str, Array]:
        return {"level": draws["level"]}

    def log_likelihood(self, sites: dict[str, Array], _: pd.DataFrame) -> Array:
        return 0.0 * sites["level"]

    def points(self, configs: pd.DataFrame) -> Array:
        return jnp.log(configs["utd"].to_numpy())[:, None] + MIDDLE

    def run_lengths(self, sites: dict[str, Array], points: Array) -> RunLengthDistribution:
        even = jnp.ones_like(points)
        return RunLengthDistribution(
            points + sites["level"], 0.01 * even, 0.05 * even, even * jnp.array([1.0, 1.0, 0.0])
        )

    def shared_variance(self, sites: dict[str, Array]) -> Array:
        return jnp.exp(-(sites["level"] ** 2))


def test_data_sets_and_what_is_followed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated: list[dict[str, Any]] = []

    def remember(design: pd.DataFrame, **arguments: Any) -> pd.DataFrame:
        simulated.append(arguments)
        return bs.simulate_runs(design, **arguments)

    def fits(_: KnownRuns, tables: Sequence[pd.DataFrame], seed: int, draws: int, warmup: int) -> DrawsByTable:
        assert (len(tables), draws, warmup) == (2, 3, 7)
        sites = {"idle": np.arange(12.0).reshape(2, 3, 1, 2), "level": np.arange(6.0).reshape(2, 3)}
        return DrawsByTable(sites, np.array([[True, False, False], [False, False, False]]))

    monkeypatch.setattr(calibration, "simulate_runs", remember)
    monkeypatch.setattr(calibration, "sample_each", fits)
    rng = np.random.default_rng(0)
    made = bs.replicate(
        KnownRuns(),
        design=DESIGN,
        every=2000,
        horizon=1e6,
        rng=rng,
        datasets=2,
        at=AT,
        correlation=0.4,
        draws=3,
        warmup=7,
    )

    level = made.true["level"].to_numpy()
    assert level[0] != level[1]
    for own, given in zip(level, simulated, strict=True):
        assert (given["thresholds"], given["correlation"]) == ((300.0, 500.0, 600.0), 0.4)
        assert given["shared"] == pytest.approx(np.exp(-(own**2)))
        np.testing.assert_allclose(given["location"], own + MIDDLE + np.log([[1.0], [2.0]]))
        for name, by_threshold in (("scale", 0.01), ("skew", 0.05), ("p_reach", [1.0, 1.0, 0.0])):
            np.testing.assert_allclose(given[name], np.broadcast_to(by_threshold, (2, 3)))
    assert made.reached.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert made.diverged.tolist() == pytest.approx([1 / 3, 0.0])

    steps = [f"log_env_steps[{config},{threshold}]" for config in (0, 1) for threshold in (0, 1, 2)]
    assert list(made.true) == list(made.prior_sd.index) == ["idle[0,0]", "idle[0,1]", "level", *steps]
    np.testing.assert_allclose(made.true["log_env_steps[1,0]"], level + np.log(80.0))
    np.testing.assert_array_equal(made.draws[:, :, 2], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(made.draws[:, :, 1], [[1, 3, 5], [7, 9, 11]])
    np.testing.assert_allclose(made.draws[:, :, 6], made.draws[:, :, 2] + np.log(80.0))
    assert made.prior_sd["level"] == pytest.approx(0.2, rel=0.07)  # four standard errors of 2,000 draws
    assert made.prior_sd["idle[0,1]"] == pytest.approx(5.0, rel=0.07)


def test_credible_intervals_are_central_by_hand() -> None:
    true = pd.DataFrame({"beta": [4.9, 5.1, 50.0, 94.9, 95.1]})  # the draws are 0 to 100
    draws = np.broadcast_to(np.arange(101.0)[:, None], (5, 101, 1))
    held = bs.credible_coverage(bs.Replications(true, draws, true.std(), np.zeros(5), np.ones(5)), levels=[0.5, 0.9])
    assert held.loc["beta"].to_dict() == {0.5: 0.2, 0.9: 0.6}


def test_a_contraction_is_of_root_mean_squares() -> None:
    true = pd.DataFrame({"beta": np.zeros(2)})
    draws = np.array([[-1.0, 1.0], [-7.0, 7.0]])[..., None]  # standard deviations of 1 and 7
    narrowed = bs.contraction(bs.Replications(true, draws, pd.Series({"beta": 10.0}), np.zeros(2), np.ones(2)))
    assert narrowed.loc["beta"].tolist() == pytest.approx([10.0, 5.0, 0.5])
