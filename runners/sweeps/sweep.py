"""A sweep: all runs of a plan, a file per finished group of runs, resumable after a kill at any point."""

import importlib.util
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

from bayescale.arguments import counted
from bayescale.atomic_files import remove_partial_files
from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.folder import checkpoint_file, merge_groups, open_folder, read_group, write_group
from bayescale.runners.sweeps.jobs import Failed, Task, Trained, work
from bayescale.runners.sweeps.local_engine import Event, end_unguarded_worker, train_locally
from bayescale.runners.sweeps.plan import Plan, load_plan
from bayescale.runners.sweeps.progress import Progress, Tally
from bayescale.runners.sweeps.ray_engine import check_cluster, train_on_ray
from bayescale.runners.training.ensembles import Ensemble

ENGINES = ("local", "ray")
SHOWN = 5  # settings of groups that failed
TRAINED_WITH = ("torch", "gymnasium", "threadpoolctl")  # what the extra `runners` must bring


class SweepInterrupted(BayeScaleError):
    """Ctrl-C ended the sweep; all that it had finished is kept."""

    exit_code = 130


def run_sweep(
    plan: Plan | str | Path,
    out: str | Path,
    resume: bool = False,
    workers: int | None = None,
    engine: str = "local",
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_minutes: float = 10.0,
    address: str | None = None,
) -> Path:
    """Path of the learning-curve table of the plan, `out`/curves.parquet, after all runs have finished.

    The table does not depend on the engine, the number of workers, the order in which runs finish, or interruptions:
    which runs train together is a matter of the plan alone, and a group that was not finished goes on from its
    checkpoint, or is trained again.
    Workers are spawned: a script that calls this needs the guard `if __name__ == "__main__":`.

    Args:
        plan: the plan, or the path of its TOML file.
        out: folder for the results, see `bayescale.runners.sweeps.folder`; new, or of the same plan if `resume`.
        resume: keep the finished runs in `out` and do the others.
        workers: processes; by default one per core that this process may use, or that the cluster has.
        engine: "local", or "ray" for a Ray cluster, see `bayescale.runners.sweeps.ray_engine`.
        on_progress: called at the start, after evaluations and after each group.
        checkpoint_minutes: between checkpoints of a group that takes longer, from which it goes on after a kill; 0 for
            none. See `bayescale.runners.training.checkpoints`.
        address: of the Ray cluster; None for one that this process is connected to or Ray finds, or a new one on this
            machine; "local" for a new one, where this process is connected to none.

    Raises:
        InputError: a bad plan, folder, engine or number of workers, or a sweep at work there, before anything runs.
        MissingExtra: a package of the extra `runners`, or ray, is not installed.
        BayeScaleError: a worker ended by itself, some runs failed or were killed, of which it tells once the others are
            done, or none was evaluated; finished runs are kept.
        SweepInterrupted: Ctrl-C; finished runs are kept.
    """
    end_unguarded_worker()
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}; got '{engine}'. Leave it out for 'local'.")
    if address is not None and engine != "ray":
        raise InputError(f"address '{address}' is of a Ray cluster, and engine is '{engine}'. Set engine to 'ray'.")
    if not 0 <= checkpoint_minutes < math.inf:
        raise InputError(f"checkpoint_minutes must be 0 or more; got {checkpoint_minutes}. 10 is usual.")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}. Leave it out for one per core.")
    if engine == "ray":
        check_cluster(address)
    runs = (plan if isinstance(plan, Plan) else load_plan(plan)).runs
    check_tasks(runs)
    if engine == "local":
        check_devices(runs)
    out = Path(out)
    with open_folder(out, runs, resume) as groups:
        finished = {number for number in range(len(groups)) if read_group(out, number)}
        kept = out.absolute() if checkpoint_minutes else None
        waiting = [
            Task(number, group, kept and checkpoint_file(kept, number), 60.0 * checkpoint_minutes)
            for number, group in enumerate(groups)
            if number not in finished
        ]
        waiting.sort(key=lambda task: -work(task.group))  # longest first, so that no core idles at the last
        if waiting:
            _finish(out, groups, _train(waiting, workers, engine, address), Tally(groups, finished), on_progress)
        return merge_groups(out, groups)


def _finish(
    out: Path,
    groups: Sequence[Ensemble],
    training: Generator[Event, None, None],
    tally: Tally,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Keeps each group that training ends; what stops it, or fails, leaves the others and says how to go on."""
    failed: dict[int, str] = {}

    def report() -> None:
        if on_progress is not None:
            on_progress(tally.now())

    try:
        with closing(training) as events:
            report()
            for number, news in events:
                if isinstance(news, Trained):
                    write_group(out, number, news)
                    tally.finish(number)
                elif isinstance(news, Failed):
                    failed[number] = news.reason
                else:
                    tally.advance(number, news)
                report()
    except (BayeScaleError, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "it was interrupted" if interrupted else str(error).rstrip(".")
        raise (SweepInterrupted if interrupted else BayeScaleError)(
            f"the sweep in {out} stopped: {reason}. Finished runs are kept; continue with resume (--resume)."
        ) from None
    finally:
        remove_partial_files(out)
    if failed:
        raise BayeScaleError(
            f"{len(failed)} of {counted(len(groups), 'group')} of runs in {out} failed: "
            f"{_settings([groups[i] for i in failed])}. "
            f"The first said: {next(iter(failed.values()))}. The others are kept; resume (--resume) repeats these only."
        )


def _settings(groups: Sequence[Ensemble]) -> str:
    """Tasks and UTDs of the groups, the first few."""
    said = list(dict.fromkeys(f"{group[0].env_id} at utd {group[0].utd:g}" for group in groups))
    return ", ".join(said[:SHOWN]) + (f" and {len(said) - SHOWN} more" if len(said) > SHOWN else "")


def _train(
    waiting: Sequence[Task], workers: int | None, engine: str, address: str | None
) -> Generator[Event, None, None]:
    if engine == "ray":
        return train_on_ray(waiting, workers, address)
    return train_locally(waiting, workers)


def check_tasks(runs: Sequence[RunConfig]) -> None:
    """Nothing, if every task of the runs can be stepped as they step it; InputError or MissingExtra otherwise."""
    for package in TRAINED_WITH:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "runners")
    from bayescale.runners.suites.environments import check_task

    # A task may have one environment for one at a time and another for several, be they two or thousands.
    for task in dict.fromkeys(
        (run.suite, run.env_id, min(each, 2), run.action_repeat)
        for run in runs
        for each in (run.num_envs, run.evaluation_episodes)
    ):
        check_task(*task)


def check_devices(runs: Sequence[RunConfig]) -> None:
    """Nothing, if this machine has every device of the runs; InputError otherwise."""
    from bayescale.runners.devices import find_device

    for device in dict.fromkeys(run.device for run in runs):
        find_device(device)
