"""The code, commands, links and figures of the README and of the pages in case_studies."""

import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import typer

import bayescale as bs
from bayescale.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "case_studies").rglob("*.md"))
COMMANDS = [
    line.strip().removeprefix("$ ")
    for language, block in BLOCKS
    if language in {"bash", "console", "sh", "shell"}
    for line in block.replace("\\\n", " ").splitlines()
]


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert blocks
    (tmp_path / "bayescale-demo").mkdir()
    shutil.copy(
        ROOT / "case_studies" / "data" / "pendulum_trade_off.parquet",
        tmp_path / "bayescale-demo" / "curves.parquet",
    )
    monkeypatch.chdir(tmp_path)
    short = partial(bs.fit, chains=2, warmup=150, draws=100, require_convergence=False)
    monkeypatch.setattr(bs, "fit", short)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    plt.close("all")
    assert names["bs"] is bs
    assert (tmp_path / "report.html").exists()


def test_the_wheel_of_the_readme_is_of_this_version() -> None:
    for page in ("README.md", "docs/install.md"):
        assert f"dist/bayescale-{bs.__version__}-py3-none-any.whl" in (ROOT / page).read_text(), page


def test_the_commands_of_the_readme_exist() -> None:
    known = typer.main.get_command(app).commands
    called = [shlex.split(line, comments=True) for line in COMMANDS if line.startswith("bayescale ")]
    for _, name, *words in called:
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, (name, words)


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in COMMANDS if line.startswith("make ")]
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *PAGES])
def test_the_files_that_a_page_links_to_exist(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_figures_of_the_table_of_proof_stand_in_the_pages_too() -> None:
    known = " ".join((ROOT / page).read_text() for page in PAGES)
    rows = README.split("## Does it hold?")[1].split("##")[0].strip().splitlines()[2:]
    figures = [figure for row in rows for cell in row.split("|")[2:] for figure in re.findall(r"\d[\d.,]*%?", cell)]
    assert len(figures) > len(rows)
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure.removesuffix(','))}", known), figure
