"""Sweep plans: a TOML file with tasks, a grid of hyperparameters and seeds, and the settings that all runs share.

```toml
algorithm = "SAC"                            # the default; or a list
suite = "gym"                                # the default; or "dmc", "playground"
env_id = "Pendulum-v1"                       # or a list of tasks; of several suites, without the key above:
                                             # env_id = { gym = ["Pendulum-v1"], dmc = ["cartpole-swingup"] }
utd = [0.5, 1, 2]
batch_size = [64, 128]
learning_rate = [3e-4, 1e-3]
seed = [0, 1, 2, 3]
env_steps = 10_000   # or one length per UTD: env_steps = { "0.5" = 12_000, "1" = 10_000, "2" = 8_000 }
hidden_width = 64    # or a list of widths: the axis of model size
action_repeat = 4    # steps of the simulator per decision; env_steps and utd count decisions. Default: 1
depth = 2            # any further field of an algorithm's settings in bayescale.runners.config
stop_return = -150   # or one return per task: stop_return = { "Pendulum-v1" = -150 }
stop_patience = 3    # evaluations; see bayescale.runners.training.stopping
device = "cuda"      # train on a GPU; groups are larger there. Default: "cpu"
```
"""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from bayescale.arguments import counted
from bayescale.errors import InputError
from bayescale.runners.config import ALGORITHMS, RunConfig, closest

LISTS = ("utd", "batch_size", "learning_rate", "seed")
LISTS_OR_ONE = ("algorithm", "env_id", "hidden_width")
TOLD_APART = ("algorithm", "suite", "env_id", "utd", "batch_size", "learning_rate", "seed")  # beside `sized_by`
GRID = ("hidden_width", *LISTS)  # within a task, slowest first
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
REMEDIES = {
    int: "Write it without quotes and point.",
    float: "Write it without quotes.",
    bool: "Write it without quotes.",
    str: "Write it in quotes.",
}


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep: every combination of the grid, algorithm and task slowest, seed fastest.

    Raises:
        InputError: two runs differ in nothing that a learning-curve table has a column for.
    """

    runs: tuple[RunConfig, ...]

    def __post_init__(self) -> None:
        seen = set()
        for run in self.runs:
            settings = tuple((name, getattr(run, name)) for name in (*TOLD_APART, *run.sized_by))
            if settings in seen:
                said = ", ".join(f"{name} {_shown(value)}" for name, value in settings)
                raise InputError(f"two runs have {said}: no table could tell them apart. Make a plan of each.")
            seen.add(settings)


@dataclass(frozen=True)
class SweepSize:
    """What a sweep will do in all."""

    runs: int
    env_steps: int
    gradient_updates: int

    def __str__(self) -> str:
        runs, env_steps = counted(self.runs, "run"), counted(self.env_steps, "env step")
        return f"{runs}, {env_steps}, {counted(self.gradient_updates, 'gradient update')}"


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
        InputError: an unknown or missing key or algorithm, a wrong type, a duplicate in a list, a value that the
            algorithm's settings refuse.
    """
    configs = [_config_class(algorithm) for algorithm in _values("algorithm", content.get("algorithm", "SAC"), str)]
    known = dict.fromkeys(("algorithm", *(field.name for config in configs for field in fields(config))))
    for key in content:
        if key not in known:
            raise InputError(f"unknown key '{key}'. {closest(key, known)}")
    return Plan(tuple(run for config in configs for run in _runs(config, content)))


