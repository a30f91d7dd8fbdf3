"""Test that invalid configurations are refused, and that each task has the model sizes and UTDs of its own runs."""

import dataclasses
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.data.configurations import CONFIG as COLUMNS
from bayescale.data.configurations import checked_configs, outside_range, setting_columns
from bayescale.decisions.candidates import flops_per_step, with_model_sizes
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior

CONFIG = pd.DataFrame({"env_id": TASKS, "utd": 1.0, "batch_size": 128, "learning_rate": 1e-4})
SIZES = dict(zip(TASKS, (1_000, 1_000_000), strict=True))
PRICES = bs.Prices(flop=1.0, env_step=1.0)


@pytest.fixture(scope="module")
def posterior() -> bs.Posterior:
    """Return a posterior of two tasks whose critics differ in size; the first task was swept at UTD 1 alone."""
    fitted = prior_posterior()
    table = fitted.crossings[(fitted.crossings["env_id"] == TASKS[1]) | (fitted.crossings["utd"] == 1)]
    return dataclasses.replace(fitted, crossings=table.assign(model_size=table["env_id"].map(SIZES)))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("env_id", None, "env_id must be filled in; got None at rows 0, 1"),
        ("env_id", 7, "env_id must be text; got 7"),
        ("utd", True, "utd must be a number; got True"),
        ("utd", pd.Timestamp("2020-01-01", tz="UTC"), "utd must be a number; got 2020-01-01"),
        ("utd", 0.0, "utd must be > 0; got 0.0"),
        ("batch_size", "64", "batch_size must be a number; got 64"),
        ("learning_rate", np.nan, "learning_rate must be filled in; got nan"),
        ("model_size", np.inf, "model_size must be finite; got inf"),
        ("evaluation_interval", -1, "evaluation_interval must be >= 0; got -1"),
    ],
)
def test_invalid_values_are_named(posterior: bs.Posterior, column: str, value: object, said: str) -> None:
    with pytest.raises(bs.InputError, match=f"configs: {said}"):
        posterior.predict(CONFIG.assign(**{column: value}))


def test_a_table_without_a_column_or_with_two_levels_of_names_is_refused() -> None:
    with pytest.raises(bs.InputError, match="configs has no column 'utd'; its columns are env_id, sigma, "):
        checked_configs(CONFIG.rename(columns={"utd": "sigma"}))
    nested = CONFIG.set_axis(pd.MultiIndex.from_product([CONFIG.columns, ["x"]]), axis=1)
    with pytest.raises(bs.InputError, match=r"column names of several levels\. Give each column one name"):
        checked_configs(nested)


def test_a_named_index_is_columns(posterior: bs.Posterior) -> None:
    configs = pd.DataFrame({"env_id": ["Hopper"], "utd": [2.0], "batch_size": [256], "learning_rate": [3e-4]})
    configs = configs.assign(model_size=100_000)
    at = configs.set_index(["env_id", "utd"])
    pd.testing.assert_frame_equal(
        posterior.predict(at, new_task=True), posterior.predict(configs, new_task=True), check_like=True
    )
    assert list(at.columns) == ["batch_size", "learning_rate", "model_size"]


def test_configurations_outside_the_range_of_their_task_by_hand() -> None:
    ends = {"utd": (1.0, 4.0), "batch_size": (64, 256), "learning_rate": (1e-4, 1e-3), "model_size": (10, 1000)}
    fitted = pd.DataFrame({"env_id": ["A", "A", "B"], **{name: [*both, 8 * both[1]] for name, both in ends.items()}})
    inside = pd.DataFrame({"env_id": ["A", "A", "A"], **{name: [low, high, low] for name, (low, high) in ends.items()}})
    assert not outside_range(fitted, inside).any()
    for name, (low, high) in ends.items():
        near = inside.assign(
            **{name: [low * (1 - 1e-12), high * (1 + 1e-12), low]}
        )  # differences that rounding in a file can cause
        off = inside.assign(**{name: [0.99 * low, 1.01 * high, low]})
        assert outside_range(fitted, near).tolist() == [False, False, False]
        assert outside_range(fitted, off).tolist() == [True, True, False]
    assert outside_range(fitted, inside.assign(env_id=["A", "B", "new"])).tolist() == [False, True, True]
    assert not outside_range(fitted, inside.drop(columns="model_size")).any()
    assert not outside_range(fitted.drop(columns="model_size"), inside.assign(model_size=1)).any()


def test_model_size_belongs_to_the_setting_if_the_table_has_it() -> None:
    assert setting_columns(CONFIG) == list(COLUMNS)
    assert setting_columns(CONFIG.assign(seed=0, model_size=7)) == [*COLUMNS, "model_size"]


def test_decimals_are_numbers() -> None:
    checked_configs(CONFIG.assign(utd=[Decimal("0.5"), Decimal(2)]))
    with pytest.raises(bs.InputError, match="utd must be > 0; got -2"):
        checked_configs(CONFIG.assign(utd=[Decimal("0.5"), Decimal(-2)]))


@pytest.mark.parametrize("env_id", TASKS)
def test_flops_count_the_critics_of_the_task(posterior: bs.Posterior, env_id: str) -> None:
    threshold = THRESHOLDS[0]
    assert bs.frontier(posterior, env_id=env_id, threshold=threshold, utd=[1.0]).model_size.tolist() == [SIZES[env_id]]
    assert bs.frontier(posterior, env_id=env_id, threshold=threshold, utd=[1.0], model_size=7).model_size.tolist() == [
        7
    ]
    choice = bs.allocate(posterior, env_id=env_id, threshold=threshold, prices=PRICES)
    assert choice.model_size == SIZES[env_id]
    assert choice == bs.allocate(posterior, env_id=env_id, threshold=threshold, prices=PRICES, model_size=SIZES[env_id])
    candidate = CONFIG[CONFIG["env_id"] == env_id].assign(env_steps=1_000)
    following = bs.next_experiments(posterior, candidate, budget=1e15, n=1, prices=PRICES)
    assert following["cost"].item() == pytest.approx(1_000 * (10 * SIZES[env_id] * 128 + 1))


def test_sizes_come_from_the_row_the_argument_or_the_task(posterior: bs.Posterior) -> None:
    assert list(with_model_sizes(posterior, CONFIG)["model_size"]) == list(SIZES.values())
    assert list(with_model_sizes(posterior, CONFIG, 7)["model_size"]) == [7, 7]
    own = CONFIG.assign(model_size=[8, 9])
    assert list(with_model_sizes(posterior, own, 7)["model_size"]) == [8, 9]
    np.testing.assert_allclose(flops_per_step(own), 10 * np.array([8, 9]) * 128)


def test_a_new_task_gets_the_median_size(posterior: bs.Posterior) -> None:
    front = bs.frontier(posterior, env_id="New-v0", threshold=THRESHOLDS[0], utd=[1.0], new_task=True)
    assert front.model_size == min(SIZES.values())


def test_the_budget_path_stays_within_the_task_s_own_utds(posterior: bs.Posterior) -> None:
    paths = {env_id: bs.budget_path(posterior, env_id=env_id, prices=PRICES) for env_id in TASKS}
    assert set(paths[TASKS[0]].utd_chosen) == {1.0}
    assert paths[TASKS[1]].utd.max() > 1.0
