"""Sweep plans: a TOML file with a task, a grid of hyperparameters and seeds, and the settings that all runs share.

```toml
env_id = "Pendulum-v1"
utd = [0.5, 1, 2]
batch_size = [64, 128]
learning_rate = [3e-4, 1e-3]
seed = [0, 1, 2, 3]
env_steps = 10_000   # or one length per UTD: env_steps = { "0.5" = 12_000, "1" = 10_000, "2" = 8_000 }
hidden_width = 64    # any further field of SACConfig
```
"""

import difflib
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from bayescale.errors import InputError
from bayescale.runners.config import SACConfig

GRID = ("utd", "batch_size", "learning_rate", "seed")
SHARED_REALS = ("gamma", "tau")
KEYS = tuple(field.name for field in fields(SACConfig))
REQUIRED = tuple(field.name for field in fields(SACConfig) if field.default is MISSING)


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep: every combination of the grid, UTD slowest and seed fastest."""

    runs: tuple[SACConfig, ...]


@dataclass(frozen=True)
class SweepSize:
    """What a sweep will do in all."""

    runs: int
    env_steps: int
    gradient_updates: int

    def __str__(self) -> str:
        return f"{self.runs:,} runs, {self.env_steps:,} env steps, {self.gradient_updates:,} gradient updates"


def describe(plan: Plan) -> SweepSize:
    """Number of runs, environment steps and gradient updates of the whole plan; nothing is run."""
    return SweepSize(
        runs=len(plan.runs),
        env_steps=sum(run.env_steps for run in plan.runs),
        gradient_updates=sum(run.gradient_updates for run in plan.runs),
    )


def load_plan(path: str | Path) -> Plan:
    """The plan in a TOML file.

    Raises:
        InputError: the file is missing or no TOML, or `make_plan` refuses it; the message names file, key and remedy.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the plan {path} cannot be read ({error.strerror}). Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"the plan {path} is not text in UTF-8. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the plan {path} is not valid TOML: {error}. Correct that line.") from None
    try:
        return make_plan(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def make_plan(content: Mapping[str, Any]) -> Plan:
    """The plan that a mapping with the keys of a plan file describes.

    Raises:
        InputError: an unknown or missing key, a wrong type, a duplicate in a list, a value that SACConfig refuses.
    """
    for key in content:
        if key not in KEYS:
            raise InputError(f"unknown key '{key}'. {_suggestion(key)}")
    for key in REQUIRED:
        if key not in content:
            raise InputError(f"the key '{key}' is missing. Add it.")
    env_id = content["env_id"]
    if not isinstance(env_id, str) or not env_id:
        raise InputError(f'env_id must be the name of one task; got {env_id!r}. Write env_id = "Pendulum-v1".')
    grid = {key: _values(key, content[key]) for key in GRID}
    lengths = _env_steps(content["env_steps"], grid["utd"])
    shared = {key: _number(key, content[key]) for key in content if key not in (*GRID, "env_id", "env_steps")}
    return Plan(
        tuple(
            SACConfig(
                env_id=env_id,
                utd=utd,
                batch_size=int(batch_size),
                learning_rate=learning_rate,
                seed=int(seed),
                env_steps=lengths[utd],
                **shared,
            )
            for utd, batch_size, learning_rate, seed in itertools.product(*grid.values())
        )
    )


def _suggestion(key: str) -> str:
    close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"The keys are {', '.join(KEYS)}."


def _number(key: str, value: Any) -> Any:
    """An int, or a float for the keys that take one."""
    real = key in ("utd", "learning_rate", *SHARED_REALS)
    if isinstance(value, bool) or not isinstance(value, int | float if real else int):
        kind = "a number" if real else "a whole number"
        raise InputError(f"{key} must be {kind}; got {value!r}. Write it without quotes{'' if real else ' and point'}.")
    return float(value) if real else value


def _values(key: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{key} must be a list with at least one value; got {values!r}. Write {key} = [...].")
    numbers = tuple(_number(key, value) for value in values)
    repeated = [number for i, number in enumerate(numbers) if number in numbers[:i]]
    if repeated:
        raise InputError(f"{key} has {repeated[0]:g} twice. Keep one of them.")
    return numbers


def _env_steps(value: Any, utds: tuple[float, ...]) -> dict[float, int]:
    """Length of the runs at each UTD."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(utds, _number("env_steps", value))
    lengths: dict[float, int] = {}
    for key, length in value.items():
        try:
            utd = float(key)
        except ValueError:
            raise InputError(f"env_steps has the key '{key}', which is no UTD. Name each UTD, in quotes.") from None
        if utd not in utds or isinstance(length, Mapping):
            raise InputError(f"env_steps has the key '{key}', which utd has not. Write UTDs in quotes, as in \"0.5\".")
        lengths[utd] = _number("env_steps", length)
    for utd in utds:
        if utd not in lengths:
            raise InputError(f'env_steps has no length for utd {utd:g}. Add "{utd:g}" = ... to it.')
    return lengths
