import tracemalloc
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression, least_squares

import bayescale as bs
from bayescale.comparators import LAWS, PublishedFit, SizeFit, fit_size_law
from bayescale.comparators.least_squares import minimise
from bayescale.comparators.predictions import prediction_table, residual_levels
from bayescale.comparators.published import _line, _rule
from bayescale.comparators.seed_means import SeedMeans, first_passages, seed_means
from bayescale.curves import validate_curves
from bayescale.errors import InputError
from bayescale.posterior import QUANTILES

TASKS = {"A": 1.0, "B": 2.0, "C": 3.0}
THRESHOLDS = np.array([200.0, 400.0, 800.0])
ALPHA, FLOOR, SLOPE_B, SLOPE_R = 0.8, 0.4, 0.5, 0.25


def data_law(utd: np.ndarray) -> np.ndarray:
    """Thousands of env steps to return 1000 of a task of difficulty 1, at the best batch size and learning rate."""
    return np.asarray(100 * (FLOOR + (1 - FLOOR) * utd**-ALPHA))


def made_curves(noise: float = 0.0, seeds: int = 3, longest: float = 1e9) -> pd.DataFrame:
    """Curves that rise linearly to return 1000; B* = 256 utd^-0.5, eta* = 1e-3 utd^-0.25 lie on the grid."""
    rng = np.random.default_rng(1)
    runs = []
    for env_id, difficulty in TASKS.items():
        for utd in (1.0, 2.0, 4.0, 8.0):
            for step_b in (-1, 0, 1):
                for step_r in (-1, 0, 1):
                    for seed in range(seeds):
                        steps = difficulty * data_law(np.array(utd)) * 1e3 * np.exp(noise * rng.standard_normal())
                        steps *= 1 + 0.3 * (step_b**2 + step_r**2)
                        at = np.arange(0, min(1.2 * steps, longest), 500.0)
                        config = {
                            "algorithm": "SAC", "env_id": env_id, "utd": utd, "seed": seed, "model_size": 1000,
                            "batch_size": round(256 * utd**-SLOPE_B * 2.0**step_b),
                            "learning_rate": 1e-3 * utd**-SLOPE_R * 2.0**step_r,
                        }  # fmt: skip
                        curve = {"env_steps": at.astype(int), "episode_return": 1000 * at / steps}
                        runs.append(pd.DataFrame(config | curve))
    return pd.concat(runs, ignore_index=True)


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return made_curves(noise=0.2)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(-5, 5))
def test_first_passage_equals_that_of_the_isotonic_regression(returns: list[int], level: int) -> None:
    values = np.array(returns, float)
    steps = np.arange(1.0, len(values) + 1)
    exact = (
        level + 0.5**20
    )  # between the means of any 30 such integers and the level, so that no tie is left to rounding
    reached = np.flatnonzero(isotonic_regression(values).x >= exact)
    expected = steps[reached[0]] if len(reached) else np.inf
    assert first_passages(values[None], steps, np.array([exact]))[0, 0] == expected


def test_seeds_are_averaged_over_the_steps_that_all_of_them_have() -> None:
    runs = [{"seed": 0, "env_steps": [0, 10, 20], "episode_return": [0, 10, 20]}]
    runs += [{"seed": 1, "env_steps": [0, 20, 40], "episode_return": [0, 40, 80]}]
    config = {"algorithm": "SAC", "env_id": "A", "utd": 1.0, "batch_size": 64, "learning_rate": 1e-3}
    curves = validate_curves(pd.concat([pd.DataFrame(config | run) for run in runs]), "curves")
    found = seed_means(curves, np.array([12.0, 25.0, 35.0, 45.0]), None, np.random.default_rng(3), bootstraps=30)
    assert found.runs.tolist() == [[20, np.inf, np.inf, np.inf], [20, 20, 20, 40]]
    assert found.means[0, 0].tolist() == [10, 20, np.inf, np.inf]  # of returns 0, 15, 30 at 0, 10, 20
    ways = {tuple(draw) for draw in found.means[1:, 0]}  # as the mean, or either seed twice, up to 20 env steps
    assert ways == {(10, 20, np.inf, np.inf), (20, np.inf, np.inf, np.inf), (10, 20, 20, np.inf)}


