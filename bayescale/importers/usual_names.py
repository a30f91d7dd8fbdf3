"""Guess the keys of trackers that hold what a trainer chooses to log: Weights & Biases, MLflow.

Trainers name the same thing differently, and nest their settings. A setting is looked up by the last part of its key,
such as `batch_size` of `agent.batch_size`. Where several keys may hold a column, none is taken: a sentence asks for
the flag that names one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayescale.importers.guesses import sentences, varying
from bayescale.importers.run_logs import ColumnMapping, RunLog

# Last parts of keys by column, in the order of preference.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "suite": ("suite", "benchmark"),
    "algorithm": ("algorithm", "algo", "algo_name", "agent", "agent_name", "agent.name", "algo.name", "algorithm.name"),
    "env_id": ("env_id", "env_name", "env", "environment", "gym_id", "task", "task_name", "env.name", "env.id"),
    "utd": ("utd", "utd_ratio", "replay_ratio", "updates_per_step", "rr"),
    "batch_size": ("batch_size", "batch", "bs"),
    "learning_rate": ("learning_rate", "lr"),
    "model_size": ("model_size", "critic_parameters", "num_critic_params"),
    "seed": ("seed", "random_seed"),
}
RATES = (
    ("policy_lr", "q_lr"), ("pi_lr", "q_lr"), ("actor_lr", "critic_lr"),
    ("actor_learning_rate", "critic_learning_rate"),
)  # fmt: skip
STEPS = (
    "env_steps", "env_step", "environment_steps", "total_env_steps", "num_env_steps", "num_env_steps_sampled_lifetime",
    "num_env_steps_sampled", "total_timesteps", "timesteps_total", "timesteps", "totalenvinteracts", "frames",
    "total_frames", "env_frames", "global_step",
)  # fmt: skip
STEP_MEANINGS = {
    "global_step": "counts env steps in CleanRL and Stable-Baselines3; some trainers count updates in it.",
    **dict.fromkeys(
        ("frames", "total_frames", "env_frames"),
        "is taken for env steps; if it counts agent steps, give --key env_steps_factor=ACTION_REPEAT.",
    ),
}
RETURN = re.compile(r"return|reward|ep_?rew|ep_?ret|score", re.IGNORECASE)
EPISODE = re.compile(r"episod|ep_?re[wt]|return", re.IGNORECASE)
EVALUATION = re.compile(r"(?<![a-z])eval|(?<![a-z])test|AverageTest", re.IGNORECASE)
NO_MEAN = re.compile(
    r"(?<![a-z])(std|stdev|stddev|var|min|max|median|sem|stderr|len|lengths?|count|num|time|loss|best|target|normali[sz]ed"
    r"|discounted|per_step|step)(?![a-z])",
    re.IGNORECASE,
)
TRAINING_MEANINGS = {
    "rollout/ep_rew_mean": "Stable-Baselines3 averages the last 100 episodes.",
    "charts/episodic_return": "CleanRL logs single episodes; smooth_episodes averages several.",
}


@dataclass(frozen=True)
class OwnStep:
    """The step that a tracker counts itself.

    Attributes:
        key: its key in the history.
        last: config key of its last value.
        rows: config key of the number of rows.
    """

    key: str
    last: str
    rows: str


def guess_usual(runs: Sequence[RunLog], *, own_step: OwnStep, system: str) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from the usual names of keys to columns, and a sentence for each guess and open question.

    Args:
        runs: the runs.
        own_step: the step of the tracker, which is taken if no key counts env steps and it does not number the rows.
        system: beginning of config keys that the importer added, which are no settings.
    """
    columns, said = setting_keys(runs)
    utd = columns.pop("utd", None)
    about_utd: list[str] = []
    if utd is None:
        utd, about_utd = utd_ratio(runs)
    episode_return, about_return = return_key(runs)
    env_steps, about_steps = step_key(runs, episode_return)
    if env_steps is None and not about_steps:
        env_steps, about_steps = _own_step(runs, own_step)
    taken = sentences({**columns, "utd": utd, "env_steps": env_steps, "episode_return": episode_return})
    said = [*taken, *said, *about_utd, *about_return, *about_steps]
    histories = set(_history_keys(runs))
    no_settings = {key for run in runs for key in run.config if str(key).startswith(system) or key in histories}
    used = {*columns, *columns.values(), *(re.findall(r"[\w./]+", utd) if utd else ["utd"]), utd or "utd"}
    further = varying(runs, but=used | no_settings)
    said += [f"{key} differs between runs and becomes a further column." for key in further.values()]
    mapping = ColumnMapping(columns={**columns, **further}, utd=utd, env_steps=env_steps, episode_return=episode_return)
    return mapping, said


