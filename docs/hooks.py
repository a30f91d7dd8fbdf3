"""Build pages of the site from the code and from the case studies, so that each fact stands in one place.

MkDocs calls the functions whose names begin with `on_`. A line `<!-- make: NAME -->` in a page becomes the text that
`MADE[NAME]` returns. The pages of `case_studies/` join the site as they are.
"""

import ast
import math
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from bayescale.cli.app import app
from bayescale.models.parameters import DECLARED
from bayescale.models.priors import DEGREES, Prior
from bayescale.runners.config import ALGORITHMS
from bayescale.runners.plan_keys import default_of, example_plan, keys_of, toml

ROOT = Path(__file__).parent.parent
CASE_STUDIES = "case_studies"
EVIDENCE = {
    "README.md": "Case studies",
    "evidence.md": "The scores behind the choices",
    "published_gym.md": "All splits of the published Gym sweep",
    "decisions.md": "What choices cost",
    "speed.md": "Speed of the runners",
    "forecasts/README.md": "Forecasts written down before their runs",
}
POOLING = {
    "Shared": "shared by all tasks",
    "ByTask": "by task, around a population mean",
    "ByTaskAndThreshold": "by task and threshold, around a population mean",
    "Cumulative": "by task, rising with the threshold",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the part of the menu whose pages are those of the case studies."""
    names = sorted(path.name for path in (ROOT / CASE_STUDIES).glob("*.md"))
    titled = [{title: f"{CASE_STUDIES}/{name}"} for name, title in EVIDENCE.items()]
    for part in config.nav or ():
        if "Evidence" in part:
            part["Evidence"] = [*titled, *(f"{CASE_STUDIES}/{name}" for name in names if name not in EVIDENCE)]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages, scripts and pictures of the case studies, and the tables of the forecasts."""
    for path in sorted([*(ROOT / CASE_STUDIES).iterdir(), *(ROOT / CASE_STUDIES / "forecasts").iterdir()]):
        if path.suffix in {".md", ".py", ".svg", ".csv"}:
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each line that asks for a made text."""
    return re.sub(r"^<!-- make: ([\w ]+) -->$", lambda asked: MADE[asked[1]](), markdown, flags=re.MULTILINE)


def equations() -> str:
    """Return the text at the head of the joint model, its numbered equations with their own lines and indents."""
    text = ast.get_docstring(ast.parse((ROOT / "models" / "joint.py").read_text(encoding="utf-8"))) or ""
    paragraphs = text.split("\n\n")[1:]
    return "\n\n".join(f"```text\n{each}\n```" if each.startswith("(1)") else each for each in paragraphs)


def plan_keys() -> str:
    """Return a table of the keys of each algorithm's plans; keys that all share stand in the first table."""
    shared = set.intersection(*(set(keys_of(algorithm)) for algorithm in ALGORITHMS))
    parts = []
    for algorithm in ALGORITHMS:
        own = {name: key for name, key in keys_of(algorithm).items() if not parts or name not in shared}
        title = "All algorithms" if not parts else f"Further keys of {algorithm}"
        if not parts:
            own = {name: key for name, key in own.items() if name in shared}
        rows = [
            f"| `{name}` | {key.meaning} | {key.unit} | {_default(algorithm, name)} | {key.choose} |"
            for name, key in own.items()
        ]
        if rows:
            parts.append(
                "\n".join([f"## {title}\n", *_head("key", "meaning", "unit", "default", "how to choose"), *rows])
            )
    return "\n\n".join([*parts, _other_defaults(shared)])


def _other_defaults(shared: set[str]) -> str:
    """Return a table of the shared keys whose defaults differ between algorithms."""
    rows = []
    for name in keys_of("SAC"):
        values = [_default(algorithm, name) for algorithm in ALGORITHMS if name in shared]
        if len(set(values)) > 1:
            rows.append(f"| `{name}` | {' | '.join(values)} |")
    return "\n".join(["## Defaults that differ\n", *_head("key", *ALGORITHMS), *rows])


def _default(algorithm: str, name: str) -> str:
    value = default_of(algorithm, name)
    return "required" if value is None else "none" if value == math.inf else f"`{toml(value)}`"


def _head(*names: str) -> tuple[str, str]:
    return f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"


def example() -> str:
    """Return the commented example plan."""
    return f"```toml\n{example_plan()}```"


def parameters() -> str:
    """Return a table of all parameters of the joint model."""
    rows = [
        f"| `{each.name}` | {each.meaning} | {each.unit} | {POOLING[type(each).__name__]} | {_priors(each.priors())} |"
        for each in DECLARED.parameters()
    ]
    return "\n".join([*_head("parameter", "meaning", "unit", "pooling", "priors"), *rows])


def _priors(priors: dict[str, Prior]) -> str:
    return "; ".join(f"{name.partition('.')[2] or 'value'}: {_prior(prior)}" for name, prior in priors.items())


def _prior(prior: Prior) -> str:
    if prior.family == "fixed":
        return f"{prior.location:.3g}"
    if prior.family == "lognormal":
        return f"lognormal, median {math.exp(prior.location):.3g}, log scale {prior.scale:.3g}"
    if prior.family == "student_t":
        return f"Student's t, {DEGREES:g} degrees of freedom, mean {prior.location:.3g}, scale {prior.scale:.3g}"
    return f"normal, mean {prior.location:.3g}, sd {prior.scale:.3g}"


def commands() -> str:
    """Return the help of every command, as a terminal shows it."""
    group = typer.main.get_command(app)
    parts = []
    for name, command in group.commands.items():
        context = command.make_context(name, [], parent=None, resilient_parsing=True)
        shown = command.get_help(context).replace(f"Usage: {name}", f"Usage: bayescale {name}")
        parts.append(f"## {name}\n\n```text\n{shown}\n```")
    return "\n\n".join(parts)


MADE = {
    "equations": equations,
    "plan keys": plan_keys,
    "example plan": example,
    "parameters": parameters,
    "commands": commands,
}