def test_a_comparators_table_by_hand() -> None:
    configs = pd.DataFrame({"env_id": ["A"], "utd": [1.0], "batch_size": [64], "learning_rate": [1e-3]})
    noise = np.zeros((25, 3))
    noise[:, 2] = residual_levels(np.linspace(0.0, 1.0, 101))
    assert noise[[0, 12, 24], 2] == pytest.approx([0.02, 0.5, 0.98])
    table = prediction_table(configs, np.array([1.0, 2.0, 3.0]), np.array([[[2.0, 1.0, 5.0]]]), noise, configs)
    quantiles = np.log(table[list(QUANTILES)].to_numpy())
    np.testing.assert_allclose(quantiles[:2], 2.0)  # later thresholds are not reached sooner
    np.testing.assert_allclose(quantiles[2], 5 + np.array([0.06, 0.1, 0.26, 0.5, 0.74, 0.9, 0.94]))
    assert np.log(table["law_q50"]).tolist() == pytest.approx([2.0, 1.0, 5.0])


def test_the_published_pipeline_recovers_the_laws_that_made_the_curves() -> None:
    fitted = bs.fit_published(made_curves(), THRESHOLDS, bootstraps=5)
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
    """Of two bootstraps, at the highest threshold that is reached; task B reaches none."""
    settings = [("A", 1.0, 128), ("A", 1.0, 256), ("A", 2.0, 64), ("A", 2.0, 256), ("B", 1.0, 64)]
    configs = pd.DataFrame(settings, columns=["env_id", "utd", "batch_size"])
    never = np.inf
    means = np.full((3, 5, 3), never)
    means[:, :, 0] = [9, 8, 9, 8, never]  # a lower threshold, which has no say
    means[:, :, 1] = [
        [5, 6, 7, 8, never],  # of all seeds, which the estimate takes no winners from
        [5, 6, 7, 8, never],
        [6, 5, never, never, never],
    ]
    passages = SeedMeans(configs, means, np.empty((0, 3)), np.empty(0, int))
    rule = _rule(passages, np.array([0, 0, 0, 0, 1]), "batch_size")
    assert rule.slope == pytest.approx([np.log2(192 / 64), np.log2(128 / 64), 0.0])  # 192 = (128 + 256) / 2
    assert np.exp(rule.intercept) == pytest.approx(np.array([[192] * 2, [128] * 2, [256] * 2]))


def test_a_budget_line_by_hand() -> None:
    assert _line(np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 7.0])) == pytest.approx((27 / 14, -0.5))
    assert np.isnan(_line(np.ones(1), np.ones(1))).all()


def test_a_law_without_a_floor_is_not_that_of_the_curves() -> None:
    """The control of the test above: two UTDs leave no room for the floor, and the extrapolation is off."""
    some = made_curves()
    fitted = bs.fit_published(some[some["utd"].isin([1.0, 2.0])], THRESHOLDS, bootstraps=5)
    assert (fitted.floor == 0).all()
    expected = np.log(0.4 * data_law(np.array([16.0])) * 1e3)
    assert abs(fitted.log_env_steps("A", np.array([16.0]))[0, :, 1] - expected) > 0.1


def test_a_prediction_table_has_the_columns_of_the_posterior(curves: pd.DataFrame) -> None:
    fitted = bs.fit_published(curves, THRESHOLDS, bootstraps=20)
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
    expected = [*configs.columns, "threshold", *QUANTILES, *law, "p_reach", "extrapolated"]
    assert list(table.columns) == expected
    assert len(table) == 2 * len(THRESHOLDS)
    assert (np.diff(table[list(QUANTILES)].to_numpy(), axis=1) >= 0).all()
    assert (table.groupby("env_id")["q50"].diff().dropna() > 0).all()
    assert table["extrapolated"].tolist() == [False] * 3 + [True] * 3
    pd.testing.assert_frame_equal(table, bs.fit_published(curves, THRESHOLDS, bootstraps=20).predict(configs))


def test_a_return_scale_rescales_the_thresholds(curves: pd.DataFrame) -> None:
    halved = curves.assign(episode_return=curves["episode_return"] / 2 - 7)
    scale = dict.fromkeys(TASKS, (-7.0, 493.0))
    scaled = bs.fit_published(halved, THRESHOLDS, scale, bootstraps=5)
    plain = bs.fit_published(curves, THRESHOLDS, bootstraps=5)
    assert scaled.exponent == pytest.approx(plain.exponent)
    with pytest.raises(InputError, match="return_scale has no A"):
        bs.fit_published(curves, THRESHOLDS, {"B": (0.0, 1.0)})


