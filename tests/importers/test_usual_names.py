"""Guesses of the keys that trainers choose, and the questions where several keys may hold a column."""

from typing import Any

import pandas as pd
import pytest

from bayescale.importers.run_logs import RunLog
from bayescale.importers.usual_names import OwnStep, guess_usual, return_key, setting_keys, step_key, utd_ratio

OWN = OwnStep("_step", last="own.last", rows="own.rows")


def run(config: dict[str, Any] | None = None, **keys: float) -> RunLog:
    return RunLog("one", config or {}, pd.DataFrame([{key.replace("__", "/"): value for key, value in keys.items()}]))


def test_a_setting_is_found_by_the_last_part_of_its_key() -> None:
    found, said = setting_keys(
        [run({"agent.batch_size": 8, "optim/lr": 1e-3, "env.id": "Ant", "algo": "SAC", "Seed": 1})]
    )
    assert found == {
        "batch_size": "agent.batch_size", "learning_rate": "optim/lr", "env_id": "env.id", "algorithm": "algo",
        "seed": "Seed",
    }  # fmt: skip
    assert said == []


def test_a_key_that_is_the_name_counts_before_keys_that_end_in_it() -> None:
    found, _ = setting_keys([run({"eval.batch_size": 1, "batch_size": 8})])
    assert found == {"batch_size": "batch_size"}


def test_two_keys_with_other_values_are_a_question_and_with_equal_values_are_one() -> None:
    found, said = setting_keys([run({"actor.batch_size": 8, "critic.batch_size": 16})])
    assert found == {}
    assert said == [
        "batch_size: actor.batch_size and critic.batch_size may hold it; name one with --key batch_size=KEY."
    ]
    found, said = setting_keys([run({"actor.batch_size": 8, "critic.batch_size": 8})])
    assert (found, said) == ({"batch_size": "actor.batch_size"}, [])


def test_equal_rates_of_actor_and_critic_are_the_rate() -> None:
    found, said = setting_keys([run({"policy_lr": 1e-3, "q_lr": 1e-3})])
    assert found == {"learning_rate": "q_lr"}
    assert "equal in each run" in said[0]
    found, said = setting_keys([run({"policy_lr": 1e-3, "q_lr": 1e-3}), run({"policy_lr": 1e-3, "q_lr": 3e-4})])
    assert found == {}
    assert "--key learning_rate=KEY" in said[0]


@pytest.mark.parametrize(
    ("config", "ratio", "said"),
    [
        ({"gradient_steps": 2, "train_freq": 1, "n_envs": 4}, "gradient_steps / (train_freq * n_envs)", ""),
        ({"a/gradient_steps": "2", "train_freq": 1, "n_envs": 4}, '"a/gradient_steps" / (train_freq * n_envs)', ""),
        (
            {"gradient_steps": 2, "train_freq": 1},
            None,
            "for one environment give --key 'utd=gradient_steps / train_freq'",
        ),
        ({"gradient_steps": -1, "train_freq": 1, "n_envs": 1}, None, "give --constant utd=1"),
        ({"gradient_steps": 2}, None, ""),
    ],
)
def test_the_utd_is_a_ratio_of_keys(config: dict[str, Any], ratio: str | None, said: str) -> None:
    found, sentences = utd_ratio([run(config)])
    assert found == ratio
    assert said in " ".join(sentences)
    assert bool(said) == bool(sentences)


@pytest.mark.parametrize(
    ("keys", "chosen", "said"),
    [
        (["eval/mean_reward", "rollout/ep_rew_mean"], "eval/mean_reward", "return of evaluation"),
        (["rollout/ep_rew_mean", "rollout/ep_len_mean"], "rollout/ep_rew_mean", "averages the last 100 episodes"),
        (["episode_return", "reward_std", "best_return"], "episode_return", "does not say how many episodes"),
        (["eval/return", "eval/mean_reward"], None, "eval/return and eval/mean_reward may hold it"),
        (["train/reward", "loss"], None, ""),
        (["eval/episode_return_mean", "eval/episode_return_max"], "eval/episode_return_mean", "return of evaluation"),
        (["evaluation_score", "seval_return"], "evaluation_score", "return of evaluation"),
    ],
)
def test_the_return(keys: list[str], chosen: str | None, said: str) -> None:
    found, sentences = return_key([run(**dict.fromkeys(keys, 1.0))])
    assert found == chosen
    assert said in " ".join(sentences)


def test_training_returns_are_taken_and_said_where_only_some_runs_evaluate() -> None:
    found, said = return_key([run(eval__return=1.0, episode_return=1.0), run(episode_return=2.0)])
    assert found == "episode_return"
    assert "Only 1 of 2 runs have evaluations" in said[-1]


def test_the_step_counter_lies_beside_the_return() -> None:
    history = pd.DataFrame({"train/env_steps": [1.0, None], "eval/env_steps": [None, 2.0], "eval/return": [None, 3.0]})
    assert step_key([RunLog("one", {}, history)], "eval/return")[0] == "eval/env_steps"
    both = run(train__env_steps=1.0, other__env_steps=1.0, eval__return=1.0)
    assert step_key([both], "eval/return") == (
        None, ["env_steps: train/env_steps and other/env_steps may hold it; name one with --key env_steps=KEY."],
    )  # fmt: skip
    chosen, said = step_key([run(global_step=1.0, total_timesteps=1.0, eval__return=1.0)], "eval/return")
    assert (chosen, said) == ("total_timesteps", [])
    assert "some trainers count updates" in step_key([run(global_step=1.0)], None)[1][0]


def test_the_trackers_own_step_is_taken_unless_it_numbers_the_rows() -> None:
    numbered, _ = guess_usual([run({"own.last": 9, "own.rows": 10}, episode_return=1.0)], own_step=OWN, system="own.")
    given, said = guess_usual(
        [run({"own.last": 9000, "own.rows": 10}, episode_return=1.0)], own_step=OWN, system="own."
    )
    assert (numbered.env_steps, given.env_steps) == (None, "_step")
    assert any("the step that the trainer gave" in sentence for sentence in said)


def test_further_settings_that_differ_become_columns_and_words_of_a_ratio_do_not() -> None:
    configs = [{"gradient_steps": u, "train_freq": 1, "n_envs": 1, "tau": 0.1 * u, "n": u, "own.id": u} for u in (1, 2)]
    mapping, said = guess_usual([run(config, episode_return=1.0) for config in configs], own_step=OWN, system="own.")
    assert mapping.columns == {"tau": "tau", "n": "n"}
    assert "tau differs between runs and becomes a further column." in said
