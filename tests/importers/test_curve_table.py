"""A mapping turns runs as trackers log them into a learning-curve table."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import InputError
from bayescale.importers.curve_table import Answers, as_table
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog

CONFIG = {"algo.name": "SAC", "env": "Hopper-v4", "algo.bs": 64, "lr": "3e-4", "updates": 2, "every": 4, "envs": 2}
MAPPING = ColumnMapping(
    columns={"algorithm": "algo.name", "env_id": "env", "batch_size": "algo.bs", "learning_rate": "lr", "seed": "seed"},
    constants={"seed": 3},
    utd="updates * 4 / (every * envs)",
    env_steps="step",
    env_steps_factor="envs",
    episode_return="eval/return",
)


NO_SEED = {column: key for column, key in MAPPING.columns.items() if column != "seed"}


def run(name: str = "one", *, resumed: bool = False, status: str | None = None, **changed: Any) -> RunLog:
    history = pd.DataFrame({"step": [1, 2, 3], "eval/return": [1.0, 2.0, 4.0]})
    history = changed.pop("history", history)
    return RunLog(name, {**CONFIG, **changed}, history, status, resumed)


def test_settings_come_from_config_ratio_and_constants() -> None:
    curves = as_table(Logs([run()]), MAPPING).curves
    first = curves.iloc[0]
    assert (first["algorithm"], first["env_id"], first["batch_size"], first["seed"]) == ("SAC", "Hopper-v4", 64, 3)
    assert (first["utd"], first["learning_rate"]) == (1.0, 3e-4)
    assert curves["env_steps"].tolist() == [2, 4, 6]
    assert curves["episode_return"].tolist() == [1.0, 2.0, 4.0]
    assert "status" not in curves
    assert "model_size" not in curves


def test_a_setting_may_be_a_constant_column_of_the_history() -> None:
    history = run().history.assign(width=[np.nan, 700, 700])
    mapping = ColumnMapping(**{**vars(MAPPING), "columns": {**MAPPING.columns, "model_size": "width"}})
    assert as_table(Logs([run(history=history)]), mapping).curves["model_size"].tolist() == [700] * 3
    history = history.assign(width=[1, 2, 3])
    with pytest.raises(InputError, match="one: width changes during the run"):
        as_table(Logs([run(history=history)]), mapping)


def test_seconds_that_only_the_config_holds_belong_to_the_whole_run() -> None:
    mapping = ColumnMapping(**{**vars(MAPPING), "columns": {**MAPPING.columns, "seconds": "runtime"}})
    assert as_table(Logs([run(runtime=90.0)]), mapping).curves["seconds"].tolist() == [90.0] * 3
    with pytest.raises(InputError, match="the key 'runtime' of seconds is not logged"):
        as_table(Logs([run()]), mapping)


def test_runs_without_a_seed_are_numbered_within_their_configuration() -> None:
    mapping = ColumnMapping(**{**vars(MAPPING), "constants": {}, "columns": NO_SEED})
    imported = as_table(Logs([run("a"), run("b"), run("c", lr=1e-3)]), mapping)
    runs = imported.curves[["learning_rate", "seed"]].drop_duplicates()
    assert sorted(runs.itertuples(index=False, name=None)) == [(3e-4, 0), (3e-4, 1), (1e-3, 0)]
    assert any("numbered" in note for note in imported.guesses)
    with pytest.raises(InputError, match="b has no seed"):
        as_table(Logs([run("a", seed=1), run("b")]), mapping)


def test_later_rows_of_a_resumed_run_replace_earlier_ones() -> None:
    history = pd.DataFrame({"step": [1, 2, 3, 2, 4], "eval/return": [1.0, 2.0, 3.0, 5.0, 6.0]})
    imported = as_table(Logs([run(history=history, resumed=True)]), MAPPING)
    assert imported.curves["env_steps"].tolist() == [2, 4, 8]
    assert imported.curves["episode_return"].tolist() == [1.0, 5.0, 6.0]
    assert any("2 rows of resumed runs" in note for note in imported.guesses)
    with pytest.raises(InputError, match=r"one row 1 and one row 3.*keep-last"):
        as_table(Logs([run(history=history)]), MAPPING)
    with pytest.warns(UserWarning, match="later rows replace"):
        assert len(as_table(Logs([run(history=history)]), MAPPING, answers=Answers(resumed="keep-last")).curves) == 4


def test_rows_without_a_step_are_counted_and_rows_without_a_return_follow_the_rules_of_tables() -> None:
    history = pd.DataFrame({"step": [np.nan, 1, 2, 3], "eval/return": [0.0, 1.0, np.nan, 3.0]})
    with pytest.warns(UserWarning, match="1 row without an episode_return"):
        imported = as_table(Logs([run(history=history, status="crashed")]), MAPPING)
    assert imported.curves["env_steps"].tolist() == [2, 6]
    assert set(imported.curves["status"]) == {"crashed"}
    assert any("1 row without a step" in note for note in imported.guesses)


def test_a_run_without_returns_is_skipped_and_listed() -> None:
    imported = as_table(Logs([run("a"), run("b", history=pd.DataFrame({"step": [1]}))]), MAPPING)
    assert [skipped.name for skipped in imported.skipped] == ["b"]
    with pytest.raises(InputError, match="no run was found"):
        as_table(Logs([]), MAPPING)


def test_smoothing_is_a_trailing_mean_over_episodes() -> None:
    mapping = ColumnMapping(**{**vars(MAPPING), "smooth_episodes": 2})
    assert as_table(Logs([run()]), mapping).curves["episode_return"].tolist() == [1.0, 1.5, 3.0]


def test_a_missing_column_is_an_error_that_lists_likely_keys_and_the_remedy() -> None:
    many = {f"batch_{n}": n for n in range(30)}
    mapping = ColumnMapping(**{**vars(MAPPING), "columns": {**MAPPING.columns, "batch_size": "no.such"}})
    with pytest.raises(InputError, match=r"one: the key 'no.such' of batch_size is not logged") as refused:
        as_table(Logs([run(**many)]), mapping)
    said = str(refused.value)
    assert said.count("batch_") - said.count("batch_size") == 8
    assert "--key batch_size=KEY" in said
    assert 'batch_size = "KEY" under [columns] in MAP.toml' in said
    assert "--constant batch_size=VALUE" in said
    with pytest.raises(InputError, match=r"no key gives episode_return.*Likely keys: eval/return"):
        as_table(Logs([run()]), ColumnMapping(**{**vars(MAPPING), "episode_return": None}))


@pytest.mark.parametrize(
    "utd",
    [
        "__import__('os').getcwd()", "updates ** 9", "updates + 1", "[1]", "updates if every else 1", "(" * 150, "",
        "updates / " + "1 * " * 100 + "1", "updates.real()", "-updates", "True",
    ],
)  # fmt: skip
def test_a_ratio_holds_keys_and_numbers_only(utd: str) -> None:
    with pytest.raises(InputError, match="utd"):
        as_table(Logs([run()]), ColumnMapping(**{**vars(MAPPING), "utd": utd}))


def test_a_ratio_takes_quoted_and_dotted_keys_and_names_what_fails() -> None:
    def utd(text: str, **config: Any) -> float:
        mapping = ColumnMapping(**{**vars(MAPPING), "utd": text})
        return float(as_table(Logs([run(**config)]), mapping).curves["utd"].iloc[0])

    assert utd("'train/updates' / algo.bs", **{"train/updates": 32}) == 0.5
    assert utd("train/updates", **{"train/updates": 32}) == 32
    with pytest.raises(InputError, match="divides by 0"):
        utd("updates / nought", nought=0)
    with pytest.raises(InputError, match=r"env must be a number; got 'Hopper.*--key utd=KEY"):
        utd("updates / env")
    with pytest.raises(InputError, match=r"'updatez' of utd is not logged.*Likely keys: updates"):
        utd("updatez / every")


def test_a_setting_of_another_kind_names_the_flags() -> None:
    with pytest.raises(InputError, match=r"one: batch_size must be a number; got 'many'.*--constant batch_size=VALUE"):
        as_table(Logs([run(**{"algo.bs": "many"})]), MAPPING)
    with pytest.raises(InputError, match=r"one: the key 'algo.bs' of batch_size is not logged.*--constant batch_size"):
        as_table(Logs([run(**{"algo.bs": " "})]), MAPPING)


def test_a_setting_is_one_value() -> None:
    for value in ([64, 128], {"a": 1}, print):
        with pytest.raises(InputError, match="one: batch_size must be text or a number"):
            as_table(Logs([run(**{"algo.bs": value})]), MAPPING)


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf])
def test_the_factor_of_the_steps_is_positive(factor: float) -> None:
    with pytest.raises(InputError, match="env_steps_factor must be a finite number > 0"):
        as_table(Logs([run(envs=factor)]), ColumnMapping(**{**vars(MAPPING), "utd": "updates"}))


def test_a_diverged_run_without_returns_is_kept_if_it_has_steps() -> None:
    nothing = pd.DataFrame({"step": [1], "eval/return": [np.nan]})
    runs = [run("a"), run("b", history=nothing, status="diverged", seed=1)]
    with pytest.warns(UserWarning, match="episode_return"):
        curves = as_table(Logs(runs), MAPPING).curves
    assert curves.loc[curves["seed"] == 1, "status"].tolist() == ["diverged"]
    assert len(curves) == 4
    imported = as_table(Logs([run("a"), run("b", history=nothing.head(0), status="diverged")]), MAPPING)
    assert [skipped.name for skipped in imported.skipped] == ["b"]