def test_what_never_reaches_is_dropped_and_counted() -> None:
    short, levels = made_curves(longest=6e4), [*THRESHOLDS, 2000.0]
    fitted = bs.fit_published(short, levels, bootstraps=10)
    crossings = bs.time_to_threshold(short, levels)
    assert fitted.dropped["runs"].tolist() == crossings.groupby("threshold")["censored"].sum().tolist()
    assert fitted.dropped["runs"].iloc[-1] > 0
    config = pd.DataFrame({"env_id": ["C"], "utd": [1.0], "batch_size": [256], "learning_rate": [1e-3]})
    last = fitted.predict(config).iloc[1:]  # no run of C reaches 400, and no run at all 2000
    reached = crossings[~crossings["censored"]].groupby("env_id")["threshold"].max()
    assert reached.to_dict() == {"A": 800.0, "B": 400.0, "C": 200.0}
    assert (last[[*QUANTILES, "law_q05"]] == np.inf).all(axis=None)
    assert (last["p_reach"] == 0).all()


def test_the_budget_line_goes_through_each_thresholds_best_utd() -> None:
    fitted = bs.fit_published(made_curves(), THRESHOLDS, bootstraps=2)
    line = fitted.budget_line(env_step_price=1e7)
    utd = np.geomspace(1 / 64, 512, 4001)
    for k in range(3):
        batch = np.exp(fitted.batch_size.intercept[0].mean()) * utd ** -fitted.batch_size.slope[0]
        cost = (1e7 + 10 * 1000 * batch * utd) * np.exp(fitted.log_env_steps(None, utd)[0, :, k])
        assert line.utd(cost.min())[0] == pytest.approx(utd[cost.argmin()], rel=0.05)
    with pytest.raises(InputError, match="two or more thresholds"):
        bs.fit_published(made_curves(), THRESHOLDS[:1]).budget_line()


def test_a_threshold_that_one_lucky_run_reaches_is_fitted_however_its_bootstraps_fall() -> None:
    curves = made_curves(seeds=2).query("env_id == 'A' and utd <= 2")
    lucky = (curves["batch_size"] == 256) & (curves["learning_rate"] == 1e-3) & (curves["seed"] == 0)
    curves["episode_return"] /= np.where(lucky, 1.0, 100.0)
    few, many = (bs.fit_published(curves, [300.0, 450.0], seed=3, bootstraps=count) for count in (1, 20))
    for fitted in (few, many):
        assert np.exp(fitted.batch_size.intercept[0]) == pytest.approx(256)
        without = np.isinf(fitted.median[:, 0, 1])  # the bootstraps that left the run out
        assert without.any()
        assert (np.isnan(fitted.budget_line().exponent) == without).all()
    assert not without.all()


def test_a_threshold_that_most_tasks_pass_before_training_has_no_part_in_the_budget_line() -> None:
    curves = made_curves()
    curves["episode_return"] += 150.0 * (curves["env_id"] != "C")
    line, alone = (bs.fit_published(curves, J, bootstraps=2).budget_line() for J in ([100, 400, 800], [400, 800]))
    assert line.exponent == pytest.approx(alone.exponent)
    assert line.log_coefficient == pytest.approx(alone.log_coefficient)


def test_the_published_pipeline_needs_utds_and_successes(curves: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="two or more UTDs"):
        bs.fit_published(curves[curves["utd"] == 1.0], THRESHOLDS)
    with pytest.raises(InputError, match="no configuration's mean reaches"):
        bs.fit_published(curves, [1e6])


def raised_curves() -> pd.DataFrame:
    """Curves of three tasks, of which A is at 150 before training, B below 0 but for one lucky run, and C at 0."""
    curves = made_curves(noise=0.2).query("batch_size >= 250 or utd > 1")
    curves = curves.assign(episode_return=curves["episode_return"] + curves["env_id"].map({"A": 150, "B": -50, "C": 0}))
    lucky = (curves["env_id"] == "B") & (curves["utd"] == 8.0) & (curves["seed"] == 0)
    curves.loc[lucky & (curves["env_steps"] == 0), "episode_return"] = 120.0
    curves.loc[lucky, "episode_return"] = np.maximum(curves.loc[lucky, "episode_return"], 120.0)
    return curves


