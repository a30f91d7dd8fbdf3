"""Test that posterior predictive checks flag tasks that depart from the law, at the stated false-alarm rate."""

import itertools

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.inference.sampling import sample_each
from bayescale.models import JointModel
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation.predictive_checks import (
    OVERALL,
    _of_task,
    posterior_predictive_checks,
)
from bayescale.validation.sums_of_squares import Squares, ratio, task_squares
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior

GRID = pd.DataFrame(
    itertools.product(["A", "B", "Odd"], [1.0, 2.0, 4.0, 8.0], [64, 128, 256, 512], [3e-4], [5], ["SAC"]),
    columns=["env_id", "utd", "batch_size", "learning_rate", "seeds", "algorithm"],
)
ODD = (GRID["env_id"] == "Odd").to_numpy()
LOG_UTD = np.log2(GRID["utd"].to_numpy()) - 1.5
DEPARTURES = {
    "none": 0.0 * LOG_UTD,
    "U over UTD": 0.5 * (LOG_UTD**2 - 1.25) * ODD,  # the law can only fall as UTD rises
    "steps between batch sizes": np.where(GRID["batch_size"].isin([128, 512]), 0.25, -0.25) * ODD,
    "configurations at random": np.random.default_rng(2).normal(0, 0.5, len(GRID)) * ODD,
}


def crossings(departure, rng):
    """Simulate three tasks of one law with a configuration effect; the task named Odd departs from the law."""
    location = bs.KnownLaw(env_steps=(8e4,), utd_ref=2.8).location(GRID) + departure[:, None]
    runs = bs.simulate_runs(GRID, thresholds=(500.0,), location=location, scale=0.2, rng=rng, shared=0.1)
    return bs.crossings_of(runs, every=1000, horizon=1e6)


@pytest.fixture(scope="module")
def posteriors():
    """Fit one table for each departure."""
    rng = np.random.default_rng(0)
    tables = [crossings(departure, rng) for departure in DEPARTURES.values()]
    model = JointModel.for_crossings(tables[0])
    sites = sample_each(model, model.observe_each(tables), seed=0, draws=100, warmup=100).parameters
    fits = [
        Posterior(model, {name: draws[i][None] for name, draws in sites.items()}, {}, table, Status.CONVERGED, {})
        for i, table in enumerate(tables)
    ]
    return dict(zip(DEPARTURES, fits, strict=True))


def flags(posterior):
    checked = posterior_predictive_checks(posterior, rng=np.random.default_rng(1))
    return {(row.env_id, row.statistic) for row in checked[checked["flagged"]].itertuples()}


def test_tasks_that_follow_the_law_are_not_flagged(posteriors):
    assert flags(posteriors["none"]) == set()


@pytest.mark.parametrize(
    ("departure", "statistic"),
    [("U over UTD", "utd"), ("steps between batch sizes", "batch_size"), ("configurations at random", "scatter")],
)
def test_a_task_that_the_law_cannot_bend_to_is_flagged_and_the_others_are_not(posteriors, departure, statistic):
    flagged = flags(posteriors[departure])
    assert ("Odd", statistic) in flagged
    assert {env_id for env_id, _ in flagged} <= {"Odd", OVERALL}


def test_runs_that_end_unseen_more_often_than_predicted_are_flagged(posteriors):
    """Two fifths of one task's run lengths are right-censored at 4e5 env steps, though the fit has seen them all."""
    seen = posteriors["none"].crossings
    cut = (seen["env_id"] == "B") & (seen["seed"] < 2)
    late = seen.assign(
        censored=cut,
        env_steps_lower=seen["env_steps_lower"].where(~cut, 4e5),
        env_steps_upper=seen["env_steps_upper"].where(~cut, np.inf),
    )
    checked = posterior_predictive_checks(posteriors["none"], rng=np.random.default_rng(1), crossings=late)
    assert checked["env_id"].unique().tolist() == ["A", "B", "Odd", OVERALL]
    row = checked[(checked["env_id"] == "B") & (checked["statistic"] == "censored")].squeeze()
    assert row["value"] == pytest.approx(0.4)
    assert row["expected"] < 0.05
    assert row["flagged"]


def test_runs_that_are_there_before_training_are_not_counted_as_censored(posteriors):
    """Runs above the threshold before training carry no information."""
    seen = posteriors["none"].crossings
    untrained = (seen["env_id"] == "B") & (seen["seed"] < 2)
    zero = seen.assign(
        **{f"env_steps_{end}": seen[f"env_steps_{end}"].mask(untrained, 0.0) for end in ("lower", "upper")}
    )
    zero["censored"] &= ~untrained
    checked = posterior_predictive_checks(posteriors["none"], rng=np.random.default_rng(1), crossings=zero)
    assert not checked["flagged"].any()
    value = checked[(checked["env_id"] == "B") & (checked["statistic"] == "censored")]["value"].item()
    assert value == seen[(seen["env_id"] == "B") & ~untrained]["censored"].mean()


