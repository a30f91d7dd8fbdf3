import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.comparators.predictions import residual_quantiles
from bayescale.comparators.published import PublishedFit, _line, _nanmedian, _noise
from bayescale.comparators.published_rules import Rule, fit_rule, nanmean, nearest_configurations
from bayescale.comparators.seed_means import SeedMeans
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import QUANTILE_COLUMNS
from tests.scaffolding.law_tables import ALPHA, SLOPE_B, SLOPE_R, TASKS, THRESHOLDS, data_law, made_curves


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return made_curves(noise=0.2)


def test_the_published_pipeline_recovers_the_laws_that_made_the_curves() -> None:
    fitted = bs.fit_published(made_curves(), thresholds=THRESHOLDS, bootstraps=5)
    assert fitted.batch_size.slope[0] == pytest.approx(SLOPE_B, abs=0.01)  # batch sizes are whole numbers
    assert fitted.learning_rate.slope[0] == pytest.approx(SLOPE_R)
    assert np.exp(fitted.learning_rate.intercept[0]) == pytest.approx(1e-3)
    assert fitted.exponent[0] == pytest.approx(ALPHA, abs=0.1)  # evaluations every 500 steps round D up
    unseen = np.array([0.5, 16.0])
    for env_id, difficulty in TASKS.items():
        expected = np.log(0.4 * difficulty * data_law(unseen) * 1e3)
        assert fitted.log_env_steps(env_id, unseen)[0, :, 1] == pytest.approx(expected, abs=0.03)
    assert (fitted.dropped[["configurations", "runs"]] == 0).all(axis=None)


def test_the_rule_of_the_fastest_settings_by_hand() -> None:
    """Two bootstraps at the highest threshold that is reached; task B reaches none."""
    settings = [("A", 1.0, 128), ("A", 1.0, 256), ("A", 2.0, 64), ("A", 2.0, 256), ("B", 1.0, 64)]
    configs = pd.DataFrame(settings, columns=["env_id", "utd", "batch_size"])
    never = np.inf
    means = np.full((3, 5, 3), never)
    means[:, :, 0] = [9, 8, 9, 8, never]  # a lower threshold is ignored
    means[:, :, 1] = [
        [5, 6, 7, 8, never],  # all seeds: the estimate uses the bootstraps only
        [5, never, 7, 8, never],
        [6, 5, never, never, never],
    ]
    passages = SeedMeans(configs, means, np.empty((0, 3)), np.empty(0, int))
    rule = fit_rule(passages, np.array([0, 0, 0, 0, 1]), "batch_size")
    assert rule.slope == pytest.approx([np.log2(192 / 64), np.log2(128 / 64), 0.0])  # 192 = (128 + 256) / 2
    assert np.exp(rule.intercept) == pytest.approx(np.array([[192] * 2, [128] * 2, [256] * 2]))


def test_the_configurations_nearest_to_the_rules_by_hand() -> None:
    settings = [
        ("A", 1.0, 64, 4.0),
        ("A", 1.0, 256, 1.0),
        ("A", 2.0, 512, 2.0),  # nearest if the lines rose
        ("A", 2.0, 256, 1.0),  # nearest if the lines were flat
        ("A", 2.0, 128, 0.5),
        ("B", 1.0, 8, 9.0),
    ]
    configs = pd.DataFrame(settings, columns=["env_id", "utd", "batch_size", "learning_rate"])
    batch = Rule(np.array([1.0, 0.0]), np.log([[256.0, 1.0], [64.0, 1.0]]))  # draw 1 is ignored
    rate = Rule(np.array([1.0, 0.0]), np.log([[1.0, 1.0], [4.0, 1.0]]))
    assert nearest_configurations(configs, np.array([0, 0, 0, 0, 0, 1]), [batch, rate]).tolist() == [1, 4, 5]


def test_runs_scatter_around_the_means_of_the_fitted_configurations() -> None:
    configs = pd.DataFrame({"env_id": ["A"] * 3})
    means = np.array([[[10.0, 20.0], [5.0, 5.0], [40.0, np.inf]]] * 2)
    runs = np.array([[20.0, 20.0], [1.0, 1.0], [40.0, 80.0], [10.0, np.inf]])
    noise = _noise(SeedMeans(configs, means, runs, np.array([0, 1, 2, 0])), np.array([0, 2]))
    np.testing.assert_allclose(noise, np.column_stack([residual_quantiles(np.log([2.0, 1.0, 1.0])), np.zeros(25)]))


