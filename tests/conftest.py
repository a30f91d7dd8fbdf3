"""Tests check array shapes (jaxtyping hands each numeric module to beartype) and try the same examples every time."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ["BAYESCALE_CACHE"] = "off"  # tests compile what they run, and leave nothing in a user's folders

# Not the door: curves, plots, report and the edge take whatever a user hands them and answer in sentences of their own.
NUMERIC = (
    "bayescale.comparators",
    "bayescale.data.crossings",
    "bayescale.decisions",
    "bayescale.inference",
    "bayescale.laws",
    "bayescale.models",
    "bayescale.posterior",
    "bayescale.validation",
)

# The hook takes its checker by name, so beartype with int accepted as float (PEP 484) needs a module to be found in.
checker = ModuleType("shape_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules["shape_checker"] = checker

install_import_hook(NUMERIC, "shape_checker.check")

# The same examples on every machine, and no limit on the time of one: nothing asserts on the clock.
settings.register_profile("bayescale", derandomize=True, deadline=None)
settings.load_profile("bayescale")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command, which must fail with this exit code and one line on stderr, and returns it."""

    from bayescale.cli import app as cli

    def run(*arguments: object, code: int = 2) -> str:
        assert cli.main([str(argument) for argument in arguments]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert re.fullmatch(r"error: [^\n]+\n", said.err), said.err
        return said.err

    return run


@pytest.fixture
def doubles() -> Iterator[None]:
    """Learners' twins are compared in float64, where rounding leaves room for no mistake."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small sweep, which nothing disturbed."""
    from bayescale.runners import Progress, run_sweep
    from tests.scaffolding.small_sweep import PLAN

    out = tmp_path_factory.mktemp("sweep") / "out"
    heard: list[Progress] = []
    table = run_sweep(PLAN, out, workers=2, on_progress=heard.append)
    assert table == out / "curves.parquet"
    assert sorted({progress.runs_done for progress in heard}) == [0, 2, 4, 6, 8]
    shares = [progress.share for progress in heard]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert len(set(shares)) > 5, "groups that are under way count too"
    assert (heard[0].seconds_left, heard[-1].seconds_left) == (None, pytest.approx(0.0))
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A folder of the small sweep of one's own to damage."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
