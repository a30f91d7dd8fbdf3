"""Read learning curves from the logs of Stable-Baselines3 and its zoo.

A run is a folder with at least one of these files:

- evaluations.npz of EvalCallback: env steps and the return of each evaluation episode. Where it lies by itself in a
  folder below a run, as in RUN/eval/evaluations.npz, it belongs to that run.
- monitor.csv of Monitor, or N.monitor.csv of several environments: a row per training episode. Env steps are the
  running sum of the episode lengths `l`, over all environments in the order of time, as Stable-Baselines3 plots them.
- progress.csv of the logger, whose keys are `time/total_timesteps`, `eval/mean_reward` and `rollout/ep_rew_mean`.

The settings come from args.yml and config.yml of rl-baselines3-zoo, in the folder or in the one folder below it that
holds them. The logs do not say how a run ended.
"""

import json
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.data.curves import read_curves
from bayescale.data.tables import Table
from bayescale.errors import InputError
from bayescale.importers.guesses import configured, first_in_all, sentences, varying
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.kinds.evaluations_npz import evaluations
from bayescale.importers.kinds.zoo_settings import zoo_settings
from bayescale.importers.run_folders import (
    LARGEST,
    Source,
    Unusable,
    read_delimited,
    read_text,
    run_folders,
    skipped,
    whole_lines,
)
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, Skipped

Settings = Mapping[str, str | float]

MONITOR = "monitor.csv"
EVALUATIONS = "evaluations.npz"
SETTING_FILES = ("args.yml", "config.yml")

# Step counter and return, in the order of preference: evaluations before training episodes.
CURVES = (
    ("evaluations.timesteps", "evaluations.results"),
    ("time/total_timesteps", "eval/mean_reward"),
    ("monitor.env_steps", "monitor.r"),
    ("time/total_timesteps", "rollout/ep_rew_mean"),
)
MEANING = {
    "evaluations.results": "evaluations.results is the mean over the episodes of an evaluation.",
    "monitor.r": "monitor.r is the return of single training episodes; smooth_episodes averages several.",
    "rollout/ep_rew_mean": "rollout/ep_rew_mean is a return of training, averaged over the last 100 episodes.",
}
CANDIDATES = {
    "algorithm": ("args.algo",),
    "env_id": ("args.env", "monitor.env_id"),
    "batch_size": ("zoo.batch_size",),
    "learning_rate": ("zoo.learning_rate",),
    "seed": ("args.seed", "config.seed"),
}
NO_SETTINGS = ("config.n_timesteps", "config.learning_rate", "config.batch_size", "config.callback")


def read_sb3(
    *sources: Source | Mapping[str, Settings] | Mapping[Path, Settings], mapping: ColumnMapping | None = None
) -> pd.DataFrame:
    """Return the learning-curve table of the runs at or below the sources.

    Args:
        sources: folders of runs such as `logs/sac`, globs, or log files. Where the logs hold no settings, one mapping
            instead: the evaluations.npz of each run, with its algorithm, env_id, utd, batch_size, learning_rate, seed
            and, if known, suite, model_size and further columns.
        mapping: keys of the settings and the logs by column; they add to those that `guess_sb3` finds, and replace
            them.

    Raises:
        InputError: a source does not exist, no run can be used, or the table is not valid.
        MissingExtra: there are YAML files and PyYAML is not installed.
    """
    if len(sources) == 1 and isinstance(sources[0], Mapping):
        runs = sources[0].items()
        return read_curves(Table(evaluations(Path(file)).assign(**own), str(file)) for file, own in runs)
    return read_with(SB3, sources, mapping)