FITS = [
    lambda curves, levels: bs.fit_published(curves, levels, bootstraps=10),
    lambda curves, levels: fit_size_law(bs.time_to_threshold(curves, levels), bootstraps=10),
]


@pytest.mark.parametrize("fit", FITS)
def test_a_threshold_reached_before_training_tells_nothing_of_the_others(
    fit: Callable[[pd.DataFrame, list[float]], PublishedFit | SizeFit],
) -> None:
    curves = raised_curves()
    configs = pd.DataFrame({"env_id": ["A", "B", "C", "new"], "utd": 2.0, "batch_size": 181, "learning_rate": 8.4e-4})
    table = fit(curves, [100.0, 300.0, 600.0]).predict(configs)
    low, others = table[table["threshold"] == 100.0], table[table["threshold"] > 100.0]
    alone = fit(curves, [300.0, 600.0]).predict(configs)
    pd.testing.assert_frame_equal(others.reset_index(drop=True), alone, rtol=1e-5)  # starts of a search differ
    assert low["law_q50"].iloc[0] == 1.0  # of A, whose runs were there at 0 steps
    assert (low["p_reach"] == 1.0).all()
    assert low["law_q50"].iloc[3] > 0.1 * alone["law_q50"].iloc[6]  # of the new task: A is left out
    assert low["q50"].iloc[1:3].between(1e3, alone["q50"].iloc[2]).all()
    with pytest.raises(InputError, match="before training; raise them"):
        fit(curves[curves["env_id"] == "A"], [50.0, 100.0])


@pytest.mark.parametrize("fit", FITS)
def test_rows_are_predicted_in_their_order_whatever_their_index(
    fit: Callable[[pd.DataFrame, list[float]], PublishedFit | SizeFit],
) -> None:
    fitted = fit(made_curves(noise=0.2), [300.0, 600.0])
    configs = pd.DataFrame(
        {"env_id": ["C", "A", "C"], "utd": [1.0, 2.0, 3.0], "batch_size": 181, "learning_rate": 8e-4}
    )
    expected = pd.concat([fitted.predict(configs.iloc[[i]]) for i in range(3)], ignore_index=True)
    pd.testing.assert_frame_equal(fitted.predict(configs.set_axis([5, 5, 0])), expected)


def test_the_size_law_of_a_task_that_reaches_nothing_is_unknown() -> None:
    curves = made_curves(noise=0.2)
    curves.loc[curves["env_id"] == "A", "episode_return"] *= 0.1
    exponents = fit_size_law(bs.time_to_threshold(curves, [200.0, 400.0]), bootstraps=2).parameters["exponent_utd"]
    assert np.isnan(exponents[:, 0]).all()
    assert np.isfinite(exponents[:, 1:]).all()


def made_crossings(noise: float = 0.0) -> pd.DataFrame:
    """Crossings by D = 2e4 + 5e4 utd^-0.9 + 3e4 (N/1e6)^-0.6 and B* = 600/(utd^0.4 (1 + (N/1e6)^-0.5))."""
    rng = np.random.default_rng(2)
    rows = []
    for utd in (1.0, 2.0, 4.0, 8.0, 16.0):
        for size in (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000):
            best = 600 / (utd**0.4 * (1 + (size / 1e6) ** -0.5))
            for factor in (0.5, 1.0, 2.0):
                steps = (2e4 + 5e4 * utd**-0.9 + 3e4 * (size / 1e6) ** -0.6) * (1 + 0.2 * np.log2(factor) ** 2)
                config = {"algorithm": "BRO", "env_id": "A", "utd": utd, "batch_size": round(best * factor)}
                for seed in range(3):
                    upper = steps * np.exp(noise * rng.standard_normal())
                    run = {"learning_rate": 3e-4, "model_size": size, "seed": seed, "threshold": 700.0}
                    rows.append(config | run | {"env_steps_lower": upper - 1, "env_steps_upper": upper})
    return pd.DataFrame(rows).assign(censored=False)


