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
        raise InputError(not_writable(out, error)) from None
    try:
        if _lock(descriptor, out):
            with suppress(OSError):  # a full disk
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(descriptor)


def check_unlocked(out: Path) -> None:
    """Raise InputError if another sweep is at work in the folder `out`; write nothing."""
    try:
        descriptor = os.open(out / LOCK, os.O_RDWR)
    except OSError:  # no sweep has begun there
        return
    try:
        _lock(descriptor, out)
    finally:
        os.close(descriptor)


def not_writable(out: Path, error: OSError) -> str:
    """Return the message about a folder that cannot be written."""
    return f"the folder {out} cannot be written ({error.strerror}). Correct its permissions or choose another."


def _lock(descriptor: int, out: Path) -> bool:
    """Lock the file; return False where the system has no locks.

    Raises:
        InputError: another sweep holds the lock.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 300).decode() or "another process"
        raise InputError(
            f"a sweep is at work in {out} ({holder}). Wait for it, end it, or choose a new folder."
        ) from None
    except OSError:  # a file system without locks
        return False
    return True
