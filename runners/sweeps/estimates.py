"""What a sweep will take: runs, steps, updates, flops and time, before it starts.

Groups of one shape, which differ in UTD and length only, share their rates. These come from the records of a group that
has finished, or from a short trial on this machine with one process at work: where workers share caches and memory, or
replay outgrows the cache, the sweep is somewhat slower. Runs that stop early or diverge make it faster.
"""

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.folder import groups_in, read_group
from bayescale.runners.sweeps.local_engine import usable_cores
from bayescale.runners.sweeps.plan import Plan
from bayescale.runners.sweeps.sweep import check_devices, check_tasks
from bayescale.runners.training.ensembles import Ensemble, make_ensembles, shared_settings

TRIAL_UPDATES = 100
TRIAL_STEPS_PER_SAMPLE = 2  # env steps with updates, per sample of a batch, after the warm-up that fills one batch


class Rates(NamedTuple):
    """Seconds of a group, all members together, and flops of one update of one member."""

    env_step: float
    update: float
    evaluation: float
    update_flops: float


class Estimate(NamedTuple):
    """Of the runs that are not finished."""

    runs: int
    groups: int
    env_steps: int
    gradient_updates: int
    flops: float  # of updates, in matrix products
    training_seconds: float  # of all workers
    workers: int
    seconds: float  # until the last run ends

    def cost(self, hour: float = 0.0, flop: float = 0.0, env_step: float = 0.0) -> float:
        """Price of the sweep at prices per hour of the machine, per flop and per env step."""
        return self.seconds / 3600 * hour + self.flops * flop + self.env_steps * env_step


def estimate(plan: Plan, out: Path | None = None, workers: int | None = None) -> Estimate:
    """What the plan will take, or what is left of it in the folder `out`, on this machine.

    Nothing is written. Shapes of which no group in `out` has finished are tried for a few seconds each.

    Args:
        plan: the plan.
        out: folder of a sweep that was begun, or one that is not there yet.
        workers: processes; by default one per core that this process may use.

    Raises:
        InputError: `out` holds a sweep of another plan, a task cannot be made, or a device is not here.
    """
    check_tasks(plan.runs)
    check_devices(plan.runs)
    begun = None if out is None else groups_in(out, plan.runs)
    groups = begun or make_ensembles(plan.runs)
    finished = {}
    if out is not None and begun is not None:
        finished = {number: trained for number in range(len(groups)) if (trained := read_group(out, number))}
    known = {shape(groups[number]): recorded_rates(trained.records) for number, trained in finished.items()}
    left = [group for number, group in enumerate(groups) if number not in finished]
    return estimate_groups(left, known, measured_rates, workers or usable_cores())


def estimate_groups(
    groups: Sequence[Ensemble],
    known: Mapping[Ensemble, Rates],
    measure: Callable[[Ensemble], Rates],
    workers: int,
) -> Estimate:
    """What the groups will take at the rates `known` by shape, or else as measured once for each shape."""
    rates = dict(known)
    seconds, flops = [], 0.0
    for group in groups:
        if shape(group) not in rates:
            rates[shape(group)] = measure(group)
        rate, run = rates[shape(group)], group[0]
        evaluations = 1 + math.ceil(run.env_steps / run.evaluation_interval)
        parts = run.env_steps * rate.env_step, run.gradient_updates * rate.update, evaluations * rate.evaluation
        seconds.append(sum(parts))
        flops += len(group) * run.gradient_updates * rate.update_flops
    runs = [run for group in groups for run in group]
    return Estimate(
        runs=len(runs),
        groups=len(groups),
        env_steps=sum(run.env_steps for run in runs),
        gradient_updates=sum(run.gradient_updates for run in runs),
        flops=flops,
        training_seconds=sum(seconds),
        workers=workers,
        seconds=last_end(seconds, workers),
    )


def shape(group: Ensemble) -> Ensemble:
    """The group with all that its rates do not depend on at one value: equal for groups that share them."""
    longest = dict.fromkeys(("env_steps", "evaluation_interval"), 2**40 * group[0].num_envs)
    same: dict[str, Any] = {"utd": 1.0, "stop_return": math.inf, **longest}
    return tuple(dataclasses.replace(shared_settings(run), **same) for run in group)


def measured_rates(group: Ensemble) -> Rates:
    """Rates in a trial of a few seconds."""
    from bayescale.runners.training.loop import run_ensemble

    trial = tuple(_shortened(run) for run in group)
    results = run_ensemble(trial)
    seconds, run = results[0].seconds, trial[0]
    return Rates(
        seconds["environment"] / run.env_steps,
        seconds["learning"] / run.gradient_updates,
        seconds["evaluation"] / 2,
        results[0].update_flops,
    )


def recorded_rates(records: Sequence[Mapping[str, Any]]) -> Rates:
    """Rates of a group that has finished, by the records of its runs."""
    longest = max(records, key=lambda record: record["env_steps"])
    updates = max(longest["gradient_updates"], 1)
    evaluations = 1 + math.ceil(longest["env_steps"] / longest["evaluation_interval"])
    return Rates(
        longest["environment_seconds"] / max(longest["env_steps"], 1),
        longest["learning_seconds"] / updates,
        longest["evaluation_seconds"] / evaluations,
        longest["flops"] / updates,
    )


def _shortened(run: RunConfig) -> RunConfig:
    """With a warm-up of a batch and `TRIAL_UPDATES` updates; environments that step together set the least length."""
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
    """When the last group ends, if workers take the longest that is left."""
    free_at = [0.0] * workers
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)
