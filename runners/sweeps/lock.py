"""Allow one sweep at a time in a folder, by a lock of the operating system that ends with its process."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bayescale.errors import InputError

# The file stays in the folder. If it were removed, one process could lock it while the next makes a new one.
LOCK = "sweep.lock"


@contextmanager
def sole_sweep(out: Path) -> Iterator[None]:
    """Exclude other sweeps from the folder `out`, which must exist, until the block is done.

    Windows, and file systems without locks, exclude nobody.

    Raises:
        InputError: another sweep is at work there, or the folder cannot be written.
    """
    try:
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)  # spawned processes do not inherit it
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
    except OSError:  # a file system without locks
        return
    with suppress(OSError):  # a full disk
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
