"""Read learning curves from the folders of OpenAI Spinning Up and its forks: progress.txt and config.json.

progress.txt is a table with tabs between columns and a row per epoch. Env steps are `TotalEnvInteracts`; the return is
`AverageTestEpRet`, or `AverageEpRet` of training. config.json holds the arguments of the training function.

Spinning Up's SAC, TD3 and DDPG make `update_every` updates after as many env steps: UTD 1. Forks such as REDQ state
`utd_ratio`. config.json often lacks the environment; a constant of the mapping states it. The logs do not say how a
run ended.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.importers.guesses import configured, first_in_all, sentences, varying
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.run_folders import (
    Source,
    Unusable,
    flattened,
    read_delimited,
    read_json,
    read_text,
    run_folders,
    skipped,
    whole_lines,
)
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, Skipped

LOG = "progress.txt"
STEPS = ("TotalEnvInteracts",)
RETURNS = ("AverageTestEpRet", "AverageEpRet")
UTD_ONE = ("sac", "td3", "ddpg")  # algorithms with an update per env step
ALGORITHMS = (*UTD_ONE, "redq", "droq", "vpg", "trpo", "ppo")
UTD_KEYS = ("utd_ratio", "utd", "replay_ratio")
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("algo", "algorithm", "folder.algorithm"),
    "env_id": ("env_name", "env_id", "env"),
    "batch_size": ("batch_size",),
    "learning_rate": ("lr", "learning_rate", "folder.learning_rate"),
    "seed": ("seed",),
}
NO_SETTINGS = ("exp_name", "epochs", "save_freq", "env_fn", "num_test_episodes", "pi_lr", "q_lr")


def read_spinningup(*sources: Source, mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """Return the learning-curve table of the runs at or below the sources.

    Args:
        sources: folders of runs such as `data/sac`, globs, or progress.txt files.
        mapping: keys of config.json and progress.txt by column; they add to those that `guess_spinningup` finds, and
            replace them.

    Raises:
        InputError: a source does not exist, no run can be used, or the table is not valid.
    """
    return read_with(SPINNINGUP, sources, mapping)


def log_spinningup(*sources: Source) -> Logs:
    """Return the runs at or below the sources, and the files that cannot be used.

    Raises:
        InputError: a source does not exist.
    """
    runs: list[RunLog] = []
    left_out: list[Skipped] = []
    for folder in run_folders(sources, LOG.__eq__):
        try:
            text, cut = whole_lines(read_text(folder / LOG))
            history = read_delimited(text, "\t")
        except Unusable as reason:
            left_out.append(skipped(folder / LOG, reason))
            continue
        if cut:
            left_out.append(skipped(folder / LOG, cut))
        if history.empty:
            left_out.append(skipped(folder / LOG, "it holds no row."))
            continue
        runs.append(RunLog(str(folder), _config(folder, left_out), history))
    return Logs(runs, left_out)


def guess_spinningup(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from Spinning Up's keys to columns, and a sentence for each guess."""
    runs = logs.runs
    columns = configured(CANDIDATES, runs)
    utd = configured({"utd": (*UTD_KEYS, "folder.utd")}, runs).get("utd")
    env_steps, episode_return = first_in_all(STEPS, runs), first_in_all(RETURNS, runs)
    said = sentences({**columns, "utd": utd, "env_steps": env_steps, "episode_return": episode_return})
    if columns.get("algorithm") == "folder.algorithm":
        said.append("folder.algorithm is the one known algorithm that exp_name names.")
    if columns.get("learning_rate") == "folder.learning_rate":
        said.append("folder.learning_rate is the rate of policy and Q-functions, which are equal in each run.")
    if utd == "folder.utd":
        said.append("folder.utd is 1: Spinning Up's SAC, TD3 and DDPG make as many updates as env steps.")
    if episode_return == "AverageEpRet":
        said.append("AverageEpRet is a return of training: the mean over the episodes of an epoch.")
    further = varying(
        runs,
        but=[
            *columns.values(), *NO_SETTINGS, *UTD_KEYS, "folder.utd", "folder.algorithm",
            *(key for run in runs for key in run.config if key.startswith(("logger", "env_fn"))),
        ],
    )  # fmt: skip
    said += [f"{key} differs between runs and becomes a further column." for key in further.values()]
    mapping = ColumnMapping(columns={**columns, **further}, utd=utd, env_steps=env_steps, episode_return=episode_return)
    return mapping, said


SPINNINGUP = Importer(log_spinningup, guess_spinningup)


def _config(folder: Path, left_out: list[Skipped]) -> dict[str, Any]:
    """Return config.json and the settings that follow from several of its keys."""
    file = folder / "config.json"
    try:
        config = flattened(read_json(file))
    except Unusable as reason:
        left_out.append(skipped(file, f"{reason} Its run has no config."))
        return {}
    name = str(config.get("exp_name") or config.get("logger_kwargs.exp_name") or "").lower()
    named = sorted(set(re.findall("[a-z0-9]+", name)) & set(ALGORITHMS))
    if len(named) == 1:
        config["folder.algorithm"] = named[0]
    if config.get("pi_lr") is not None and config["pi_lr"] == config.get("q_lr"):
        config["folder.learning_rate"] = config["pi_lr"]
    if len(named) == 1 and named[0] in UTD_ONE and "update_every" in config:
        config["folder.utd"] = 1.0
    return config
