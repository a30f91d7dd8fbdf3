import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import bayescale as bs
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import (
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    before_rounding,
)
from bayescale.validation.scores import (
    interval_hits,
    log_density,
    score_each,
    stacking_weights,
)
from tests.scaffolding.scored_runs import observed, predictions


def test_the_truth_covers_ninety_percent_and_wrong_medians_or_widths_do_not() -> None:
    times = 1e5 * np.exp(0.3 * np.random.default_rng(0).standard_normal(4000))
    runs = observed(*times)
    truth = bs.score(predictions(1e5, 0.3), crossings=runs)
    margin = 4 * np.sqrt(0.9 * 0.1 / 4000)  # four standard errors: a false alarm in 16,000
    assert abs(truth.coverage90 - 0.9) < margin
    for wrong in (predictions(1.3e5, 0.3), predictions(1e5, 0.2), predictions(1e5, 0.5)):
        off = bs.score(wrong, crossings=runs)
        assert off.wis > truth.wis
        assert off.log_score < truth.log_score
    assert bs.score(predictions(1e5, 0.2), crossings=runs).coverage90 < 0.9 - margin
    assert bs.score(predictions(1.3e5, 0.3), crossings=runs).male > truth.male + 0.2
    assert truth.width90 == pytest.approx(0.3 * (norm.ppf(0.95) - norm.ppf(0.05)))


def test_thresholds_closer_than_five_digits_are_distinguished_and_match_after_they_went_through_a_file() -> None:
    close = [1_000_010.0, 1_000_020.0]
    runs = pd.concat([observed(1000.0 * (k + 1)).assign(threshold=J) for k, J in enumerate(close)], ignore_index=True)
    right = pd.concat([predictions(1000.0 * (k + 1), 0.1).assign(threshold=J) for k, J in enumerate(close)])
    assert bs.score(right, crossings=runs).male == pytest.approx(0.0)
    swapped = right.assign(threshold=close[::-1])
    assert bs.score(swapped, crossings=runs).male == pytest.approx(np.log(2.0))
    assert bs.score(right.assign(threshold=[1_000_012.0, 1_000_019.0]), crossings=runs).male == pytest.approx(0.0)
    with pytest.raises(InputError, match="predictions lack 2 of 2 observations"):
        bs.score(right.assign(threshold=[1_000_100.0, 1_000_200.0]), crossings=runs)


def test_scores_of_one_run_worked_by_hand() -> None:
    seen = bs.score(predictions(1000.0, 1.0), crossings=observed(2000.0))
    excess = np.log(2000.0) - np.log(1000.0) - norm.ppf(QUANTILE_LEVELS)
    pinball = np.where(excess > 0, QUANTILE_LEVELS * excess, (QUANTILE_LEVELS - 1) * excess)
    assert seen.wis == pytest.approx(2 * pinball.mean())
    assert seen.male == pytest.approx(np.log(2.0))
    assert bs.score(predictions(100.0, 1.0), crossings=observed(200.0)).wis == pytest.approx(seen.wis)
    assert (seen.observations, seen.censored, seen.coverage90) == (1, 0.0, 1.0)


def test_the_error_of_medians_is_a_mean_over_cells_in_which_a_censored_run_is_later_than_any() -> None:
    runs = [observed(1000.0), observed(1000.0, utd=2.0), observed(500.0, 8000.0, np.inf, utd=4.0)]
    table = pd.concat([predictions(1000.0, 0.3, utd) for utd in (1.0, 2.0, 4.0)])
    assert bs.score(table, crossings=pd.concat(runs)).male == pytest.approx(np.log(8.0) / 3)


def test_quantiles_rounded_up_to_an_evaluation_are_spread_over_the_interval_by_hand() -> None:
    steps = np.array([[100.0, 200.0, 200.0, 200.0, 300.0, 300.0, np.inf], [100.0] * 7])
    spread = before_rounding(steps, pd.DataFrame({"evaluation_interval": [100.0, 1e5]}))
    assert spread[0].tolist() == pytest.approx([50.0, 350 / 3, 150.0, 550 / 3, 225.0, 275.0, np.inf])
    assert spread[1].tolist() == [1.0] * 7  # never before the first step


def test_the_density_alone_is_of_quantiles_before_they_were_rounded_up() -> None:
    table, runs = predictions(1000.0, 0.3), observed(900.0, 1500.0, grid=10.0)
    rounded = bs.score(table.assign(evaluation_interval=100.0), crossings=runs.assign(evaluation_interval=7.0, q50=3.0))
    earlier = bs.score(table.assign(**{name: table[name] - 50.0 for name in QUANTILE_COLUMNS}), crossings=runs)
    assert rounded._replace(log_score=0.0) == bs.score(table, crossings=runs)._replace(log_score=0.0)
    assert rounded.log_score == pytest.approx(earlier.log_score)


