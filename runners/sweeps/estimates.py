"""Estimate what a sweep will take before it starts: runs, env steps, gradient updates, flops and time.

Ensembles that differ in UTD and length only share their rates (seconds per env step, update and evaluation). The rates
come from the records of a finished job, or from a short trial in one process on this machine. A real sweep is somewhat
slower where workers share caches and memory, or where replay outgrows the cache. Runs that stop early or diverge make
it faster.
"""

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.checks import check_devices, check_tasks
from bayescale.runners.sweeps.folder import ensembles_in, read_job
from bayescale.runners.sweeps.jobs import Record
from bayescale.runners.sweeps.local_engine import usable_cores
from bayescale.runners.sweeps.plan import Plan
from bayescale.runners.training.ensembles import Ensemble, make_ensembles, shared_settings

BYTES_PER_JOB = 33_000  # size of a job's file with one row, for its columns
BYTES_PER_RUN = 1_500  # size of a run's records in the manifest and the plan
BYTES_PER_EVALUATION = 30
BYTES_PER_FLOAT = 4
TRIAL_UPDATES = 100
# A trial is a short training that measures speed. It fills replay with one batch, then takes env steps with updates.
TRIAL_STEPS_PER_SAMPLE = 2  # these env steps, over the batch size


class Rates(NamedTuple):
    """Seconds that a whole ensemble takes per event, and the flops of matrix products in one update of one member."""

    env_step: float
    update: float
    evaluation: float
    matrix_product_flops: float


class Estimate(NamedTuple):
    """Counts, flops and time of the unfinished runs of a plan."""

    runs: int
    jobs: int  # ensembles to train
    env_steps: int
    gradient_updates: int
    matrix_product_flops: float  # sum over all updates
    training_seconds: float  # sum over all workers
    workers: int
    seconds: float  # time until the last run ends
    result_bytes: int = 0  # size on disk of the curves and records
    checkpoint_bytes: int = 0  # size on disk of the checkpoints of the largest jobs under way

    def cost(self, *, hour: float = 0.0, flop: float = 0.0, env_step: float = 0.0) -> float:
        """Return the price of the sweep at prices per hour of the machine, per flop and per env step."""
        return self.seconds / 3600 * hour + self.matrix_product_flops * flop + self.env_steps * env_step


def estimate(plan: Plan, out: Path | None = None, *, workers: int | None = None) -> Estimate:
    """Return what the unfinished runs of a plan will take on this machine; no file is written.

    Each kind of ensemble of which no job in `out` has finished is tried for a few seconds.

    Args:
        plan: the plan.
        out: folder of a sweep of this plan, or a folder that does not exist yet; None for the whole plan.
        workers: number of processes; None for one per core that this process may use.

    Raises:
        InputError: `out` holds a sweep of another plan, a task cannot be made, or a device is not here.
    """
    check_tasks(plan.runs)
    check_devices(plan.runs)
    begun = None if out is None else ensembles_in(out, plan.runs)
    ensembles = begun or make_ensembles(plan.runs)
    finished = {}
    if out is not None and begun is not None:
        finished = {number: trained for number in range(len(ensembles)) if (trained := read_job(out, number))}
    known = {rate_key(ensembles[number]): recorded_rates(trained.records) for number, trained in finished.items()}
    unfinished = [ensemble for number, ensemble in enumerate(ensembles) if number not in finished]
    expected = estimate_ensembles(unfinished, known, measured_rates, workers or usable_cores())
    return expected._replace(
        result_bytes=result_bytes(unfinished), checkpoint_bytes=checkpoint_bytes(unfinished, expected.workers)
    )


def result_bytes(ensembles: Sequence[Ensemble]) -> int:
    """Return about how many bytes the curves and records of the ensembles take on disk."""
    runs = [run for ensemble in ensembles for run in ensemble]
    evaluations = sum(1 + math.ceil(run.env_steps / run.evaluation_interval) for run in runs)
    # The curves are written twice: for each job, and all together.
    return BYTES_PER_JOB * len(ensembles) + BYTES_PER_RUN * len(runs) + 2 * BYTES_PER_EVALUATION * evaluations


