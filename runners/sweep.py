"""A sweep: all runs of a plan in local processes, a file per finished run, resumable after a kill at any point."""

import importlib.util
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners.config import RunConfig
from bayescale.runners.ensembles import Ensemble, make_ensembles
from bayescale.runners.plan import Plan, load_plan
from bayescale.runners.run_files import finished_runs, merge_runs, open_folder, remove_partial_files, write_run

ENGINES = ("local",)
Progress = Callable[[int, int, float], None]  # runs done, runs in all, seconds since the start


class SweepInterrupted(BayeScaleError):
    """Ctrl-C ended the sweep; all that it had finished is kept."""

    exit_code = 130


def run_sweep(
    plan: Plan | str | Path,
    out: str | Path,
    resume: bool = False,
    workers: int | None = None,
    engine: str = "local",
    on_progress: Progress | None = None,
) -> Path:
    """Path of the learning-curve table of the plan, `out`/curves.parquet, after all runs have finished.

    The table does not depend on the number of workers, the order in which runs finish, or interruptions: which runs
    train together is a matter of the plan alone, and an ensemble that lost a run is trained again as a whole.
    Workers are spawned: a script that calls this needs the guard `if __name__ == "__main__":`.

    Args:
        plan: the plan, or the path of its TOML file.
        out: folder for the results; new, or of the same plan if `resume`.
        resume: keep the finished runs in `out` and do the others.
        workers: processes; by default one per core that this process may use.
        engine: "local".
        on_progress: called at the start and after each ensemble.

    Raises:
        InputError: a bad plan, folder, engine or number of workers, before anything runs.
        MissingExtra: torch or gymnasium is not installed.
        BayeScaleError: a worker was killed or failed; finished runs are kept.
        SweepInterrupted: Ctrl-C; finished runs are kept.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}; got '{engine}'. Leave it out for 'local'.")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}. Leave it out for one per core.")
    runs = (plan if isinstance(plan, Plan) else load_plan(plan)).runs
    _check_tasks(runs)
    out = Path(out)
    open_folder(out, runs, resume)
    finished = finished_runs(out, runs)
    unfinished = [ensemble for ensemble in make_ensembles(runs) if not finished.issuperset(ensemble)]
    waiting = sorted(unfinished, key=_updates)  # taken from the end: longest first, so that no core idles at the last
    if waiting:
        start, done = time.monotonic(), len(runs) - sum(map(len, waiting))

        def report(done_now: int) -> None:
            if on_progress is not None:
                on_progress(done + done_now, len(runs), time.monotonic() - start)

        _run_all(waiting, out, min(workers or _usable_cores(), len(waiting)), report)
    return merge_runs(out, runs)


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    link: Connection


def _updates(ensemble: Ensemble) -> int:
    return sum(run.gradient_updates for run in ensemble)


def _run_all(waiting: list[Ensemble], out: Path, workers: int, report: Callable[[int], None]) -> None:
    """Does all runs, taking ensembles from the end of `waiting`."""
    pool: list[_Worker] = []
    try:
        report(0)
        pool.extend(_start_worker(out) for _ in range(workers))
        done = 0
        at_work: dict[Any, tuple[_Worker, Ensemble]] = {}
        for worker in pool:
            at_work[worker.link] = (worker, waiting.pop())
            _send(*at_work[worker.link])
        while at_work:
            for link in wait(list(at_work)):
                worker, ensemble = at_work.pop(link)
                _receive(worker)
                done += len(ensemble)
                report(done)
                if waiting:
                    at_work[link] = (worker, waiting.pop())
                    _send(*at_work[link])
    except (BayeScaleError, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "it was interrupted" if interrupted else str(error).rstrip(".")
        raise (SweepInterrupted if interrupted else BayeScaleError)(
            f"the sweep in {out} stopped: {reason}. Finished runs are kept; continue with resume (--resume)."
        ) from None
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.process.join()
        remove_partial_files(out)


def _start_worker(out: Path) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(out, theirs), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started here never sees Ctrl-C, which reaches the whole group; the parent alone answers it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first start would run it, and its own start unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(worker: _Worker, ensemble: Ensemble) -> None:
    """Hands an ensemble to the worker; a dead one is reported by `_receive`."""
    with suppress(ConnectionError):
        worker.link.send(ensemble)


def _receive(worker: _Worker) -> None:
    """Waits for the worker's ensemble to end; a message is None for success, else what went wrong."""
    try:
        failure = worker.link.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        raise BayeScaleError(f"a worker process died ({_exit_reason(worker.process.exitcode)})") from None
    if failure is not None:
        raise BayeScaleError(failure)


def _exit_reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    cause = "; too little memory is a usual cause" if exit_code == -signal.SIGKILL else ""
    return f"signal {-exit_code}, {signal.Signals(-exit_code).name}{cause}"


def _work(out: Path, link: Connection) -> None:
    """A worker: does the ensembles that come through `link` until its parent goes away."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    while True:
        ensemble = link.recv()
        try:
            _run_and_write(out, ensemble)
        except BayeScaleError as error:
            link.send(str(error))
        except Exception as error:  # one sentence for the user instead of a traceback per worker
            link.send(f"a run failed with {type(error).__name__}: {error} (one of {ensemble})")
        else:
            link.send(None)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run_and_write(out: Path, ensemble: Ensemble) -> None:
    """Trains an ensemble and writes those of its runs that are not there yet."""
    from bayescale.runners.training import run_ensemble

    start = time.monotonic()
    results = run_ensemble(ensemble)
    shared = {
        "ensemble_size": len(ensemble),  # runs that share the wall-clock time
        "wall_clock_seconds": round(time.monotonic() - start, 3),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        **{package: version(package) for package in ("bayescale", "torch", "gymnasium", "numpy")},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    present = finished_runs(out, ensemble)
    for config, result in zip(ensemble, results, strict=True):
        if config not in present:
            ended = {
                "status": result.status.value,
                "env_steps": result.env_steps,
                "gradient_updates": result.gradient_updates,
            }
            write_run(out, config, result.curve, ended | shared)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _check_tasks(runs: tuple[RunConfig, ...]) -> None:
    for package in ("torch", "gymnasium"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "runners")
    from bayescale.runners.environments import check_task

    for suite, env_id in dict.fromkeys((run.suite, run.env_id) for run in runs):
        check_task(suite, env_id)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
