"""Test how missing and infinite returns and the column `status` tell how runs ended."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest

from bayescale.data.curves import read_curves, write_curves
from bayescale.data.curves import validate_curves as validate
from bayescale.errors import InputError
from tests.scaffolding.small_curves import csv, fails, table

NAN, INF = np.nan, np.inf


def curves(*runs, **columns):
    """Return one run for each list of returns, one seed each, evaluated every 1,000 env steps."""
    parts = [table(1, len(run), seed=seed, episode_return=run) for seed, run in enumerate(runs)]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def read(frame, warned=None, **answers):
    """Return the table that is read, and check the one warning."""
    with warnings.catch_warnings(record=True) as came:
        warnings.simplefilter("always")
        result = read_curves(frame, **answers)
    assert [str(each.message) for each in came] == ([] if warned is None else [warned])
    assert np.isfinite(result["episode_return"]).all()
    return result


def steps(frame, seed=0):
    """Return the evaluations of one run in thousands of env steps."""
    return (frame.loc[frame["seed"] == seed, "env_steps"] // 1000).tolist()


def status(frame):
    """Return the status of each run by seed, None where it is missing."""
    of_run = frame.groupby("seed")["status"].agg(lambda values: values.drop_duplicates().tolist())
    assert all(len(values) == 1 for values in of_run)
    return {seed: None if pd.isna(values[0]) else values[0] for seed, values in of_run.items()}


@pytest.mark.parametrize(
    ("returns", "kept"), [([NAN, 1.0, 2.0], [2, 3]), ([1.0, NAN, 2.0], [1, 3]), ([NAN, NAN, 2.0], [3])]
)
def test_a_missing_return_before_a_finite_one_is_no_evaluation(tmp_path, returns, kept):
    count = 3 - len(kept)
    said = f"{count} row{'s' * (count > 1)} without an episode_return {'are' if count > 1 else 'is'} left out."
    frame = curves(returns, [1.0, 2.0, 3.0])
    assert steps(read(frame, said)) == kept
    assert steps(read(csv(tmp_path, frame), said)) == kept
    assert "status" not in read(frame, said)


def test_a_run_that_ends_in_missing_returns_is_a_question(tmp_path):
    frame = curves([1.0, 2.0, NAN, NAN], [1.0, NAN, 3.0, 4.0], [1.0, 2.0, 3.0, NAN])
    fails("episode_return is missing from table 1 row 2 to the end of the run (2 runs in all).", frame)
    fails("read them with missing_end='ended' (--missing-end ended); if they had diverged, with missing_end=", frame)
    path = csv(tmp_path, frame)
    fails(f"episode_return is missing from {path} line 4 to the end of the run (2 runs in all).", path)
    with pytest.raises(InputError, match="missing_end='ended'"):
        validate(frame)


def test_the_answer_that_runs_ended():
    frame = curves([1.0, 2.0, NAN, NAN], [1.0, NAN, 3.0, 4.0])
    result = read(frame, "3 rows without an episode_return are left out.", missing_end="ended")
    assert (steps(result, 0), steps(result, 1)) == ([1, 2], [1, 3, 4])
    assert "status" not in result


def test_the_answer_that_runs_diverged():
    frame = curves([1.0, 2.0, NAN, NAN], [1.0, NAN, 3.0, 4.0])
    said = "3 rows without an episode_return are left out; 1 run diverged, and rows from there on are left out."
    result = read(frame, said, missing_end="diverged")
    assert (steps(result, 0), steps(result, 1)) == ([1, 2], [1, 3, 4])
    assert status(result) == {0: "diverged", 1: None}


@pytest.mark.parametrize("infinite", [INF, -INF])
def test_an_infinite_return_is_divergence(tmp_path, infinite):
    frame = curves([1.0, 2.0, infinite, 5.0], [1.0, 2.0, 3.0, 4.0], status="running")
    said = "1 run diverged, and rows from there on are left out."
    for source in (frame, csv(tmp_path, frame)):
        result = read(source, said)
        assert steps(result) == [1, 2]
        assert status(result) == {0: "diverged", 1: "running"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [("diverged", "diverged"), ("crashed", "crashed"), ("running", "running"), ("stopped early", "stopped early")],
)
@pytest.mark.parametrize("answer", [None, "diverged", "ended"])
def test_a_status_answers_how_a_run_ended(given, expected, answer):
    frame = curves([1.0, 2.0, NAN], status=given)
    said = "1 row without an episode_return is left out"
    said += "; 1 run diverged, and rows from there on are left out." if given == "diverged" else "."
    result = read(frame, said, missing_end=answer)
    assert steps(result) == [1, 2]
    assert status(result) == {0: expected}


def test_a_missing_status_is_no_answer():
    frame = curves([1.0, NAN], [1.0, 2.0], status=[None, None, "finished", "finished"])
    fails("episode_return is missing from table 1 row 1", frame)
    assert status(read(frame, "1 row without an episode_return is left out.", missing_end="ended")) == {
        0: None, 1: "finished",
    }  # fmt: skip


@pytest.mark.parametrize("given", ["failed", "done", "FINISHED?", 3, True])
def test_an_unknown_status_is_refused(tmp_path, given):
    frame = curves([1.0, 2.0], status=["finished", given])
    text = f"status must be finished, stopped early, diverged, crashed or running; got {given} at"
    fails(f"table 1: {text} row 1. Rename these, or leave the column out with ignore=('status',)", frame)
    fails(f"{text} line 3.", csv(tmp_path, frame))
    assert "status" not in read(frame, ignore=["status"])


def test_capitals_and_blanks_in_a_status_do_not_count():
    assert status(read(curves([1.0, 2.0], [1.0, 2.0], status=["Finished ", "FINISHED"] * 2))) == dict.fromkeys(
        (0, 1), "finished"
    )


def test_an_empty_status_is_missing(tmp_path):
    frame = curves([1.0, 2.0], [1.0, 2.0], status=["", "", "finished", "finished"])
    assert status(read(frame)) == status(read(csv(tmp_path, frame))) == {0: None, 1: "finished"}


def test_the_last_status_of_a_run_counts():
    frame = curves([1.0, 2.0, 3.0], status=["running", "running", "finished"])
    assert status(read(frame)) == status(read(frame[::-1])) == {0: "finished"}


def test_a_status_that_only_some_files_have_is_kept():
    result = read_curves(curves([1.0, 2.0], status="finished"), curves([1.0, 2.0]).assign(seed=9))
    assert status(result) == {0: "finished", 9: None}


@pytest.mark.parametrize("returns", [[INF, INF], [NAN, INF], [INF, 5.0]])
def test_a_run_that_diverged_before_its_first_return_stays_as_a_failure(returns):
    other = curves([-50.0, -20.0]).assign(seed=3, env_id="Other")
    result = read_curves_quietly(pd.concat([curves(returns, [-3.0, 7.0]), other]))
    first = result[(result["seed"] == 0)]
    assert first["env_steps"].tolist() == [1000]
    assert first["episode_return"].tolist() == [-3.0]
    assert first["status"].tolist() == ["diverged"]


def read_curves_quietly(frame, **answers):
    """Return the table that is read, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_curves(frame, **answers)


