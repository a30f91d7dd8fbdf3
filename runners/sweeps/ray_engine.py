"""Groups of runs on a Ray cluster: one task per group, whose results are those of local processes on like machines.

Every node needs this version of bayescale with the extra `runners`; results come back to the driver, which alone writes
them, so that nodes need not share its disk. Ray gives the group of a node that died to another, which begins it again,
or goes on from its checkpoint where both see the folder of the sweep. There is no news of a group before it ends.
"""

import logging
import socket
from collections.abc import Generator, Sequence
from typing import Any

from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners.sweeps.jobs import Failed, Task, Trained, try_group
from bayescale.runners.sweeps.local_engine import Event

SECONDS_TO_ANSWER = 10.0
GPU_SHARE = 1 / 8  # of a GPU, for a group of runs on one: each keeps it busy while others step environments
TRIES_MORE = 5  # of a group whose worker or node dies, before the sweep stops


def check_cluster(address: str | None) -> None:
    """Nothing, if Ray is there and somebody listens at `address`; Ray itself would try for minutes.

    Raises:
        InputError: it is no address, or nobody does.
        MissingExtra: Ray is not installed.
    """
    try:
        import ray  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "ray", "ray") from None
    if address in (None, "auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and "/" not in host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(f"address must be HOST:PORT, ray://HOST:PORT, auto or local; got '{address}'. Correct it.")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at '{address}' ({error}). Start one or correct it.") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def train_on_ray(
    tasks: Sequence[Task], workers: int | None = None, address: str | None = None
) -> Generator[Event, None, None]:
    """What comes of the groups of the tasks, which are begun in the order given, as it comes.

    Args:
        tasks: what to train; each takes one core of a node, and of a GPU, if it is for one, `GPU_SHARE`.
        workers: groups under way at once; by default as many as the cluster has cores for.
        address: of the cluster: HOST:PORT, ray://HOST:PORT, auto for one that was started on this machine, or local for
            a new one there. None: the cluster that this process is connected to; else one that Ray finds, or a new one.

    Raises:
        InputError: Ray finds no cluster at `address`, or it has no GPU and some runs need one.
        BayeScaleError: a group's nodes died time and again.
    """
    import ray

    own = not ray.is_initialized()
    if own:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            place = "on this machine" if address in (None, "local") else f"at '{address}'"
            raise InputError(f"Ray has no cluster {place} ({_first_line(error)}). Start one by ray start.") from None
    on_cpu = ray.remote(num_cpus=1, max_retries=TRIES_MORE)(_train)
    on_gpu = on_cpu.options(num_gpus=GPU_SHARE)
    waiting, under_way = list(reversed(tasks)), dict[Any, Task]()
    try:
        if any(task.group[0].device != "cpu" for task in tasks) and not ray.cluster_resources().get("GPU"):  # type: ignore[no-untyped-call]
            raise InputError("device 'cuda' is on no node of the Ray cluster. Add one with a GPU, or leave device out.")
        while waiting or under_way:
            while waiting and (workers is None or len(under_way) < workers):
                task = waiting.pop()
                under_way[(on_cpu if task.group[0].device == "cpu" else on_gpu).remote(task)] = task
            (ended,), _ = ray.wait(list(under_way), num_returns=1)
            task = under_way.pop(ended)
            try:
                result: Trained | Failed = ray.get(ended)
            except ray.exceptions.RayError as error:
                raise BayeScaleError(f"Ray gave up a group of runs ({_first_line(error)})") from None
            yield task.number, result
    finally:
        for unfinished in under_way:
            ray.cancel(unfinished, force=True)
        if own:
            ray.shutdown()


def _train(task: Task) -> Trained | Failed:
    return try_group(task, lambda _share: None)
