"""Show the progress of long work on standard error. Rich is imported only where a bar is drawn."""

import math
import sys
import time
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import rich.progress

BAR_WIDTH = 30  # characters
SECONDS_BETWEEN_LINES = 60.0
SECONDS_IN_NOTEBOOKS = 5.0  # seconds from line to line below a cell, where a person waits

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def be_quiet(quiet: bool) -> None:
    """Show no progress from now on in this context, or show it again; the command line prints no notes then either."""
    _quiet.set(quiet)


def is_quiet() -> bool:
    """Return True after `be_quiet(True)`."""
    return _quiet.get()


def duration(seconds: float) -> str:
    """Return the time in the unit that people would use: 50 s, 12 min, 3.4 h, 2.1 days."""
    for unit, size in (("days", 86_400), ("h", 3_600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def in_notebook() -> bool:
    """Return True if this process runs the cells of a notebook."""
    return "ipykernel" in sys.modules


class ProgressDisplay:
    """A bar on a terminal; otherwise a line every minute, in a notebook every few seconds. Use it in a `with` block."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None
        self._start = time.monotonic()
        self._share_at_start = 0.0
        self._last_line = -math.inf  # seconds since the start
        self._quiet = False

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._quiet = is_quiet()  # other threads, which may call `show`, have a context of their own
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = BarColumn(BAR_WIDTH), TextColumn("{task.percentage:.0f}%, {task.description}")
            console = Console(stderr=True, markup=False, highlight=False)
            self._bar = Progress(*columns, console=console, auto_refresh=False)
            self._job = self._bar.add_task("starting", total=1.0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, share: float, text: str, *, seconds: float, last: bool = False) -> None:
        """Show the share of the work that is done, from 0 to 1, and a text.

        Args:
            share: share of the work.
            text: the state in words.
            seconds: time since the work began.
            last: True shows a line however short the time since the line before.
        """
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._job, completed=share, description=text, refresh=True)
        elif last or seconds - self._last_line >= (SECONDS_IN_NOTEBOOKS if in_notebook() else SECONDS_BETWEEN_LINES):
            self._last_line = seconds
            print(f"{share:.0%}, {text}", file=sys.stderr, flush=True)

    def advance(self, share: float, what: str) -> None:
        """Show a share of the work with the time that the rest will take at the pace so far.

        Args:
            share: share of the work that is done, from 0 to 1.
            what: the work in words.
        """
        seconds, done = time.monotonic() - self._start, share - self._share_at_start
        left = f", {duration(seconds * (1 - share) / done)} left" if done > 0 and share < 1 else ""
        self.show(share, f"{what}{left}", seconds=seconds)

    def set_pace(self, share: float) -> None:
        """Take the pace of the work from now on: what came before, such as compiling, will not come again.

        Args:
            share: share of the work that is done, from 0 to 1.
        """
        self._start, self._share_at_start, self._last_line = time.monotonic(), share, -math.inf
