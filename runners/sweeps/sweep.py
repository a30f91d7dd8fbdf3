"""Run a sweep: train all runs of a plan, keep a file per finished job, and resume after a kill at any point."""

import math
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bayescale.arguments import counted
from bayescale.atomic_files import remove_partial_files
from bayescale.errors import BayeScaleError, InputError
from bayescale.runners.sweeps.checks import check_tasks
from bayescale.runners.sweeps.folder import checkpoint_file, merge_jobs, open_folder, read_job, write_job
from bayescale.runners.sweeps.jobs import Engine, Failed, Job, JobEvent, Trained, floats_touched
from bayescale.runners.sweeps.local_engine import LocalEngine, end_unguarded_worker
from bayescale.runners.sweeps.plan import Plan, load_plan
from bayescale.runners.sweeps.progress import Progress, Tally
from bayescale.runners.sweeps.ray_engine import RayEngine
from bayescale.runners.training.ensembles import Ensemble

MOST_SHOWN = 5  # settings of failed jobs in one message


class SweepInterrupted(BayeScaleError):
    """Ctrl-C or SIGTERM ended the sweep; the results of all finished jobs are kept."""

    exit_code = 130


def run_sweep(
    plan: Plan | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    workers: int | None = None,
    engine: str = "local",
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_minutes: float = 10.0,
    address: str | None = None,
) -> Path:
    """Train all runs of the plan and return the path of their learning-curve table, `out`/curves.parquet.

    The table does not depend on the engine, the number of workers, the order in which runs finish, or interruptions.
    The plan alone decides which runs train together. A job that was interrupted continues from its checkpoint, or
    starts again without one.
    Workers are spawned: a script that calls this function needs the guard `if __name__ == "__main__":`.

    Args:
        plan: the plan, or the path of its TOML file.
        out: folder for the results, see `bayescale.runners.sweeps.folder`; a new one, or with `resume` one of the same
            plan.
        resume: keep the finished runs in `out` and train the others.
        workers: number of jobs under way at once; None for one per core that this process may use, or of the cluster.
        engine: "local", or "ray" for a Ray cluster, see `bayescale.runners.sweeps.ray_engine`.
        on_progress: called at the start, after each evaluation and after each job.
        checkpoint_minutes: the least time between checkpoints of a job, from which the job continues after a kill; 0
            for no checkpoints. See `bayescale.runners.training.checkpoints`.
        address: address of the Ray cluster, see `bayescale.runners.sweeps.ray_engine.RayEngine`.

    Raises:
        InputError: the plan, folder, engine, address or number of workers is not valid, or another sweep is at work in
            `out`; raised before anything runs.
        MissingExtra: a package of the extra `runners`, or ray, is not installed.
        BayeScaleError: a worker exited by itself, no run was evaluated, or some jobs failed (raised after all others
            have ended). Finished runs are kept.
        SweepInterrupted: Ctrl-C or, in the main thread, SIGTERM; finished runs are kept, and jobs under way on this
            machine write a last checkpoint.
    """
    end_unguarded_worker()
    engines: dict[str, Engine] = {"local": LocalEngine(), "ray": RayEngine(address)}
    if engine not in engines:
        raise InputError(f"engine must be one of {', '.join(engines)}; got '{engine}'. Leave it out for 'local'.")
    if address is not None and engine != "ray":
        raise InputError(f"address '{address}' is of a Ray cluster, and engine is '{engine}'. Set engine to 'ray'.")
    if not 0 <= checkpoint_minutes < math.inf:
        raise InputError(f"checkpoint_minutes must be 0 or more; got {checkpoint_minutes}. 10 is usual.")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}. Leave it out for one per core.")
    runs = (plan if isinstance(plan, Plan) else load_plan(plan)).runs
    check_tasks(runs)
    engines[engine].check(runs)
    out = Path(out)
    with open_folder(out, runs, resume) as ensembles, _interrupts_explained(out):
        finished = {number for number in range(len(ensembles)) if read_job(out, number)}
        kept = out.absolute() if checkpoint_minutes else None
        waiting = [
            Job(number, ensemble, kept and checkpoint_file(kept, number), 60.0 * checkpoint_minutes)
            for number, ensemble in enumerate(ensembles)
            if number not in finished
        ]
        waiting.sort(key=lambda job: -floats_touched(job.ensemble))  # longest first, so that all cores end together
        if waiting:
            events = engines[engine].train(waiting, workers)
            _keep_results(out, ensembles, events, Tally(ensembles, finished), on_progress)
        return merge_jobs(out, len(ensembles))


@contextmanager
def _interrupts_explained(out: Path) -> Iterator[None]:
    """Raise SweepInterrupted if Ctrl-C or SIGTERM ends this block; a handler of SIGTERM that the caller set stays."""
    main_thread = threading.current_thread() is threading.main_thread()  # Python handles signals there alone
    ours = main_thread and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    try:
        if ours:
            signal.signal(signal.SIGTERM, _interrupt)
        yield
    except KeyboardInterrupt:
        raise SweepInterrupted(_stopped(out, "it was interrupted")) from None
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end takes some seconds, which another SIGTERM must not disturb
    raise KeyboardInterrupt


def _stopped(out: Path, reason: str) -> str:
    return f"the sweep in {out} stopped: {reason}. Finished runs are kept; continue with resume (--resume)."


def _keep_results(
    out: Path,
    ensembles: Sequence[Ensemble],
    events: Generator[JobEvent, None, None],
    tally: Tally,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Write each finished job to `out` and report progress.

    Raises:
        BayeScaleError: the engine stopped, or some jobs failed; the message says how to continue.
    """
    failed: dict[int, str] = {}

    def report() -> None:
        if on_progress is not None:
            on_progress(tally.now())

    try:
        with closing(events):
            report()
            for number, news in events:
                if isinstance(news, Trained):
                    write_job(out, number, news)
                    tally.finish(number)
                elif isinstance(news, Failed):
                    failed[number] = news.reason
                else:
                    tally.advance(number, news)
                report()
    except BayeScaleError as error:
        raise BayeScaleError(_stopped(out, str(error).rstrip("."))) from None
    finally:
        remove_partial_files(out)
    if failed:
        said = (
            f"{len(failed)} of {counted(len(ensembles), 'job')} in {out} failed: "
            f"{_settings([ensembles[i] for i in failed])}. "
            f"The first error: {next(iter(failed.values()))}. Results of the other jobs are kept; resume (--resume) "
            "repeats only the failed ones."
        )
        if len(failed) < len(ensembles):
            said += f" If they fail again, fit and read_curves can take the others from {out / 'groups' / '*.parquet'}."
        raise BayeScaleError(said)


def _settings(ensembles: Sequence[Ensemble]) -> str:
    """Return the tasks and UTDs of the ensembles as text, at most `MOST_SHOWN` of them."""
    texts = list(dict.fromkeys(f"{ensemble[0].env_id} at utd {ensemble[0].utd:g}" for ensemble in ensembles))
    more = f" and {len(texts) - MOST_SHOWN} more" if len(texts) > MOST_SHOWN else ""
    return ", ".join(texts[:MOST_SHOWN]) + more
