"""End a command with one line and exit code 130 when Ctrl-C or SIGTERM comes, at whatever moment it comes.

Python answers a signal by KeyboardInterrupt in the line that runs. Some lines lose it: a callback of the garbage
collector, such as JAX's, prints the exception and goes on; a compiled module that is being imported turns it into an
ImportError. `answer` therefore raises KeyboardInterrupt again until the command ends.

This module imports nothing heavy, so that the handlers stand before the imports of the command line begin.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple, NoReturn

INTERRUPTED = 130  # exit code
INTERRUPTED_LINE = "interrupted; no file is left half-written."
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C sends SIGINT; Slurm and Kubernetes send SIGTERM
SECONDS_BETWEEN_TRIES = 0.1
# A wrapper such as srun may pass on a Ctrl-C that the terminal has sent as well, so the second signal changes nothing.
SIGNALS_THAT_END_AT_ONCE = 3


class Outcome(NamedTuple):
    """The end of a command: its exit code, and its error if it has one."""

    exit_code: int
    error: str | None = None  # one sentence for standard error


def answer(command: Callable[[], Outcome], *, ends_process: bool) -> int:
    """Run the command, print its error, and return its exit code.

    If a signal came, the exit code is 130 whatever the command made of the signal.

    Args:
        command: runs the command; its own error with exit code 130 is kept.
        ends_process: whether the process has nothing to do afterwards. A command that a signal ended then ends the
            process too, and later signals end it silently.
    """
    outcome, signals = None, _Signals(ends_process)
    try:
        try:
            signals.hear()
            outcome = command()
        finally:
            signals.stop()
    except KeyboardInterrupt:  # no second one comes while this block runs
        signals.count = max(signals.count, 1)
        signals.stop()
    except BaseException:
        if not signals.count:
            raise
    if outcome is None or (signals.count and outcome.exit_code != INTERRUPTED):
        outcome = Outcome(INTERRUPTED, INTERRUPTED_LINE)
    if outcome.error is not None:
        print_line("error", outcome.error)
    if signals.count and ends_process:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the reader has closed the pipe
                stream.flush()
        os._exit(INTERRUPTED)  # Python's own end crashes where threads still compile for JAX
    return outcome.exit_code


def print_line(kind: str, message: str) -> None:
    """Print the message as one line on standard error, with its kind before it."""
    print(f"{kind}: {' '.join(message.split())}", file=sys.stderr)


class _Signals:
    """The signals that came during a command, and what they do."""

    def __init__(self, ends_process: bool) -> None:
        self.count = 0
        self._ends_process = ends_process
        self._before: dict[signal.Signals, Any] = {}  # the handlers to restore
        self._hooks = sys.excepthook, sys.unraisablehook
        self._over = False  # True once the command has ended
        self._sending = _thread.allocate_lock()
        self._sent = False  # True if `_send_again` sent the next signal

    def hear(self) -> None:
        """Let signals raise KeyboardInterrupt from now on, except those that the process ignores."""
        sys.excepthook = self._silenced(sys.excepthook)
        sys.unraisablehook = self._silenced(sys.unraisablehook)
        if threading.current_thread() is not threading.main_thread():  # Python handles signals in its main thread
            return
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                self._before[number] = before
                signal.signal(number, self._handle)

    def stop(self) -> None:
        """Restore the handlers; a second call changes nothing."""
        self._over = True
        with self._sending:  # after this block no signal is sent
            pass
        last = signal.SIG_IGN if self.count else signal.SIG_DFL  # the error line must still be printed
        for number, before in self._before.items():
            signal.signal(number, last if self._ends_process else before)
        if not self._ends_process:
            sys.excepthook, sys.unraisablehook = self._hooks

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._sent:
            self._sent = False
        else:
            self.count += 1
            if self.count == 1:
                # The class Thread takes locks that the interrupted line may hold.
                _thread.start_new_thread(self._send_again, (number, threading.get_ident()))
            if self.count == SIGNALS_THAT_END_AT_ONCE:
                _end_at_once()
        if not self._over and not _ending():
            raise KeyboardInterrupt

    def _send_again(self, number: int, main_thread: int) -> None:
        """Send the signal again and again until the command has ended."""
        while True:
            time.sleep(SECONDS_BETWEEN_TRIES)
            with self._sending:
                if self._over:
                    return
                self._sent = True
                if hasattr(signal, "pthread_kill"):
                    signal.pthread_kill(main_thread, number)  # also ends the wait for a lock or a process
                else:
                    _thread.interrupt_main(signal.Signals(number))

    def _silenced(self, hook: Callable[..., Any]) -> Callable[..., None]:
        """Return the hook made silent after a signal: what it would print follows from the signal."""

        def print_unless_interrupted(*arguments: Any) -> None:
            if not self.count:
                hook(*arguments)

        return print_unless_interrupted


def _ending() -> bool:
    """Return whether the main thread cleans up after a KeyboardInterrupt: a block that handles one is at work."""
    error, seen = sys.exception(), set[int]()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__context__
    return False


def _end_at_once() -> NoReturn:
    os.write(2, f"error: {INTERRUPTED_LINE}\n".encode())  # print could be at work in the interrupted line
    os._exit(INTERRUPTED)
