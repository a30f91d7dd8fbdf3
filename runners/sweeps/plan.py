"""Read sweep plans: a TOML file with tasks, a grid of hyperparameters and seeds, and settings that all runs share.

A plan has one run for each combination of algorithm, task, width, UTD, batch size, learning rate and seed:

```toml
algorithm = "SAC"              # default "SAC"; or "BRO", "PQL", or a list
suite = "gym"                  # default "gym"; or "dmc", "playground"
env_id = "Pendulum-v1"         # or a list of tasks
utd = [0.5, 1, 2]              # gradient updates per env step
batch_size = [64, 128]
learning_rate = [3e-4, 1e-3]
seed = [0, 1, 2, 3]
env_steps = 10_000             # length of each run
hidden_width = 64              # or a list of widths, to vary the model size
```

The keys from `env_id` to `env_steps` are required. A key may also name any other field of the algorithm's settings, see
`bayescale.runners.config`, with one value for all runs:

```toml
depth = 2
action_repeat = 4              # simulator steps per env step; env_steps and utd count env steps; default 1
stop_return = -150             # end a run that has safely reached this return, see bayescale.runners.training.stopping
stop_patience = 3              # evaluations at stop_return before a run ends
device = "cuda"                # train on a GPU, in larger ensembles; default "cpu"
```

Three keys have a second form:

```toml
env_id = { gym = ["Pendulum-v1"], dmc = ["cartpole-swingup"] }   # tasks of several suites, in place of the key suite
env_steps = { "0.5" = 12_000, "1" = 10_000, "2" = 8_000 }        # a length per UTD
stop_return = { "Pendulum-v1" = -150 }                           # a return per task
```
"""

import itertools
import math
import reprlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from bayescale.arguments import counted
from bayescale.errors import InputError
from bayescale.runners.config import ALGORITHMS, RunConfig, closest

LISTS = ("utd", "batch_size", "learning_rate", "seed")
LISTS_OR_ONE = ("algorithm", "env_id", "hidden_width")
# A table identifies a run by these columns and by model_size, which follows from `critic_size_fields` on a given task.
RUN_COLUMNS = ("algorithm", "suite", "env_id", "utd", "batch_size", "learning_rate", "seed")
GRID = ("hidden_width", *LISTS)  # axes within a task, slowest first
MOST_RUNS = 100_000  # runs of one plan; they take some seconds to make, and 40 MB of plan.json
MOST_BITS = 64  # bits of a whole number
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
REMEDIES = {
    int: "Write it without quotes and decimal point.",
    float: "Write it without quotes.",
    bool: "Write it without quotes.",
    str: "Write it in quotes.",
}


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep: every combination of the grid, with algorithm and task slowest and seed fastest.

    Raises:
        InputError: two runs are equal in all columns that identify a run in a learning-curve table.
    """

    runs: tuple[RunConfig, ...]

    def __post_init__(self) -> None:
        seen = set()
        for run in self.runs:
            settings = tuple((name, getattr(run, name)) for name in (*RUN_COLUMNS, *run.critic_size_fields))
            if settings in seen:
                shown = ", ".join(f"{name} {_shown(value)}" for name, value in settings)
                raise InputError(f"two runs have {shown}: a table could not distinguish them. Make a plan of each.")
            seen.add(settings)


@dataclass(frozen=True)
class SweepSize:
    """The totals of a plan."""

    runs: int
    env_steps: int
    gradient_updates: int

    def __str__(self) -> str:
        runs, env_steps = counted(self.runs, "run"), counted(self.env_steps, "env step")
        return f"{runs}, {env_steps}, {counted(self.gradient_updates, 'gradient update')}"


def describe(plan: Plan) -> SweepSize:
    """Return the numbers of runs, env steps and gradient updates of the whole plan; nothing is run."""
    return SweepSize(
        runs=len(plan.runs),
        env_steps=sum(run.env_steps for run in plan.runs),
        gradient_updates=sum(run.gradient_updates for run in plan.runs),
    )


def load_plan(path: str | Path) -> Plan:
    """Read a plan from a TOML file in the format of this module's head.

    Raises:
        InputError: the file is missing, is not TOML, or `make_plan` refuses its content; the message names file, key
            and remedy.
    """
    path = Path(path)
    try:
        return _read_plan(path)
    except RecursionError:
        raise InputError(f"the plan {path} nests lists or tables too deeply. A plan needs one level of each.") from None


def _read_plan(path: Path) -> Plan:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"the plan {path} is a pipe or a device. Copy it to a file.")  # opening a pipe would wait
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the plan {path} cannot be read ({error.strerror}). Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"the plan {path} is not text in UTF-8. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the plan {path} is not valid TOML: {error}. Correct that line.") from None
    except ValueError:  # Python converts no text of more than some thousand digits to a number
        raise InputError(f"the plan {path} holds a number of thousands of digits. Write a smaller one.") from None
    try:
        return make_plan(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def make_plan(content: Mapping[str, Any]) -> Plan:
    """Return the plan of a mapping that has the keys and values of a plan file.

    Args:
        content: the keys of a plan, see the head of this module.

    Raises:
        InputError: a key is unknown or missing, an algorithm is unknown, a value has the wrong type, a list holds a
            value twice, the algorithm's settings refuse a value, or there are more than `MOST_RUNS` runs.
    """
    configs = [_config_class(algorithm) for algorithm in _values("algorithm", content.get("algorithm", "SAC"), str)]
    known = dict.fromkeys(("algorithm", *(field.name for config in configs for field in config.arguments())))
    for key in content:
        if key not in known:
            raise InputError(f"unknown key '{key}'. {closest(key, known)}")
    count = _number_of_runs(content)
    if count > MOST_RUNS:
        raise InputError(
            f"the plan has {count:,} runs; one sweep takes at most {MOST_RUNS:,}. Split it into several plans."
        )
    return Plan(tuple(run for config in configs for run in _runs(config, content)))


def _number_of_runs(content: Mapping[str, Any]) -> int:
    """Return the number of runs from the lengths of the lists alone; the values need not be valid."""
    tasks = content.get("env_id")
    tasks_by_suite = list(tasks.values()) if isinstance(tasks, Mapping) else [tasks]
    axes = (content.get(key) for key in ("algorithm", *GRID))
    return sum(map(_length, tasks_by_suite)) * math.prod(map(_length, axes))


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list) else 1


def _runs(config: type[RunConfig], content: Mapping[str, Any]) -> Iterator[RunConfig]:
    """Yield the runs of one algorithm in the order of the grid; skip keys that only other algorithms have."""
    kinds = {field.name: field.type for field in config.arguments()}
    for field in config.arguments():
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
    """Return `env_id` and `suite` of each task; without `suite` if the plan names none, so that the default holds."""
    if not isinstance(env_id, Mapping):
        named = {} if suite is None else {"suite": _value("suite", suite, str)}
        return [named | {"env_id": task} for task in _values("env_id", env_id, str)]
    if suite is not None:
        raise InputError("the key suite is given, and env_id names suites too. Remove the key suite.")
    if not env_id:
        raise InputError("env_id has no suite. Write env_id = { SUITE = [...], ... }.")
    return [{"suite": name, "env_id": task} for name in env_id for task in _values("env_id", env_id[name], str)]


def _config_class(algorithm: str) -> type[RunConfig]:
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise InputError(f"algorithm must be one of {known}; got '{algorithm}'. {closest(algorithm, ALGORITHMS)}")
    return ALGORITHMS[algorithm]


def _value(key: str, value: Any, kind: Any) -> Any:
    """Return the value if it has the key's type; a whole number is also a number, and true or false is neither."""
    if type(value) is int and value.bit_length() > MOST_BITS:
        raise InputError(f"{key} holds a whole number of more than {MOST_BITS} bits. Write a smaller one.")
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or value == "":
        remedy = REMEDIES[kind]
        if isinstance(value, list):
            several = "Write env_id = { SUITE = [...], ... } for several."
            remedy = several if key == "suite" else "Write one value, not a list."
        raise InputError(f"{key} must be {KINDS[kind]}; got {_short(value)}. {remedy}")
    return float(value) if kind is float else value


