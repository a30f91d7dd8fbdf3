"""Tables that come from trackers fit: runs of higher UTD need fewer env steps, as they were made to."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bayescale as bs
from bayescale.importers import read_mlflow, read_wandb
from bayescale.importers.run_logs import ColumnMapping
from tests.scaffolding import mlflow_stores
from tests.scaffolding.wandb_service import Service, client_environment, served, sweep_run


@pytest.mark.filterwarnings("ignore:1 file or run left out")  # the parent run of MLflow
def test_a_project_of_wandb_and_a_store_of_mlflow_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [sweep_run(utd, seed) for utd in (1, 2, 4) for seed in range(3)]
    with served(Service(runs)) as service:
        for name, value in client_environment(service, tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        of_wandb = read_wandb("me/proj")
    command = [sys.executable, mlflow_stores.__file__, str(tmp_path), "file:./mlruns"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    of_mlflow = read_mlflow(tmp_path / "mlruns", mapping=ColumnMapping(constants={"env_id": "Hopper-v4"}))
    crossings = bs.time_to_threshold(bs.read_curves(of_wandb, of_mlflow), thresholds=[300.0])
    posterior = bs.fit(crossings, chains=2, warmup=100, draws=50, most_draws=50, require_convergence=False)
    tasks = {"Ant-v4": (1.0, 4.0), "Hopper-v4": (0.5, 2.0)}
    at = pd.DataFrame({"env_id": task, "utd": utd} for task, utds in tasks.items() for utd in utds)
    law = posterior.predict(at.assign(batch_size=256, learning_rate=3e-4))["law_q50"].to_numpy().reshape(2, 2)
    assert (law[:, 1] < law[:, 0]).all()
    assert (law < 13_000).all()
