"""Read learning curves from the event files of CleanRL.

Each run is a folder `ENV__SCRIPT__SEED__TIME`, whose events hold a table of all arguments. The return is
`charts/episodic_return`, a return of training: the scripts log every episode by itself, at the env step at which it
ended. The UTD follows from the script: SAC, TD3 and DDPG update once per env step, or once per `update_frequency` env
steps if they have that argument, as sac_atari has; DQN and C51 update once per `train_frequency` env steps.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.importers.guesses import configured, first_in_all, sentences, varying
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.kinds.tensorboard import STEP, log_tensorboard, rows_of_return
from bayescale.importers.path_patterns import path_settings
from bayescale.importers.run_folders import Source
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog

FOLDER = "{env_id}__{exp_name}__{seed}__{time}"
RETURNS = ("charts/episodic_return", "charts_episodic_return", "charts/episode_reward", "Value")
UTD_ONE = ("sac", "td3", "ddpg")  # scripts with an update per env step, or per update_frequency env steps
UTD_BY_FREQUENCY = ("dqn", "c51")  # scripts with an update per train_frequency env steps
ALGORITHMS = (*UTD_ONE, *UTD_BY_FREQUENCY, "ppo", "rpo", "rainbow", "qdagger", "redq", "droq", "crossq")
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("algorithm", "algo", "cleanrl.algorithm", "exp_name"),
    "env_id": ("env_id", "gym_id"),
    "batch_size": ("batch_size",),
    "learning_rate": ("learning_rate", "cleanrl.learning_rate"),
    "seed": ("seed",),
}
UTD_KEYS = ("utd", "utd_ratio", "replay_ratio", "cleanrl.utd")
NO_SETTINGS = ("exp_name", "time", "policy_lr", "q_lr", "gym_id", "run_name", "hf_entity", "capture_video", "track")


def read_cleanrl(*sources: Source, mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """Return the learning-curve table of the runs at or below the sources.

    Args:
        sources: folders of runs such as `runs`, globs, or event files.
        mapping: keys of the arguments and the series by column; they add to those that `guess_cleanrl` finds, and
            replace them.

    Raises:
        InputError: a source does not exist, no run can be used, or the table is not valid.
        MissingExtra: tensorboard is not installed.
    """
    return read_with(CLEANRL, sources, mapping)


def log_cleanrl(*sources: Source) -> Logs:
    """Return the runs at or below the sources, and the files that cannot be used.

    Raises:
        InputError: a source does not exist or holds no event files.
        MissingExtra: tensorboard is not installed.
    """
    logs = log_tensorboard(*sources)
    return Logs([replace(run, config=_config(run)) for run in logs.runs], logs.skipped)


def guess_cleanrl(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from CleanRL's arguments and series to columns, and a sentence for each guess."""
    runs = logs.runs
    columns = configured(CANDIDATES, runs)
    utd = configured({"utd": UTD_KEYS}, runs).get("utd")
    episode_return = first_in_all(RETURNS, runs)
    said = sentences({**columns, "utd": utd, "env_steps": STEP, "episode_return": episode_return})
    if columns.get("algorithm") == "cleanrl.algorithm":
        said.append("cleanrl.algorithm is the first word of exp_name.")
    if columns.get("learning_rate") == "cleanrl.learning_rate":
        said.append("cleanrl.learning_rate is the rate policy_lr and q_lr, which are equal in each run.")
    elif "learning_rate" not in columns and any("q_lr" in run.config for run in runs):
        said.append("learning_rate: policy_lr and q_lr differ; name one with --key learning_rate=q_lr.")
    if utd == "cleanrl.utd":
        said.append(
            "cleanrl.utd is 1 for SAC, TD3 and DDPG, or 1 / update_frequency, and 1 / train_frequency for DQN and C51."
        )
    elif utd is None:
        said.append("utd: the script and its arguments do not give it; state it with --constant utd=VALUE.")
    if episode_return:
        said.append(
            f"{episode_return} is a return of training: single episodes, not smoothed; smooth_episodes of MAP.toml "
            "averages several."
        )
    further = varying(runs, but=[*columns.values(), *NO_SETTINGS, *UTD_KEYS, "cleanrl.algorithm"])
    said += [f"{key} differs between runs and becomes a further column." for key in further]
    return ColumnMapping({**columns, **further}, utd=utd, env_steps=STEP, episode_return=episode_return), said


CLEANRL = Importer(log_cleanrl, guess_cleanrl, rows_of_return)


def _config(run: RunLog) -> dict[str, Any]:
    """Return the arguments of a run, those in the name of its folder, and the settings that follow from them."""
    config: dict[str, Any] = {**(path_settings(FOLDER, Path(run.name).name) or {}), **run.config}
    script = str(config.get("exp_name", "")).lower().replace("-", "_").split("_")[0]
    if script in ALGORITHMS:
        config["cleanrl.algorithm"] = script.upper()
    if config.get("policy_lr") is not None and config["policy_lr"] == config.get("q_lr"):
        config["cleanrl.learning_rate"] = config["policy_lr"]
    if config.get("num_envs", 1) != 1:
        return config
    frequency = config.get("update_frequency", 1) if script in UTD_ONE else config.get("train_frequency")
    if script in (*UTD_ONE, *UTD_BY_FREQUENCY) and type(frequency) is int and frequency > 0:
        config["cleanrl.utd"] = 1 / frequency
    return config