def log_sb3(*sources: Source) -> Logs:
    """Return the runs at or below the sources, and the files that cannot be used.

    Raises:
        InputError: a source does not exist.
        MissingExtra: there are YAML files and PyYAML is not installed.
    """
    runs: list[RunLog] = []
    left_out: list[Skipped] = []
    for folder, places in _places(run_folders(sources, _is_log)).items():
        config, parts = _settings(folder, left_out), []
        for file in (place / name for place in places for name in (EVALUATIONS, "progress.csv")):
            if not os.path.lexists(file):
                continue
            try:
                parts.append(_evaluations(file) if file.suffix == ".npz" else _progress(file, left_out))
            except Unusable as reason:
                left_out.append(skipped(file, reason))
        try:
            monitor, env_id = _monitor(sorted(f for f in folder.iterdir() if _is_monitor(f.name)), left_out)
            parts.append(monitor)
            config = {**({"monitor.env_id": env_id} if env_id else {}), **config}
        except Unusable as reason:
            left_out.append(skipped(folder, reason))
        parts = [part for part in parts if len(part)]
        if parts:
            runs.append(RunLog(str(folder), config, pd.concat(parts, ignore_index=True)))
        else:
            left_out.append(skipped(folder, "its logs hold no row."))
    return Logs(runs, left_out)


