"""Read a mapping of columns from a TOML file, and write one to edit."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayescale.arguments import require_possible_path
from bayescale.data.curves import RUN_COLUMNS
from bayescale.errors import InputError
from bayescale.importers.run_folders import Unusable, open_plain
from bayescale.importers.run_logs import ColumnMapping

KEYS = ("utd", "env_steps", "episode_return")
LARGEST = 2**20  # bytes of a mapping file


def read_mapping(path: str | os.PathLike[str]) -> ColumnMapping:
    """Return the mapping in a TOML file with the fields of `ColumnMapping`.

    Raises:
        InputError: the file cannot be read, or a field or its type is unknown.
    """
    require_possible_path(path)
    try:
        with open_plain(Path(path)) as stream:
            text = stream.read(LARGEST + 1)
    except Unusable as reason:
        raise InputError(f"{path} {str(reason).removeprefix('it ')} Check the path.") from None
    if len(text) > LARGEST:
        raise InputError(f"{path} is larger than {LARGEST // 2**10} KiB, which no mapping is. Check the path.")
    try:
        fields = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {str(error)[:200]}. Write a template with --dry-run.") from None
    rules = {
        "columns": _is_columns, "constants": _is_constants, "env_steps_factor": _is_factor,
        "smooth_episodes": _is_count, **dict.fromkeys((*KEYS, "path_pattern"), _is_text),
    }  # fmt: skip
    for name, value in fields.items():
        if name not in rules:
            raise InputError(f"{path} has the field {name!r}; a mapping has {', '.join(rules)}. Correct it.")
        if not rules[name](value):
            raise InputError(f"{path}: {name} cannot be {str(value)[:60]!r}. Write a template with --dry-run.")
    return ColumnMapping(**fields)


def mapping_text(mapping: ColumnMapping) -> str:
    """Return the mapping as TOML, with a commented line for each column that it does not name."""
    lines = ['# Keys of the tracker by column. A ratio such as "gradient_steps / (train_freq * n_envs)" gives the UTD.']
    for name in KEYS:
        value = getattr(mapping, name)
        lines.append(f'# {name} = "KEY"' if value is None else f"{name} = {_toml(value)}")
    lines.append("# Env steps per unit of the counter: a number or a key, such as the action repeat.")
    lines.append(f"env_steps_factor = {_toml(mapping.env_steps_factor)}")
    lines.append("# Episodes that a return is averaged over.")
    lines.append(f"smooth_episodes = {mapping.smooth_episodes}")
    lines.append('# Pattern of the names of runs; its fields are keys, as in "{env}__{algo}__{seed}".')
    lines.append(
        f"path_pattern = {_toml(mapping.path_pattern)}" if mapping.path_pattern else '# path_pattern = "PATTERN"'
    )
    lines += ["", "[columns]"]
    lines += [f"{_toml(column)} = {_toml(key)}" for column, key in mapping.columns.items()]
    unnamed = [name for name in RUN_COLUMNS if name not in {"utd", *mapping.columns, *mapping.constants}]
    lines += [f'# {name} = "KEY"' for name in unnamed]
    lines += ["", "# Values that all runs share.", "[constants]"]
    lines += [f"{_toml(column)} = {_toml(value)}" for column, value in mapping.constants.items()]
    return "\n".join([*lines, ""])


def _toml(value: object) -> str:
    """Return a text or a number as TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_factor(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_columns(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value.values())


def _is_constants(value: Any) -> bool:
    numbers = (str, int, float)
    return isinstance(value, Mapping) and all(
        isinstance(one, numbers) and not isinstance(one, bool) for one in value.values()
    )
