"""One sweep at a time in a folder: a lock of the operating system, which ends with the process, however it ends."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bayescale.errors import InputError

LOCK = "sweep.lock"  # stays in the folder: a file that is removed could be locked by one process and made by the next


@contextmanager
def sole_sweep(out: Path) -> Iterator[None]:
    """No other sweep begins or goes on in the folder `out`, which must exist, until the block is done.

    File systems without locks, and Windows, exclude nobody.

    Raises:
        InputError: another sweep is at work there, or the folder cannot be written.
    """
    try:
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)  # closed in spawned processes
    except OSError as error:
        raise InputError(f"the folder {out} cannot be written ({error.strerror}). Choose another.") from None
    try:
        _lock(descriptor, out)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, out: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 300).decode() or "another process"
        raise InputError(
            f"a sweep is at work in {out} ({holder}). Wait for it, end it, or choose a new folder."
        ) from None
    except OSError:
        return
    with suppress(OSError):  # a full disk
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