@pytest.mark.parametrize(("name", "values"), [("suite", "ab"), ("algorithm", "ab"), ("model_size", (10, 20))])
def test_predictions_are_held_against_runs_of_their_own_kind_and_size(name: str, values: tuple[object, ...]) -> None:
    each = list(zip(values, (1000.0, 4000.0), strict=True))
    table = pd.concat([predictions(at, 0.3).assign(**{name: value}) for value, at in each])
    assert (
        bs.score(table, crossings=pd.concat([observed(at).assign(**{name: value}) for value, at in each])).male == 0.0
    )


def test_an_observation_at_either_end_of_the_interval_is_inside() -> None:
    at_once = predictions(1000.0, 0.0)
    assert [bs.score(at_once, crossings=observed(at)).coverage90 for at in (900.0, 1000.0, 1100.0)] == [0.0, 1.0, 0.0]


def test_interval_hits_of_every_observation_kind_by_hand() -> None:
    seen = observed(900.0, 1000.0, 1100.0, np.inf, np.inf, last=1000.0).assign(seed=range(5))
    seen.loc[4, ["env_steps_lower", "env_steps_upper", "censored"]] = 0.0, 0.0, False
    low, high = pd.Series(1000.0, seen.index), pd.Series(1050.0, seen.index)
    assert interval_hits(seen, low=low, high=high).tolist() == [False, True, False, True, True]
    assert interval_hits(seen, low=low - 500, high=high - 100).tolist() == [True, False, False, False, True]


def test_the_pinball_loss_by_hand() -> None:
    late = np.array([False, False, True, True])
    loss = bs.pinball_loss(np.array([1.0, 4.0, 1.0, 4.0]), observed=np.full(4, 3.0), censored=late, levels=0.9)
    assert loss.tolist() == pytest.approx([0.9 * 2, 0.1 * 1, 0.9 * 2, 0.0])


def test_a_prediction_of_one_number_has_tails() -> None:
    quantiles = np.full((1, len(QUANTILE_LEVELS)), np.log(1000.0))
    later = log_density(quantiles, np.array([-np.inf]), np.log([2000.0]))
    assert later[0] == pytest.approx(norm.logcdf(norm.ppf(0.05) + np.log(2.0)))


def test_the_normal_score_is_linear_between_the_quantiles_on_either_side_by_hand() -> None:
    quantiles = np.array([[1.0, 1.0, 1.0, 2.0, 4.0, 4.0, 5.0]])
    halfway = log_density(
        quantiles, np.array([-np.inf]), np.array([3.0])
    )  # the middle of the quantiles at levels 0.5 and 0.75
    assert halfway[0] == pytest.approx(norm.logcdf(0.5 * norm.ppf(0.75)))


def test_the_log_score_averages_the_density_over_the_interval() -> None:
    fine = bs.score(predictions(1000.0, 0.7), crossings=observed(1500.0, grid=0.1))
    assert fine.log_score == pytest.approx(norm.logpdf(np.log(1.5) / 0.7) - np.log(0.7), abs=1e-3)
    coarse = bs.score(predictions(1000.0, 0.7), crossings=observed(1500.0, grid=500.0))
    mass = norm.cdf(np.log(1.5) / 0.7) - norm.cdf(0.0)
    assert coarse.log_score == pytest.approx(np.log(mass / np.log(1.5)))


def test_the_log_score_keeps_its_digits_in_both_tails() -> None:
    quantiles = np.log(1000.0) + 0.1 * norm.ppf(QUANTILE_LEVELS)[None]
    for at in (np.exp(-4.0), np.exp(4.0)):
        lower, upper = np.array([1000 * at]), np.array([1000 * at * 1.0001])
        density = norm.logpdf(np.log(at) / 0.1) - np.log(0.1)
        assert log_density(quantiles, np.log(lower), np.log(upper))[0] == pytest.approx(density, rel=1e-3)


def test_a_run_that_is_there_before_training_scores_nothing() -> None:
    runs = observed(900.0, 1200.0, 1500.0)
    untrained = observed(1.0).assign(seed=9, env_steps_lower=0.0, env_steps_upper=0.0)
    assert bs.score(predictions(1000.0, 0.3), crossings=pd.concat([runs, untrained])) == bs.score(
        predictions(1000.0, 0.3), crossings=runs
    )
    with pytest.raises(InputError, match="every run reaches every threshold before training"):
        bs.score(predictions(1000.0, 0.3), crossings=untrained)


def test_a_censored_run_counts_as_far_as_it_is_known() -> None:
    late, early = predictions(2e6, 0.3), predictions(1e5, 0.3)
    never = observed(np.inf, last=1e6)
    assert score_each(late, crossings=never)["inside"].all()
    assert not score_each(early, crossings=never)["inside"].any()
    assert bs.score(late, crossings=never).log_score == pytest.approx(norm.logsf(np.log(0.5) / 0.3))
    known = np.maximum(np.log(1e6) - np.log(2e6) - 0.3 * norm.ppf(QUANTILE_LEVELS), 0)
    assert bs.score(late, crossings=never).wis == pytest.approx(2 * (QUANTILE_LEVELS * known).mean())
    assert np.isnan(bs.score(late, crossings=never).male)


