"""Say which columns a table lacks, and recognise the tables of other tools by their column names.

A sentence advises to rename a column only where one column, and no other, has a name that stands for the missing one.
"""

import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# Names that other tools give these columns. An error suggests the renaming; no column is renamed silently.
FOREIGN_NAMES = {
    "algorithm": ("algo", "agent", "method"),
    "env_id": ("env", "environment", "task", "env_name", "game"),
    "utd": ("utd_ratio", "replay_ratio", "rr"),
    "batch_size": ("batch", "bs"),
    "learning_rate": ("lr", "step_size"),
    "env_steps": ("steps", "timesteps", "global_step", "total_timesteps"),
    "episode_return": ("return", "returns", "score", "episode_reward", "episodic_return"),
}
SETTINGS = ("algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed")
MEANINGS = {
    "gradient_steps": "utd is gradient updates per env step: gradient_steps / (train_freq x n_envs) in "
    "Stable-Baselines3, where gradient_steps = -1 means UTD 1.",
    "train/learning_rate": "learning_rate is one number per run: add its initial value, not train/learning_rate.",
}
OUT = "--out curves.parquet"
MISSPELT = 0.85  # similarity from which two names count as spellings of one name
LISTED_ALL, LISTED, LONGEST_NAME = 12, 3, 25  # columns that a message lists, and letters of one


@dataclass(frozen=True)
class Tool:
    """Column names by which the table of a tool is recognised.

    Attributes:
        kind: noun phrase that names the table.
        importer: kind of `bayescale import` that reads it.
        env_steps: columns that count env steps; one of them must be there.
        episode_return: columns of returns; one of them must be there.
    """

    kind: str
    importer: str
    env_steps: tuple[str, ...]
    episode_return: tuple[str, ...]


TOOLS = (
    Tool(
        "a progress.csv of Stable-Baselines3",
        "sb3",
        ("time/total_timesteps", "time/total timesteps"),
        ("eval/mean_reward", "rollout/ep_rew_mean"),
    ),
    Tool(
        "a progress.csv of RLlib or Ray Tune",
        "rllib",
        ("num_env_steps_sampled_lifetime", "num_env_steps_sampled", "timesteps_total"),
        ("evaluation/episode_reward_mean", "env_runners/episode_return_mean", "episode_reward_mean"),
    ),
    Tool("one series from TensorBoard's page", "tensorboard", ("Step",), ("Value",)),
    Tool("a progress.txt of Spinning Up", "spinningup", ("TotalEnvInteracts",), ("AverageTestEpRet", "AverageEpRet")),
)


def missing_columns(source: str, came: Sequence[str], missing: Sequence[str], known: Collection[str]) -> str:
    """Return the sentences that say which columns the table lacks and what to do.

    Args:
        source: name of the table.
        came: columns of the table.
        missing: columns that it lacks, one or more.
        known: columns that a table of this kind may have.
    """
    recognised = _recognised(came, missing, known)
    if recognised:
        return f"{source} {recognised}"
    for name, column in (("gradient_steps", "utd"), ("train/learning_rate", "learning_rate")):
        if name in came and column in missing:
            return f"{source} has no column {_list(missing)}. {MEANINGS[name]}"
    return f"{source} has no column {_list(missing)}; {_its_columns(came)}. {_remedy(came, missing, known)}"


def looks_like_data(names: Sequence[str], known: Collection[str]) -> bool:
    """Return True if the first line of a file holds values and no column names.

    It then has two or more numbers, and no name that any tool gives to a column of this kind.

    Args:
        names: fields of the first line.
        known: columns that a table of this kind may have.
    """
    foreign = {name for column in known for name in FOREIGN_NAMES.get(column, ())}
    named = any(name.lower() in {*known, *foreign} for name in names)
    return not named and sum(map(_is_number, names)) >= 2


def _recognised(came: Sequence[str], missing: Sequence[str], known: Collection[str]) -> str | None:
    """Return what kind of table this is and how to use it, or None if it is of no known kind."""
    if looks_like_data(came, known):
        shown = ", ".join(_short(name) for name in came[:3])
        return (
            f"has no header: the first line looks like data ({shown}, ...). Write the names of the columns as its "
            f"first line, among them {', '.join(missing)}."
        )
    if "episode_return" not in known:
        return None
    if {"r", "l", "t"} <= set(came):
        return MONITOR
    if any(name.endswith(("__MIN", "__MAX")) for name in came) or sum(" - " in name for name in came) >= 2:
        return (
            "is a chart that Weights & Biases exported: a column per run, and no settings. Import it with the CSV of "
            f"the table of runs, which holds them: bayescale import wandb CHART.csv RUNS.csv {OUT}."
        )
    for tool in TOOLS:
        steps = [name for name in tool.env_steps if name in came]
        returns = [name for name in tool.episode_return if name in came]
        if steps and returns:
            if set(SETTINGS) <= set(missing):
                return f"looks like {tool.kind}. Import its folder: bayescale import {tool.importer} FOLDER {OUT}."
            settings = [name for name in missing if name in SETTINGS]
            add = f", and add the run's {', '.join(settings)}" if settings else ""
            text = (
                f"looks like {tool.kind}. Rename '{steps[0]}' to env_steps and '{returns[0]}' to episode_return{add}."
            )
            logs_rate = "learning_rate" in settings and "train/learning_rate" in came
            return f"{text} {MEANINGS['train/learning_rate']}" if logs_rate else text
    if "episode_return" in missing and sum(map(_is_number, came)) >= 2:
        return (
            "has a column per run. Import it, with its settings as --constant COLUMN=VALUE: "
            f"bayescale import csv FILE {OUT}."
        )
    return None


MONITOR = (
    "is a Monitor file of Stable-Baselines3: a row per episode with its return r, its length l and its time t. Import "
    f"it, whose env steps are the running sum of l: bayescale import sb3 FOLDER {OUT}."
)


def _its_columns(came: Sequence[str]) -> str:
    if len(came) <= LISTED_ALL:
        return f"its columns are {', '.join(map(_short, came)) or 'none'}"
    return f"its {len(came)} columns are {', '.join(map(_short, came[:LISTED]))}, ..."


def _remedy(came: Sequence[str], missing: Sequence[str], known: Collection[str]) -> str:
    renames = {name: found for name in missing if (found := _other_name(came, name, known))}
    if len(missing) == 1:
        return f"Did you mean '{renames[missing[0]]}'? Rename it." if renames else "Add it."
    if not renames:
        return "Add them."
    pairs = ", ".join(f"'{found}' to {name}" for name, found in renames.items())
    return f"Rename {pairs}{', and add the others' if len(renames) < len(missing) else ''}."


def _other_name(came: Sequence[str], name: str, known: Collection[str]) -> str | None:
    """Return the only column whose name means the missing one; None if there is none or more than one."""
    free = [each for each in came if each not in known]
    spelled: dict[str, list[str]] = {}
    for each in free:
        spelled.setdefault(each.lower().replace(" ", "_").replace("-", "_"), []).append(each)
    foreign = [each for key in (name, *FOREIGN_NAMES.get(name, ())) for each in spelled.get(key, ())]
    close = difflib.get_close_matches(name, spelled, n=2, cutoff=MISSPELT)
    found = foreign or [each for key in close for each in spelled[key]]
    return found[0] if len(found) == 1 else None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."


def _list(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