def p_values(share, departure=0.0, spread=1.0, repetitions=400):
    """Simulate two tasks at the true parameters, one draw per repetition, and return the p-values of each ratio."""
    rng = np.random.default_rng(0)
    configs = GRID[GRID["env_id"] == "A"].reset_index(drop=True)
    config = np.repeat(np.arange(len(configs)), np.where(configs["utd"] > 2, 3, 5))

    def task(departure, spread):
        """Return the sums of squares of simulated scores; their common scale of 3 must not matter."""
        common = np.sqrt(share) * rng.standard_normal((repetitions, len(configs))) + departure
        own = np.sqrt(1 - share) * rng.standard_normal((repetitions, len(config))) * (spread * np.ones(16))[config]
        return task_squares(3.0 * (common[:, config] + own), configs, config, np.full(repetitions, share))

    one, two = task(departure, spread), task(0.0, 1.0)
    unstructured = one.unstructured + two.unstructured
    ratios = {
        "utd": (one.structure["utd"], unstructured),
        "batch_size": (one.structure["batch_size"], unstructured),
        "scatter": (one.around_lines, two.around_lines),
        "surface": (one.around_lines, one.within),
        "spread": (one.within_high_utd, one.within_low_utd),
    }

    def each(above, below):
        return [ratio(*(Squares(s.total[i : i + 1], s.freedom) for s in (above, below)))[2] for i in range(repetitions)]

    return pd.DataFrame({name: each(*pair) for name, pair in ratios.items()})


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_p_values_are_uniform_where_the_law_is_right(share):
    """The tolerance is 3.3 standard errors of a uniform's mean and of its share below 5%: false alarm 0.1% each."""
    found = p_values(share)
    assert (abs(found.mean() - 0.5) < 3.3 * np.sqrt(1 / 12 / 400)).all()
    assert (abs((found < 0.05).mean() - 0.05) < 3.3 * np.sqrt(0.05 * 0.95 / 400)).all()


def test_each_ratio_sees_what_it_asks_for():
    """Controls that must be flagged: a curve over UTD, and seeds that scatter more at high UTD."""
    configs = GRID[GRID["env_id"] == "A"].reset_index(drop=True)
    x = np.log2(configs["utd"].to_numpy()) - 1.5
    bent = p_values(0.3, 1.5 * x**2, repetitions=60)
    assert (bent[["utd", "scatter", "surface"]] < 0.05).mean().min() > 0.8
    assert (bent["batch_size"] < 0.05).mean() < 0.2
    straight = p_values(0.3, x, repetitions=60)  # a slope that the law can follow must not be flagged
    assert (straight < 0.05).mean().max() < 0.2
    wide = p_values(0.3, spread=np.where(x > 0, 3.0, 1.0), repetitions=60)
    assert (wide["spread"] < 0.05).mean() > 0.8


def test_a_design_without_twins_or_partners_is_checked_for_what_it_can_tell(posteriors):
    lone = posteriors["none"].crossings.query("env_id == 'A' and seed == 0")
    found = posterior_predictive_checks(posteriors["none"], rng=np.random.default_rng(0), crossings=lone)
    assert set(found["statistic"]) == {"utd", "batch_size", "censored"}
    assert set(found["env_id"]) == {"A"}, "one task is not checked again as all of them"


def test_every_run_has_the_run_lengths_of_its_configuration_and_thresholds():
    posterior = prior_posterior()
    table = posterior.crossings
    every = table[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates().sample(frac=1, random_state=0)
    every = every.reset_index(drop=True)
    predicted = RunLengthDistribution(*np.random.default_rng(0).random((4, 3, len(every), 2)))
    for thresholds in ([0, 1], [1]):
        own = table[(table["env_id"] == TASKS[1]) & table["threshold"].isin([THRESHOLDS[k] for k in thresholds])]
        configs, config, times = _of_task(posterior, predicted, every, own)
        for run, first in enumerate(own[:: len(thresholds)].itertuples()):
            row = every.index[(every == [getattr(first, name) for name in every]).all(axis=1)].item()
            assert configs.index[config[run]] == row
            np.testing.assert_array_equal(times.location[:, run], predicted.location[:, row, thresholds])
            np.testing.assert_array_equal(times.p_reach[:, run], predicted.p_reach[:, row, thresholds])


def test_times_that_no_draw_explains_are_not_divided_by(posteriors):
    """Runs that are 1e12 times as fast as predicted all have the smallest possible score."""
    posterior = posteriors["none"]
    fast = {end: posterior.crossings[end] * 1e-12 for end in ("env_steps_lower", "env_steps_upper")}
    checked = posterior_predictive_checks(
        posterior, rng=np.random.default_rng(0), crossings=posterior.crossings.assign(**fast)
    )
    assert set(checked["statistic"]) == {"censored"}


def test_bad_arguments_are_refused(posteriors):
    posterior, rng = posteriors["none"], np.random.default_rng(0)
    for outside in (0, 1):
        with pytest.raises(InputError, match=rf"false_alarm must lie in \(0, 1\); got {outside}\."):
            posterior_predictive_checks(posterior, rng=rng, false_alarm=outside)
    other = posterior.crossings.query("env_id == @posterior.tasks[0]").assign(env_id="Z")
    with pytest.raises(InputError, match=r"crossings have the task Z, which was not fitted"):
        posterior_predictive_checks(posterior, rng=rng, crossings=other)
    with pytest.raises(InputError, match=r"threshold 500\.5 was not fitted"):
        posterior_predictive_checks(
            posterior, rng=rng, crossings=posterior.crossings.replace({"threshold": {500.0: 500.5}})
        )
