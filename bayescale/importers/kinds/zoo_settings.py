"""Read args.yml and config.yml of rl-baselines3-zoo, and the settings that follow from them.

The files hold Python objects by tags, such as `!!python/object/apply:collections.OrderedDict`. An OrderedDict is read
as a dict and a tuple as a list; every other tag becomes None, and nothing is executed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from bayescale.errors import MissingExtra
from bayescale.importers.run_folders import Unusable, flattened, read_text

LARGEST_YAML = 2**18  # characters; the parser of YAML is slow

# Settings that the zoo leaves to Stable-Baselines3, whose defaults have been these since version 1.0.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sac": {"learning_rate": 3e-4, "batch_size": 256, "train_freq": 1, "gradient_steps": 1},
    "tqc": {"learning_rate": 3e-4, "batch_size": 256, "train_freq": 1, "gradient_steps": 1},
    "dqn": {"learning_rate": 1e-4, "batch_size": 32, "train_freq": 4, "gradient_steps": 1},
}
OFF_POLICY = ("sac", "tqc", "dqn", "qrdqn", "td3", "ddpg", "crossq")


def zoo_settings(folder: Path) -> dict[str, Any]:
    """Return the keys of args.yml as `args.KEY`, those of config.yml as `config.KEY`, and the settings they imply.

    The implied settings are `zoo.utd`, `zoo.batch_size` and `zoo.learning_rate`, where they are known.

    Args:
        folder: the folder that holds the files.

    Raises:
        Unusable: a file is damaged.
        MissingExtra: PyYAML is not installed.
    """
    args, config = (_group(folder / name) for name in ("args.yml", "config.yml"))
    found = flattened({"args": args, "config": config})
    algorithm = str(args.get("algo", ""))
    known = {**DEFAULTS.get(algorithm, {}), **config} if config else {}
    if (rate := initial_rate(known.get("learning_rate"))) is not None:
        found["zoo.learning_rate"] = rate
    if _whole(known.get("batch_size")):
        found["zoo.batch_size"] = known["batch_size"]
    if algorithm in OFF_POLICY and (utd := updates_per_env_step(known)) is not None:
        found["zoo.utd"] = utd
    return found


def updates_per_env_step(config: Mapping[str, Any]) -> float | None:
    """Return the UTD, gradient_steps / (train_freq * n_envs), or None if it is not known.

    gradient_steps = -1 means as many updates as env steps were collected: UTD 1. train_freq counts steps of the
    vectorised environment, each of which is n_envs env steps; in episodes, it gives a UTD only with gradient_steps -1.
    """
    gradient_steps, train_freq, n_envs = (config.get(key) for key in ("gradient_steps", "train_freq", "n_envs"))
    if gradient_steps == -1:
        return 1.0
    if isinstance(train_freq, list) and len(train_freq) == 2 and train_freq[1] == "step":
        train_freq = train_freq[0]
    n_envs = 1 if n_envs is None else n_envs  # the zoo's default
    if _whole(gradient_steps) and _whole(train_freq) and _whole(n_envs):
        return gradient_steps / (train_freq * n_envs)
    return None


def initial_rate(value: Any) -> float | None:
    """Return the learning rate at the start: a number, or X of the zoo's linear schedule `lin_X`; otherwise None."""
    try:
        rate = float(value.removeprefix("lin_") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return rate if 0 < rate < float("inf") and not isinstance(value, bool) else None


def _whole(value: Any) -> TypeGuard[int]:
    """Return True for a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _group(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        text = read_text(file)
        if len(text) > LARGEST_YAML:
            raise Unusable(f"it has more than {LARGEST_YAML:,} characters.")
        value = read_yaml(text)
    except Unusable as reason:
        raise Unusable(f"{file.name}: {reason}") from None
    if not isinstance(value, dict):
        raise Unusable(f"{file.name}: it holds no settings.")
    return value


def read_yaml(text: str, *, extra: str = "importers") -> Any:
    """Return the value of a YAML text; OrderedDicts become dicts, tuples lists, and other Python objects None.

    Args:
        text: the text.
        extra: the extra of the package that installs PyYAML.

    Raises:
        Unusable: the text is no YAML.
        MissingExtra: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtra("pyyaml", extra) from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
        """Safe loader that reads the tags of Python objects as plain values."""

    def pairs(loader: Any, node: Any) -> dict[str, Any]:
        value = loader.construct_sequence(node, deep=True)
        return {str(key): inner for key, inner in (value[0] if value else [])}

    python = "tag:yaml.org,2002:python/"
    Loader.add_constructor(f"{python}object/apply:collections.OrderedDict", pairs)
    Loader.add_constructor(f"{python}tuple", lambda loader, node: loader.construct_sequence(node, deep=True))
    Loader.add_multi_constructor("", lambda *_: None)
    try:
        return yaml.load(text, Loader)  # a safe loader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, MemoryError, AttributeError):
        raise Unusable("it is no readable YAML.") from None
