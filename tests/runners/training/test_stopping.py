"""Test when runs stop early, and that this changes no crossing."""

import dataclasses
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bayescale.data.crossings import time_to_threshold
from bayescale.errors import InputError
from bayescale.runners import SACConfig, make_plan, run_ensemble
from bayescale.runners.training.results import RunStatus
from bayescale.runners.training.stopping import safely_reached

THRESHOLDS = [-3.0, -1.0, 0.0]  # the last one is the return at which runs stop
RUN = {"algorithm": "SAC", "env_id": "Task-v0", "utd": 1.0, "batch_size": 8, "learning_rate": 1e-3, "seed": 0}
PLAN = {
    "env_id": ["Pendulum-v1", "InvertedPendulum-v5"],
    "utd": [1],
    "batch_size": [8],
    "learning_rate": [1e-3],
    "seed": [0],
    "env_steps": 100,
    "warmup_steps": 40,
}


def crossings(returns: Sequence[float]) -> pd.DataFrame:
    curve = pd.DataFrame(RUN | {"env_steps": range(1, len(returns) + 1), "episode_return": returns})
    return time_to_threshold(curve, thresholds=THRESHOLDS).drop(columns="highest_return")


def stopped(returns: Sequence[float], patience: int) -> Sequence[float]:
    """Return the returns until the run stops, with a stop_return of 0."""
    ends = (end for end in range(1, len(returns) + 1) if safely_reached(returns[:end], 0.0, patience))
    return returns[: next(ends, len(returns))]


@given(
    returns=st.lists(st.floats(-5, 5), min_size=1, max_size=12),
    later=st.lists(st.floats(-5, 5), max_size=6),
    patience=st.integers(1, 4),
)
def test_crossings_of_a_stopped_run_equal_those_of_the_whole_run(
    returns: list[float], later: list[float], patience: int
) -> None:
    early = stopped(returns, patience)
    assume(len(early) < len(returns) or safely_reached(early, 0.0, patience))
    means = pd.Series(later, dtype=float).expanding().mean()
    whole = [*early, *(later if (means >= 0.0).all() else map(abs, later))]
    pd.testing.assert_frame_equal(crossings(whole), crossings(early))
    assert not crossings(early)["censored"].any()


def test_a_dip_no_deeper_than_the_excess_before_it_changes_nothing() -> None:
    returns = [-4.0, -2.0, 1.0, 1.0, 1.0]
    assert list(stopped([*returns, -1.0, -1.0], 3)) == returns
    pd.testing.assert_frame_equal(crossings([*returns, -1.0, -1.0]), crossings(returns))


def test_stopping_at_the_first_return_that_is_high_enough_would_be_wrong() -> None:
    """Check that the rule waits: after one high evaluation the crossings would differ from those of the whole run."""
    whole = [-4.0, 0.5, -4.0, -4.0, -4.0, 0.5, 0.5, 0.5]
    assert not crossings(whole[:2]).equals(crossings(whole))
    assert list(stopped(whole, 3)) == whole


def test_a_run_ends_where_the_rule_says_and_leaves_the_others_alone() -> None:
    config = SACConfig(
        env_id="Pendulum-v1", utd=1.0, batch_size=8, learning_rate=1e-3, seed=0, env_steps=200, hidden_width=8,
        warmup_steps=40, evaluation_interval=20, evaluation_episodes=1,
    )  # fmt: skip
    members = [config, dataclasses.replace(config, seed=1)]
    whole = run_ensemble(members)
    returns = [result.curve["episode_return"].tolist() for result in whole]
    stop_return = sorted(returns[0])[4]
    ends = [
        next((n for n in range(1, len(row)) if safely_reached(row[:n], stop_return, 2)), len(row)) for row in returns
    ]
    assert ends[0] < len(returns[0]), "the first run reaches this return early"
    early = run_ensemble([dataclasses.replace(run, stop_return=stop_return, stop_patience=2) for run in members])
    for result, undisturbed, end in zip(early, whole, ends, strict=True):
        pd.testing.assert_frame_equal(result.curve, undisturbed.curve.head(end), check_exact=True)
        assert result.status is (RunStatus.STOPPED if end < len(undisturbed.curve) else RunStatus.FINISHED)
        assert result.env_steps == result.curve["env_steps"].iloc[-1]
        assert result.gradient_updates == result.curve["gradient_updates"].iloc[-1]


def test_plans_set_the_return_at_which_runs_stop() -> None:
    assert {run.stop_return for run in make_plan(PLAN).runs} == {float("inf")}
    assert {run.stop_return for run in make_plan(PLAN | {"stop_return": -150}).runs} == {-150.0}
    runs = make_plan(PLAN | {"stop_return": {"Pendulum-v1": -150}, "stop_patience": 5}).runs
    assert [(run.stop_return, run.stop_patience) for run in runs] == [(-150.0, 5), (float("inf"), 5)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stop_return": "high"}, "stop_return must be a number; got 'high'"),
        ({"stop_return": float("nan")}, r"stop_return must be a number; got nan\. Give a return"),
        (
            {"stop_return": {"Pendulum-v0": -150}},
            r"stop_return has the key 'Pendulum-v0', which is not in env_id\. Did",
        ),
        ({"stop_return": {"Pendulum-v1": [1]}}, r"stop_return must be a number; got \[1\]"),
        ({"stop_patience": 0}, "stop_patience must be at least 1; got 0"),
    ],
)
def test_bad_plans(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_plan(PLAN | changes)
