"""Train jobs in processes on this machine, each of which trains one job at a time."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from bayescale.errors import BayeScaleError
from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.checks import check_devices
from bayescale.runners.sweeps.jobs import Failed, Job, JobEvent, Trained, try_job

UNGUARDED = 88  # exit code of a worker whose script would begin the sweep anew
# Workers that must end may take this long for a last checkpoint. Slurm and Kubernetes kill 30 s after their SIGTERM.
SECONDS_TO_END = 20.0


class LocalEngine:
    """Processes on this machine.

    Workers are spawned, so a script that starts a sweep needs the guard `if __name__ == "__main__":`. They end with
    the generator of `train`, after a last checkpoint of each job with checkpoints. They also end with this process,
    however it ends, then without a last checkpoint.
    """

    def check(self, runs: Sequence[RunConfig]) -> None:
        """Raise InputError unless this machine has every device of the runs."""
        check_devices(runs)

    def train(self, jobs: Sequence[Job], workers: int | None = None) -> Generator[JobEvent, None, None]:
        """Start the jobs in the order given and yield their news as it arrives.

        The job of a worker that is killed by a signal fails; a new worker replaces the dead one.

        Args:
            jobs: the jobs to train.
            workers: number of processes; None for one per core that this process may use.

        Raises:
            BayeScaleError: a worker exited without a signal, or the script has no guard.
        """
        waiting = list(reversed(jobs))
        pool: list[_Worker] = []
        try:
            pool.extend(_start_worker(waiting.pop()) for _ in range(min(workers or usable_cores(), len(waiting))))
            at_work = {worker.link: worker for worker in pool}
            while at_work:
                for link in wait(list(at_work)):
                    worker = at_work[link]  # type: ignore[index]  # `wait` returns some of the links it was given
                    news = _receive(worker)
                    yield JobEvent(worker.job.number, news)
                    if isinstance(news, Trained | Failed):
                        del at_work[worker.link]
                        if waiting:
                            worker = _next_worker(worker, waiting.pop(), pool)
                            at_work[worker.link] = worker
        finally:
            _end(pool)


@dataclass
class _Worker:
    process: SpawnProcess
    link: Connection
    job: Job


def _start_worker(job: Job) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    worker = _Worker(process, ours, job)
    _send_job(worker)
    return worker


def _next_worker(worker: _Worker, job: Job, pool: list[_Worker]) -> _Worker:
    """Give the job to the worker, or to a new one in the pool if this worker is dead; return the one that has it."""
    if worker.process.is_alive():
        worker.job = job
        _send_job(worker)
        return worker
    pool.remove(worker)
    pool.append(_start_worker(job))
    return pool[-1]


def _end(pool: Sequence[_Worker]) -> None:
    """End the workers; kill those that need longer than `SECONDS_TO_END`."""
    for worker in pool:
        worker.process.terminate()
    last_moment = time.monotonic() + SECONDS_TO_END
    for worker in pool:
        worker.process.join(max(0.0, last_moment - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from processes started in this block; the terminal sends it to all, and the parent alone answers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first start would run it, and its own start unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_job(worker: _Worker) -> None:
    """Send the worker its job; `_receive` reports a dead worker."""
    with suppress(ConnectionError):
        worker.link.send(worker.job)


def _receive(worker: _Worker) -> float | Trained | Failed:
    """Return the worker's next message, or Failed if a signal killed the worker."""
    try:
        message: float | Trained | Failed = worker.link.recv()
    except (EOFError, OSError):  # OSError: killed within a message
        worker.process.join()
        exit_code = worker.process.exitcode
        if exit_code == UNGUARDED:
            raise BayeScaleError(
                "workers run the script once more, which has no guard against it; put what it does under "
                '`if __name__ == "__main__":`'
            ) from None
        reason = f"a worker process died ({_exit_reason(exit_code)})"
        if exit_code is not None and exit_code < 0:
            return Failed(reason)
        raise BayeScaleError(reason) from None
    return message


def _exit_reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    cause = "; too little memory is a usual cause" if exit_code == -signal.SIGKILL else ""
    return f"signal {-exit_code}, {signal.Signals(-exit_code).name}{cause}"


def end_unguarded_worker() -> None:
    """Exit if this process is a worker that is still running its parent's script, which then lacks the guard."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # multiprocessing's own test for this
        sys.exit(UNGUARDED)


def _work(link: Connection) -> None:
    """Train the jobs that come through `link` until the parent process goes away or SIGTERM comes."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    request = _EndRequest()
    with suppress(EOFError, ConnectionError):
        while True:
            link.send(request.heed(link.recv(), link.send))


class _EndRequest:
    """The SIGTERM that asks this worker to end: at once, or after the last checkpoint of the job in training."""

    def __init__(self) -> None:
        self._came = self._may_wait = False
        signal.signal(signal.SIGTERM, self._hear)

    def heed(self, job: Job, on_progress: Callable[[float], None]) -> Trained | Failed:
        """Return what `try_job` returns, or end this process if the request came meanwhile."""
        self._may_wait = job.checkpoint is not None
        result = try_job(job, on_progress, lambda: self._came)
        self._may_wait = False
        if self._came:
            _end_by_sigterm()
        return result

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True
        if not self._may_wait:
            _end_by_sigterm()


def _end_by_sigterm() -> None:
    """End this process by SIGTERM, so that its parent sees how it ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