def test_the_warning_counts_runs_that_diverged_before_their_first_return():
    said = (
        "1 run diverged, and rows from there on are left out; 1 of these diverged before the first return, and count "
        "as one evaluation at the lowest return of the task."
    )
    read(curves([INF, INF], [1.0, 2.0]), said)


def test_a_run_without_any_return():
    frame = curves([NAN, NAN], [1.0, 2.0])
    fails("episode_return is missing from table 1 row 0 to the end of the run (1 run in all).", frame)
    said = "2 rows without an episode_return are left out; 1 run without any evaluation is left out."
    assert read(frame, said, missing_end="ended")["seed"].unique().tolist() == [1]
    assert status(read_curves_quietly(frame, missing_end="diverged")) == {0: "diverged", 1: None}


def test_a_table_without_any_return_is_refused():
    fails("no episode_return is finite, from table 1 row 0 on. Give the returns", curves([NAN, NAN], [NAN, INF]))


@pytest.mark.parametrize("last", [0, 1, 2, 3])
def test_sparse_evaluations_need_no_answer(last):
    returns = [NAN, NAN, NAN, 1.0] * 5 + [NAN] * last
    said = f"{15 + last} rows without an episode_return are left out."
    assert len(read(curves(returns), said)) == 5


@pytest.mark.parametrize("last", [4, 20])
def test_evaluations_that_were_due_and_are_missing_are_a_question(last):
    fails("episode_return is missing from table 1 row 20 to the end", curves([NAN, NAN, NAN, 1.0] * 5 + [NAN] * last))


def test_evaluations_between_rows_of_the_same_step():
    frame = pd.concat([curves([1.0, 2.0, 3.0]), curves([NAN, NAN, NAN])])
    assert len(read(frame, "3 rows without an episode_return are left out.")) == 3


def test_a_run_that_crashed_without_returns_and_was_resumed():
    killed, resumed = curves([1.0, 2.0, 3.0, NAN, NAN]), curves([1.0, 2.0, 9.0, 4.0, 5.0, 6.0])[2:]
    result = read_curves_quietly(pd.concat([killed, resumed]), resumed="keep-last")
    assert result["episode_return"].tolist() == [1.0, 2.0, 9.0, 4.0, 5.0, 6.0]


def test_what_was_read_is_read_again_without_a_word(tmp_path):
    frame = curves([1.0, 2.0, INF, INF], [NAN, 2.0, 3.0, 4.0], [1.0, 2.0, NAN, NAN])
    result = read_curves_quietly(frame, missing_end="diverged")
    write_curves(result, tmp_path / "curves.parquet")
    for again in (read(tmp_path / "curves.parquet"), read(result), validate(result)):
        pd.testing.assert_frame_equal(again, result)
    assert status(result) == {0: "diverged", 1: None, 2: "diverged"}


def test_a_return_cut_from_a_csv_is_named_with_its_line(tmp_path):
    path = csv(tmp_path, table())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3].rsplit(",", 1)[0], *lines[4:]]))
    with pytest.raises(InputError, match=re.escape(f"is missing from {path} line 4 to the end of the run")):
        read_curves(path)
