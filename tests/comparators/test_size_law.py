import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.comparators import fit_size_law
from bayescale.comparators.size_law import _fastest_by_cell, _medians, _new_task
from bayescale.errors import InputError
from tests.scaffolding.law_tables import made_crossings, made_curves


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


def test_the_size_law_of_a_task_that_reaches_nothing_is_unknown() -> None:
    curves = made_curves(noise=0.2)
    curves.loc[curves["env_id"] == "A", "episode_return"] *= 0.1
    crossings = bs.time_to_threshold(curves, thresholds=[200.0, 400.0])
    exponents = fit_size_law(crossings, bootstraps=2).parameters["exponent_utd"]
    assert np.isnan(exponents[:, 0]).all()
    assert np.isfinite(exponents[:, 1:]).all()


def test_the_best_configuration_of_each_cell_by_hand() -> None:
    """The fastest to the highest threshold, then to the one below; one that is above it at once comes last."""
    times = {
        (1.0, 32): [(1, 7), (3, 7), (2, np.inf)],  # the mean of its runs never reaches the second threshold
        (1.0, 64): [(5, 8), (5, 8), (5, 8)],
        (2.0, 32): [(4, np.inf), (4, np.inf), (4, 7)],
        (2.0, 64): [(3, np.inf)] * 3,
        (4.0, 32): [(0, 0)] * 3,
        (4.0, 64): [(2, 6)] * 3,
    }
    rows = [
        ("A", utd, batch, seed, threshold, upper)
        for (utd, batch), runs in times.items()
        for seed, run in enumerate(runs)
        for threshold, upper in zip((1.0, 2.0), run, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["env_id", "utd", "batch_size", "seed", "threshold", "env_steps_upper"])
    cells, runs = _fastest_by_cell(table, 2)
    assert cells[["utd", "batch_size"]].to_numpy().tolist() == [[1, 32], [2, 64], [4, 64]]
    assert [own.tolist() for own in runs] == [[[1, 7], [3, 7], [2, np.inf]], [[3, np.inf]] * 3, [[2, 6]] * 3]
    slow = np.array([[1.0, 9.0], [3.0, 9.0], [2.0, np.inf]])
    assert _medians([slow], None).tolist() == [[2, 9]]
    ways = {tuple(_medians([slow], np.random.default_rng(seed))[0]) for seed in range(60)}
    assert ways == {(1, 9), (2, 9), (2, np.inf), (3, 9)}


def test_a_new_task_has_the_mean_law_of_those_that_tell_one() -> None:
    laws = np.array([[[[1.0, 4.0, 6.0]], [[0.0, 8.0, 10.0]]], [[[0.0, 5.0, 9.0]], [[0.0, 9.0, 1.0]]]])
    np.testing.assert_allclose(_new_task(laws), [[[1.0, 6.0, 8.0]], [[0.0, 7.0, 5.0]]])
    early = np.array([[[[9.0, 4.0, 6.0]], [[0.0, 8.0, 10.0]]]])  # the one of two that tells is late
    np.testing.assert_allclose(_new_task(early), [[[6.0, 6.0, 8.0]]])
