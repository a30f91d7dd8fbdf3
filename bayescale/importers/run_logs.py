"""Runs as a tracker logs them, and the mapping that turns them into a learning-curve table.

Every importer reads its sources into `RunLog`s and guesses a `ColumnMapping`. `as_table` applies the mapping.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from bayescale.data.curves import RUN_COLUMNS


@dataclass(frozen=True)
class RunLog:
    """One run as a tracker logged it.

    Attributes:
        name: name of the run in messages: a path or an id.
        config: hyperparameters by the tracker's keys; keys of nested groups are joined by dots.
        history: logged rows in the order of logging, one column per key of the tracker.
        status: "finished", "stopped early", "diverged", "crashed" or "running", if the tracker knows.
        resumed: the tracker marks that the run was resumed, so that later rows replace earlier ones from their step on.
        label: name that the user gave the run, from which a pattern reads settings; None if `name` is that name.
        logged: the rows come in the order of logging; False for tables, which may be sorted otherwise.
    """

    name: str
    config: Mapping[str, Any]
    history: pd.DataFrame
    status: str | None = None
    resumed: bool = False
    label: str | None = None
    logged: bool = True


def starts_over(steps: Shaped[np.ndarray, " row"]) -> bool:
    """Return True if the steps go back to the first one or before it, as those of a second training do."""
    later = np.flatnonzero(steps[1:] < steps[:-1]) + 1
    return bool((steps[later] <= steps[:1]).any())


def shown(name: object, most: int = 60) -> str:
    """Return a name that a tracker holds for a message: at most `most` characters, "?" for those that do not print."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(name)[:most])


@dataclass(frozen=True)
class Skipped:
    """A run or file that was left out, and why, in one sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Logs:
    """Runs that an importer found in its sources, and what it left out."""

    runs: Sequence[RunLog]
    skipped: Sequence[Skipped] = ()


@dataclass(frozen=True)
class ColumnMapping:
    """Rules by which the keys of a tracker become the columns of a learning-curve table.

    Attributes:
        columns: key of the tracker by column, such as {"batch_size": "algo.batch_size"}; config first, then history. A
            column without a key is looked up under its own name; one with the key "" is left out.
        constants: value by column, for runs that did not log it.
        utd: key of the UTD, or a ratio of keys, "gradient_steps / (train_freq * n_envs)".
        env_steps: key of the step counter in the history.
        env_steps_factor: env steps per unit of the counter: action repeat, or parallel environments; a number, a key
            or a ratio of keys.
        episode_return: key of the return in the history.
        smooth_episodes: episodes that a return is averaged over; 1: none.
        path_pattern: pattern of the names of runs, whose fields are further keys of the config, such as
            "{env}__{algo}__{seed}"; see `path_patterns`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    utd: str | None = None
    env_steps: str | None = None
    env_steps_factor: float | str = 1.0
    episode_return: str | None = None
    smooth_episodes: int = 1
    path_pattern: str | None = None

    def keys_of(self, run: RunLog) -> list[str]:
        """Return the keys of the run's history that this mapping reads, the step counter and the return first."""
        named = [self.env_steps or "env_steps", self.episode_return or "episode_return", *self.columns.values()]
        ratios = " ".join(text for text in (self.utd, self.env_steps_factor) if isinstance(text, str))
        keys = [str(key) for key in run.history.columns]
        wanted = [*named, *(key for key in keys if key in ratios), *RUN_COLUMNS]
        return [key for key in dict.fromkeys(wanted) if key in keys and (key in named[:2] or key not in run.config)]

    def with_answers(self, answers: "ColumnMapping | None") -> "ColumnMapping":
        """Return this mapping with the columns, constants and keys of `answers`, which replace its own.

        A constant of `answers` replaces the key of its column, and a key replaces a constant.
        """
        if answers is None:
            return self
        named = {*answers.columns, *answers.constants, *({"utd"} if answers.utd else ())}
        changed = {name: value for name, value in vars(answers).items() if value != getattr(ColumnMapping(), name)}
        columns = {column: key for column, key in self.columns.items() if column not in named} | dict(answers.columns)
        constants = {c: value for c, value in self.constants.items() if c not in named} | dict(answers.constants)
        utd = None if "utd" in answers.constants else self.utd
        return replace(self, **{"utd": utd} | changed | {"columns": columns, "constants": constants})


@dataclass(frozen=True)
class Imported:
    """A learning-curve table and what was done to make it.

    Attributes:
        curves: the validated table.
        mapping: the mapping that was applied.
        guesses: sentences that say which key was taken for which column, and why.
        skipped: what was left out.
    """

    curves: pd.DataFrame
    mapping: ColumnMapping
    guesses: Sequence[str]
    skipped: Sequence[Skipped]