def test_the_size_law_recovers_the_law_the_batch_rule_and_the_optimum() -> None:
    fitted = fit_size_law(made_crossings(), bootstraps=2)
    point = {name: values[0, 0, 0] for name, values in fitted.parameters.items()}
    assert point["floor"] == pytest.approx(2e4, rel=1e-3)
    assert point["exponent_utd"] == pytest.approx(0.9, rel=1e-3)
    assert point["exponent_model_size"] == pytest.approx(0.6, rel=1e-3)
    rule = fitted.batch_rule()
    assert rule("A", 3.0, 3e6) == pytest.approx(600 / (3**0.4 * (1 + 3**-0.5)), rel=0.02)
    assert rule("A", 3.0) == pytest.approx(rule("A", 3.0, 1e6))  # the geometric mean of the sizes
    utd, size = fitted.optimum("A", 0, 5e4)
    grid = np.geomspace(0.1, 100, 200_001)
    left = 5e4 - 2e4 - 5e4 * grid**-0.9
    sizes = np.where(left > 0, 1e6 * (np.where(left > 0, left, 1.0) / 3e4) ** (-1 / 0.6), np.inf)
    best = np.argmin(grid * sizes)
    assert (utd, size) == (pytest.approx(grid[best], rel=0.01), pytest.approx(sizes[best], rel=0.01))
    with pytest.raises(InputError, match="must exceed D_min"):
        fitted.optimum("A", 0, 1e4)
    for of_new_task in (lambda: fitted.optimum("C", 0, 5e4), lambda: rule("C", 2.0)):
        with pytest.raises(InputError, match=r"C was not fitted; name one of A"):
            of_new_task()


def test_an_optimum_that_is_not_there_says_why() -> None:
    table = made_crossings()
    there, never = table.assign(threshold=600.0), table.assign(threshold=800.0, censored=True)
    there[["env_steps_lower", "env_steps_upper"]], never["env_steps_upper"] = 0.0, np.inf
    whole = pd.concat([there, table, never]).sort_values([*table.columns[:7], "threshold"], ignore_index=True)
    fitted = fit_size_law(whole, bootstraps=1)
    assert np.isfinite(fitted.optimum("A", 1, 5e4)).all()
    with pytest.raises(InputError, match="A is above threshold 0 before training; give a higher one"):
        fitted.optimum("A", 0, 5e4)
    with pytest.raises(InputError, match="A does not reach threshold 2; give a lower one"):
        fitted.optimum("A", 2, 5e4)
    few = table.query("utd in [1, 16] and model_size in [250_000, 4_000_000]")
    with pytest.raises(InputError, match=r"env_steps must exceed D_min = 0; got 0\. Raise it"):
        fit_size_law(few, bootstraps=1).optimum("A", 0, 0.0)  # two values of each axis leave no floor
    with pytest.raises(InputError, match="needs runs that vary in utd and model_size"):
        fit_size_law(table.query("utd == 1"), bootstraps=1).optimum("A", 0, 5e4)


def test_a_configuration_above_the_threshold_before_training_is_not_the_fastest_of_its_cell() -> None:
    table = made_crossings()
    plain = fit_size_law(table, bootstraps=2)
    largest = table.groupby(["utd", "model_size"])["batch_size"].transform("max")
    lucky = (table["utd"] == 1.0) & (table["batch_size"] == largest)
    table.loc[lucky, ["env_steps_lower", "env_steps_upper"]] = 0.0
    fitted = fit_size_law(table, bootstraps=2)
    pd.testing.assert_frame_equal(fitted.cells, plain.cells)
    assert fitted.parameters["exponent_utd"] == pytest.approx(plain.parameters["exponent_utd"])


def test_the_size_law_predicts_and_says_what_it_lacks() -> None:
    fitted = fit_size_law(made_crossings(0.1), bootstraps=10)
    config = {"env_id": ["A"], "utd": [6.0], "batch_size": [200], "learning_rate": [3e-4]}
    table = fitted.predict(pd.DataFrame(config | {"model_size": [3_000_000]}))
    truth = 2e4 + 5e4 * 6**-0.9 + 3e4 * 3**-0.6
    assert table["q05"].iloc[0] < truth < table["q95"].iloc[0]
    with pytest.raises(InputError, match="lack the column model_size"):
        fitted.predict(pd.DataFrame(config))
    alike = made_crossings().query("utd == 1 and model_size == 1_000_000")
    with pytest.raises(InputError, match="two or more UTDs or model sizes"):
        fit_size_law(alike)
    with pytest.raises(InputError, match="no run reaches"):
        fit_size_law(made_crossings().assign(censored=True, env_steps_upper=np.inf))


