"""Tables that come from trackers fit: the runs of higher UTD need fewer env steps, as they were made to."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bayescale as bs
from bayescale.importers import read_mlflow, read_wandb
from tests.scaffolding import mlflow_stores
from tests.scaffolding.wandb_service import Service, client_environment, served, sweep_run


def require_faster_at_high_utd(curves: pd.DataFrame, *, low: float, high: float) -> None:
    """Fit a few draws, and check the median run lengths of the law."""
    crossings = bs.time_to_threshold(curves, thresholds=[300.0])
    posterior = bs.fit(crossings, chains=2, warmup=150, draws=50, most_draws=50, require_convergence=False)
    at = pd.DataFrame({"env_id": "Ant-v4", "utd": [low, high], "batch_size": 256, "learning_rate": 3e-4})
    slow, fast = posterior.predict(at)["law_q50"]
    assert fast < slow < 13_000


def test_a_project_of_wandb_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [sweep_run(utd, seed) for utd in (1, 2, 4) for seed in range(3)]
    with served(Service(runs)) as service:
        for name, value in client_environment(service, tmp_path).items():
            monkeypatch.setenv(name, value)
        curves = read_wandb("me/proj")
    require_faster_at_high_utd(curves, low=1.0, high=4.0)


@pytest.mark.filterwarnings("ignore:1 file or run left out")  # the parent run
def test_a_store_of_mlflow_fits(tmp_path: Path) -> None:
    command = [sys.executable, mlflow_stores.__file__, str(tmp_path), "file:./mlruns"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    require_faster_at_high_utd(read_mlflow(tmp_path / "mlruns"), low=0.5, high=2.0)
