"""Fixtures of several test folders. Array shapes are checked by jaxtyping and beartype; Hypothesis is deterministic."""

import atexit
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

# Tests write no compiled code to the user's cache folder. All workers share one, made before they start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["BAYESCALE_CACHE"] = tempfile.mkdtemp(prefix="bayescale-compiled-")
    atexit.register(shutil.rmtree, os.environ["BAYESCALE_CACHE"], ignore_errors=True)

# A shell starts background jobs with Ctrl-C ignored, and the commands that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Modules whose array shapes are checked. The other modules check the types of a user's arguments themselves.
NUMERIC = (
    "bayescale.comparators",
    "bayescale.data.crossings",
    "bayescale.data.observations",
    "bayescale.decisions",
    "bayescale.inference",
    "bayescale.laws",
    "bayescale.models",
    "bayescale.posterior",
    "bayescale.validation",
)

# The hook imports its checker by name; this module holds beartype with int accepted as float (PEP 484).
checker = ModuleType("shape_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules["shape_checker"] = checker

install_import_hook(NUMERIC, "shape_checker.check")

# Every machine tries the same examples. Examples have no time limit, because no test asserts on the clock.
settings.register_profile("bayescale", derandomize=True, deadline=None)
settings.load_profile("bayescale")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command, checks that it fails with one line on stderr, and returns that line."""
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
    """Set torch's default type to float64, so that learners and their twins agree to rounding."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def jax_float64() -> Iterator[None]:
    """Run the JAX code of a test itself in float64, as the package does inside its own calls."""
    from bayescale.float64 import float64

    with float64():
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the small sweep without interruption and return its folder."""
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
    assert len(set(shares)) > 5, "jobs that are still training count too"
    assert (heard[0].seconds_left, heard[-1].seconds_left) == (None, pytest.approx(0.0))
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the small sweep's folder that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