def _own_step(runs: Sequence[RunLog], own: OwnStep) -> tuple[str | None, list[str]]:
    counted = [run.config for run in runs if own.last in run.config]
    if not counted:
        return None, []
    if any(config[own.last] > config[own.rows] for config in counted):
        return own.key, [f"{own.key} is the step that the trainer gave when it logged; other units: env_steps_factor."]
    question = (
        f"env_steps: {own.key} only numbers the rows, and no key counts env steps. If a row is as many env steps, give "
        f"--key env_steps={own.key} --key env_steps_factor=NUMBER."
    )
    return None, [question]


def setting_keys(runs: Sequence[RunLog]) -> tuple[dict[str, str], list[str]]:
    """Return the key of each setting that one key holds, and a sentence for each setting that several may hold."""
    found: dict[str, str] = {}
    said: list[str] = []
    for column, names in SETTINGS.items():
        keys = _first_keys(names, runs)
        if len(keys) == 1:
            found[column] = keys[0]
        elif keys:
            said.append(_question(column, keys))
    if "learning_rate" not in found:
        for pair in RATES:
            keys = [key for name in pair for key in _first_keys((name,), runs)]
            if len(keys) == len(pair):
                equal = all(run.config.get(keys[0]) == run.config.get(keys[1]) for run in runs)
                if equal:
                    found["learning_rate"] = keys[1]
                    said.append(f"learning_rate: {keys[0]} and {keys[1]} are equal in each run.")
                else:
                    said.append(_question("learning_rate", keys))
                break
    return found, said


def utd_ratio(runs: Sequence[RunLog]) -> tuple[str | None, list[str]]:
    """Return the ratio of keys that gives the UTD, gradient_steps / (train_freq * n_envs), if all runs have them."""
    steps, freq = (_first_keys((name,), runs) for name in ("gradient_steps", "train_freq"))
    envs = _first_keys(("n_envs", "num_envs"), runs)
    if len(steps) == 1 and not _positive(steps, runs):
        return None, [f"utd: {steps[0]} = -1 means an update per env step; for such runs give --constant utd=1."]
    if not len(steps) == len(freq) == 1 or not _positive(freq, runs):
        return None, []
    if len(envs) == 1 and _positive(envs, runs):
        ratio = f"{_quoted(steps[0])} / ({_quoted(freq[0])} * {_quoted(envs[0])})"
        return ratio, []
    ratio = f"{_quoted(steps[0])} / {_quoted(freq[0])}"
    return None, [f"utd: the number of environments is not logged; for one environment give --key 'utd={ratio}'."]


def return_key(runs: Sequence[RunLog]) -> tuple[str | None, list[str]]:
    """Return the key of the return, evaluation before training, and sentences that say which return it is."""
    keys = _in_all([key for key in _history_keys(runs) if RETURN.search(key) and not NO_MEAN.search(key)], runs)
    some = [key for key in _history_keys(runs) if EVALUATION.search(key) and RETURN.search(key)]
    evaluation = [key for key in keys if EVALUATION.search(key)]
    if len(evaluation) == 1:
        return evaluation[0], [f"{evaluation[0]} is a return of evaluation."]
    if evaluation:
        return None, [_question("episode_return", evaluation)]
    training = [key for key in keys if EPISODE.search(key)]
    if len(training) != 1:
        return None, [_question("episode_return", training)] if training else []
    meaning = TRAINING_MEANINGS.get(training[0], "the tracker does not say how many episodes it averages.")
    said = [f"{training[0]} is a return of training: {meaning}"]
    if some:
        having = [run.name for run in runs if any(key in run.history for key in some)]
        said.append(f"Only {len(having)} of {len(runs)} runs have evaluations, such as {having[0]}.")
    return training[0], said


