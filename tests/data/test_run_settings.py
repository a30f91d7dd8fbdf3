"""Test what counts as one setting, and that settings outside the model are refused."""

import re

import numpy as np
import pandas as pd
import pytest

from bayescale.data.crossings import time_to_threshold
from bayescale.data.curves import read_curves, run_starts
from bayescale.data.curves import validate_curves as validate
from bayescale.errors import InputError
from tests.scaffolding.small_curves import csv, fails, table

STEPS = np.arange(1, 9) * 1000


def sweep(utds=(1.0, 4.0), seeds=4, steps=STEPS, **columns):
    """Return a sweep over UTD; a column may be a function of the frame."""
    parts = [
        table(1, len(steps), utd=utd, seed=seed, env_steps=steps, episode_return=np.sqrt(steps) * utd + seed)
        for utd in utds
        for seed in range(seeds)
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def falling(frame, start=7.3e-4):
    """Return a learning rate that falls in every row of a run."""
    return (start * (1 - 0.95 * frame["env_steps"] / frame["env_steps"].max())).round(10)


SCHEDULES = {
    "learning_rate": {"learning_rate": falling},
    "batch_size": {"batch_size": lambda frame: 64 + frame["env_steps"] // 100},
    "batch_size in two stages": {"batch_size": lambda frame: np.where(frame["env_steps"] > 4000, 256, 64)},
    "utd": {"utd": lambda frame: frame["utd"] * (1 + frame["env_steps"] / 1e5)},
    "learning_rate in two stages": {"learning_rate": lambda frame: np.where(frame["env_steps"] > 4000, 1e-4, 1e-3)},
    "learning_rate that warms up": {"learning_rate": lambda frame: 1e-3 - 1e-7 * abs(frame["env_steps"] - 3000)},
    "learning_rate in two stages, swept": {
        "learning_rate": lambda frame: 1e-3 * frame["utd"] * np.where(frame["env_steps"] > 4000, 0.1, 1), "utd": 1.0,
    },
    "learning_rate, swept": {"learning_rate": lambda frame: falling(frame) * frame["utd"], "utd": 1.0},
    "learning_rate and batch_size": {
        "learning_rate": falling, "batch_size": lambda frame: 64 + frame["env_steps"] // 100,
    },
}  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_setting_that_changes_during_runs_is_refused(tmp_path, schedule, shuffled):
    frame = sweep(**SCHEDULES[schedule])
    frame = frame.sample(frac=1, random_state=0) if shuffled else frame
    what = re.split(" in | that |,", schedule)[0]
    fails(f"{what} changes during a run: ", frame)
    fails(f"A run has one {what}: state the initial one as one number in all its rows.", csv(tmp_path, frame))


def test_the_message_names_the_first_change():
    frame = sweep(utds=(1.0,), learning_rate=lambda frame: np.where(frame["env_steps"] > 4000, 1e-4, 1e-3))
    fails("changes during a run: 0.001 at env step 4,000, 0.0001 at env step 5,000 (Pendulum-v1, seed 0).", frame)


def test_a_schedule_whose_stages_meet_the_settings_of_the_sweep_is_refused():
    frame = pd.concat([sweep(utds=(1.0,), batch_size=size) for size in (64, 128)])
    doubled = frame.assign(batch_size=frame["batch_size"] * 2 ** (frame["env_steps"] // 3000))
    fails("batch_size changes during a run: ", doubled)


def test_a_schedule_of_three_evaluations_is_seen_because_all_runs_share_it():
    fails("learning_rate changes during a run", sweep(steps=STEPS[:3], learning_rate=falling))


@pytest.mark.parametrize("steps", [STEPS, STEPS[-1:], STEPS[:2]])
def test_sweeps_over_settings_with_equal_seeds_are_no_schedules(steps):
    frame = pd.concat([sweep(steps=steps, learning_rate=rate) for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)])
    assert len(run_starts(validate(frame))) == 48
    frame = pd.concat([sweep(steps=steps, batch_size=size, learning_rate=size * 1e-6) for size in (64, 128, 256)])
    assert len(run_starts(validate(frame))) == 24


def test_one_evaluation_at_the_end_of_each_run_is_no_schedule():
    rng = np.random.default_rng(0)
    parts = [
        table(1, 1, learning_rate=rate, seed=seed, env_steps=int(rng.integers(1000, 90_000)))
        for rate in (1e-4, 3e-4, 1e-3, 3e-3)
        for seed in range(5)
    ]
    assert len(validate(pd.concat(parts))) == 20


@pytest.mark.parametrize("longest", [12_000, 40_000])
def test_runs_that_begin_late_or_end_early_are_no_schedule(longest):
    parts = [
        table(1, len(steps), learning_rate=rate, seed=seed, env_steps=steps)
        for rate, last in ((1e-4, longest), (3e-4, 11_000), (1e-3, 10_000))
        for seed in range(3)
        if len(steps := np.arange(10_000, last + 1, 1000))
    ]
    assert len(run_starts(validate(pd.concat(parts)))) == 9


@pytest.mark.parametrize(
    ("values", "one"),
    [
        ([1e-3, 0.00099999994], 1e-3),
        ([3e-4, float(np.float32(3e-4))], 3e-4),
        ([float(np.float32(3e-4)), np.nextafter(np.float32(3e-4), np.float32(1)).item()], 3e-4),
        ([0.1 + 0.2, 0.3], 0.3),
        ([1 / 3, 0.3333333333], 0.3333333333),
    ],
)
@pytest.mark.parametrize("column", ["learning_rate", "utd"])
def test_values_that_differ_by_rounding_are_one_setting(column, values, one):
    tables = [table(1, seed=seed, **{column: value}) for seed, value in enumerate(values)]
    with pytest.warns(UserWarning, match=f"^{column}: values that differ by rounding count as one: .* as {one!r}"):
        curves = read_curves(tables)
    assert set(curves[column]) == {one}
    pd.testing.assert_frame_equal(validate(curves), curves)


def test_values_further_apart_stay_two_settings():
    frame = pd.concat([table(1, learning_rate=rate) for rate in (1e-3, 1.00001e-3, 1e-300, 2e-300)])
    assert validate(frame)["learning_rate"].nunique() == 4


def test_runs_that_rounding_had_kept_apart_come_twice():
    with pytest.warns(UserWarning, match="rounding"), pytest.raises(InputError, match="came twice"):
        validate(pd.concat([table(1, learning_rate=1e-3), table(1, learning_rate=0.00099999994)]))


def by_run(frame, values):
    """Return a column with one of the values for each run, in turn."""
    runs = frame.groupby(["utd", "seed"], sort=False).ngroup()
    return pd.Series(np.asarray(values, object)[runs % len(values)], frame.index).infer_objects()


OTHER_SETTINGS = {
    "tau": [0.005, 0.1],
    "optimizer": ["adam", "sgd"],
    "layer_norm": [True, False],
    "hidden_layers": [2, 3, 3],
    "max_grad_norm": [0.25, 0.75],
    "reward_scale": [1, 10],
    "config.gamma": [0.99, 0.95, 0.9],
    "shape": [[64, 64], [256, 256]],
}


@pytest.mark.parametrize("column", OTHER_SETTINGS)
def test_a_further_setting_that_differs_between_seeds_is_refused(tmp_path, column):
    frame = sweep()
    values = OTHER_SETTINGS[column]
    runs = frame.groupby(["utd", "seed"], sort=False).ngroup()
    frame[column] = [values[run % len(values)] for run in runs]
    shown = ", ".join(str(value) for value in values[:2])
    fails(f"the column {column} differs between runs of one configuration ({shown}", frame)
    fails("at SAC, Pendulum-v1, UTD 1, batch size 256), which would count as seeds. Fit each value by itself", frame)
    fails(f"ignore=('{column}',) (--ignore {column}) pools the runs.", csv(tmp_path, frame))
    with pytest.raises(InputError, match="differs between runs"):
        time_to_threshold(frame, thresholds=[50.0])
    pooled = read_curves(frame, ignore=[column])
    pd.testing.assert_frame_equal(pooled, validate(sweep()))


def test_a_setting_that_only_some_runs_state_is_refused():
    frame = sweep()
    fails("the column tau differs", frame.assign(tau=np.where(frame["seed"] < 2, np.nan, 0.1)))


def test_a_setting_swept_at_random_is_known_by_its_name():
    frame = sweep()
    frame["tau"] = by_run(frame, np.linspace(0.001, 0.1, 8))
    fails("the column tau differs between runs", frame)


def test_a_setting_that_differs_in_one_pair_of_runs_is_refused():
    frame = sweep()
    fails("the column dropout differs", frame.assign(dropout=np.where((frame.utd == 4) & (frame.seed == 3), 0.1, 0.0)))


def numbered(frame):
    """Return the number of each row's run."""
    return frame.groupby(["utd", "seed"], sort=False).ngroup()


NO_SETTINGS = {
    "flops": lambda frame: frame["env_steps"] * frame["utd"] * 1e6,
    "seconds": lambda frame: frame["env_steps"] / 100,
    "gradient_updates": lambda frame: frame["env_steps"] * frame["utd"],
    "critic": lambda frame: np.sin(frame["env_steps"] + frame["seed"]),
    "rate of something": lambda frame: np.where(frame["env_steps"] > 4000, 2, frame["seed"]),
    "experiment": lambda frame: "quiet-river-" + numbered(frame).astype(str),
    "episodes": lambda frame: numbered(frame) + 0.5,
    "env_seed": lambda frame: frame["seed"] + 100,
    "generator": lambda frame: "state " + frame["seed"].astype(str),
    "host": lambda frame: np.where(frame["seed"] > 1, "alpha", "beta"),
    "gpu_type": lambda frame: np.where(frame["seed"] > 1, "H100", "A100"),
    "notes": lambda frame: np.where(frame["seed"] > 1, "restarted", ""),
    "git_commit": lambda frame: np.where(frame["seed"] > 1, "abc", "def"),
    "wall_time_total": lambda frame: frame["seed"] // 2,
    "walltime": lambda frame: frame["seed"] // 2,
    "best_return": lambda frame: frame["seed"] // 2,
    "began": lambda frame: pd.Timestamp("2025-01-01") + pd.to_timedelta(frame["seed"] // 2, unit="D"),
    "tau": lambda frame: frame["utd"] / 100,
    "gamma": lambda _: 0.99,
    "layer_norm": lambda _: None,
    "status": lambda frame: np.where(frame["seed"] > 1, "finished", "diverged"),
}


@pytest.mark.parametrize("column", NO_SETTINGS)
def test_outcomes_names_and_remarks_are_no_settings(tmp_path, column):
    frame = sweep(**{column: NO_SETTINGS[column]})
    assert len(validate(frame)) == len(read_curves(csv(tmp_path, frame))) == len(frame)
    pd.testing.assert_frame_equal(validate(frame.drop(columns=column)), validate(frame).drop(columns=column))


def test_a_column_of_runs_with_one_evaluation_says_nothing():
    frame = sweep(steps=STEPS[-1:])
    assert len(validate(frame.assign(width=frame["seed"] // 2))) == 8


def test_ignored_columns_may_be_in_some_of_the_tables():
    tables = [sweep(seeds=2), sweep(seeds=2).assign(tau=0.1, seed=lambda frame: frame["seed"] + 5)]
    fails("the column tau differs between runs of one configuration (nan, 0.1", *tables)
    assert "tau" not in read_curves(tables, ignore=("tau",))
    assert "model_size" not in read_curves(tables, ignore=("tau", "model_size"))
