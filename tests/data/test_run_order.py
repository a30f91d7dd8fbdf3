"""Test that steps of a run are sorted, and that steps that came twice or start over are refused or resolved."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.data.curves import read_curves
from bayescale.data.curves import validate_curves as validate
from bayescale.errors import InputError
from tests.scaffolding.small_curves import csv, fails, table


def run(steps, *, first_return=0.0, **columns):
    """Return the rows of one run at these env steps, with a noisy rising curve."""
    steps = np.asarray(steps)
    noise = np.random.default_rng(len(steps)).normal(0, 5, len(steps))
    return table(1, len(steps), env_steps=steps, episode_return=first_return + steps / 100 + noise, **columns)


def sweep(*spoilt):
    """Return four whole runs of other seeds, with the spoilt rows in front of them."""
    return pd.concat([*spoilt, *(run(np.arange(1, 21) * 1000, seed=seed) for seed in (10, 11, 12, 13))])


WHOLE = np.arange(1, 21) * 1000
KILLED, RESUMED = run(WHOLE[:9]), run(WHOLE[6:], first_return=7.0)

SHUFFLES = {
    "reversed": lambda frame: frame[::-1],
    "shuffled": lambda frame: frame.sample(frac=1, random_state=1),
    "by return": lambda frame: frame.sort_values("episode_return"),
    "by return, falling": lambda frame: frame.sort_values("episode_return", ascending=False),
    "by step": lambda frame: frame.sort_values("env_steps", kind="stable"),
    "even seeds first": lambda frame: frame.sort_values("seed", key=lambda seed: seed % 2, kind="stable"),
    "second half first": lambda frame: pd.concat([frame[frame["env_steps"] > 9000], frame[frame["env_steps"] <= 9000]]),
}


@pytest.mark.parametrize("order", SHUFFLES)
@pytest.mark.parametrize("seeds", [1, 2, 9])
def test_rows_that_are_only_out_of_order_are_sorted(order, seeds):
    frame = pd.concat([run(WHOLE, seed=seed) for seed in range(seeds)])
    pd.testing.assert_frame_equal(read_curves(SHUFFLES[order](frame)), validate(frame))


@given(seed=st.integers(0, 2**32 - 1))
def test_any_shuffled_table_of_several_runs_is_sorted(seed):
    frame = pd.concat([run(WHOLE, seed=seed) for seed in range(3)])
    pd.testing.assert_frame_equal(read_curves(frame.sample(frac=1, random_state=seed)), validate(frame))


def test_the_order_of_rows_says_nothing_where_a_frame_is_only_validated():
    frame = pd.concat([run(WHOLE[:9] + 300), run(WHOLE)])
    fails("start over", frame)
    assert validate(frame)["env_steps"].is_monotonic_increasing


def test_steps_logged_a_little_out_of_order_are_sorted():
    steps = WHOLE.copy()
    steps[[4, 5]], steps[[11, 12]] = steps[[5, 4]], steps[[12, 11]]
    assert list(read_curves(sweep(run(steps)))["env_steps"][:20]) == list(WHOLE)


@pytest.mark.parametrize("seeds", [[], [10, 11]])
def test_a_resumed_run_is_refused_and_read_on_request(seeds):
    frame = sweep(KILLED, RESUMED) if seeds else pd.concat([KILLED, RESUMED])
    fails("one evaluation of one run came twice: table 1 row 6 and table 1 row 0; ", frame)
    fails(
        "(3 in all). Remove one of each if a table was read twice. If the run was resumed, keep its later rows", frame
    )
    fails("resumed='keep-last' (--resumed keep-last). If these are two trainings, give each a seed.", frame)
    with pytest.warns(UserWarning, match="^resumed: later rows replace 3 earlier rows of 1 run.$"):
        curves = read_curves(frame, resumed="keep-last")
    expected = pd.concat([KILLED[:6], RESUMED])
    assert curves["episode_return"][:20].tolist() == expected["episode_return"].tolist()
    assert curves["env_steps"][:20].tolist() == list(WHOLE)


def test_the_later_file_counts_as_later(tmp_path):
    killed, resumed = csv(tmp_path, KILLED, "b.csv"), csv(tmp_path, RESUMED, "a.csv")
    with pytest.warns(UserWarning, match="resumed"):
        curves = read_curves(killed, resumed, resumed="keep-last")
    assert curves["episode_return"][6] == RESUMED["episode_return"].iloc[0]
    with pytest.warns(UserWarning, match="resumed"):
        curves = read_curves(resumed, killed, resumed="keep-last")
    assert curves["env_steps"].max() == 9000


def test_a_run_resumed_at_other_steps_drops_what_the_killed_process_wrote_after_its_checkpoint():
    resumed = run(WHOLE[6:] - 500)
    fails(
        "the steps of one run start over at table 1 row 0, after table 1 row 8 (1 place in all).",
        sweep(KILLED, resumed),
    )
    with pytest.warns(UserWarning, match="later rows replace 3 earlier rows of 1 run"):
        curves = read_curves(sweep(KILLED, resumed), resumed="keep-last")
    assert curves["env_steps"][:20].tolist() == [*WHOLE[:6], *(WHOLE[6:] - 500)]


def test_a_run_resumed_twice():
    parts = [run(WHOLE[:9]), run(WHOLE[6:8], first_return=5.0), run(WHOLE[6:], first_return=7.0)]
    with pytest.warns(UserWarning, match="later rows replace 5 earlier rows of 1 run"):
        curves = read_curves(sweep(*parts), resumed="keep-last")
    assert curves["episode_return"][6:20].tolist() == parts[2]["episode_return"].tolist()


@pytest.mark.parametrize("first", [[2600, 5300, 8100, 10700, 13100], [500, 1500, 2500, 3500], [1037, 2037, 3037]])
@pytest.mark.parametrize("others", [True, False])
def test_two_trainings_under_one_name_are_refused_with_both_ways_out(first, others):
    frame = sweep(run(first), run(WHOLE)) if others else pd.concat([run(first), run(WHOLE)])
    fails("the steps of one run start over at table 1 row 0, after table 1 row", frame)
    fails("keep its later rows with resumed='keep-last'", frame)
    fails("If these are two trainings, give each a seed.", frame)
    with pytest.warns(UserWarning, match="resumed: later rows replace"):
        curves = read_curves(frame, resumed="keep-last")
    kept = [step for step in first if step < 1000]
    assert curves["env_steps"][: len(kept) + 20].tolist() == [*kept, *WHOLE]


def test_two_trainings_in_two_files_are_refused(tmp_path):
    one, two = csv(tmp_path, run(WHOLE), "one.csv"), csv(tmp_path, run(WHOLE + 300), "two.csv")
    fails(f"the steps of one run start over at {two} line 2, after {one} line 21", one, two)


def test_many_runs_that_start_over_are_counted():
    frame = pd.concat([run(steps, seed=seed) for seed in range(5) for steps in (WHOLE[:8] + 300, WHOLE)])
    fails("(5 places in all)", frame)


def test_two_trainings_logged_side_by_side_in_one_table_are_found():
    first = pd.concat([run(WHOLE[:12] + 300, seed=seed) for seed in range(3)]).sort_values("env_steps", kind="stable")
    second = pd.concat([run(WHOLE, seed=seed) for seed in range(3)]).sort_values("env_steps", kind="stable")
    fails("start over", pd.concat([first, second]))


def test_parts_of_one_run_in_any_order_are_sorted():
    curves = read_curves(sweep(run(WHOLE[12:]), run(WHOLE[:5]), run(WHOLE[5:12])))
    assert curves["env_steps"][:20].tolist() == list(WHOLE)


def test_repeated_steps_of_a_shuffled_table_keep_the_later_row():
    frame = pd.concat([run(WHOLE, seed=seed) for seed in range(4)]).sample(frac=1, random_state=3)
    later = frame.iloc[[5]].assign(episode_return=777.0)
    with pytest.warns(UserWarning, match="later rows replace 1 earlier row of 1 run"):
        curves = read_curves(pd.concat([frame, later]), resumed="keep-last")
    assert len(curves) == 80
    assert (curves["episode_return"] == 777.0).sum() == 1


def test_keep_last_changes_nothing_where_no_step_came_twice():
    pd.testing.assert_frame_equal(read_curves(sweep(), resumed="keep-last"), validate(sweep()))


def test_a_further_column_that_differs_between_repeated_steps_is_named():
    frame = pd.concat([sweep().assign(tau=0.005), sweep().assign(tau=0.1)])
    fails("The rows differ in tau, which may be a setting: fit each value by itself or write it into algorithm.", frame)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"resumed": "keep-first"}, "resumed must be 'keep-last', or None; got 'keep-first'. Correct it."),
        ({"missing_end": "crashed"}, "missing_end must be 'ended' or 'diverged', or None; got 'crashed'. Correct it."),
        ({"ignore": "tau"}, "ignore must be a list of names; got 'tau'. Write ['tau'] for one."),
        ({"ignore": ["modelsize"]}, "ignore names 'modelsize', which no table has. Did you mean 'model_size'?"),
        ({"ignore": ["seed"]}, "ignore must name further columns; got 'seed', which every table needs. Leave it out."),
    ],
)
def test_unknown_answers_are_refused(answers, said):
    with pytest.raises(InputError) as error:
        read_curves(table(), **answers)
    assert str(error.value) == said
