"""Write two stores of MLflow with its own client, a SQLite database and a folder of files, and what it reads from them.

Run it as a process of its own: python mlflow_stores.py FOLDER [URI ...]. FOLDER then holds mlflow.db, mlruns and
read.json, which holds the points of each metric by store and run as the client reads them.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

URIS = ("sqlite:///mlflow.db", "file:./mlruns")
POINTS = 12  # evaluations of a run
UTDS = (1, 2, 4)
SEEDS = 3


def main(folder: Path, uris: Sequence[str]) -> None:
    """Write the same runs to each store."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # the client refuses folders of files otherwise
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    os.chdir(folder)
    read: dict[str, dict[str, dict[str, list[list[float]]]]] = {}
    for uri in uris:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment("sweep")
        parent = client.create_run(experiment, run_name="parent").info.run_id
        client.log_batch(parent, params=[Param("env_id", "Ant-v4"), Param("agent.batch_size", "256")])
        client.set_tag(parent, "algorithm", "SAC")
        for utd in UTDS:
            for seed in range(SEEDS):
                name = f"sac <b>{utd}</b> {seed}"
                tags = {"mlflow.parentRunId": parent, "seed": str(seed)}
                run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
                client.log_batch(run, params=[Param("lr", "3e-4"), Param("gradient_steps", str(utd))])
                client.log_batch(run, params=[Param("train_freq", "2"), Param("n_envs", "1")])
                steps = np.arange(1, POINTS + 1) * 1000
                returns = 900 * (1 - np.exp(-steps * (1 - 0.5 / utd) * (1 + 0.1 * seed) / 4000))
                points = [
                    Metric("eval/return", float(r), 1000 + i, int(s))
                    for i, (s, r) in enumerate(zip(steps, returns, strict=True))
                ]
                points += [
                    Metric("loss", value, 2000, step) for step, value in enumerate((1.0, float("nan"), float("inf")))
                ]
                if (utd, seed) == (1, 0):  # resumed from the checkpoint at 11,000
                    points += [Metric("eval/return", 1.0 * i, 5000 + i, 11_000 + 1000 * i) for i in range(3)]
                client.log_batch(run, metrics=points)
                if (utd, seed) != (4, 2):
                    client.set_terminated(run, {0: "FINISHED", 1: "FAILED", 2: "KILLED"}[seed])
        deleted = client.create_run(experiment, run_name="deleted").info.run_id
        client.log_metric(deleted, "eval/return", 1.0, step=1)
        client.delete_run(deleted)
        runs = client.search_runs([experiment])
        read[uri] = {
            run.info.run_name: {
                key: [[p.step, p.timestamp, p.value] for p in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            }
            for run in runs
        }
    Path("read.json").write_text(json.dumps(read))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or URIS)
