from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.comparators import PublishedFit, SizeFit, fit_size_law
from bayescale.comparators.predictions import prediction_table, residual_quantiles
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import QUANTILE_COLUMNS
from tests.scaffolding.law_tables import THRESHOLDS, made_crossings, made_curves, table_of


def test_a_comparators_table_by_hand() -> None:
    configs = pd.DataFrame({"env_id": ["A"], "utd": [1.0], "batch_size": [64], "learning_rate": [1e-3]})
    noise = np.zeros((25, 3))
    noise[:, 2] = residual_quantiles(np.linspace(0.0, 1.0, 101))
    assert noise[[0, 12, 24], 2] == pytest.approx([0.02, 0.5, 0.98])
    table = prediction_table(configs, np.array([1.0, 2.0, 3.0]), np.array([[[2.0, 1.0, 5.0]]]), noise, configs)
    quantiles = np.log(table[QUANTILE_COLUMNS].to_numpy())
    np.testing.assert_allclose(quantiles[:2], 2.0)  # later thresholds are not reached sooner
    np.testing.assert_allclose(quantiles[2], 5 + np.array([0.06, 0.1, 0.26, 0.5, 0.74, 0.9, 0.94]))
    assert np.log(table["law_q50"]).tolist() == pytest.approx([2.0, 1.0, 5.0])


def raised_curves() -> pd.DataFrame:
    """Return curves of three tasks: before training, A is at 150, B at -50 but for one run at 120, and C at 0."""
    curves = made_curves(noise=0.2).query("batch_size >= 250 or utd > 1")
    curves = curves.assign(episode_return=curves["episode_return"] + curves["env_id"].map({"A": 150, "B": -50, "C": 0}))
    lucky = (curves["env_id"] == "B") & (curves["utd"] == 8.0) & (curves["seed"] == 0)
    curves.loc[lucky & (curves["env_steps"] == 0), "episode_return"] = 120.0
    curves.loc[lucky, "episode_return"] = np.maximum(curves.loc[lucky, "episode_return"], 120.0)
    return curves


FITS = [
    lambda curves, levels: bs.fit_published(curves, thresholds=levels, bootstraps=10),
    lambda curves, levels: fit_size_law(bs.time_to_threshold(curves, thresholds=levels), bootstraps=10),
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
    assert low["law_q50"].iloc[0] == 1.0  # task A is above the threshold before training
    assert (low["p_reach"] == 1.0).all()
    assert low["law_q50"].iloc[3] > 0.1 * alone["law_q50"].iloc[6]  # the new task: A is left out of the mean
    assert low["q50"].iloc[1:3].between(1e3, alone["q50"].iloc[2]).all()
    with pytest.raises(InputError, match="above it before their first env step; raise the thresholds"):
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


@pytest.mark.parametrize(("settings", "said"), [
    ({"seed": -1}, r"seed must be at least 0; got -1\. Raise it"),
    ({"bootstraps": 0}, r"bootstraps must be at least 1; got 0\. Raise it"),
    ({"bootstraps": -1}, r"bootstraps must be at least 1; got -1\. Raise it"),
])  # fmt: skip
def test_seeds_and_bootstraps_out_of_range_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        bs.fit_law("power", table=table_of("power", 0.1)[0], **settings)
    with pytest.raises(InputError, match=said):
        bs.fit_published(made_curves(), thresholds=THRESHOLDS, **settings)
    with pytest.raises(InputError, match=said):
        fit_size_law(made_crossings(), **settings)