def test_means_and_medians_are_of_what_is_known() -> None:
    values = np.random.default_rng(0).random((40, 5))
    values[np.random.default_rng(1).random((40, 5)) < 0.3] = np.nan
    values[0], values[1] = np.nan, 0.5
    np.testing.assert_allclose(_nanmedian(values[1:], axis=1), np.nanmedian(values[1:], axis=1))
    np.testing.assert_allclose(nanmean(values[1:], axis=1), np.nanmean(values[1:], axis=1))
    assert np.isnan([_nanmedian(values, axis=1)[0], nanmean(values, axis=1)[0]]).all()


def test_the_published_law_of_tasks_by_hand() -> None:
    """No run of task C reaches the second threshold; all runs are above the third before training."""
    one = np.ones((1, 3))
    median = np.array([[[10.0, 20.0, 0.0], [40.0, 80.0, 0.0], [20.0, np.inf, 0.0]]])
    rule, nothing = Rule(np.ones(1), np.ones((1, 3))), pd.DataFrame()
    levels = np.array([1.0, 2.0, 3.0])
    fitted = PublishedFit(tuple("ABC"), levels, rule, rule, 2 * one, one, one / 4, median, one, nothing, nothing)
    utd = np.array([1.0, 2.0])
    for env_id, scales in (("A", [10, 20]), ("B", [40, 80]), ("C", [20, np.inf]), ("new", [20, 80]), (None, [20, 80])):
        steps = np.exp(fitted.log_env_steps(env_id, utd))[0]
        np.testing.assert_allclose(steps, np.array([[*np.multiply(scales, y), 1.0] for y in (1.25, 0.5)]))


def test_a_budget_line_by_hand() -> None:
    assert _line(np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 7.0])) == pytest.approx((27 / 14, -0.5))
    assert np.isnan(_line(np.ones(1), np.ones(1))).all()


def test_a_law_without_a_floor_is_not_that_of_the_curves() -> None:
    """The control of the test above: two UTDs leave no room for the floor, and the extrapolation is off."""
    some = made_curves()
    fitted = bs.fit_published(some[some["utd"].isin([1.0, 2.0])], thresholds=THRESHOLDS, bootstraps=5)
    assert (fitted.floor == 0).all()
    expected = np.log(0.4 * data_law(np.array([16.0])) * 1e3)
    assert abs(fitted.log_env_steps("A", np.array([16.0]))[0, :, 1] - expected) > 0.1


def test_a_prediction_table_has_the_columns_of_the_posterior(curves: pd.DataFrame) -> None:
    fitted = bs.fit_published(curves, thresholds=THRESHOLDS, bootstraps=20)
    configs = pd.DataFrame(
        {
            "env_id": ["A", "new"],
            "utd": [2.0, 2.0],
            "batch_size": [181, 181],
            "learning_rate": [8.4e-4] * 2,
            "mine": "x",
        }
    )
    table = fitted.predict(configs)
    law = ["law_q05", "law_q50", "law_q95"]
    expected = [*configs.columns, "threshold", *QUANTILE_COLUMNS, *law, "p_reach", "extrapolated"]
    assert list(table.columns) == expected
    assert len(table) == 2 * len(THRESHOLDS)
    assert (np.diff(table[QUANTILE_COLUMNS].to_numpy(), axis=1) >= 0).all()
    assert (table.groupby("env_id")["q50"].diff().dropna() > 0).all()
    assert table["extrapolated"].tolist() == [False] * 3 + [True] * 3
    pd.testing.assert_frame_equal(
        table, bs.fit_published(curves, thresholds=THRESHOLDS, bootstraps=20).predict(configs)
    )


