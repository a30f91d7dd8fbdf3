import ast
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import bayescale as bs
from tests.scaffolding.prior_posterior import prior_posterior

ROOT = Path(__file__).parent.parent
INTERFACE = {
    "read_curves", "time_to_threshold", "fit", "frontier", "allocate", "Prices", "load", "plot_frontier", "report",
}  # fmt: skip


def imported_by(code: str) -> set[str]:
    """Return the names of the top-level modules that a fresh interpreter has loaded after `code`."""
    listing = "\nimport sys\nprint(*sorted({name.split('.')[0] for name in sys.modules}))"
    return set(subprocess.check_output([sys.executable, "-c", code + listing], text=True).split())


@pytest.mark.parametrize("name", bs.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(bs, name) is not None


def test_the_promised_names_are_public() -> None:
    assert set(bs.__all__) >= INTERFACE
    assert dir(bs) == sorted(bs.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"bayescale.*no_such_name"):
        bs.no_such_name  # noqa: B018  # the access is the test


def test_the_stub_names_each_public_name_once() -> None:
    stub = ast.parse(Path(bs.__file__).with_suffix(".pyi").read_text())
    names = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(bs.__all__)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "module"), [("frontier", "decisions.frontier"), ("report", "reporting.report")])
def test_a_submodule_does_not_hide_the_function_of_its_name(name: str, module: str) -> None:
    code = f"import bayescale.{module}\nimport bayescale as bs\nassert callable(bs.{name}), bs.{name}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_loads_nothing_heavy() -> None:
    heavy = {"arviz", "gymnasium", "jax", "jinja2", "matplotlib", "numpy", "numpyro", "pandas", "scipy", "torch"}
    assert not imported_by("import bayescale") & heavy


def test_help_loads_no_arrays_and_no_tables() -> None:
    loaded = imported_by("from bayescale.cli.app import main\nassert main(['fit', '--help']) == 0")
    assert "typer" in loaded
    assert not loaded & {"jax", "matplotlib", "numpy", "pandas", "rich", "torch"}


def test_curves_and_crossings_need_neither_torch_nor_figures() -> None:
    assert not imported_by("import bayescale.data.crossings") & {"gymnasium", "jinja2", "matplotlib", "torch"}


def test_a_saved_fit_answers_without_numpyro(tmp_path: Path) -> None:
    prior_posterior().save(tmp_path / "fit.nc")
    code = f"import bayescale as bs\nfit = bs.load({str(tmp_path / 'fit.nc')!r})\n"
    choice = "bs.allocate(fit, env_id=fit.tasks[0], threshold=fit.thresholds[-1])"
    loaded = imported_by(code + choice)
    assert "jax" in loaded
    assert "numpyro" not in loaded
    assert "numpyro" in imported_by(code + "import bayescale.inference.sampling")  # the control


def test_every_place_names_the_same_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert bs.__version__ == version("bayescale") == declared
    assert f"version: {declared}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {declared}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("folder", ["models", "runners"])
def test_the_top_level_folders_are_the_subpackages(folder: str) -> None:
    link = ROOT / "bayescale" / folder
    assert link.readlink() == Path("..") / folder
    assert link.resolve() == ROOT / folder
