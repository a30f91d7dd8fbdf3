"""Test the checks of intervals: a right model passes each, and a deliberately wrong one fails."""

import itertools
from dataclasses import fields, replace

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy.stats import chi2, norm

import bayescale as bs
from bayescale.inference.sampling import SamplerOptions, sample, sample_each
from bayescale.models import PRIORS, JointModel, Prior
from bayescale.validation.sbc import _bias_and_width
from tests.scaffolding.bare_model import BareModel

FALSE_ALARM = 0.01  # false-alarm rate of each statistical test below
EVERY, HORIZON = 2000, 4e5
FOLLOWED = (
    "log_env_steps_at_centre[1,0]",
    "log_noise[1,0]",
    "configuration_effect",
    "log_sharpness",
    "utd_share",
    "failure_rise",
)

utds = itertools.product(["A-v0"], [0.5, 1.0, 2.0, 4.0, 8.0], [256], [5e-4])
DESIGN = pd.DataFrame(utds, columns=["env_id", "utd", "batch_size", "learning_rate"]).assign(seeds=2)
AT = DESIGN.iloc[[2, 4]].drop(columns="seeds").assign(utd=[2.0, 32.0])

# The priors are narrow enough that most run lengths lie between a few evaluations and the horizon.
NARROW = {
    **PRIORS,
    "log_env_steps_at_centre": Prior("normal", np.log(1e5), 0.5),
    "log_env_steps_at_centre.spread": Prior("fixed", 0.1, 0.0),
    "failure": Prior("normal", -3.0, 1.0),
    "failure.spread": Prior("fixed", 0.7, 0.0),
    "utd_failure_slope": Prior("normal", 0.3, 0.5),
    "log_sharpness": Prior("normal", np.log(0.75), 0.2),
}
MODEL = JointModel.for_crossings(DESIGN.assign(threshold=500.0), NARROW)

DATASETS, WRONG = 100, 40


class PartlyCountedFourTimes(JointModel):
    """A model that is wrong on purpose after the first DATASETS tables: there every run counts as four."""

    def observe_each(self, tables):
        cells = super().observe_each(tables)
        return cells[:DATASETS] + [replace(each, weight=4 * each.weight) for each in cells[DATASETS:]]


@pytest.fixture(scope="module")
def both() -> bs.Replications:
    """Fit the right model, then the wrong one, in one call: compiling takes most of the time."""
    model = PartlyCountedFourTimes(**{field.name: getattr(MODEL, field.name) for field in fields(MODEL)})
    rng = np.random.default_rng(0)
    return bs.replicate(
        model,
        design=DESIGN,
        every=EVERY,
        horizon=HORIZON,
        rng=rng,
        datasets=DATASETS + WRONG,
        parameters=FOLLOWED,
        at=AT,
        draws=200,
        warmup=200,
    )


def part(whole: bs.Replications, which: slice) -> bs.Replications:
    true = whole.true.iloc[which].reset_index(drop=True)
    return bs.Replications(true, whole.draws[which], whole.prior_sd, whole.diverged[which], whole.reached[which])


@pytest.fixture(scope="module")
def right(both: bs.Replications) -> bs.Replications:
    return part(both, slice(0, DATASETS))


@pytest.fixture(scope="module")
def wrong(both: bs.Replications) -> bs.Replications:
    return part(both, slice(DATASETS, None))


def test_ranks_are_uniform_for_the_right_model_alone(right: bs.Replications, wrong: bs.Replications) -> None:
    passed = bs.rank_test(right, rng=np.random.default_rng(1), false_alarm=FALSE_ALARM)
    assert passed.uniform, passed.p_values
    assert list(passed.ranks) == list(right.true)
    assert {"log_sharpness", "log_noise[1,0]", "log_env_steps[1,0]"} < set(right.true)
    assert not bs.rank_test(
        wrong, rng=np.random.default_rng(1), false_alarm=FALSE_ALARM
    ).uniform  # control: the wrong model must fail


def test_simulated_data_are_censored_on_either_side_and_all_are_kept(right: bs.Replications) -> None:
    assert len(right.true) == len(right.draws) == len(right.reached) == DATASETS
    assert right.reached.min() < 0.5
    assert right.reached.mean() > 0.6
    assert right.diverged.mean() < 0.01


def test_credible_intervals_hold_the_truth_as_often_as_they_say(right: bs.Replications, wrong: bs.Replications) -> None:
    held, too_few = bs.credible_coverage(right), bs.credible_coverage(wrong)
    error = np.sqrt([0.5 * 0.5, 0.8 * 0.2, 0.9 * 0.1])
    within = 3.6 * error / np.sqrt(DATASETS)
    assert (abs(held - held.columns) < within).all(axis=None)  # 24 normal deviates: false alarm below 1%
    assert too_few.loc["log_env_steps[0,0]", 0.9] < 0.9 - 3.6 * error[2] / np.sqrt(WRONG)  # the control that must fail


def test_a_design_identifies_the_level_and_nothing_that_it_does_not_vary(right: bs.Replications) -> None:
    ratio = bs.contraction(right)["ratio"]
    assert ratio["log_env_steps[0,0]"] < 0.4
    # One threshold has no rise. The sd of this lognormal has an error of 2.5% by 100 fits of about 100 effective draws.
    assert ratio["failure_rise"] == pytest.approx(1.0, abs=3.3 * 0.025)
    assert ratio["log_sharpness"] > 0.8


