import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import linregress

import bayescale as bs
from bayescale.comparators import LAWS
from bayescale.comparators.curve_fit import LawFit
from bayescale.comparators.predictions import NOISE_LEVELS
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import QUANTILE_COLUMNS, QUANTILE_LEVELS
from tests.scaffolding.law_tables import table_of


def test_a_power_law_and_its_bootstraps_are_lines_in_logs() -> None:
    table, _ = table_of("power", 0.3)
    fitted = bs.fit_law("power", table=table, seed=5, bootstraps=3)
    x, y = np.log(table["x"] / fitted.reference["x"]), np.log(table["y"])
    assert x.mean() == pytest.approx(0.0, abs=1e-12)
    line = linregress(x, y)
    residual = y - line.intercept - line.slope * x
    assert fitted.noise == pytest.approx(np.sqrt(np.square(residual).sum() / (len(x) - 2)))
    counts = np.random.default_rng(5).multinomial(len(x), np.full(len(x), 1 / len(x)), size=3)
    for draw, weights in enumerate([np.ones(len(x)), *counts]):
        slope, level = np.polyfit(x, y, 1, w=np.sqrt(weights))
        found = fitted.parameters.loc[draw, ["coefficient_x", "exponent_x"]]
        assert found.tolist() == pytest.approx([np.exp(level), -slope], rel=1e-4)


def test_a_laws_prediction_by_hand() -> None:
    parameters = pd.DataFrame({"coefficient_x": [3.0], "exponent_x": [0.5]})
    predicted = LawFit(LAWS["power"], {"x": 10.0}, parameters, 0.2, 5).predict(pd.DataFrame({"x": [10.0, 40.0]}))
    luck = np.exp(0.2 * np.quantile(ndtri(NOISE_LEVELS), QUANTILE_LEVELS))
    np.testing.assert_allclose(predicted[QUANTILE_COLUMNS], np.outer([3.0, 1.5], luck))
    np.testing.assert_allclose(predicted[["law_q05", "law_q50", "law_q95"]], [[3.0] * 3, [1.5] * 3])


@pytest.mark.parametrize("law", LAWS)
def test_each_law_is_recovered_from_simulation(law: str) -> None:
    table, truth = table_of(law, 0.01)
    fitted = bs.fit_law(law, table=table, bootstraps=40)
    predicted = fitted.predict(table)
    size = np.ptp(truth(table))
    assert np.abs(predicted["law_q50"] - truth(table)).max() < 0.03 * size
    inside = (table[LAWS[law].output] >= predicted["q05"]) & (table[LAWS[law].output] <= predicted["q95"])
    assert inside.mean() > 0.75  # 0.9 nominal, 40 rows: a false alarm in 200 rows of tables


def test_a_long_table_is_predicted_in_little_memory_as_its_rows_are() -> None:
    table, _ = table_of("power", 0.1)
    fitted = bs.fit_law("power", table=table, bootstraps=100)
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
    assert bs.fit_law(law, table=table, bootstraps=1).parameters[name].iloc[0] == pytest.approx(value, rel=1e-3)


def test_the_wrong_law_does_not_fit() -> None:
    table, truth = table_of("sigmoid", 0.01)
    rising = table.assign(x=1 / table["compute"], y=table["reward"])
    off = bs.fit_law("power", table=rising, bootstraps=1).predict(rising)["law_q50"] - truth(table)
    assert np.abs(off).max() > 0.03 * np.ptp(truth(table))


def test_a_law_that_cannot_be_fitted_says_why() -> None:
    table, _ = table_of("power", 0.0)
    with pytest.raises(InputError, match="law must be one of power"):
        bs.fit_law("cubic", table=table)
    with pytest.raises(InputError, match="no column 'y'"):
        bs.fit_law("power", table=table.drop(columns="y"))
    with pytest.raises(InputError, match="y must be finite and > 0"):
        bs.fit_law("power", table=table.assign(y=-1.0))
    with pytest.raises(InputError, match="x must be finite and > 0"):
        bs.fit_law("power", table=table.assign(x=0.0))
    with pytest.raises(InputError, match="needs y to fall as x rises; give 1/x as x if it rises"):
        bs.fit_law("power", table=table.assign(y=1 / table["y"]))
    turned = bs.fit_law("power", table=table.assign(y=1 / table["y"], x=1 / table["x"]), bootstraps=1)
    assert turned.parameters["exponent_x"].iloc[0] == pytest.approx(0.35)
    with pytest.raises(InputError, match="has 2 parameters; got 1 row"):
        bs.fit_law("power", table=table.iloc[:1])


@pytest.mark.parametrize("spread", [0.0, 0.05])
@pytest.mark.parametrize("rising", [["parameters"], ["tokens"], ["parameters", "tokens"]])
def test_a_law_of_several_inputs_refuses_an_output_that_rises_with_one(spread: float, rising: list[str]) -> None:
    table, _ = table_of("chinchilla", spread)
    turned = table.assign(**{x: 1 / table[x] for x in rising})
    with pytest.raises(InputError, match=f"needs loss to fall as {rising[0]} rises; give 1/{rising[0]} as {rising[0]}"):
        bs.fit_law("chinchilla", table=turned, bootstraps=1)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
def test_one_of_several_inputs_may_have_no_effect(spread: float) -> None:
    table, _ = table_of("chinchilla", 0.0)
    law = 1 + (table["tokens"] / 1e10) ** -0.28
    for seed in range(3):
        noise = spread * np.random.default_rng(seed).standard_normal(len(table))
        bs.fit_law("chinchilla", table=table.assign(loss=law * np.exp(noise)), bootstraps=1)
