"""Read settings from the names of runs by a pattern, such as `{env}__{algo}__{seed}`.

A pattern is compared with the last parts of a path or name, as many as it has itself. A field stands for one or more
characters and ends where the text after it first occurs. Its value becomes a key of the run's config; a key that the
tracker logged counts before it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bayescale.errors import InputError
from bayescale.importers.run_logs import Logs, Skipped

FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")


def with_path_settings(logs: Logs, pattern: str | None) -> Logs:
    """Return the runs whose names match the pattern, with its fields in their configs; all runs if there is no pattern.

    Raises:
        InputError: the pattern has no field or names one twice, or matches no run.
    """
    if pattern is None:
        return logs
    fields = FIELD.findall(pattern)
    if not fields or len(set(fields)) < len(fields):
        raise InputError(
            f"a pattern needs fields such as {{env_id}} and {{seed}}, each once; got {pattern!r}. Correct it."
        )
    runs, skipped = [], list(logs.skipped)
    for run in logs.runs:
        name = run.label or run.name
        found = path_settings(pattern, name)
        if found is None:
            skipped.append(Skipped(run.name, f"its name {name[-60:]!r} does not match the pattern {pattern}."))
        else:
            config: Mapping[str, Any] = {**found, **run.config}
            runs.append(replace(run, config=config))
    if logs.runs and not runs:
        first = logs.runs[0].label or logs.runs[0].name
        raise InputError(f"no run matches the pattern {pattern}; the first is named {first[-120:]!r}. Correct it.")
    return Logs(runs, skipped)


def path_settings(pattern: str, name: str) -> dict[str, str] | None:
    """Return the values of the pattern's fields in a path or name, or None if it does not match."""
    patterns = pattern.strip("/").split("/")
    parts = re.split(r"[/\\]", name.rstrip("/\\"))[-len(patterns) :]
    if len(parts) < len(patterns):
        return None
    found: dict[str, str] = {}
    for one, part in zip(patterns, parts, strict=True):
        values = _values(one, part)
        if values is None:
            return None
        found |= values
    return found


def _values(pattern: str, text: str) -> dict[str, str] | None:
    """Return the values of the fields in one part of a path, or None. The time is linear in the length of the text."""
    fields = FIELD.findall(pattern)
    first, *between = FIELD.split(pattern)[::2]
    if not fields:
        return {} if text == pattern else None
    last = between.pop()
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return None
    text = text[len(first) : len(text) - len(last)]
    found: dict[str, str] = {}
    for field, literal in zip(fields, between, strict=False):
        end = text.find(literal, 1)
        if end < 1:
            return None
        found[field], text = text[:end], text[end + len(literal) :]
    return {**found, fields[-1]: text} if text else None
