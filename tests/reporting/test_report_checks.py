"""The figures behind the report's part on trust."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import InputError
from bayescale.reporting.report_checks import exponents, held_out_scores, predictive_check, rank_counts
from bayescale.reporting.style import percent, scientific, steps
from tests.scaffolding.prior_posterior import prior_posterior


@pytest.mark.parametrize(
    ("lower", "upper", "agrees50", "agrees90"),
    [
        (90.0, 110.0, True, True),  # seen at the evaluation at 110, as quantiles are
        (100.0, 125.0, True, True),
        (100.0, 200.0, False, True),
        (150.0, 210.0, False, False),
        (0.0, 0.0, True, True),  # before training: says nothing
        (60.0, 70.0, False, True),
        (10.0, 20.0, False, False),
        (150.0, np.inf, False, True),  # censored: agrees unless the interval ends before
        (250.0, np.inf, False, False),
        (0.0, 30.0, False, False),  # before the first evaluation: agrees unless the interval begins after
        (0.0, 60.0, False, True),
    ],
)
def test_a_crossing_agrees_with_the_intervals_that_hold_its_time(lower, upper, agrees50, agrees90):
    row = {"env_id": "A", "utd": 1.0, "batch_size": 256, "learning_rate": 1e-4, "threshold": 5.0}
    crossings = pd.DataFrame([row | {"env_steps_lower": lower, "env_steps_upper": upper, "censored": np.isinf(upper)}])
    quantiles = {"evaluation_interval": 10.0, "threshold": 5.0, "q05": 50.0, "q25": 80.0, "q75": 125.0, "q95": 200.0}
    fake = SimpleNamespace(crossings=crossings, predict=lambda configs: configs.assign(**quantiles))
    (checked,) = predictive_check(fake).itertuples()
    assert (checked.inside50, checked.inside90) == (agrees50, agrees90)


def test_rank_counts_are_flat_for_equal_chains_and_tell_a_shifted_one():
    draws = np.random.default_rng(0).permutation(200).reshape(2, 100, 1).astype(float)
    equal = SimpleNamespace(draws={"level": draws})
    assert (rank_counts(equal, "level[0]").sum(axis=0) == 10).all()
    shifted = SimpleNamespace(draws={"level": draws % 100 + [[[0]], [[1000]]]})
    assert rank_counts(shifted, "level[0]")[:, 0].tolist() == [10, 0]


def test_exponents_are_compared_with_their_priors():
    """The population's value midway between the thresholds counts; values by task and the drift do not."""
    deviations = np.array([[-1.0, 0.0], [1.0, 0.0]]) / np.sqrt(2 / 3)  # mean 0, sd 1 over both chains
    drift = np.array([-0.3, 0.3])  # over two thresholds
    by_threshold = (0.5 + 0.1 * deviations)[..., None] + drift
    population = (0.4 + 0.27 * deviations)[..., None] + drift
    draws = {"log_sharpness": by_threshold, "batch_utd_exponent": np.stack([population * 7, population], axis=2)}
    table = exponents(draws, json.loads(prior_posterior().provenance["priors"]))
    np.testing.assert_allclose(table["mean"], [0.5, 0.4])
    np.testing.assert_allclose(table["left"], [0.1 / 0.3, 0.27 / 0.3])


def test_scores_of_several_splits_are_shown_together_and_failed_methods_left_out(tmp_path):
    row = {
        "method": "bayescale",
        "leave_out": "utd-max",
        "observations": 60,
        "coverage90": 0.9,
        "wis": 0.1,
        "male": 0.2,
    }
    failed = row | {"method": "published", "observations": 0, "coverage90": np.nan, "wis": np.nan, "male": np.nan}
    pd.DataFrame([row | {"leave_out": "seeds"}]).to_csv(tmp_path / "seeds.csv", index=False)
    scores = held_out_scores([pd.DataFrame([row, failed]), tmp_path / "seeds.csv"])
    assert scores["leave_out"].tolist() == ["utd-max", "seeds"]
    assert held_out_scores(pd.DataFrame([row]))["coverage90"].tolist() == [0.9]
    assert held_out_scores(None).empty
    with pytest.raises(InputError, match="held_out holds no scores; give the tables that `compare` returns or writes"):
        held_out_scores(pd.DataFrame([failed]))
    with pytest.raises(InputError, match="coverage90"):
        held_out_scores(pd.DataFrame([row]).drop(columns="coverage90"))


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (steps, 318_123.0, "318k"),
        (steps, 1_254_000.0, "1.25M"),
        (steps, np.inf, "never"),
        (scientific, 3e-4, "3e-4"),
        (scientific, 1.25e15, "1.2e15"),
        (percent, 0.934, "93%"),
        (percent, 0.9964, "99.6%"),
        (percent, 0.9999, ">99.9%"),
        (percent, 1.0, "100%"),
        (percent, 0.0002, "<0.1%"),
        (percent, 0.0, "0%"),
        (percent, 1.3, "130%"),
    ],
)
def test_numbers_are_short(show, value, text):
    assert show(value) == text
