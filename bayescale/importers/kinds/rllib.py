"""Read learning curves from the trial folders of Ray Tune and RLlib: result.json, progress.csv, params.json.

One trial folder is one run. Tune writes a row per training iteration, in result.json as one JSON object per line and
in progress.csv with the same keys, nested keys joined by "/". result.json is read; progress.csv takes its place if
result.json cannot be used. params.json holds the config of the trial.

Status: "finished" if the last row says `done`, else "crashed" if there is an error.txt, else "running". A trial that
Tune restored from a checkpoint counts its iterations since then from 1; of such a trial, later rows count.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.importers.guesses import configured, first_in_all, sentences, varying
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.run_folders import (
    UNREADABLE,
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

LOGS = ("result.json", "progress.csv")
STEPS = (
    "num_env_steps_sampled_lifetime", "env_runners/num_env_steps_sampled_lifetime", "num_env_steps_sampled",
    "timesteps_total",
)  # fmt: skip
PLACES = (
    "evaluation/env_runners/",
    "evaluation/",
    "evaluation/sampler_results/",
    "env_runners/",
    "sampler_results/",
    "",
)
RETURNS = tuple(place + name for place in PLACES for name in ("episode_return_mean", "episode_reward_mean"))
NOT_LOGGED = ("config", "timers", "perf", "hist_stats")  # groups of a result that hold no curve

OFF_POLICY = ("SAC", "DQN", "TD3", "DDPG", "APEX", "APEX_DDPG", "SimpleQ", "R2D2", "CQL", "Rainbow")
ALGORITHMS = (*OFF_POLICY, "PPO", "APPO", "IMPALA", "A2C", "A3C", "PG", "DreamerV3", "ES", "ARS", "MARWIL", "BC")
DERIVED = ("trial.algorithm", "trial.utd", "trial.batch_size")
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("algorithm", "algo", "trial.algorithm"),
    "env_id": ("env", "env_id", "env_name"),
    "batch_size": ("trial.batch_size", "batch_size"),
    "learning_rate": ("lr", "learning_rate", "trial.learning_rate"),
    "seed": ("seed",),
}
RATES = (
    ("actor_lr", "critic_lr"), ("optimization.actor_learning_rate", "optimization.critic_learning_rate"),
)  # fmt: skip


def read_rllib(*sources: Source, mapping: ColumnMapping | None = None) -> pd.DataFrame:
    """Return the learning-curve table of the trials at or below the sources.

    Args:
        sources: trial folders, folders of trials such as `~/ray_results/SAC`, globs, or result.json files.
        mapping: keys of the config and the results by column; they add to those that `guess_rllib` finds, and
            replace them.

    Raises:
        InputError: a source does not exist, no trial can be used, or the table is not valid.
    """
    return read_with(RLLIB, sources, mapping)


def log_rllib(*sources: Source) -> Logs:
    """Return the trials at or below the sources, and the files that cannot be used.

    Raises:
        InputError: a source does not exist.
    """
    runs: list[RunLog] = []
    left_out: list[Skipped] = []
    for folder in run_folders(sources, LOGS.__contains__, but=lambda name: name.startswith("checkpoint_")):
        history, config = _history(folder, left_out), _config(folder, left_out)
        if history is None:
            continue
        if history.empty:
            left_out.append(skipped(folder, "its logs hold no result."))
            continue
        config = {**config, **_derived(folder, config)}
        runs.append(RunLog(str(folder), config, history, _status(folder, history), _resumed(history)))
    return Logs(runs, left_out)


def guess_rllib(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from RLlib's keys to columns, and a sentence for each guess."""
    runs = logs.runs
    columns = configured(CANDIDATES, runs)
    utd = configured({"utd": ["trial.utd"]}, runs).get("utd")
    env_steps, episode_return = first_in_all(STEPS, runs), first_in_all(RETURNS, runs)
    said = sentences({**columns, "utd": utd, "env_steps": env_steps, "episode_return": episode_return})
    if columns.get("algorithm") == "trial.algorithm":
        said.append("trial.algorithm is algo_class, or the first word of the trial folder's name.")
    if columns.get("batch_size") == "trial.batch_size":
        said.append("trial.batch_size is train_batch_size, or train_batch_size_per_learner times the learners.")
    if columns.get("learning_rate") == "trial.learning_rate":
        said.append("trial.learning_rate is the rate of actor and critic, which are equal in each run.")
    if utd:
        said.append(
            "trial.utd is training_intensity / train_batch_size; without a training_intensity, one update per "
            "rollout_fragment_length x env runners x environments of each, where auto stands for n_step."
        )
    if episode_return and not episode_return.startswith("evaluation"):
        some = [run.name for run in runs if any(key.startswith("evaluation/") for key in run.history.columns)]
        also = f" Only some runs have evaluations, such as {some[0]}." if some else ""
        said.append(
            f"{episode_return} is a return of training: RLlib averages the last metrics_num_episodes_for_smoothing "
            f"episodes, 100 by default.{also}"
        )
    used = [*columns.values(), *DERIVED, "training_intensity", "train_batch_size", "lr", "algo_class"]
    used += ["train_batch_size_per_learner", "_train_batch_size_per_learner"]
    used += [rate for pair in RATES for rate in pair]
    further = varying(runs, but=used)
    said += [f"{key} differs between runs and becomes a further column." for key in further.values()]
    mapping = ColumnMapping(columns={**columns, **further}, utd=utd, env_steps=env_steps, episode_return=episode_return)
    return mapping, said