def _values(key: str, values: Any, kind: Any) -> tuple[Any, ...]:
    if key in LISTS_OR_ONE and not isinstance(values, list):
        values = [values]
    if not isinstance(values, list) or not values:
        raise InputError(f"{key} must be a list with at least one value; got {_short(values)}. Write {key} = [...].")
    checked = tuple(_value(key, value, kind) for value in values)
    if len(set(checked)) < len(checked):
        repeated = next(value for i, value in enumerate(checked) if value in checked[:i])
        raise InputError(f"{key} has {_shown(repeated)} twice. Keep one of them.")
    return checked


def _short(value: Any) -> str:
    """Return the value as Python writes it, with the middle of long values and deep levels left out."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _env_steps(value: Any, utds: tuple[float, ...]) -> dict[float, int]:
    """Return the env steps of the runs at each UTD."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(utds, _value("env_steps", value, int))
    lengths: dict[float, int] = {}
    for key, length in value.items():
        try:
            utd = float(key)
        except ValueError:
            raise InputError(f"env_steps has the key '{key}', which is not a UTD. Name each UTD, in quotes.") from None
        if utd not in utds or isinstance(length, Mapping):
            raise InputError(
                f"env_steps has the key '{key}', which is not in utd. Write UTDs in quotes, as in \"0.5\"."
            )
        if utd in lengths:
            raise InputError(f"env_steps has utd {utd:g} twice. Keep one of them.")
        lengths[utd] = _value("env_steps", length, int)
    for utd in utds:
        if utd not in lengths:
            raise InputError(f'env_steps has no length for utd {utd:g}. Add "{utd:g}" = ... to it.')
    return lengths


def _stop_returns(value: Any, tasks: tuple[str, ...]) -> dict[str, float]:
    """Return the `stop_return` of each task that has one; the runs of other tasks go on to their last step."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(tasks, _value("stop_return", value, float))
    for task in value:
        if task not in tasks:
            raise InputError(f"stop_return has the key '{task}', which is not in env_id. {closest(task, tasks)}")
    return {task: _value("stop_return", stop_return, float) for task, stop_return in value.items()}