def _runs(config: type[RunConfig], content: Mapping[str, Any]) -> Iterator[RunConfig]:
    """The runs of one algorithm, in the order of the grid; keys that it lacks are of another of the plan's."""
    kinds = {field.name: field.type for field in fields(config)}
    for field in fields(config):
        if field.default is MISSING and field.name not in content:
            raise InputError(f"the key '{field.name}' is missing. Add it.")
    tasks = _tasks(content["env_id"], content.get("suite"))
    grid = {key: _values(key, content[key], kinds[key]) for key in GRID if key in content}
    lengths = _env_steps(content["env_steps"], grid["utd"])
    shared = {
        key: _value(key, value, kinds[key])
        for key, value in content.items()
        if key in kinds and key not in ("suite", "env_id", *GRID, "env_steps", "stop_return")
    }
    stops = _stop_returns(content.get("stop_return", math.inf), tuple(task["env_id"] for task in tasks))
    for task, values in itertools.product(tasks, itertools.product(*grid.values())):
        point = dict(zip(grid, values, strict=True))
        stop_return = stops.get(task["env_id"], math.inf)
        yield config(**task, **point, env_steps=lengths[point["utd"]], stop_return=stop_return, **shared)


def _tasks(env_id: Any, suite: Any) -> list[dict[str, str]]:
    """Task and suite of each; the suite is the default one where none is named."""
    if not isinstance(env_id, Mapping):
        named = {} if suite is None else {"suite": _value("suite", suite, str)}
        return [named | {"env_id": task} for task in _values("env_id", env_id, str)]
    if suite is not None:
        raise InputError("suite is named by itself and within env_id. Remove the key suite.")
    if not env_id:
        raise InputError("env_id has no suite. Write env_id = { SUITE = [...], ... }.")
    return [{"suite": name, "env_id": task} for name in env_id for task in _values("env_id", env_id[name], str)]


def _config_class(algorithm: str) -> type[RunConfig]:
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise InputError(f"algorithm must be one of {known}; got '{algorithm}'. {closest(algorithm, ALGORITHMS)}")
    return ALGORITHMS[algorithm]


def _value(key: str, value: Any, kind: Any) -> Any:
    """The value, of the kind that the key takes: a whole number is a number too, a truth value is none."""
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or value == "":
        remedy = REMEDIES[kind]
        if isinstance(value, list):
            several = "Write env_id = { SUITE = [...], ... } for several."
            remedy = several if key == "suite" else "Write one value, not a list."
        raise InputError(f"{key} must be {KINDS[kind]}; got {value!r}. {remedy}")
    return float(value) if kind is float else value


def _values(key: str, values: Any, kind: Any) -> tuple[Any, ...]:
    if key in LISTS_OR_ONE and not isinstance(values, list):
        values = [values]
    if not isinstance(values, list) or not values:
        raise InputError(f"{key} must be a list with at least one value; got {values!r}. Write {key} = [...].")
    checked = tuple(_value(key, value, kind) for value in values)
    repeated = [value for i, value in enumerate(checked) if value in checked[:i]]
    if repeated:
        raise InputError(f"{key} has {_shown(repeated[0])} twice. Keep one of them.")
    return checked


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _env_steps(value: Any, utds: tuple[float, ...]) -> dict[float, int]:
    """Length of the runs at each UTD."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(utds, _value("env_steps", value, int))
    lengths: dict[float, int] = {}
    for key, length in value.items():
        try:
            utd = float(key)
        except ValueError:
            raise InputError(f"env_steps has the key '{key}', which is no UTD. Name each UTD, in quotes.") from None
        if utd not in utds or isinstance(length, Mapping):
            raise InputError(f"env_steps has the key '{key}', which utd has not. Write UTDs in quotes, as in \"0.5\".")
        if utd in lengths:
            raise InputError(f"env_steps has utd {utd:g} twice. Keep one of them.")
        lengths[utd] = _value("env_steps", length, int)
    for utd in utds:
        if utd not in lengths:
            raise InputError(f'env_steps has no length for utd {utd:g}. Add "{utd:g}" = ... to it.')
    return lengths


def _stop_returns(value: Any, tasks: tuple[str, ...]) -> dict[str, float]:
    """The return at which the runs of each task stop; a task without one is run to its end."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(tasks, _value("stop_return", value, float))
    for task in value:
        if task not in tasks:
            raise InputError(f"stop_return has the key '{task}', which env_id has not. {closest(task, tasks)}")
    return {task: _value("stop_return", level, float) for task, level in value.items()}