RLLIB = Importer(log_rllib, guess_rllib)


def _history(folder: Path, left_out: list[Skipped]) -> pd.DataFrame | None:
    """Return the results of a trial, None if no log can be used."""
    for name in LOGS:
        file = folder / name
        try:
            text, cut = whole_lines(read_text(file))
            history = _results(text) if name == "result.json" else read_delimited(text)
        except Unusable as reason:
            if file.is_symlink() or file.exists():
                left_out.append(skipped(file, reason))
            continue
        if history.empty and name != LOGS[-1]:
            continue
        if cut:
            left_out.append(skipped(file, cut))
        return history
    return None


def _results(text: str) -> pd.DataFrame:
    """Return the numbers of each line's JSON object."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
            values = flattened(result, "/", leave_out=NOT_LOGGED)
        except (*UNREADABLE, AttributeError):
            raise Unusable(f"its line {number} is no JSON object.") from None
        rows.append({key: value for key, value in values.items() if isinstance(value, int | float)})
    return pd.DataFrame(rows)


def _config(folder: Path, left_out: list[Skipped]) -> dict[str, Any]:
    file = folder / "params.json"
    try:
        return flattened(read_json(file))
    except Unusable as reason:
        left_out.append(skipped(file, f"{reason} Its trial has no config."))
        return {}


def _status(folder: Path, history: pd.DataFrame) -> str:
    done = history["done"].iloc[-1] if "done" in history else False
    if pd.notna(done) and bool(done):
        return "finished"
    return "crashed" if (folder / "error.txt").exists() else "running"


def _resumed(history: pd.DataFrame) -> bool:
    """Return True if iterations are counted from 1 again after a restore while the trial's own count goes on."""
    if not {"iterations_since_restore", "training_iteration"} <= set(history.columns):
        return False
    since, total = history["iterations_since_restore"], history["training_iteration"]
    return bool(((since <= since.shift()) & (total > since)).any())


def _derived(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial that follow from several keys of its config."""
    found: dict[str, Any] = {}
    algorithm = re.search(r"(\w+)\W*$", str(config.get("algo_class") or ""))
    first = folder.name.split("_")[0]
    if algorithm and algorithm[1] in ALGORITHMS:
        found["trial.algorithm"] = algorithm[1]
    elif first in ALGORITHMS:
        found["trial.algorithm"] = first
    learners = _positive(config, "num_learners", otherwise=0) or 0
    batch = _positive(config, "train_batch_size")
    if each := _positive(config, "train_batch_size_per_learner", "_train_batch_size_per_learner"):
        batch = each * max(1, learners)
    if batch:
        found["trial.batch_size"] = batch
    for actor, critic in RATES:
        if _positive(config, actor) and config[actor] == config.get(critic):
            found["trial.learning_rate"] = config[actor]
    if batch and found.get("trial.algorithm", "SAC") in OFF_POLICY and (utd := _utd(config, batch)):
        found["trial.utd"] = utd
    return found


def _utd(config: Mapping[str, Any], batch: float) -> float | None:
    if intensity := _positive(config, "training_intensity"):
        return intensity / batch
    fragment = _positive(config, "rollout_fragment_length")
    if config.get("rollout_fragment_length") == "auto":  # off-policy algorithms then sample n_step env steps
        n_step = config.get("n_step", 1)
        fragment = _positive({"longest": n_step[-1] if isinstance(n_step, list) and n_step else n_step}, "longest")
    if fragment is None or config.get("training_intensity") is not None:
        return None
    runners = _positive(config, "num_env_runners", "num_rollout_workers", "num_workers", otherwise=1) or 1
    envs = _positive(config, "num_envs_per_env_runner", "num_envs_per_worker", otherwise=1) or 1
    return 1 / (fragment * runners * envs)


def _positive(config: Mapping[str, Any], *keys: str, otherwise: float | None = None) -> float | None:
    """Return the first value of the keys that is a positive number."""
    values: Iterable[Any] = (config.get(key) for key in keys)
    numbers = (value for value in values if isinstance(value, int | float) and not isinstance(value, bool))
    return next((value for value in numbers if 0 < value < float("inf")), otherwise)