def test_a_run_of_a_cell_that_mostly_fails_is_no_residual_of_the_size_law() -> None:
    """The median of a cell whose runs mostly fail is infinite, so that nobody knows how early the others were."""
    table = made_crossings(0.1)
    fails = (table["utd"] == 1.0) & (table["seed"] > 0)
    table.loc[fails, ["env_steps_upper", "censored"]] = [np.inf, True]
    noise = fit_size_law(table, bootstraps=2).noise
    assert -0.5 < noise.min() < noise.max() < 0.5
    whole = fit_size_law(made_crossings(1.0), bootstraps=2).noise
    assert whole.min() < -0.5  # must fail: runs that scatter that much


def table_of(law: str, spread: float) -> tuple[pd.DataFrame, Callable[[pd.DataFrame], np.ndarray]]:
    """A simulated table of a law, and the truth it was made by."""
    rng = np.random.default_rng(3)
    x = np.geomspace(1e2, 1e6, 40)
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8)))
    c, s = (v.ravel() for v in np.meshgrid(np.geomspace(1e12, 1e17, 15), np.arange(3.0, 10.0)))
    made: dict[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], np.ndarray]]] = {
        "power": (pd.DataFrame({"x": x}), lambda t: 7.0 * t["x"].to_numpy() ** -0.35),
        "chinchilla": (
            pd.DataFrame({"parameters": n, "tokens": d}),
            lambda t: 1.69 + 406.4 * t["parameters"].to_numpy() ** -0.34 + 410.7 * t["tokens"].to_numpy() ** -0.28,
        ),
        "sigmoid": (
            pd.DataFrame({"compute": x}),
            lambda t: 0.2 + (0.65 - 0.2) / (1 + (5e3 / t["compute"].to_numpy()) ** 1.4),
        ),
        "problem_size": (
            pd.DataFrame({"compute": c, "size": s}),
            lambda t: np.minimum(
                -3000.0 - 400.0 * t["size"].to_numpy() + 200.0 * np.log(t["compute"].to_numpy()),
                100.0 - 50.0 * t["size"].to_numpy(),
            ),
        ),
    }
    table, truth = made[law]
    noise = spread * rng.standard_normal(len(table))
    y = truth(table) * np.exp(noise) if LAWS[law].log_output else truth(table) + noise * np.ptp(truth(table))
    return table.assign(**{LAWS[law].output: y}), truth


@pytest.mark.parametrize("law", LAWS)
def test_each_law_is_recovered_from_simulation(law: str) -> None:
    table, truth = table_of(law, 0.01)
    fitted = bs.fit_law(law, table, bootstraps=40)
    predicted = fitted.predict(table)
    size = np.ptp(truth(table))
    assert np.abs(predicted["law_q50"] - truth(table)).max() < 0.03 * size
    inside = (table[LAWS[law].output] >= predicted["q05"]) & (table[LAWS[law].output] <= predicted["q95"])
    assert inside.mean() > 0.75  # 0.9 nominal, 40 rows: a false alarm in 200 rows of tables


def test_a_long_table_is_predicted_in_little_memory_as_its_rows_are() -> None:
    table, _ = table_of("power", 0.1)
    fitted = bs.fit_law("power", table, bootstraps=100)
    long = pd.concat([table] * 50, ignore_index=True)
    tracemalloc.start()
    predicted = fitted.predict(long)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pd.testing.assert_frame_equal(predicted, pd.concat([fitted.predict(table)] * 50, ignore_index=True))
    assert peak < 2000 * 25 * 100 * 8  # bytes of all rows' draws at once


@pytest.mark.parametrize(("law", "name", "value"), [
    ("power", "exponent_x", 0.35), ("chinchilla", "exponent_parameters", 0.34), ("chinchilla", "floor", 1.69),
    ("sigmoid", "asymptote", 0.65), ("sigmoid", "exponent", 1.4), ("problem_size", "ramp_compute", 200.0),
])  # fmt: skip
def test_parameters_are_recovered_exactly_without_noise(law: str, name: str, value: float) -> None:
    table, _ = table_of(law, 0.0)
    assert bs.fit_law(law, table, bootstraps=1).parameters[name].iloc[0] == pytest.approx(value, rel=1e-3)


