"""Test the checks of predictive intervals against a posterior that knows the law: the right spread alone passes."""

import itertools
import re
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

import bayescale as bs
from bayescale.inference.convergence import Status
from tests.scaffolding.bare_model import BareModel


def test_levels_that_are_no_probabilities_are_refused() -> None:
    true = pd.DataFrame({"beta": np.zeros(2)})
    made = bs.Replications(true, np.zeros((2, 3, 1)), true.std(), np.zeros(2), np.ones(2))
    for levels in ([], [0.5, 1.0], [0.0], [90.0], [np.nan]):
        message = re.escape(f"levels must be one or more probabilities in (0, 1); got {levels}. Correct them")
        with pytest.raises(bs.InputError, match=message):
            bs.credible_coverage(made, levels=levels)
        with pytest.raises(bs.InputError, match=message):
            bs.coverage(knowing(SPREAD), crossings=crossings().iloc[:2], rng=np.random.default_rng(0), levels=levels)


FALSE_ALARM = 0.01  # false-alarm rate of each statistical test below
LAW = bs.KnownLaw(env_steps=(4e4, 1e5), utd_ref=2.0)
SPREAD, REACH = 0.4, (0.95, 0.8)
WIDE = pd.DataFrame(itertools.product(["A-v0"], np.geomspace(0.25, 8, 20), np.geomspace(32, 2048, 20), [5e-4]))
WIDE = WIDE.set_axis(["env_id", "utd", "batch_size", "learning_rate"], axis=1).assign(seeds=2)
WIDE["batch_size"] = WIDE["batch_size"].astype(int)


@dataclass(frozen=True)
class KnowingModel(BareModel):
    """A model that predicts from the known law, with the given spread."""

    spread: float
    env_ids: tuple[str, ...] = ("A-v0",)
    thresholds: tuple[float, ...] = (300.0, 600.0)

    def add_task(self, draws, _key):
        return {name: jnp.asarray(values) for name, values in draws.items()}

    def points(self, configs):
        return jnp.asarray(LAW.location(configs))

    def run_lengths(self, sites, points):
        reach = jnp.broadcast_to(jnp.asarray(REACH), points.shape)
        return points + 0 * sites["none"], jnp.full_like(points, self.spread), jnp.zeros_like(points), reach


def knowing(spread: float) -> bs.Posterior:
    return bs.Posterior(KnowingModel(spread), {"none": np.zeros((1, 3))}, {}, pd.DataFrame(), Status.CONVERGED, {})


def crossings(correlation: float = 0.0) -> pd.DataFrame:
    """Simulate crossings of every observation kind: coarse evaluations, a short horizon and runs that fail."""
    rng = np.random.default_rng(2)
    runs = bs.simulate_runs(
        WIDE,
        thresholds=(300.0, 600.0),
        location=LAW.location(WIDE),
        scale=SPREAD,
        rng=rng,
        p_reach=np.array(REACH),
        correlation=correlation,
    )
    return bs.crossings_of(runs, every=20_000, horizon=1.4e5)


@pytest.mark.parametrize("threshold", [300.0, 600.0])
def test_probabilities_of_earlier_times_are_uniform_for_the_right_spread_alone(threshold: float) -> None:
    seen = crossings(correlation=1.0).query("threshold == @threshold")  # 1: the running maximum changes nothing
    assert 0.05 < seen["censored"].mean() < 0.6
    values = bs.pit(knowing(SPREAD), crossings=seen, rng=np.random.default_rng(3))
    assert kstest(values, "uniform").pvalue > FALSE_ALARM
    assert kstest(bs.pit(knowing(SPREAD / 2), crossings=seen, rng=np.random.default_rng(3)), "uniform").pvalue < 1e-6


def test_runs_that_are_there_before_training_leave_the_probabilities_uniform() -> None:
    seen = crossings(correlation=1.0).query("threshold == 300")
    untrained = (seen["seed"] == 0).to_numpy()
    zero = seen.assign(
        env_steps_lower=seen["env_steps_lower"].mask(untrained, 0.0),
        env_steps_upper=seen["env_steps_upper"].mask(untrained, 0.0),
        censored=seen["censored"] & ~untrained,
    )
    assert kstest(bs.pit(knowing(SPREAD), crossings=zero, rng=np.random.default_rng(3)), "uniform").pvalue > FALSE_ALARM


class Shifted(KnowingModel):
    """A model whose run lengths are later by the value of each draw."""

    def run_lengths(self, sites, points):
        location, *others = super().run_lengths(sites, points)
        return location + sites["none"], *others


def test_the_probability_of_an_earlier_time_is_a_mean_over_draws_by_hand() -> None:
    posterior = replace(knowing(SPREAD), model=Shifted(SPREAD), draws={"none": np.array([[-1.0, 1.0]])})
    seen = crossings().query("threshold == 600 and env_steps_lower > 0 and not censored").iloc[[3]]
    z = np.log(seen[["env_steps_lower", "env_steps_upper"]].to_numpy()[0]) - LAW.location(seen)[0, 1]
    low, high = REACH[1] * (norm.cdf((z - 1) / SPREAD) + norm.cdf((z + 1) / SPREAD)) / 2
    value = bs.pit(posterior, crossings=seen, rng=np.random.default_rng(3))
    assert value.index.equals(seen.index)
    assert value.item() == pytest.approx(low + (high - low) * np.random.default_rng(3).random())


def test_coverage_is_nominal_for_the_right_spread_alone() -> None:
    seen = crossings(correlation=1.0)
    assert seen["env_steps_lower"].eq(0).any()
    right = bs.coverage(knowing(SPREAD), crossings=seen, rng=np.random.default_rng(3))
    assert list(right.index) == [0.5, 0.8, 0.9]
    assert (abs(right["coverage"] - right.index) < 3 * right["standard_error"]).all()  # false alarm below 1%
    narrow = bs.coverage(knowing(SPREAD / 2), crossings=seen, rng=np.random.default_rng(3))
    assert (narrow["coverage"] - narrow.index < -5 * narrow["standard_error"]).all()


def test_the_standard_error_takes_a_configuration_as_one_observation() -> None:
    seen = crossings(correlation=1.0)
    error = bs.coverage(knowing(SPREAD), crossings=seen, rng=np.random.default_rng(3), levels=[0.9])[
        "standard_error"
    ].iloc[0]
    assert error > np.sqrt(0.9 * 0.1 / len(seen))  # correlated thresholds say less than as many independent times
    inside = (abs(bs.pit(knowing(SPREAD), crossings=seen, rng=np.random.default_rng(3)) - 0.5) <= 0.45).astype(float)
    totals = (inside - inside.mean()).groupby([seen[name] for name in ("utd", "batch_size")]).sum()
    assert error == pytest.approx(totals.std(ddof=1) * np.sqrt(len(totals)) / len(seen))
    one = bs.coverage(knowing(SPREAD), crossings=seen.iloc[:2], rng=np.random.default_rng(3))
    assert one["standard_error"].isna().all()


def test_an_unknown_threshold_is_refused() -> None:
    with pytest.raises(bs.InputError, match="threshold 999 was not fitted"):
        bs.pit(knowing(SPREAD), crossings=crossings().assign(threshold=999.0), rng=np.random.default_rng(0))
