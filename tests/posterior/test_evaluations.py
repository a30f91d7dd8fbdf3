"""Test of which evaluation, or of which crossing, the predicted quantiles of a new run are."""

import json

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import QUANTILE_COLUMNS, before_rounding, next_evaluations, of_crossing
from tests.scaffolding.irregular_evaluations import TASKS, UNEVEN, irregular_crossings
from tests.scaffolding.prior_posterior import prior_posterior

CONFIGS = pd.DataFrame({"env_id": TASKS, "utd": 2.0, "batch_size": 128, "learning_rate": 1e-4})


@pytest.fixture(scope="module")
def posterior() -> bs.Posterior:
    return prior_posterior(irregular_crossings())


@pytest.fixture(scope="module")
def crossing(posterior: bs.Posterior) -> pd.DataFrame:
    return posterior.predict(CONFIGS, evaluations="crossing")


def first_at_or_after(env_steps: float, schedule: np.ndarray) -> float:
    """Return the first step of the schedule at or after `env_steps`, one after the other: the slow twin."""
    return next((float(step) for step in schedule if step >= env_steps), np.inf)


def test_the_default_is_the_interval_of_regular_runs_and_the_crossing_itself_of_all_others(
    posterior: bs.Posterior, crossing: pd.DataFrame
) -> None:
    predicted = posterior.predict(CONFIGS)
    assert predicted.groupby("env_id")["evaluation_interval"].first().to_dict() == dict(
        zip(TASKS, (0.0, 0.0, 1_000.0), strict=True)
    )
    irregular = predicted["env_id"] != "Even-v1"
    pd.testing.assert_frame_equal(predicted[irregular], crossing[irregular])
    regular = np.ceil(crossing.loc[~irregular, QUANTILE_COLUMNS] / 1_000) * 1_000
    pd.testing.assert_frame_equal(predicted.loc[~irregular, QUANTILE_COLUMNS], regular)
    assert list(predicted)[:7] == [*CONFIGS, "evaluation_interval", "threshold", "q05"]
    assert (crossing["evaluation_interval"] == 0).all()
    assert (crossing.loc[~irregular, "q50"] < regular["q50"]).all()


def test_quantiles_are_the_first_evaluation_of_a_list_and_infinite_after_its_last(
    posterior: bs.Posterior, crossing: pd.DataFrame
) -> None:
    early = UNEVEN[:8]  # some quantiles lie beyond the last evaluation
    listed = posterior.predict(CONFIGS, evaluations=[0, *early])
    wanted = crossing[QUANTILE_COLUMNS].map(lambda env_steps: first_at_or_after(env_steps, early))
    pd.testing.assert_frame_equal(listed[QUANTILE_COLUMNS], wanted)
    assert np.isfinite(wanted.to_numpy()).any()
    assert (np.isinf(wanted) & np.isfinite(crossing[QUANTILE_COLUMNS])).to_numpy().any()
    assert "evaluation_interval" not in listed
    assert {tuple(json.loads(text)) for text in listed["evaluation_steps"]} == {tuple(early)}
    same = [name for name in crossing if name.startswith("law_") or name in ("p_reach", "extrapolation")]
    pd.testing.assert_frame_equal(listed[same], crossing[same])
    assert not of_crossing(listed).any()


def test_an_interval_is_the_list_of_its_multiples_and_a_column_of_the_table_serves_as_well(
    posterior: bs.Posterior,
) -> None:
    every = posterior.predict(CONFIGS, evaluations=7_000)
    multiples = posterior.predict(CONFIGS, evaluations=7_000.0 * np.arange(1, 1000))
    finite = (every[QUANTILE_COLUMNS] <= 6_993_000).to_numpy()
    assert finite.any()
    np.testing.assert_array_equal(
        every[QUANTILE_COLUMNS].to_numpy()[finite], multiples[QUANTILE_COLUMNS].to_numpy()[finite]
    )
    column = posterior.predict(CONFIGS.assign(evaluation_interval=7_000.0))
    pd.testing.assert_frame_equal(column, every)


def test_a_table_of_predictions_predicts_itself_again(posterior: bs.Posterior) -> None:
    for evaluations in (None, "crossing", 2_500, UNEVEN):
        first = posterior.predict(CONFIGS, evaluations=evaluations)
        settings = [name for name in first if name in CONFIGS or name.startswith("evaluation_")]
        pd.testing.assert_frame_equal(posterior.predict(first[settings].drop_duplicates()), first)


@pytest.mark.parametrize(
    ("evaluations", "said"),
    [
        ([], "must hold an env step above 0; got [].*Give"),
        ([0], "must hold an env step above 0; got [0]"),
        ([2_000, 1_000], "must increase; got [2000, 1000]. Sort"),
        ([1_000, 1_000], "keep each once"),
        ([-1, 1_000], "must be finite and >= 0; got [-1, 1000]. Remove or correct"),
        ([1_000, np.nan], "must be finite and >= 0; got [1000, nan]"),
        ([1_000, np.inf], "must be finite and >= 0"),
        ([-1, *range(1, 99)], "got [-1, 1, 2, 3, 4, ...]"),
        (["1000"], "must be a list of env steps; got ['1000']. Give one such as"),
        ([[1_000], [2_000]], "must be a list of env steps"),
        ("sometimes", "or 'crossing'; got 'sometimes'. Give one"),
        (0, "must be a finite number > 0; got 0. Correct it"),
        (-5.0, "must be a finite number > 0"),
        (np.nan, "must be a finite number > 0"),
    ],
)
def test_an_unusable_schedule_is_refused_with_a_remedy(
    posterior: bs.Posterior, evaluations: list[float] | float | str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        posterior.predict(CONFIGS, evaluations=evaluations)
    assert str(caught.value).startswith("evaluations must ")
    for part in said.split(".*"):
        assert part in str(caught.value)


def test_two_schedules_at_once_and_a_broken_column_are_refused(posterior: bs.Posterior) -> None:
    with pytest.raises(InputError, match=r"configs have a column 'evaluation_interval'\. Drop one of them"):
        posterior.predict(CONFIGS.assign(evaluation_interval=1_000), evaluations="crossing")
    for text in ("often", "[3, 2]", "7"):
        with pytest.raises(InputError, match="evaluation_steps must "):
            posterior.predict(CONFIGS.assign(evaluation_steps=text))


def test_rounding_and_its_inverse_by_hand() -> None:
    table = pd.DataFrame({"evaluation_interval": [100.0, 0.0, np.nan], "evaluation_steps": [None, None, "[50, 300]"]})
    steps = np.array([[10.0, 20.0, 120.0, 400.0], [10.5, 20.5, 120.5, np.inf], [10.0, 50.0, 120.0, 400.0]])
    rounded = next_evaluations(steps, table)
    assert rounded.tolist() == [[100, 100, 200, 400], [10.5, 20.5, 120.5, np.inf], [50, 50, 300, np.inf]]
    assert of_crossing(table).tolist() == [False, True, False]
    spread = before_rounding(rounded, table)
    assert spread.tolist() == [[25, 75, 150, 350], [10.5, 20.5, 120.5, np.inf], [12.5, 37.5, 175, np.inf]]
    once_more = before_rounding(rounded * (1 + 1e-12), table)  # a file may change the last digits
    np.testing.assert_allclose(once_more, spread)
