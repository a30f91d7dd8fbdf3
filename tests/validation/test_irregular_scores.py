"""Test scores of predictions of the crossing itself, and of runs that are evaluated at irregular steps."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.posterior.prediction_table import QUANTILE_COLUMNS, QUANTILE_LEVELS, next_evaluations
from bayescale.validation.scores import interval_hits, score_each
from tests.scaffolding.irregular_evaluations import UNEVEN, observed_on
from tests.scaffolding.scored_runs import observed, predictions


def on_schedules(times: np.ndarray, schedules: list[np.ndarray]) -> pd.DataFrame:
    """Return crossings of runs that reach the threshold at `times`; the schedules take turns."""
    rows = [observed_on(schedules[i % len(schedules)], time) for i, time in enumerate(times)]
    return predictions(1.0, 0.0)[["env_id", "utd", "batch_size", "learning_rate", "threshold"]].merge(
        pd.DataFrame(rows).assign(seed=range(len(times))), how="cross"
    )


def evaluated(median: float, spread: float, **columns: object) -> pd.DataFrame:
    """Return predictions of the evaluations that the columns describe, or of the crossing itself."""
    table = predictions(median, spread).assign(**columns)
    return table.assign(**dict(zip(QUANTILE_COLUMNS, next_evaluations(quantiles_of(table), table).T, strict=True)))


def quantiles_of(table: pd.DataFrame) -> np.ndarray:
    return table[QUANTILE_COLUMNS].to_numpy(float)


def test_a_crossing_is_an_interval_in_which_quantiles_cost_nothing_by_hand() -> None:
    table = predictions(1000.0, 1.0).assign(evaluation_interval=0)
    runs = observed(1900.0, 1900.0, np.inf, 400.0, last=1500.0, grid=500.0).assign(
        env_steps_lower=[1000, 1000, 1500, 0]
    )
    each = score_each(table, crossings=runs)
    logs = np.log(quantiles_of(table)[0])
    early, late = np.maximum(np.log(1000.0) - logs, 0), np.maximum(logs - np.log(2000.0), 0)
    assert each["wis"].iloc[0] == pytest.approx(2 * (QUANTILE_LEVELS * early + (1 - QUANTILE_LEVELS) * late).mean())
    censored = QUANTILE_LEVELS * np.maximum(np.log(1500.0) - logs, 0)
    assert each["wis"].iloc[2] == pytest.approx(2 * censored.mean())
    first = (1 - QUANTILE_LEVELS) * np.maximum(logs - np.log(500.0), 0)
    assert each["wis"].iloc[3] == pytest.approx(2 * first.mean())
    middle = (np.log(1000.0) + np.log(2000.0)) / 2
    np.testing.assert_allclose(each["log_observed"], [middle, middle, np.inf, -np.inf])
    assert bs.score(table, crossings=runs.head(3)).male == pytest.approx(abs(middle - np.log(1000.0)))
    assert np.isnan(bs.score(table, crossings=runs.tail(1)).male)  # no lower end, no middle
    inside = observed(1900.0, grid=500.0).assign(env_steps_lower=1.0, env_steps_upper=1e9)
    assert bs.score(table, crossings=inside).wis == 0.0


def test_an_interval_of_the_crossing_covers_a_step_between_the_two_evaluations() -> None:
    runs = observed(900.0)  # the crossing lies between 800 and 900
    hits = {}
    for low, high in ((850, 860), (900, 950), (901, 950), (700, 800), (700, 801)):
        ends = {"low": pd.Series([low]), "high": pd.Series([high])}
        hits[low, high] = bool(interval_hits(runs, **ends, at_crossing=np.array([True]))[0])
        assert interval_hits(runs, **ends, at_crossing=np.array([False]))[0] == (low <= 900 <= high)
    assert list(hits.values()) == [True, True, False, False, True]


def test_on_irregular_evaluations_the_truth_is_covered_and_an_invented_interval_scores_worse() -> None:
    times = 4e4 * np.exp(0.3 * np.random.default_rng(0).standard_normal(2000))
    uneven = on_schedules(times, [UNEVEN])
    interval = float(np.median(uneven["env_steps_upper"] - uneven["env_steps_lower"]))
    crossing = bs.score(evaluated(4e4, 0.3, evaluation_interval=0), crossings=uneven)
    listed = bs.score(evaluated(4e4, 0.3, evaluation_steps=str(UNEVEN.tolist())), crossings=uneven)
    invented = bs.score(evaluated(4e4, 0.3, evaluation_interval=interval), crossings=uneven)
    margin = 4 * np.sqrt(0.9 * 0.1 / 2000)
    assert crossing.coverage90 > 0.9 - margin
    assert listed.coverage90 > 0.9 - margin
    assert crossing.log_score == pytest.approx(listed.log_score, abs=0.1)
    # The control: an interval that the runs do not have costs accuracy on every score.
    assert invented.coverage90 < min(crossing.coverage90, listed.coverage90) - margin
    assert invented.wis > 1.05 * max(listed.wis, crossing.wis)
    assert invented.male > max(listed.male, crossing.male)


def test_runs_of_two_spacings_are_scored_on_the_crossing_whatever_their_evaluations() -> None:
    times = 4e4 * np.exp(0.3 * np.random.default_rng(1).standard_normal(2000))
    two = on_schedules(times, [np.arange(1e3, 3e5, 1e3), np.arange(1e4, 3e5, 1e4)])
    margin = 4 * np.sqrt(0.9 * 0.1 / 2000)
    crossing = {off: bs.score(evaluated(off * 4e4, 0.3, evaluation_interval=0), crossings=two) for off in (1, 1.3)}
    assert crossing[1].coverage90 > 0.9 - margin
    assert crossing[1].wis < crossing[1.3].wis
    assert crossing[1].male < 0.05 < crossing[1.3].male
    assert crossing[1.3].coverage90 < 0.9 - margin  # the control: a wrong median is still found out


def test_methods_that_name_no_evaluations_are_scored_on_the_crossing_where_fitted_runs_are_irregular() -> None:
    times = 4e4 * np.exp(0.3 * np.random.default_rng(2).standard_normal(50))
    uneven, even = on_schedules(times, [UNEVEN]), observed(*times)
    table = predictions(4e4, 0.3)
    of_crossing = score_each(table.assign(evaluation_interval=0), crossings=uneven)
    pd.testing.assert_frame_equal(
        score_each(table, crossings=uneven, fitted=uneven).drop(columns="evaluation_interval"),
        of_crossing.drop(columns="evaluation_interval"),
    )
    same = score_each(table, crossings=even, fitted=even).drop(columns="evaluation_interval")
    pd.testing.assert_frame_equal(same, score_each(table, crossings=even))
    assert of_crossing["wis"].mean() < score_each(table, crossings=uneven)["wis"].mean()
