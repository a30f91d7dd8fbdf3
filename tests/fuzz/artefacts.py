"""Make one small valid artefact of each kind that BayeScale reads, and read it back."""

import json
import sqlite3
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale import importers
from bayescale.importers.run_logs import ColumnMapping
from bayescale.posterior.posterior import Posterior
from bayescale.runners import load_plan
from tests.scaffolding.prior_posterior import prior_posterior
from tests.scaffolding.small_curves import table
from tests.scaffolding.wandb_records import chunks, record

SETTINGS: dict[str, Any] = {"algorithm": "SAC", "env_id": "Ant-v4", "utd": 1, "batch_size": 64, "learning_rate": 1e-3}
MAPPING = ColumnMapping(constants=SETTINGS)
ALGORITHM = ColumnMapping(constants={"algorithm": "SAC"})
PLAN = 'env_id = ["Pendulum-v1"]\nutd = [0.5, 1, 2]\nbatch_size = [64]\nlearning_rate = [3e-4]\nseed = [0, 1]\n'


class Artefact(NamedTuple):
    """Files of one kind.

    Attributes:
        write: writes the files into an empty folder.
        read: reads the folder.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]


def _rllib(folder: Path) -> None:
    trial = folder / "SAC_0"
    trial.mkdir()
    rows = [
        {"timesteps_total": 100 * i, "episode_reward_mean": float(i), "done": i == 3, "training_iteration": i}
        for i in (1, 2, 3)
    ]
    (trial / "result.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (trial / "progress.csv").write_text("timesteps_total,episode_reward_mean\n100,1.0\n200,2.0\n")
    config = {"env": "Ant-v4", "lr": 1e-3, "train_batch_size": 64, "training_intensity": 64, "seed": 0}
    (trial / "params.json").write_text(json.dumps({**config, "model": {"fcnet_hiddens": [256, 256]}}))


def _sb3(folder: Path) -> None:
    place = folder / "run" / "Ant-v4"
    place.mkdir(parents=True)
    np.savez(folder / "run" / "evaluations.npz", timesteps=[100, 200], results=[[1.0, 2.0], [3.0, 4.0]])
    head = '#{"t_start": 1.0, "env_id": "Ant-v4"}'
    (folder / "run" / "0.monitor.csv").write_text(f"{head}\nr,l,t\n1.0,100,0.5\n2.0,100,0.7\n")
    (folder / "run" / "progress.csv").write_text("time/total_timesteps,eval/mean_reward\n100,1.5\n200,3.5\n")
    (place / "args.yml").write_text(
        "!!python/object/apply:collections.OrderedDict\n- - - algo\n    - sac\n  - - env\n    - Ant-v4\n"
        "  - - seed\n    - 0\n"
    )
    (place / "config.yml").write_text(
        "!!python/object/apply:collections.OrderedDict\n- - - batch_size\n    - 64\n  - - gradient_steps\n    - -1\n"
        "  - - learning_rate\n    - lin_7.3e-4\n  - - train_freq\n    - 1\n"
    )


def _spinningup(folder: Path) -> None:
    (folder / "progress.txt").write_text("Epoch\tTotalEnvInteracts\tAverageTestEpRet\n1\t100\t1.0\n2\t200\t2.0\n")
    config = {"env_name": "Ant-v4", "seed": 0, "batch_size": 64, "exp_name": "sac", "pi_lr": 1e-3, "q_lr": 1e-3}
    (folder / "config.json").write_text(json.dumps({**config, "update_every": 50}, indent=4))


def _qscaled(folder: Path) -> None:
    place = folder / "sweep" / "utd_1" / "Ant-v4" / "episode.return"
    place.mkdir(parents=True)
    np.save(place / "bs_64_lr_0.001.npy", np.array([[100, 1.0, 2.0], [200, 2.0, np.nan]]))


def _qscaled_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "sweep.zip", "w") as archive:
        for seed in (64, 128):
            with archive.open(f"sweep/utd_1/Ant-v4/episode.return/bs_{seed}_lr_0.001.npy", "w") as file:
                np.save(file, np.array([[100, 1.0, 2.0], [200, 2.0, 3.0]]))


def _events(folder: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    writer = EventFileWriter(str(folder / "Ant-v4__sac__0__1731000000"))
    rows = "\n".join(f"|{key}|{value}|" for key, value in {**SETTINGS, "seed": 0}.items())
    text = make_tensor_proto(np.array([f"|param|value|\n|-|-|\n{rows}"], object))
    values = [Summary.Value(tag="hyperparameters/text_summary", tensor=text)]
    writer.add_event(Event(step=0, wall_time=1.0, summary=Summary(value=values)))
    for step in (100, 200, 300):
        values = [Summary.Value(tag="charts/episodic_return", simple_value=step / 10)]
        writer.add_event(Event(step=step, wall_time=float(step), summary=Summary(value=values)))
    writer.close()


def _partitions(folder: Path) -> None:
    for utd in (1, 2):
        place = folder / "curves" / f"utd={utd}"
        place.mkdir(parents=True)
        table().drop(columns="utd").to_parquet(place / "part-0.parquet")


def _chart(folder: Path) -> None:
    steps = pd.DataFrame({"global_step": [100, 200, 300]})
    names = ("a", "b")
    columns = {f"{name} - eval/return{end}": [1.0, 2.5, 3.0] for name in names for end in ("", "__MIN", "__MAX")}
    steps.assign(**columns).to_csv(folder / "chart.csv", index=False)
    runs = pd.DataFrame({"Name": names, "State": "finished", **SETTINGS, "seed": [0, 1]})
    runs.to_csv(folder / "runs.csv", index=False, sep=";", decimal=",")


def _run_file(folder: Path) -> None:
    rows = [record(env_steps=step, **{"eval/return": step / 10}) for step in (100, 200, 300)]
    (folder / "run-a.wandb").write_bytes(chunks([record(id="a", start=1, config={**SETTINGS, "seed": 0}), *rows]))


def _mlflow_database(folder: Path) -> None:
    database = sqlite3.connect(folder / "mlflow.db")
    for columns in (
        "experiments (experiment_id, name)",
        "runs (run_uuid, name, experiment_id, start_time, status, lifecycle_stage)",
        "metrics (run_uuid, key, value, is_nan, step, timestamp)",
        "params (run_uuid, key, value)",
        "tags (run_uuid, key, value)",
    ):
        database.execute(f"CREATE TABLE {columns}")
    database.execute("INSERT INTO experiments VALUES (1, 'sweep')")
    for run in ("a", "b"):
        database.execute("INSERT INTO runs VALUES (?, ?, 1, 5, 'FINISHED', 'active')", (run, run))
        points = [(run, "eval/return", float(step), 0, step, step) for step in (100, 200, 300)]
        database.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", points)
        settings = {**SETTINGS, "seed": int(run == "b")}
        params = [(run, key, str(value)) for key, value in settings.items()]
        database.executemany("INSERT INTO params VALUES (?, ?, ?)", params)
    database.commit()
    database.close()


def _mlflow_folder(folder: Path) -> None:
    run = folder / "mlruns" / "1" / "a"
    for name in ("metrics", "params", "tags"):
        (run / name).mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '1'\nname: sweep\n")
    (run / "meta.yaml").write_text("run_id: a\nlifecycle_stage: active\nstatus: 3\nstart_time: 1\n")
    for key, value in {**SETTINGS, "seed": 0}.items():
        (run / "params" / key).write_text(str(value))
    (run / "metrics" / "return").write_text("".join(f"{step} {step / 10} {step}\n" for step in (100, 250, 400)))


@cache
def _fit() -> Posterior:
    return prior_posterior()


def artefacts() -> dict[str, Artefact]:
    """Return the artefacts by name."""
    whole = table(3, 4, status="finished", tau=0.005)
    renamed = whole.rename(columns={"env_id": "env", "learning_rate": "lr", "env_steps": "steps"})
    return {
        "csv": Artefact(lambda f: whole.to_csv(f / "a.csv", index=False), lambda f: bs.read_curves(f / "a.csv")),
        "csv.gz": Artefact(lambda f: whole.to_csv(f / "a.csv.gz", index=False), lambda f: bs.read_curves(f / "*.gz")),
        "parquet": Artefact(lambda f: whole.to_parquet(f / "a.parquet"), lambda f: bs.read_curves(f / "a.parquet")),
        "partitions": Artefact(_partitions, lambda f: bs.read_curves(f / "curves")),
        "mapped csv": Artefact(
            lambda f: renamed.to_csv(f / "a.csv", index=False), lambda f: importers.read_csv_tables(f / "a.csv")
        ),
        "csv of a spreadsheet": Artefact(
            lambda f: whole.to_csv(f / "a.csv", index=False, sep=";", decimal=",", encoding="utf-8-sig"),
            lambda f: bs.read_curves(f / "a.csv"),
        ),
        "csv in utf-16": Artefact(
            lambda f: renamed.to_csv(f / "a.csv", index=False, sep="\t", encoding="utf-16"),
            lambda f: importers.read_csv_tables(f / "a.csv"),
        ),
        "wandb chart": Artefact(_chart, lambda f: importers.read_wandb(f / "chart.csv", f / "runs.csv")),
        "wandb run file": Artefact(_run_file, importers.read_wandb),
        "mlflow database": Artefact(_mlflow_database, lambda f: importers.read_mlflow(f / "mlflow.db")),
        "mlflow folder": Artefact(_mlflow_folder, lambda f: importers.read_mlflow(f / "mlruns")),
        "rllib": Artefact(_rllib, lambda f: importers.read_rllib(f, mapping=MAPPING)),
        "sb3": Artefact(_sb3, lambda f: importers.read_sb3(f, mapping=MAPPING)),
        "spinningup": Artefact(_spinningup, lambda f: importers.read_spinningup(f, mapping=MAPPING)),
        "qscaled": Artefact(_qscaled, lambda f: importers.read_qscaled(f, mapping=ALGORITHM)),
        "qscaled zip": Artefact(_qscaled_zip, lambda f: importers.read_qscaled(f / "sweep.zip", mapping=ALGORITHM)),
        "tensorboard": Artefact(_events, lambda f: importers.read_tensorboard(f, mapping=MAPPING)),
        "cleanrl": Artefact(_events, importers.read_cleanrl),
        "plan": Artefact(
            lambda f: (f / "plan.toml").write_text(f"{PLAN}env_steps = 10_000\n"), lambda f: load_plan(f / "plan.toml")
        ),
        "fit": Artefact(lambda f: _fit().save(f / "fit.nc"), lambda f: bs.load(f / "fit.nc")),
    }
