"""A group of runs that train together, from their settings to what a sweep keeps; every engine's workers do this."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayescale.arguments import counted
from bayescale.errors import BayeScaleError
from bayescale.runners.accounting import machine
from bayescale.runners.config import RunConfig
from bayescale.runners.training.ensembles import Ensemble

if TYPE_CHECKING:
    from bayescale.runners.training.checkpoints import Checkpoints
    from bayescale.runners.training.results import RunResult

FLOATS_PER_ENV_STEP = 50_000  # touched by an update in the time of a step of a cheap task, acting included


@dataclass(frozen=True)
class Task:
    """A group that is to be trained, under its number in the sweep."""

    number: int
    group: Ensemble
    checkpoint: Path | None  # a file in a folder of the sweep's folder; None for no checkpoints
    seconds_between: float  # checkpoints, at least


@dataclass(frozen=True)
class Trained:
    """What is kept of a group: the learning curves of its runs, with their status, and one flat record per run."""

    curves: pd.DataFrame
    records: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Failed:
    """Why nothing came of a group."""

    reason: str  # one sentence for the user, in place of a worker's traceback


def work(group: Ensemble) -> int:
    """How long the group will take beside others, in floats touched; only ratios mean something."""
    return sum(run.env_steps * FLOATS_PER_ENV_STEP + run.gradient_updates * run.working_floats for run in group)


def train_group(
    group: Ensemble, on_progress: Callable[[float], None], checkpoints: "Checkpoints | None" = None
) -> Trained:
    """Trains the runs of a group, as `run_ensemble` does.

    A record holds the run's settings, `status`, `env_steps`, `gradient_updates` and `flops` done (of updates, in matrix
    products), and of the group as a whole: its size, seconds by what they went to, `machine_joules` (of all that ran on
    the machine meanwhile; null where it is not reported), when it ended, versions and hardware.
    """
    from bayescale.runners.training.loop import run_ensemble

    results = run_ensemble(group, on_progress, checkpoints)
    seconds = results[0].seconds
    shared = {
        "group_size": len(group),
        "wall_clock_seconds": round(sum(seconds.values()), 3),
        **{f"{part}_seconds": round(spent, 3) for part, spent in seconds.items()},
        "machine_joules": results[0].machine_joules,
        "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **machine(group[0].device),
    }
    curves = pd.concat([result.curve.assign(status=result.status.value) for result in results], ignore_index=True)
    return Trained(curves, tuple(_record(run, result) | shared for run, result in zip(group, results, strict=True)))


def try_group(task: Task, on_progress: Callable[[float], None]) -> Trained | Failed:
    """As `train_group`, or what went wrong."""
    from bayescale.runners.training.checkpoints import Checkpoints

    path = task.checkpoint
    try:
        # Another node of a cluster may not see the folder of the sweep.
        seen = path is not None and path.parent.parent.is_dir()
        return train_group(task.group, on_progress, Checkpoints(path, task.seconds_between) if path and seen else None)
    except BayeScaleError as error:
        return Failed(str(error).rstrip("."))
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
            runs = f"{counted(len(task.group), 'run')} of batch size {task.group[0].batch_size}"
            return Failed(f"the GPU has too little memory for {runs}; lower buffer_size, or use fewer workers")
        return Failed(f"a run failed with {type(error).__name__}: {error}")


def _record(run: RunConfig, result: "RunResult") -> dict[str, Any]:
    settings = {
        name: None if value == math.inf else value  # JSON has no infinity
        for name, value in asdict(run).items()
    }
    return {
        "algorithm": run.algorithm,
        **settings,
        "planned_env_steps": run.env_steps,
        "status": result.status.value,
        "env_steps": result.env_steps,
        "gradient_updates": result.gradient_updates,
        "flops": result.update_flops * result.gradient_updates,
    }