def test_a_run_seen_at_its_first_evaluation_is_left_censored() -> None:
    seen = bs.score(predictions(1000.0, 0.5), crossings=observed(400.0, grid=500.0))
    assert seen.log_score == pytest.approx(norm.logcdf(np.log(0.5) / 0.5))
    at_once = bs.score(predictions(2.0, 0.5), crossings=observed(1.0, grid=1.0))
    assert at_once.log_score == pytest.approx(norm.logcdf(np.log(0.5) / 0.5))


def test_quantiles_that_never_come_count_as_twenty_times_the_longest_run() -> None:
    table = predictions(1000.0, 0.5)
    table[["q75", "q90", "q95"]] = np.inf
    seen = bs.score(table, crossings=observed(2000.0, 1000.0))
    assert seen.width90 == pytest.approx(np.log(20 * 2000.0 / table["q05"].iloc[0]))
    assert np.isfinite(seen.log_score)
    table[QUANTILE_COLUMNS] = np.inf
    assert np.isfinite(bs.score(table, crossings=observed(2000.0)).log_score)


def test_a_table_without_an_answer_is_refused() -> None:
    with pytest.raises(InputError, match="predictions lack 1 of 2 observations"):
        bs.score(predictions(1e3, 0.3), crossings=pd.concat([observed(1e3), observed(1e3, utd=2.0)]))
    with pytest.raises(InputError, match="twice"):
        bs.score(pd.concat([predictions(1e3, 0.3), predictions(2e3, 0.3)]), crossings=observed(1e3))
    crossed = predictions(1e3, 0.3).assign(q95=1.0)
    with pytest.raises(InputError, match="quantiles that cross"):
        bs.score(crossed, crossings=observed(1e3))


def test_stacking_takes_the_one_method_that_is_always_better_however_unlikely_the_observations_are() -> None:
    assert stacking_weights(np.array([[-1000.0, -1001.0], [-1e5, -1e6]])) == pytest.approx([1.0, 0.0])


def test_stacking_finds_the_shares_of_a_mixture() -> None:
    rng = np.random.default_rng(5)
    y = rng.standard_normal(4000) + np.where(rng.random(4000) < 0.3, 4.0, 0.0)
    log_scores = np.column_stack([norm.logpdf(y), norm.logpdf(y, 4.0), norm.logpdf(y, 30.0)])
    weights = stacking_weights(log_scores)
    assert weights == pytest.approx([0.7, 0.3, 0.0], abs=0.03)  # four standard errors of a share of 4,000
    assert np.log(np.exp(log_scores) @ weights).mean() > np.log(np.exp(log_scores).mean(axis=1)).mean()


def test_settings_that_went_through_a_file_still_match() -> None:
    shifted = predictions(1e3, 0.3, utd=1 + 1e-6).assign(learning_rate=1e-3 * (1 + 1e-6))
    tables = [shifted.assign(threshold=J * (1 + 1e-6)) for J in (0.5, 0.7)]
    runs = [observed(1e3).assign(threshold=J) for J in (0.5, 0.7)]
    assert bs.score(pd.concat(tables), crossings=pd.concat(runs)).male == pytest.approx(0.0)
    with pytest.raises(InputError, match="predictions lack 1 of 1"):
        bs.score(predictions(1e3, 0.3, utd=1.001), crossings=observed(1e3))


def test_a_failed_run_scores_the_chance_of_failure_that_was_predicted() -> None:
    reached = observed(*[1e5] * 3)
    lost = observed(np.inf, last=5e3).assign(seed=9, status="diverged")
    runs = pd.concat([reached.assign(status="finished"), lost], ignore_index=True)
    sure = predictions(1e5, 0.1)
    doubtful = sure.assign(**dict.fromkeys(QUANTILE_COLUMNS[-2:], np.inf))
    assert interval_hits(runs, low=pd.Series([1e4] * 4), high=pd.Series([1e6] * 4)).tolist() == [True] * 3 + [False]
    assert interval_hits(runs, low=pd.Series([1e4] * 4), high=pd.Series([np.inf] * 4)).all()
    each = [score_each(table, crossings=runs).iloc[-1] for table in (sure, doubtful)]
    never = np.log(20 * 1e5)
    quantiles = np.log(sure[QUANTILE_COLUMNS].to_numpy(float)[0])
    np.testing.assert_allclose(each[0]["wis"], 2 * (QUANTILE_LEVELS * (never - quantiles)).mean())
    assert each[1]["wis"] < each[0]["wis"]
    assert np.isfinite(each[0]["log_score"])
    assert each[1]["log_score"] > np.log(0.09)  # one run in eleven was said to fail at least
    censored = score_each(sure, crossings=runs.assign(status="finished")).iloc[-1]
    assert censored["wis"] == 0.0  # the control: a run that was only stopped may have got there as predicted
