"""The code and the commands of the documentation, and the pages that it makes from the code."""

import importlib.util
import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest
import typer

import bayescale as bs
from bayescale.cli.app import app
from bayescale.models.parameters import PRIORS
from bayescale.runners.config import ALGORITHMS
from bayescale.runners.plan_keys import keys_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = {"bash", "console", "sh", "shell"}
# These pages have Python; they continue one another in this order.
STORY = ("tutorial.md", "how-to/did-not-converge.md", "how-to/breaks-the-law.md")


def blocks(page: Path, languages: set[str]) -> list[str]:
    return [block for language, block in BLOCK.findall(page.read_text()) if language in languages]


COMMANDS = [
    (page.relative_to(ROOT).as_posix(), line.strip().removeprefix("$ "))
    for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for block in blocks(page, SHELL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip().removeprefix("$ ").startswith("bayescale ")
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_the_command_line_takes_each_line_of_the_documentation(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    command = typer.main.get_command(app)
    with command.make_context("bayescale", words) as context:
        name, chosen, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert chosen is not None, line
        if "--help" not in rest:
            chosen.make_context(name, rest, parent=context)


def test_the_documentation_has_commands_to_check() -> None:
    assert len(COMMANDS) > 25


def test_the_python_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    shutil.copy(ROOT / "case_studies" / "data" / "pendulum_trade_off.parquet", tmp_path / "demo" / "curves.parquet")
    monkeypatch.chdir(tmp_path)
    short = cache(lambda: real(names["crossings"], chains=2, warmup=150, draws=100, require_convergence=False))
    real = bs.fit
    monkeypatch.setattr(bs, "fit", lambda *_, **__: short())
    names: dict[str, object] = {}
    try:
        for page in STORY:
            for block in blocks(DOCS / page, {"python"}):
                exec(compile(block, page, "exec"), names)
    finally:
        plt.close("all")
    assert (tmp_path / "frontier.pdf").stat().st_size > 1_000
    assert len(names["checks"]) > 0


def test_no_other_page_has_python_that_is_not_run() -> None:
    with_python = {page.relative_to(DOCS).as_posix() for page in PAGES if blocks(page, {"python"})}
    imports = {name for name in with_python if name.startswith(("how-to/import-", "how-to/what-happens"))}
    assert with_python - imports == set(STORY)


@pytest.mark.parametrize("page", ["limits.md", "comparison.md"])
def test_the_figures_of_a_page_stand_in_the_evidence(page: str) -> None:
    evidence = " ".join(path.read_text() for path in (ROOT / "case_studies").glob("*.md"))
    text = (DOCS / page).read_text()
    figures = re.findall(r"(?<![\d.])\d\.\d{3}\b|(?<![\d.])\d+(?:\.\d)?%", re.sub(r"`[^`]*`", "", text))
    assert len(figures) >= 4
    for figure in figures:
        if figure not in {"90%", "10%", "30%"}:
            assert re.search(rf"(?<![\d.]){re.escape(figure)}", evidence), f"{page}: {figure}"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_plans_has_a_row_for_every_key(hooks: ModuleType) -> None:
    page = hooks.on_page_markdown((DOCS / "how-to" / "plan.md").read_text())
    for algorithm in ALGORITHMS:
        for name in keys_of(algorithm):
            assert f"\n| `{name}` | " in page, name
    assert "\n# gamma = 0.99\n" in page
    assert "make:" not in page


def test_the_page_of_the_model_keeps_the_lines_of_the_equations(hooks: ModuleType) -> None:
    page = hooks.on_page_markdown((DOCS / "model.md").read_text())
    block = re.search(r"^```text\n(\(1\).*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert re.findall(r"^\((\d)\)", block[1], re.MULTILINE) == [str(number) for number in range(1, 9)]
    assert "make:" not in page


def test_the_page_of_parameters_has_every_prior(hooks: ModuleType) -> None:
    page = hooks.on_page_markdown((DOCS / "parameters.md").read_text())
    for name in PRIORS:
        assert f"| `{name.partition('.')[0]}` | " in page, name
    assert page.count("value: normal, mean ") > 10


def test_the_page_of_commands_has_every_command(hooks: ModuleType) -> None:
    page = hooks.on_page_markdown((DOCS / "reference" / "command-line.md").read_text())
    for name in typer.main.get_command(app).commands:
        assert f"\n## {name}\n\n```text\nUsage: bayescale {name} " in page, name