class MeanAndSpread(BareModel):
    """A model of the mean and log sd of normal observations, which compiles fast."""

    def observe(self, table):
        return table["x"].to_numpy()

    def sample_parameters(self):
        return {
            "mean": numpyro.sample("mean", dist.Normal(0.0, 3.0)),
            "log_sd": numpyro.sample("log_sd", dist.Normal(0.0, 1.0)),
        }

    def log_likelihood(self, sites, x):
        return dist.Normal(sites["mean"], jnp.exp(sites["log_sd"])).log_prob(x).sum()


def test_many_small_fits_equal_one_by_one_fits() -> None:
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame({"x": rng.normal(mean, 0.7, 12)}) for mean in (1.0, -2.0, 4.0)]
    model = MeanAndSpread()
    each = sample_each(model, [model.observe(table) for table in tables], draws=1000)
    alone = sample(model, tables[1], SamplerOptions(chains=1, draws=1000, warmup=300))
    for name in ("mean", "log_sd"):
        one, other = each.parameters[name][1], alone.parameters[name][0]
        assert one.mean() == pytest.approx(other.mean(), abs=0.25 * other.std())  # 5 errors of 400 effective draws
        assert one.std() == pytest.approx(other.std(), rel=0.25)
    for draws, table in zip(each.parameters["mean"], tables, strict=True):
        assert draws.mean() == pytest.approx(table["x"].mean(), abs=0.2)  # the prior moves it by 1% of 4 at most


@pytest.mark.usefixtures("jax_float64")
def test_padding_to_equal_shapes_changes_no_likelihood() -> None:
    truth = bs.KnownLaw(env_steps=(1e5,), utd_ref=2.0).location(DESIGN)
    tables = [
        bs.crossings_of(
            bs.simulate_runs(DESIGN, thresholds=(500.0,), location=truth, scale=0.3, rng=np.random.default_rng(i)),
            every=EVERY,
            horizon=horizon,
        )
        for i, horizon in enumerate((4e5, 8e4))
    ]
    alone, together = [MODEL.observe(table) for table in tables], MODEL.observe_each(tables)
    assert len(alone[0].log_bound) < len(together[0].log_bound) == len(together[1].log_bound)
    with numpyro.handlers.seed(rng_seed=3):
        sites = MODEL.sample_parameters()
    for plain, padded in zip(alone, together, strict=True):
        assert float(MODEL.log_likelihood(sites, padded)) == pytest.approx(float(MODEL.log_likelihood(sites, plain)))
    other = float(MODEL.log_likelihood(sites, alone[1]))
    assert float(MODEL.log_likelihood(sites, together[0])) != pytest.approx(other)


def test_the_rank_statistic_by_hand_and_against_its_limit() -> None:
    scores = norm.ppf([1 / 6, 1 / 2, 5 / 6])
    z = scores[[0, 0, 2, 1]]
    square, fourth = (scores**2).mean(), (scores**4).mean()
    by_hand = 4 * (z.mean() ** 2 / square + ((z**2).mean() - square) ** 2 / (fourth - square**2))
    assert _bias_and_width(np.array([[0], [0], [2], [1]]), 2)[0] == pytest.approx(by_hand)
    null = _bias_and_width(np.random.default_rng(0).integers(0, 1001, (1000, 10_000)), 1000)
    assert (null > chi2(2).ppf(0.95)).mean() == pytest.approx(0.05, abs=0.012)


def test_too_few_draws_and_unknown_names_are_refused(right: bs.Replications) -> None:
    few = bs.Replications(right.true, right.draws[:, :10], right.prior_sd, right.diverged, right.reached)
    with pytest.raises(bs.InputError, match=r"effective ones of a quantity\. Raise draws in replicate"):
        bs.rank_test(few, rng=np.random.default_rng(0))
    rng = np.random.default_rng(0)
    with pytest.raises(bs.InputError, match="design has the task B-v0"):
        bs.replicate(MODEL, design=DESIGN.assign(env_id="B-v0"), every=EVERY, horizon=HORIZON, rng=rng)
    with pytest.raises(bs.InputError, match="parameters has 'beta'; the model's are configuration_effect, "):
        bs.replicate(MODEL, design=DESIGN, every=EVERY, horizon=HORIZON, rng=rng, parameters=["beta"])
    for count in ("datasets", "draws", "warmup"):
        with pytest.raises(bs.InputError, match=f"{count} must be at least 1; got 0"):
            bs.replicate(MODEL, design=DESIGN, every=EVERY, horizon=HORIZON, rng=rng, **{count: 0})
    with pytest.raises(bs.InputError, match="at has the task C-v0, which the model has not"):
        bs.replicate(MODEL, design=DESIGN, every=EVERY, horizon=HORIZON, rng=rng, at=AT.assign(env_id=["D-v0", "C-v0"]))
    with pytest.raises(bs.InputError, match="design has no column 'env_id'; its columns are utd"):
        bs.replicate(MODEL, design=DESIGN.drop(columns="env_id"), every=EVERY, horizon=HORIZON, rng=rng)
    with pytest.raises(bs.InputError, match="at has no column 'utd'; its columns are env_id"):
        bs.replicate(MODEL, design=DESIGN, every=EVERY, horizon=HORIZON, rng=rng, at=AT.drop(columns="utd"))