def test_a_return_scale_rescales_the_thresholds(curves: pd.DataFrame) -> None:
    halved = curves.assign(episode_return=curves["episode_return"] / 2 - 7)
    scale = dict.fromkeys(TASKS, (-7.0, 493.0))
    scaled = bs.fit_published(halved, thresholds=THRESHOLDS, return_scale=scale, bootstraps=5)
    plain = bs.fit_published(curves, thresholds=THRESHOLDS, bootstraps=5)
    assert scaled.exponent == pytest.approx(plain.exponent)
    with pytest.raises(InputError, match="return_scale has no A"):
        bs.fit_published(curves, thresholds=THRESHOLDS, return_scale={"B": (0.0, 1.0)})


def test_what_never_reaches_is_dropped_and_counted() -> None:
    short, levels = made_curves(longest=6e4), [*THRESHOLDS, 2000.0]
    fitted = bs.fit_published(short, thresholds=levels, bootstraps=10)
    crossings = bs.time_to_threshold(short, thresholds=levels)
    assert fitted.dropped["runs"].tolist() == crossings.groupby("threshold")["censored"].sum().tolist()
    assert fitted.dropped["runs"].iloc[-1] > 0
    config = pd.DataFrame({"env_id": ["C"], "utd": [1.0], "batch_size": [256], "learning_rate": [1e-3]})
    last = fitted.predict(config).iloc[1:]  # no run of C reaches 400, and no run at all 2000
    reached = crossings[~crossings["censored"]].groupby("env_id")["threshold"].max()
    assert reached.to_dict() == {"A": 800.0, "B": 400.0, "C": 200.0}
    assert (last[[*QUANTILE_COLUMNS, "law_q05"]] == np.inf).all(axis=None)
    assert (last["p_reach"] == 0).all()


def test_the_budget_line_goes_through_each_thresholds_best_utd() -> None:
    fitted = bs.fit_published(made_curves(), thresholds=THRESHOLDS, bootstraps=2)
    line = fitted.budget_line(env_step_price=1e7)
    utd = np.geomspace(1 / 64, 512, 4001)
    for k in range(3):
        batch = np.exp(fitted.batch_size.intercept[0].mean()) * utd ** -fitted.batch_size.slope[0]
        cost = (1e7 + 10 * 1000 * batch * utd) * np.exp(fitted.log_env_steps(None, utd)[0, :, k])
        assert line.utd(cost.min())[0] == pytest.approx(utd[cost.argmin()], rel=0.05)
    with pytest.raises(InputError, match="two or more thresholds"):
        bs.fit_published(made_curves(), thresholds=THRESHOLDS[:1]).budget_line()


def test_a_threshold_that_one_lucky_run_reaches_is_fitted_however_its_bootstraps_fall() -> None:
    curves = made_curves(seeds=2).query("env_id == 'A' and utd <= 2")
    lucky = (curves["batch_size"] == 256) & (curves["learning_rate"] == 1e-3) & (curves["seed"] == 0)
    curves["episode_return"] /= np.where(lucky, 1.0, 100.0)
    few, many = (bs.fit_published(curves, thresholds=[300.0, 450.0], seed=3, bootstraps=count) for count in (1, 20))
    for fitted in (few, many):
        assert np.exp(fitted.batch_size.intercept[0]) == pytest.approx(256)
        without = np.isinf(fitted.median[:, 0, 1])  # the bootstraps that left the run out
        assert without.any()
        assert (np.isnan(fitted.budget_line().exponent) == without).all()
    assert not without.all()


def test_a_threshold_that_most_tasks_pass_before_training_has_no_part_in_the_budget_line() -> None:
    curves = made_curves()
    curves["episode_return"] += 150.0 * (curves["env_id"] != "C")
    line, alone = (
        bs.fit_published(curves, thresholds=J, bootstraps=2).budget_line() for J in ([100, 400, 800], [400, 800])
    )
    assert line.exponent == pytest.approx(alone.exponent)
    assert line.log_coefficient == pytest.approx(alone.log_coefficient)


def test_the_published_pipeline_needs_utds_and_successes(curves: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="two or more UTDs"):
        bs.fit_published(curves[curves["utd"] == 1.0], thresholds=THRESHOLDS)
    with pytest.raises(InputError, match="no configuration's mean reaches"):
        bs.fit_published(curves, thresholds=[1e6])