def test_the_wrong_law_does_not_fit() -> None:
    table, truth = table_of("sigmoid", 0.01)
    rising = table.assign(x=1 / table["compute"], y=table["reward"])
    off = bs.fit_law("power", rising, bootstraps=1).predict(rising)["law_q50"] - truth(table)
    assert np.abs(off).max() > 0.03 * np.ptp(truth(table))


@pytest.mark.parametrize(("settings", "said"), [
    ({"seed": -1}, r"seed must be at least 0; got -1\. Raise it"),
    ({"bootstraps": 0}, r"bootstraps must be at least 1; got 0\. Raise it"),
    ({"bootstraps": -1}, r"bootstraps must be at least 1; got -1\. Raise it"),
])  # fmt: skip
def test_seeds_and_bootstraps_out_of_range_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        bs.fit_law("power", table_of("power", 0.1)[0], **settings)
    with pytest.raises(InputError, match=said):
        bs.fit_published(made_curves(), THRESHOLDS, **settings)
    with pytest.raises(InputError, match=said):
        fit_size_law(made_crossings(), **settings)


def test_side_by_side_least_squares_equals_scipy() -> None:
    x = np.linspace(0, 3, 20)
    wanted = np.array([[2.0, 0.7], [0.5, 1.5]])
    y = np.array([a * np.exp(-b * x) for a, b in wanted]) + 0.05 * np.random.default_rng(0).standard_normal((2, 20))
    found, loss = minimise(lambda p: p[:, :1] * np.exp(-p[:, 1:] * x) - y, np.ones((2, 2)))
    for problem in range(2):
        peer = least_squares(lambda p, y=y[problem]: p[0] * np.exp(-p[1] * x) - y, np.ones(2))
        assert found[problem] == pytest.approx(peer.x, rel=1e-4)
        assert loss[problem] == pytest.approx(2 * peer.cost, rel=1e-6)


def test_a_law_that_cannot_be_fitted_says_why() -> None:
    table, _ = table_of("power", 0.0)
    with pytest.raises(InputError, match="law must be one of power"):
        bs.fit_law("cubic", table)
    with pytest.raises(InputError, match="no column 'y'"):
        bs.fit_law("power", table.drop(columns="y"))
    with pytest.raises(InputError, match="y must be finite and > 0"):
        bs.fit_law("power", table.assign(y=-1.0))
    with pytest.raises(InputError, match="x must be finite and > 0"):
        bs.fit_law("power", table.assign(x=0.0))
    with pytest.raises(InputError, match="needs y to fall as x rises; give 1/x as x if it rises"):
        bs.fit_law("power", table.assign(y=1 / table["y"]))
    turned = bs.fit_law("power", table.assign(y=1 / table["y"], x=1 / table["x"]), bootstraps=1)
    assert turned.parameters["exponent_x"].iloc[0] == pytest.approx(0.35)
    with pytest.raises(InputError, match="has 2 parameters; got 1 rows"):
        bs.fit_law("power", table.iloc[:1])


@pytest.mark.parametrize("spread", [0.0, 0.05])
@pytest.mark.parametrize("rising", [["parameters"], ["tokens"], ["parameters", "tokens"]])
def test_a_law_of_several_inputs_refuses_an_output_that_rises_with_one(spread: float, rising: list[str]) -> None:
    table, _ = table_of("chinchilla", spread)
    turned = table.assign(**{x: 1 / table[x] for x in rising})
    with pytest.raises(InputError, match=f"needs loss to fall as {rising[0]} rises; give 1/{rising[0]} as {rising[0]}"):
        bs.fit_law("chinchilla", turned, bootstraps=1)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
def test_one_of_several_inputs_may_have_no_effect(spread: float) -> None:
    table, _ = table_of("chinchilla", 0.0)
    law = 1 + (table["tokens"] / 1e10) ** -0.28
    for seed in range(3):
        noise = spread * np.random.default_rng(seed).standard_normal(len(table))
        bs.fit_law("chinchilla", table.assign(loss=law * np.exp(noise)), bootstraps=1)
