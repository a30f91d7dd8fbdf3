"""Fixtures of the tests of commands: a file of simulated curves, and a fit of it."""

from pathlib import Path

import pytest

from bayescale.cli import app as cli
from tests.scaffolding.simulated_curves import simulated_curves

THRESHOLDS = "300,500,800"


@pytest.fixture(scope="session")
def curves_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curves") / "curves.csv.gz"
    simulated_curves().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def fit_file(curves_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit by short chains, enough to see that each command does its work."""
    out = tmp_path_factory.mktemp("fit") / "fit.nc"
    assert cli.main(["fit", str(curves_file), "--out", str(out), "--thresholds", THRESHOLDS, "--fast"]) == 0
    return out
