"""Local processes, each training one group of runs at a time."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from bayescale.errors import BayeScaleError
from bayescale.runners.sweeps.jobs import Failed, Task, Trained, try_group

UNGUARDED = 88  # exit code of a worker that is to begin the sweep anew
Event = tuple[int, float | Trained | Failed]  # of a group, by number: the share of its steps done, or what came of it


@dataclass
class _Worker:
    process: SpawnProcess
    link: Connection
    task: Task


def train_locally(tasks: Sequence[Task], workers: int | None = None) -> Generator[Event, None, None]:
    """What happens to the groups of the tasks, which are begun in the order given, as it happens.

    Workers are spawned: a script that comes here needs the guard `if __name__ == "__main__":`. They end with the
    iterator, and with this process, however it ends. The group of one that is killed fails; another takes its place.

    Args:
        tasks: what to train.
        workers: processes; by default one per core that this process may use.

    Raises:
        BayeScaleError: a worker ended by itself, or the script has no guard.
    """
    waiting = list(reversed(tasks))
    pool: list[_Worker] = []
    try:
        pool.extend(_start_worker(waiting.pop()) for _ in range(min(workers or usable_cores(), len(waiting))))
        at_work = {worker.link: worker for worker in pool}
        while at_work:
            for link in wait(list(at_work)):
                worker = at_work[link]  # type: ignore[index]  # nothing but links was waited for
                news = _news(worker)
                yield worker.task.number, news
                if isinstance(news, Trained | Failed):
                    del at_work[worker.link]
                    if waiting:
                        worker = _next_worker(worker, waiting.pop(), pool)
                        at_work[worker.link] = worker
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.process.join()


def _start_worker(task: Task) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    worker = _Worker(process, ours, task)
    _send(worker)
    return worker


def _next_worker(worker: _Worker, task: Task, pool: list[_Worker]) -> _Worker:
    """The worker with the task, or a new one in the pool if it is dead."""
    if worker.process.is_alive():
        worker.task = task
        _send(worker)
        return worker
    pool.remove(worker)
    pool.append(_start_worker(task))
    return pool[-1]


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


def _send(worker: _Worker) -> None:
    """Hands the worker its task; a dead one is reported by `_news`."""
    with suppress(ConnectionError):
        worker.link.send(worker.task)


def _news(worker: _Worker) -> float | Trained | Failed:
    """The worker's next message, or that it was killed."""
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
    """Nothing, but the end of a worker that runs the script of its parent, which lacks the guard, to get ready."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # what multiprocessing itself goes by
        sys.exit(UNGUARDED)


def _work(link: Connection) -> None:
    """A worker: does the tasks that come through `link` until its parent goes away."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            link.send(try_group(link.recv(), link.send))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
