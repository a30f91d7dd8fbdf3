"""Fixtures of the tests of commands: a file of simulated curves, and a fit of it."""

import dataclasses
from pathlib import Path

import pytest

import bayescale as bs
from bayescale.inference.convergence import Status
from tests.scaffolding.simulated_curves import simulated_curves

THRESHOLDS = "300,500,800"


@pytest.fixture(scope="session")
def curves_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curves") / "curves.csv.gz"
    simulated_curves().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def fit_file(curves_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit with too few draws to be trusted, enough to see that each command does its work, and call them converged."""
    thresholds = [float(threshold) for threshold in THRESHOLDS.split(",")]
    crossings = bs.time_to_threshold(bs.read_curves(curves_file), thresholds=thresholds)
    short = bs.fit(crossings, chains=2, warmup=150, draws=100, require_convergence=False)
    out = tmp_path_factory.mktemp("fit") / "fit.nc"
    dataclasses.replace(short, status=Status.CONVERGED).save(out)
    return out
