"""Train jobs on a Ray cluster; on like machines the results equal those of local processes.

Every node needs this version of bayescale with the extra `runners`. Results come back to the driver, which alone writes
them, so nodes need not share its disk. When a node dies, Ray gives its job to another node. That node starts the job
again, or continues from the job's checkpoint if both nodes see the folder of the sweep. A job sends no news before it
ends. When the sweep is interrupted, jobs on nodes that see its folder write a last checkpoint.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.jobs import Failed, Job, JobEvent, Trained, try_job

if TYPE_CHECKING:
    from ray import ObjectRef

SECONDS_TO_ANSWER = 10.0
GPU_SHARE = 1 / 8  # share of a GPU that one job takes: each job leaves the GPU idle while its environments step
SECONDS_TO_END = 20.0  # time for last checkpoints when the sweep must end
RETRIES = 5  # attempts more for a job whose worker or node dies, before the sweep stops


@dataclass(frozen=True)
class RayEngine:
    """A Ray cluster.

    Args:
        address: HOST:PORT, ray://HOST:PORT, "auto" for a cluster that was started on this machine, or "local" for a new
            one there. None: the cluster that this process is connected to; else one that Ray finds, or a new one.
    """

    address: str | None = None

    def check(self, runs: Sequence[RunConfig]) -> None:  # noqa: ARG002 - only a connected cluster knows its devices
        """Raise InputError unless the address is well formed and answers; Ray itself would try for minutes.

        Without an address, Ray takes the one in RAY_ADDRESS or the one of the cluster that was started last on this
        machine; it may have crashed, so that address is checked too.

        Raises:
            InputError: the address is not well formed, or no cluster answers there.
            MissingExtra: Ray is not installed.
        """
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "ray", "ray") from None
        if self.address not in (None, "auto"):
            _check_answers(self.address, "address", "Start one or correct it.")
        elif not ray.is_initialized():
            _check_known_address(self.address)

    def train(self, jobs: Sequence[Job], workers: int | None = None) -> Generator[JobEvent, None, None]:
        """Start the jobs in the order given and yield the result of each when it ends.

        Args:
            jobs: the jobs to train; each takes one core of a node, and `GPU_SHARE` of a GPU if its runs need one.
            workers: number of jobs under way at once; None for one per core of the cluster.

        Raises:
            InputError: Ray finds no cluster at the address, or it has no GPU and some runs need one.
            BayeScaleError: the nodes of a job died more than `RETRIES` times.
        """
        import ray

        connected_before = ray.is_initialized()
        if not connected_before:
            _connect(self.address)
        on_cpu = ray.remote(num_cpus=1, max_retries=RETRIES)(_train)
        on_gpu = on_cpu.options(num_gpus=GPU_SHARE)
        waiting = list(reversed(jobs))
        under_way: dict[ObjectRef[Trained | Failed], Job] = {}
        try:
            if any(job.ensemble[0].device != "cpu" for job in jobs) and not ray.cluster_resources().get("GPU"):  # type: ignore[no-untyped-call]
                raise InputError(
                    "device 'cuda' is on no node of the Ray cluster. Add one with a GPU, or leave device out."
                )
            while waiting or under_way:
                while waiting and (workers is None or len(under_way) < workers):
                    job = waiting.pop()
                    under_way[(on_cpu if job.ensemble[0].device == "cpu" else on_gpu).remote(job)] = job
                (ended,), _ = ray.wait(list(under_way), num_returns=1)
                job = under_way.pop(ended)
                try:
                    result: Trained | Failed = ray.get(ended)
                except ray.exceptions.RayError as error:
                    raise BayeScaleError(f"Ray gave up a job ({_first_line(error)})") from None
                yield JobEvent(job.number, result)
        finally:
            _end(list(under_way))
            if not connected_before:
                ray.shutdown()


def _end(unfinished: "list[ObjectRef[Trained | Failed]]") -> None:
    """Ask the jobs for a last checkpoint, then end those that need longer than `SECONDS_TO_END`."""
    import ray

    for job in unfinished:
        ray.cancel(job, force=False)
    if unfinished:
        with suppress(ray.exceptions.RayError, OSError):  # the cluster is gone
            _, unfinished = ray.wait(unfinished, num_returns=len(unfinished), timeout=SECONDS_TO_END)
    for job in unfinished:  # the others must not be forced: Ray aborts this process if their results are still arriving
        ray.cancel(job, force=True)


def _check_answers(address: str, name: str, remedy: str) -> None:
    """Raise InputError unless the address is "auto", "local", or one of a port that answers.

    Args:
        address: the address.
        name: where the address comes from, for the message.
        remedy: what to do if nothing answers.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and "/" not in host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(f"{name} must be HOST:PORT, ray://HOST:PORT, auto or local; got '{address}'. Correct it.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name with an impossible part
        at = f"'{address}'" if name == "address" else f"'{address}' ({name})"
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise InputError(f"no Ray cluster answers at {at}: {reason}. {remedy}") from None


def _check_known_address(address: str | None) -> None:
    """Check the address that Ray finds by itself, given None or "auto"."""
    if variable := os.environ.get("RAY_ADDRESS"):
        remedy = "Start one, or correct or unset the environment variable RAY_ADDRESS."
        _check_answers(variable, "RAY_ADDRESS", remedy)
    elif last := _last_cluster(address):
        remedy = "Ray takes it for running. Run `ray stop`, then start a cluster or leave address out."
        _check_answers(last, "the last cluster of this machine", remedy)


def _last_cluster(address: str | None) -> str | None:
    """Return the address that Ray takes for the running cluster of this machine, given None or "auto"; None if none."""
    try:  # Ray has no public function for this
        from ray._private.services import find_gcs_addresses
        from ray._private.utils import read_ray_address
    except ImportError:
        return None
    # Given "auto", Ray prefers a process that it sees.
    if address == "auto" and find_gcs_addresses():  # type: ignore[no-untyped-call]
        return None
    return read_ray_address() or None


def _connect(address: str | None) -> None:
    import ray

    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except SystemExit:  # Ray's own handler of SIGTERM
        raise KeyboardInterrupt from None
    except (OSError, RuntimeError, ValueError) as error:
        place = "on this machine" if address in (None, "local") else f"at '{address}'"
        raise InputError(f"Ray has no cluster {place} ({_first_line(error)}). Start one by ray start.") from None
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own handler would end this process without a word


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _train(job: Job) -> Trained | Failed:
    """Train the job in a worker of Ray; `ray.cancel` ends the job, after a last checkpoint if the job writes any."""
    if job.checkpoint is None or not job.checkpoint.parent.parent.is_dir():
        return try_job(job, lambda _share: None)
    must_end = threading.Event()
    before = signal.signal(signal.SIGINT, lambda _number, _frame: must_end.set())  # the signal of `ray.cancel`
    try:
        return try_job(job, lambda _share: None, must_end.is_set)
    finally:
        signal.signal(signal.SIGINT, before)