def guess_sb3(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from the keys of Stable-Baselines3 to columns, and a sentence for each guess."""
    runs = logs.runs
    columns = configured(CANDIDATES, runs)
    utd = configured({"utd": ["zoo.utd"]}, runs).get("utd")
    episode_return = first_in_all([key for _, key in CURVES], runs)
    env_steps = next((steps for steps, key in CURVES if key == episode_return), None)
    said = sentences({**columns, "utd": utd, "env_steps": env_steps, "episode_return": episode_return})
    if episode_return in MEANING:
        said.append(MEANING[episode_return])
    said += _partial_evaluations(runs, episode_return)
    if utd:
        said.append(
            "zoo.utd is gradient_steps / (train_freq * n_envs); gradient_steps = -1 means an update per env step."
        )
    if any(map(_has_defaults, runs)):
        said.append("Settings that config.yml leaves out have the defaults of Stable-Baselines3 for SAC, TQC and DQN.")
    if any(isinstance(run.config.get("config.learning_rate"), str) for run in runs):
        said.append("zoo.learning_rate of a linear schedule lin_X is the rate X at the start.")
    args = {key for run in runs for key in run.config if key.startswith("args.")}
    further = varying(runs, but=[*columns.values(), *NO_SETTINGS, *args, "monitor.env_id", "zoo.utd"])
    said += [f"{key} differs between runs and becomes a further column." for key in further.values()]
    return ColumnMapping(
        columns={**columns, **further}, utd=utd, env_steps=env_steps, episode_return=episode_return
    ), said


SB3 = Importer(log_sb3, guess_sb3)


def _places(folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return the folders with the logs of each run: its own, and one below it that holds evaluations alone."""
    runs = set(folders)

    def has_settings(folder: Path) -> bool:
        below = [place for place in folder.iterdir() if place.is_dir() and not place.is_symlink() and place not in runs]
        return any((place / name).is_file() for place in (folder, *below) for name in SETTING_FILES)

    def only_evaluates(folder: Path) -> bool:
        logs = [path.name for path in folder.iterdir() if _is_log(path.name)]
        return logs == [EVALUATIONS] and not has_settings(folder)

    alone = {folder for folder in folders if only_evaluates(folder)}
    alone_below = Counter(folder.parent for folder in alone)
    places: dict[Path, list[Path]] = {}
    for folder in folders:
        parent = folder.parent
        belongs = folder in alone and alone_below[parent] == 1 and (parent in runs or has_settings(parent))
        places.setdefault(parent if belongs else folder, []).append(folder)
    return places


def _partial_evaluations(runs: Sequence[RunLog], episode_return: str | None) -> list[str]:
    """Return a sentence that names a run with evaluations if the return chosen for all runs is one of training."""
    evaluated = ("evaluations.results", "eval/mean_reward")
    if episode_return in evaluated:
        return []
    having = [run.name for run in runs if any(key in run.history for key in evaluated)]
    return [f"Only {len(having)} of {len(runs)} runs have evaluations, such as {having[0]}."] if having else []


def _has_defaults(run: RunLog) -> bool:
    """Return True if a setting of the run is a default of Stable-Baselines3, as config.yml leaves it out."""
    implied = {
        "batch_size": ["batch_size"],
        "learning_rate": ["learning_rate"],
        "utd": ["gradient_steps", "train_freq"],
    }
    return any(
        f"zoo.{name}" in run.config and f"config.{key}" not in run.config
        for name, keys in implied.items()
        for key in keys
    )


def _is_log(name: str) -> bool:
    return name in (EVALUATIONS, "progress.csv") or _is_monitor(name)


def _is_monitor(name: str) -> bool:
    return name == MONITOR or name.endswith(f".{MONITOR}")


def _evaluations(file: Path) -> pd.DataFrame:
    """Return the evaluations of an evaluations.npz that is a plain file and does not unpack to more than `LARGEST`."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise Unusable("it is no plain file.")
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise Unusable(f"it unpacks to more than {LARGEST / 2**20:.0f} MiB.")
        found = evaluations(file)
    except InputError as error:
        raise Unusable(str(error).removeprefix(f"{file} ")) from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, MemoryError):
        raise Unusable("it cannot be read as an npz file.") from None
    return found.set_axis(["evaluations.timesteps", "evaluations.results"], axis=1)


def _progress(file: Path, left_out: list[Skipped]) -> pd.DataFrame:
    text, cut = whole_lines(read_text(file))
    if cut:
        left_out.append(skipped(file, cut))
    return read_delimited(text)


def _monitor(files: list[Path], left_out: list[Skipped]) -> tuple[pd.DataFrame, str | None]:
    """Return the training episodes of all environments in the order of time, and the name of the environment."""
    episodes, name = [], None
    for file in files:
        text, cut = whole_lines(read_text(file))
        if cut:
            left_out.append(skipped(file, cut))
        first, _, table = text.partition("\n")
        try:
            header = json.loads(first.removeprefix("#")) if first.startswith("#{") else {}
            started = float(header.get("t_start", 0.0))
        except (ValueError, TypeError, RecursionError):
            raise Unusable(f"{file.name}: its first line is no header of Monitor.") from None
        try:
            rows = read_delimited(table if first.startswith("#") else text)
        except Unusable as reason:
            raise Unusable(f"{file.name}: {reason}") from None
        if not {"r", "l", "t"} <= set(rows.columns):
            raise Unusable(f"{file.name} has no columns r, l and t of numbers, as Monitor writes them.")
        if (rows["t"].diff() < 0).any():
            raise Unusable(
                f"{file.name}: the time t starts over, as a second training was appended. Cut the file there, and give "
                "each training a folder."
            )
        name = name or (str(header["env_id"]) if header.get("env_id") not in (None, "None") else None)
        episodes.append(rows.assign(t=rows["t"] + started)[["r", "l", "t"]])
    if not episodes:
        return pd.DataFrame(), None
    joined = pd.concat(episodes).sort_values("t", kind="stable")
    return pd.DataFrame({"monitor.env_steps": joined["l"].cumsum(), "monitor.r": joined["r"]}), name


def _settings(folder: Path, left_out: list[Skipped]) -> dict[str, Any]:
    """Return the settings in the folder, or in the one folder below it that has them."""
    places = [folder, *sorted(place for place in folder.iterdir() if place.is_dir() and not place.is_symlink())]
    having = [place for place in places if any((place / name).is_file() for name in SETTING_FILES)]
    if having[:1] != [folder] and len(having) > 1:
        left_out.append(skipped(folder, "several folders below it hold args.yml or config.yml; none was read."))
        return {}
    try:
        return zoo_settings(having[0]) if having else {}
    except Unusable as reason:
        left_out.append(skipped(having[0], reason))
        return {}
