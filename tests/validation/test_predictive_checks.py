"""Test that posterior predictive checks flag tasks that depart from the law, at the stated false-alarm rate."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import f as ratio_of_squares
from scipy.stats import multivariate_normal

import bayescale as bs
from bayescale.data.observations import observations
from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.inference.sampling import sample_each
from bayescale.models import JointModel
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation.predictive_checks import (
    OVERALL,
    Censored,
    _censored,
    _censored_check,
    _of_task,
    _overall,
    _rows,
    holm,
    normal_scores,
    posterior_predictive_checks,
)
from bayescale.validation.sums_of_squares import Squares, TaskSquares, ratio, task_squares
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


def test_scores_are_standard_normal_whether_times_are_seen_or_not():
    """The runs are left-censored, interval-censored and right-censored, and a tenth never reach the threshold."""
    rng = np.random.default_rng(0)
    design = pd.DataFrame({"env_id": ["A"], "utd": 1.0, "batch_size": 64, "learning_rate": 1e-3, "seeds": 4000})
    runs = bs.simulate_runs(
        design.assign(algorithm="SAC"),
        thresholds=(1.0,),
        location=np.log([2e4]),
        scale=0.5,
        rng=rng,
        p_reach=0.9,
        skew=0.1,
    )
    seen = bs.crossings_of(runs, every=10_000, horizon=40_000)
    assert (seen["env_steps_lower"] == 0).any()
    assert seen["censored"].any()
    shape = (1, 4000, 1)
    times = RunLengthDistribution(*(np.full(shape, value) for value in (np.log(2e4), 0.5, 0.1, 0.9)))
    with np.errstate(divide="ignore"):
        low, high = (np.log(seen[f"env_steps_{end}"].to_numpy())[:, None] for end in ("lower", "upper"))
    z = normal_scores(times, low, high, rng).ravel()
    for power, moment, error in ((1, 0.0, 1.0), (2, 1.0, np.sqrt(2)), (3, 0.0, np.sqrt(15)), (4, 3.0, np.sqrt(96))):
        assert abs((z**power).mean() - moment) < 3.3 * error / np.sqrt(4000)  # false alarm 0.1% each
    wrong = normal_scores(times._replace(location=times.location + 0.2), low, high, rng)
    assert abs(wrong.mean()) > 3.3 / np.sqrt(4000)


def test_a_design_without_twins_or_partners_is_checked_for_what_it_can_tell(posteriors):
    lone = posteriors["none"].crossings.query("env_id == 'A' and seed == 0")
    found = posterior_predictive_checks(posteriors["none"], rng=np.random.default_rng(0), crossings=lone)
    assert set(found["statistic"]) == {"utd", "batch_size", "censored"}
    assert set(found["env_id"]) == {"A"}, "one task is not checked again as all of them"


def test_ratios_of_a_task_and_of_all_by_hand():
    def task(structure, *others):
        """Return sums of squares of one draw from pairs (total, degrees of freedom)."""
        squares = [Squares(np.array([total]), freedom) for total, freedom in others]
        return TaskSquares({axis: Squares(np.array([a]), b) for axis, (a, b) in structure.items()}, *squares)

    squares = {
        "A": task({"utd": (6.0, 2), "batch_size": (5.0, 1)}, (8.0, 4), (9.0, 6), (10.0, 9), (4.0, 2), (3.0, 3)),
        "B": task({"utd": (9.0, 1)}, (7.0, 1), (1.0, 2), (6.0, 3), (2.0, 1), (9.0, 1)),
    }
    censored = {"A": Censored(3, np.array([0, 1, 2, 3]), 10), "B": Censored(1, np.array([1, 1, 0, 0]), 5)}
    mine = {name: value for name, value, *_ in _rows("A", squares, censored)}
    assert mine == pytest.approx(
        {
            "utd": (6 / 2) / (15 / 5),
            "batch_size": 5 / (15 / 5),
            "scatter": (9 / 6) / (1 / 2),
            "surface": (9 / 6) / (10 / 9),
            "spread": (4 / 2) / (3 / 3),
            "censored": 3 / 10,
        }
    )
    found = {name: found for name, *found in _overall(squares, censored)}
    value = {name: found[0] for name, found in found.items()}
    assert value == pytest.approx(
        {
            "utd": (15 / 3) / (15 / 5),
            "batch_size": 5 / (15 / 5),
            "surface": (10 / 8) / (16 / 12),
            "spread": (6 / 3) / (12 / 4),
            "censored": 4 / 15,
        }
    )
    chance = ratio_of_squares.sf(2 / 3, 3, 4)
    assert found["spread"][2] == pytest.approx(2 * min(chance, 1 - chance))
    assert found["censored"][1:] == pytest.approx([2 / 15, 2 * (1 + 0) / (1 + 4)])  # replicated: 1, 2, 2, 3
    assert _censored_check(Censored(2, np.array([2, 2]), 5)) == (0.4, 0.4, 1.0)


def test_model_sizes_are_configurations_of_their_own():
    """Runs that differ only in model size belong to different configurations."""
    size = np.repeat([1e4, 1e5, 1e6, 1e7], 4)
    configs = pd.DataFrame({"utd": np.tile([1.0, 2.0, 4.0, 8.0], 4), "batch_size": 64, "learning_rate": 1e-3})
    z = (np.log(size) - np.log(size).mean()) ** 2 + 0.01 * np.random.default_rng(0).standard_normal(16)
    squares = task_squares(z[None], configs.assign(model_size=size), np.arange(16), np.zeros(1))
    assert set(squares.structure) == {"utd", "model_size"}
    assert ratio(squares.structure["model_size"], squares.unstructured)[2] < 1e-6
    assert ratio(squares.structure["utd"], squares.unstructured)[2] > 0.01


def test_the_censored_are_counted_and_replicated_as_long_as_runs_were_watched():
    """The three run lengths are almost certain; the last run is above the lower threshold before training."""
    seen = pd.DataFrame(
        {
            "env_steps_lower": [8e4, 9e4, 4e4, 1e5, 0.0, 2e5],
            "env_steps_upper": [9e4, 1e5, 5e4, np.inf, 0.0, np.inf],
            "censored": [False, False, False, True, False, True],
        }
    )
    location = np.log([[[1e5, 3e5], [5e4, 1.5e5], [2.5e5, 1.9e5]]])
    times = RunLengthDistribution(location, *(np.full_like(location, value) for value in (1e-3, 0.0, 1.0)))
    observed = observations(seen).by_run(2)
    assert (observed.log_lower[2, 0], observed.log_upper[2, 0]) == (-np.inf, np.inf)
    counted = _censored(observed, times, np.arange(3), np.array([0.5]), np.random.default_rng(0))
    assert (counted.observed, counted.total) == (2, 5)
    # Run 0 has no end before 2e5, run 1 ends at 1e5: their higher threshold comes later. Run 2 reaches it at 1.9e5.
    assert (counted.replicated == 2).all()


def test_replicated_seeds_share_their_configuration_effect():
    seen = pd.DataFrame({"env_steps_lower": [1e5, 1e5], "env_steps_upper": np.inf, "censored": True})
    shape = (100, 2, 1)
    # A run is later than 1e5 with probability 1 - 0.6 / 2 = 0.7.
    times = RunLengthDistribution(*(np.full(shape, value) for value in (np.log(1e5), 0.5, 0.0, 0.6)))
    counted = _censored(
        observations(seen).by_run(1), times, np.zeros(2, int), np.full(100, 0.5), np.random.default_rng(0)
    )
    both = multivariate_normal(cov=[[1.0, 0.5], [0.5, 1.0]]).cdf([ndtri(0.7)] * 2)
    error = 3.3 / np.sqrt(len(counted.replicated))  # false alarm 0.1% each, at most
    assert counted.replicated.mean() == pytest.approx(2 * 0.7, abs=error * np.sqrt(2 * 0.7 * 0.3 * 1.5))
    assert (counted.replicated == 2).mean() == pytest.approx(both, abs=error * np.sqrt(both * (1 - both)))


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


def test_ratio_by_hand():
    value, expected, chance = ratio(Squares(np.array([6.0]), 2), Squares(np.array([8.0]), 4))
    assert value == pytest.approx(6 / 2 / (8 / 4))
    assert chance == pytest.approx((1 + 2 * value / 4) ** -2)  # the survival function of F(2, 4)
    assert expected == pytest.approx(4 / 2 * (np.sqrt(2) - 1))
    some, none = Squares(np.array([6.0]), 2), Squares(np.array([0.0]), 0)
    assert ratio(some, none) is ratio(none, some) is None


def test_holm_by_hand():
    assert holm(np.array([0.04, 0.001, 0.02]), 0.05).tolist() == [True, True, True]
    assert holm(np.array([0.04, 0.001, 0.03]), 0.05).tolist() == [False, True, False]
    assert holm(np.array([0.02, 0.02]), 0.03).tolist() == [False, False]


def test_times_that_no_draw_explains_are_not_divided_by(posteriors):
    """Runs that are 1e12 times as fast as predicted all have the smallest possible score."""
    posterior = posteriors["none"]
    fast = {end: posterior.crossings[end] * 1e-12 for end in ("env_steps_lower", "env_steps_upper")}
    checked = posterior_predictive_checks(
        posterior, rng=np.random.default_rng(0), crossings=posterior.crossings.assign(**fast)
    )
    assert set(checked["statistic"]) == {"censored"}


def test_draws_without_anything_to_divide_by_are_left_out():
    nothing = Squares(np.array([2.0, 0.0]), 3)
    above = Squares(np.array([4.0, 9.0]), 2)
    assert ratio(above, nothing) == ratio(Squares(above.total[:1], 2), Squares(nothing.total[:1], 3))
    assert ratio(above, Squares(np.zeros(2), 3)) is None


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


def test_failed_runs_count_among_those_that_missed_a_threshold():
    seen = pd.DataFrame({"env_steps_lower": [1e5, 2e4], "env_steps_upper": np.inf, "censored": True})
    seen["status"] = ["finished", "diverged"]
    shape = (200, 2, 1)
    times = RunLengthDistribution(*(np.full(shape, value) for value in (np.log(1e5), 0.5, 0.0, 0.6)))
    counted = _censored(
        observations(seen).by_run(1), times, np.zeros(2, int), np.full(200, 0.5), np.random.default_rng(0)
    )
    assert (counted.observed, counted.total) == (2, 2)
    # The failed run is watched as long as the other one: each is later than 1e5 with probability 1 - 0.6 / 2 = 0.7.
    assert counted.replicated.mean() == pytest.approx(2 * 0.7, abs=3.3 * np.sqrt(2 * 0.7 * 0.3 * 1.5 / 200))
