"""Put the report's page together: templates, scripts, numbers, and a policy that forbids every connection.

A browser runs a script of the page only if its hash stands in the page's Content-Security-Policy, and the policy allows
no connection, image or frame. Text from data reaches the page escaped by jinja2, or inside JSON that holds no `<`.
"""

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from bayescale.arguments import counted
from bayescale.errors import MissingExtra
from bayescale.reporting.live.packed_draws import Arrays
from bayescale.reporting.style import percent, plain, scientific, steps

SCRIPTS = ("numbers.js", "decisions.js", "words.js", "charts.js", "evidence.js", "controls.js")


def require_jinja2() -> None:
    """Raise MissingExtra if jinja2 is not installed."""
    try:
        import jinja2  # noqa: F401 - the import itself is the test
    except ModuleNotFoundError as error:
        raise MissingExtra("jinja2", "report") from error


def rendered(data: dict[str, Any], arrays: Arrays, **variables: object) -> str:
    """Return the page.

    Args:
        data: what the scripts read, as JSON.
        arrays: the numbers that `data` refers to.
        variables: what the templates read.
    """
    import jinja2

    folder = files("bayescale.reporting").joinpath("page")

    def text(*names: str) -> str:
        return folder.joinpath(*names).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(number=plain, rate=scientific, steps=steps, percent=percent, counted=counted)
    libraries = json.loads(text("vendor", "libraries.json"))
    own = "".join(map(text, SCRIPTS))
    scripts = [*(text("vendor", each["file"]) for each in libraries), f'(() => {{\n"use strict";\n{own}}})();\n']
    return environment.get_template("report.html.jinja").render(
        data=data,
        page_data=script_text(data),
        page_arrays=arrays.text(),
        scripts=scripts,
        policy=_policy(scripts),
        css=text("page.css"),
        licences=[(each["package"], text("vendor", each["licence"])) for each in libraries],
        steps=steps,
        rate=scientific,
        **variables,
    )


def script_text(data: object) -> str:
    """Return JSON that no HTML parser mistakes for the end of its script; NaN and inf become null."""
    text = json.dumps(_finite(data), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    """Return the value with None for every number that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy that allows these scripts and the page's own styles, and nothing else."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
