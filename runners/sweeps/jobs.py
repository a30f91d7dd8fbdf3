"""The job: one ensemble to train, what comes of it, and what a sweep asks of the engine that trains its jobs.

An engine decides where jobs are trained. Its workers call `try_job`.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pandas as pd

from bayescale.arguments import counted
from bayescale.errors import BayeScaleError
from bayescale.runners.accounting import machine
from bayescale.runners.config import RunConfig
from bayescale.runners.training.ensembles import Ensemble

if TYPE_CHECKING:
    from bayescale.runners.training.results import RunResult

# An update touches about this many floats in the time of one env step of a cheap task, acting included.
FLOATS_PER_ENV_STEP = 50_000

Record = dict[str, str | float | None]  # one flat JSON object


@dataclass(frozen=True)
class Job:
    """An ensemble to train, under its number in the sweep."""

    number: int
    ensemble: Ensemble
    checkpoint: Path | None  # file in a subfolder of the sweep's folder; None for no checkpoints
    seconds_between_checkpoints: float  # the least time from one checkpoint to the next


@dataclass(frozen=True)
class Trained:
    """The results of a finished job: the learning curves of its runs with their status, and one record per run."""

    curves: pd.DataFrame
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Failed:
    """The reason why a job has no results."""

    reason: str  # one sentence for the user, in place of a worker's traceback


class JobEvent(NamedTuple):
    """News of one job."""

    number: int
    news: float | Trained | Failed  # the share of its env steps done, from 0 to 1, or how it ended


class Engine(Protocol):
    """A place to train jobs: this machine or a cluster."""

    def check(self, runs: Sequence[RunConfig]) -> None:
        """Raise InputError or MissingExtra if the engine cannot train these runs; called before files are written."""

    def train(self, jobs: Sequence[Job], workers: int | None) -> Generator[JobEvent, None, None]:
        """Start the jobs in the order given and yield their news as it arrives; closing the generator ends all jobs.

        Args:
            jobs: the jobs to train.
            workers: number of jobs under way at once; None for one per core.

        Raises:
            BayeScaleError: the engine cannot go on.
        """


def floats_touched(ensemble: Ensemble) -> int:
    """Return the floats that training the ensemble touches; ratios of these predict ratios of training times."""
    return sum(run.env_steps * FLOATS_PER_ENV_STEP + run.gradient_updates * run.working_floats for run in ensemble)


def try_job(
    job: Job, on_progress: Callable[[float], None], must_end: Callable[[], bool] = lambda: False
) -> Trained | Failed:
    """Return the job's results, or the reason of its failure in place of any exception.

    Args:
        job: the job.
        on_progress: called after each evaluation with the share of env steps done.
        must_end: asked before each env step of a job with checkpoints; once it returns True, the job writes a last
            checkpoint and fails.
    """
    try:
        return train_job(job, on_progress, must_end)
    except BayeScaleError as error:
        return Failed(str(error).rstrip("."))
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch raises it for a GPU
            runs = f"{counted(len(job.ensemble), 'run')} of batch size {job.ensemble[0].batch_size}"
            return Failed(f"the GPU has too little memory for {runs}; lower buffer_size, or use fewer workers")
        return Failed(f"a run failed with {type(error).__name__}: {error}")


def train_job(job: Job, on_progress: Callable[[float], None], must_end: Callable[[], bool] = lambda: False) -> Trained:
    """Train the job's ensemble with `run_ensemble`.

    Each record holds the settings of its run, `status`, and the `env_steps`, `gradient_updates` and
    `matrix_product_flops` done (exact, for the matrix products of the updates). The other fields describe the whole
    job: `group_size` (its number of runs), the seconds spent on each part, `machine_joules` (energy of everything that
    ran on the machine meanwhile; null where the machine does not report it), the time when the job ended, versions and
    hardware.
    """
    from bayescale.runners.training.checkpoints import Checkpoints
    from bayescale.runners.training.loop import run_ensemble

    checkpoints = None
    # Another node of a cluster may not see the folder of the sweep.
    if job.checkpoint is not None and job.checkpoint.parent.parent.is_dir():
        checkpoints = Checkpoints(job.checkpoint, job.seconds_between_checkpoints, must_end)
    results = run_ensemble(job.ensemble, on_progress=on_progress, checkpoints=checkpoints)
    seconds = results[0].seconds
    shared = {
        "group_size": len(job.ensemble),
        "wall_clock_seconds": round(sum(seconds.values()), 3),
        **{f"{part}_seconds": round(spent, 3) for part, spent in seconds.items()},
        "machine_joules": results[0].machine_joules,
        "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **machine(job.ensemble[0].device),
    }
    curves = pd.concat([result.curve.assign(status=result.status.value) for result in results], ignore_index=True)
    pairs = zip(job.ensemble, results, strict=True)
    return Trained(curves, tuple(_record(run, result) | shared for run, result in pairs))


def _record(run: RunConfig, result: "RunResult") -> Record:
    settings = {
        name: None if value == math.inf else value  # JSON has no infinity
        for name, value in run.settings().items()
    }
    return {
        **settings,
        "planned_env_steps": run.env_steps,
        "status": result.status.value,
        "env_steps": result.env_steps,
        "gradient_updates": result.gradient_updates,
        "matrix_product_flops": result.matrix_product_flops * result.gradient_updates,
    }