def checkpoint_bytes(ensembles: Sequence[Ensemble], workers: int) -> int:
    """Return about how many bytes the checkpoints of the largest jobs take, as many as there are workers."""
    from bayescale.runners.suites.tasks import make_environments

    floats = {}  # floats of a transition, by task: two observations, the action, reward and end
    for run in (ensemble[0] for ensemble in ensembles):
        task = run.suite, run.env_id, run.action_repeat
        if task not in floats:
            with closing(make_environments(run.suite, run.env_id, 1, 1, run.action_repeat)) as environments:
                floats[task] = 2 * environments.observation_size + environments.action_size + 2
    sizes = []
    for ensemble in ensembles:
        run = ensemble[0]
        transitions = min(run.buffer_size, run.env_steps)
        replay = transitions * floats[run.suite, run.env_id, run.action_repeat]
        sizes.append(BYTES_PER_FLOAT * len(ensemble) * (replay + run.working_floats))
    return sum(sorted(sizes, reverse=True)[:workers])


def estimate_ensembles(
    ensembles: Sequence[Ensemble],
    known: Mapping[Ensemble, Rates],
    measure: Callable[[Ensemble], Rates],
    workers: int,
) -> Estimate:
    """Return what the ensembles will take.

    Args:
        ensembles: the ensembles to train.
        known: rates by `rate_key`.
        measure: finds the rates of an ensemble; called once per key that `known` lacks.
        workers: number of processes.
    """
    rates = dict(known)
    seconds, matrix_product_flops = [], 0.0
    for ensemble in ensembles:
        key = rate_key(ensemble)
        if key not in rates:
            rates[key] = measure(ensemble)
        rate, run = rates[key], ensemble[0]
        evaluations = 1 + math.ceil(run.env_steps / run.evaluation_interval)
        parts = run.env_steps * rate.env_step, run.gradient_updates * rate.update, evaluations * rate.evaluation
        seconds.append(sum(parts))
        matrix_product_flops += len(ensemble) * run.gradient_updates * rate.matrix_product_flops
    runs = [run for ensemble in ensembles for run in ensemble]
    return Estimate(
        runs=len(runs),
        jobs=len(ensembles),
        env_steps=sum(run.env_steps for run in runs),
        gradient_updates=sum(run.gradient_updates for run in runs),
        matrix_product_flops=matrix_product_flops,
        training_seconds=sum(seconds),
        workers=workers,
        seconds=last_end(seconds, workers),
    )


def rate_key(ensemble: Ensemble) -> Ensemble:
    """Return the ensemble with every setting that its rates do not depend on set to one common value.

    Ensembles with equal keys have equal rates.
    """
    longest = dict.fromkeys(("env_steps", "evaluation_interval"), 2**40 * ensemble[0].num_envs)
    common: dict[str, Any] = {"utd": 1.0, "stop_return": math.inf, **longest}
    return tuple(dataclasses.replace(shared_settings(run), **common) for run in ensemble)


def measured_rates(ensemble: Ensemble) -> Rates:
    """Return the rates of the ensemble in a trial of a few seconds."""
    from bayescale.runners.training.loop import run_ensemble

    trial = tuple(_shortened(run) for run in ensemble)
    results = run_ensemble(trial)
    seconds, run = results[0].seconds, trial[0]
    return Rates(
        seconds["environment"] / run.env_steps,
        seconds["learning"] / run.gradient_updates,
        seconds["evaluation"] / 2,
        results[0].matrix_product_flops,
    )


def recorded_rates(records: Sequence[Record]) -> Rates:
    """Return the rates of a finished job from the records of its runs; its longest run counts the events."""
    runs = pd.DataFrame(list(records))
    longest = runs.iloc[int(runs["env_steps"].to_numpy().argmax())]
    updates = max(longest["gradient_updates"], 1)
    evaluations = 1 + math.ceil(longest["env_steps"] / longest["evaluation_interval"])
    return Rates(
        longest["environment_seconds"] / max(longest["env_steps"], 1),
        longest["learning_seconds"] / updates,
        longest["evaluation_seconds"] / evaluations,
        longest["matrix_product_flops"] / updates,
    )


def _shortened(run: RunConfig) -> RunConfig:
    """Return the run with a warm-up of one batch and `TRIAL_UPDATES` updates, in multiples of `num_envs` steps."""
    warmup, steps = (
        -(-least // run.num_envs) * run.num_envs
        for least in (
            max(run.batch_size, run.n_step * run.num_envs),
            max(TRIAL_UPDATES, TRIAL_STEPS_PER_SAMPLE * run.batch_size),
        )
    )
    return dataclasses.replace(
        run,
        warmup_steps=warmup,
        env_steps=warmup + steps,
        utd=(TRIAL_UPDATES + 0.5) / steps,
        evaluation_interval=warmup + steps,
        stop_return=math.inf,
    )


def last_end(seconds: Iterable[float], workers: int) -> float:
    """Return the time when the last job ends, if each worker that is free takes the longest job left."""
    free_at = [0.0] * workers
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)
