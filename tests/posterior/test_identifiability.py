"""Test the sentences about what the runs and what the prior determine, and about chains that do not converge."""

import numpy as np
import pandas as pd
import pytest

from bayescale.models.parameters import DECLARED
from bayescale.posterior.identifiability import (
    LAW_WORDS,
    in_words,
    likely_cause,
    what_the_prior_decides,
    what_the_sweep_tells,
)
from tests.scaffolding.prior_posterior import prior_posterior


@pytest.fixture(scope="module")
def posterior():
    return prior_posterior()


def crossings(
    *,
    utd=(0.5, 1.0, 2.0),
    batch_size=(64, 128, 256),
    learning_rate=(1e-4, 3e-4, 1e-3),
    seeds=2,
    reached=lambda _: True,
    every=1000.0,
    first=5,
    horizon=20_000.0,
):
    """Return crossings of two thresholds on tasks A and B, the lower one after `first` evaluations.

    Those that `reached` denies are right-censored.
    """
    grid = pd.MultiIndex.from_product(
        [["A", "B"], utd, batch_size, learning_rate, range(seeds), [1.0, 2.0]],
        names=["env_id", "utd", "batch_size", "learning_rate", "seed", "threshold"],
    ).to_frame(index=False)
    seen = np.array([reached(row) for row in grid.itertuples()])
    lower = np.where(seen, first * every * grid["threshold"], horizon)
    return grid.assign(
        algorithm="SAC",
        env_steps_lower=lower,
        env_steps_upper=np.where(seen, lower + every, np.inf),
        censored=~seen,
    )


def test_a_full_sweep_leaves_nothing_to_the_prior():
    said = what_the_sweep_tells(crossings())
    assert said.startswith(
        "the sweep: 108 runs of 54 settings on 2 tasks; 3 UTDs (0.5 to 2), 3 batch sizes (64 to 256), "
    )
    assert (
        "3 learning rates (0.0001 to 0.001); about 11 evaluations a run; every task reached all 2 thresholds, the "
        "highest in 108 of 108 runs." in said
    )
    assert "prior" not in said


def test_axes_with_one_value_or_two_are_left_to_the_prior_and_thresholds_are_counted_by_task():
    table = crossings(
        utd=(1.0,),
        learning_rate=(1e-4, 1e-3),
        every=5000.0,
        first=1,
        reached=lambda row: row.env_id == "A" or row.threshold < 2,
    )
    said = what_the_sweep_tells(table)
    assert "1 UTD (1), 3 batch sizes (64 to 256), 2 learning rates (0.0001 to 0.001)" in said
    assert "about 4 evaluations a run (few); of 2 thresholds reached: 2 on A, 1 on B." in said
    assert said.endswith(
        "The prior decides how env steps fall with UTD (UTD has one value); the optimal learning rate (learning rate "
        "has two values)."
    )


def test_the_names_in_words_are_parameters_of_the_model():
    assert set(LAW_WORDS) <= {parameter.name for parameter in DECLARED.parameters()}


def test_draws_from_the_prior_leave_every_part_to_the_prior_and_narrow_draws_none(posterior):
    said = what_the_prior_decides(posterior.model, posterior.draws)
    for name, words in LAW_WORDS.items():
        assert (words in said) == (name in posterior.draws), name
    assert said.startswith("the prior, not the runs, determines the optimal batch size; ")
    narrow = {name: values * 1e-3 for name, values in posterior.draws.items()}
    assert what_the_prior_decides(posterior.model, narrow) == (
        "the runs determine every part of the law: each posterior is narrower than its prior."
    )


def test_a_part_that_one_task_alone_leaves_to_the_prior_names_the_task(posterior):
    draws = {name: values * 1e-3 for name, values in posterior.draws.items()}
    draws["log_batch_optimum"] = draws["log_batch_optimum"].copy()
    draws["log_batch_optimum"][:, :, 1] = posterior.draws["log_batch_optimum"][:, :, 1]
    task = posterior.model.env_ids[1]
    assert what_the_prior_decides(posterior.model, draws) == (
        f"the prior, not the runs, determines the optimal batch size ({task})."
    )


def test_a_label_is_put_in_words(posterior):
    task, threshold = posterior.model.env_ids[0], posterior.model.thresholds[1]
    assert in_words(posterior.model, "log_noise[0,1]") == (
        f"seed noise with every setting at its reference, {task} at {threshold:g}"
    )
    assert in_words(posterior.model, "configuration_effect") == "spread of configurations around the response surface"


@pytest.mark.parametrize(
    ("table", "cause", "remedy"),
    [
        (
            crossings(reached=lambda row: row.env_id == "A" or row.threshold < 2),
            "1 of 2 tasks (B) reached only the lowest threshold or none",
            "lower the thresholds, or give longer runs",
        ),
        (
            crossings(reached=lambda row: row.utd > 1 and row.seed == 0),
            "83% of the crossings lie after the end of their run",
            "lower the thresholds, or give longer runs",
        ),
        (
            crossings().assign(env_steps_lower=0.0),
            "100% of the crossings lie before the first evaluation",
            "raise the thresholds, or evaluate more often",
        ),
        (
            crossings(batch_size=(64, 128)),
            "batch size has two values",
            "add a value of batch size, or keep one value of it",
        ),
        (
            crossings(batch_size=(64,), learning_rate=(1e-4,), seeds=1),
            "there are 6 runs for 1 varying hyperparameter",
            "add seeds, or fit fewer thresholds",
        ),
        (crossings(), "no gap of the table stands out", "raise warmup (--warmup) and draws (--draws)"),
    ],
)
def test_the_likely_cause_is_one_of_this_table(table, cause, remedy):
    assert likely_cause(table) == (cause, remedy)