def step_key(runs: Sequence[RunLog], episode_return: str | None) -> tuple[str | None, list[str]]:
    """Return the key of the step counter that is logged beside the return, and what it counts."""
    keys = [key for key in _history_keys(runs) if _last(key) in STEPS]
    keys.sort(key=lambda key: STEPS.index(_last(key)))
    keys = _in_all([key for key in keys if _beside(key, episode_return, runs)], runs)
    if not keys:
        return None, []
    same = [key for key in keys if _last(key) == _last(keys[0])]
    group = (episode_return or "").rpartition("/")[0]
    chosen = same if len(same) == 1 else [key for key in same if key.rpartition("/")[0] == group]
    if len(chosen) != 1:
        return None, [_question("env_steps", same)]
    meaning = STEP_MEANINGS.get(_last(chosen[0]))
    return chosen[0], [f"{chosen[0]} {meaning}"] if meaning else []


def _question(column: str, keys: Sequence[str]) -> str:
    shown = " and ".join(key[:60] for key in keys[:4]) + (" and others" if len(keys) > 4 else "")
    return f"{column}: {shown} may hold it; name one with --key {column}=KEY."


def _history_keys(runs: Sequence[RunLog]) -> list[str]:
    return list(dict.fromkeys(str(key) for run in runs for key in run.history.columns))


def _in_all(keys: Sequence[str], runs: Sequence[RunLog]) -> list[str]:
    """Return the keys with values in every run that has a value of any of them."""
    having = [run for run in runs if any(_logged(key, run) for key in keys)]
    return [key for key in keys if having and all(_logged(key, run) for run in having)]


def _logged(key: str, run: RunLog) -> bool:
    return key in run.history and bool(run.history[key].notna().any())


def _beside(key: str, other: str | None, runs: Iterable[RunLog]) -> bool:
    """Return True if a row of some run holds both keys, or if there is no other key."""
    if other is None:
        return True
    both = [run.history for run in runs if key in run.history and other in run.history]
    return any(bool((history[key].notna() & history[other].notna()).any()) for history in both)


def _first_keys(names: Sequence[str], runs: Sequence[RunLog]) -> list[str]:
    """Return the config keys of the first name that all runs with any of the names have; several if it is ambiguous.

    A key that is the name itself counts before keys that end in it. Keys with equal values count once.
    """
    configs = [run.config for run in runs]
    candidates = list(dict.fromkeys(key for config in configs for key in config if _names(str(key), names)))
    having = [config for config in configs if any(_scalar(config.get(key)) for key in candidates)]
    common = [key for key in candidates if all(_scalar(config.get(key)) for config in having)]
    for name in names:
        if name in common:
            return [name]
        keys = [key for key in common if _names(key, (name,))]
        if keys:
            equal = all(len({str(config[key]) for key in keys}) == 1 for config in having)
            return keys[:1] if equal else keys
    return []


def _names(key: str, names: Sequence[str]) -> bool:
    lower = re.sub("[ -]", "_", key.lower())
    return any(lower == name or lower.endswith((f".{name}", f"/{name}")) for name in names)


def _last(key: str) -> str:
    return re.split(r"[./]", key.lower())[-1]


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _positive(keys: Iterable[str], runs: Iterable[RunLog]) -> bool:
    values = [run.config.get(key) for run in runs for key in keys]
    try:
        return all(not isinstance(value, bool) and float(value) > 0 for value in values if value is not None)
    except (TypeError, ValueError):
        return False


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][\w.]*", key) else f'"{key}"'
