"""Print messages, numbers, tables and the progress of a sweep. Rich is imported only where something is drawn."""

import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bayescale.arguments import counted

if TYPE_CHECKING:
    import rich.progress

    from bayescale.runners import Progress

PIPE_WIDTH = 10_000  # characters; a table that goes to a pipe or a file is never cut or wrapped
BAR_WIDTH = 30  # characters
SECONDS_BETWEEN_LINES = 60.0


def say(line: str) -> None:
    """Print the line on standard error at once, so that standard output holds only the command's result."""
    print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return the time in the unit that people would use: 50 s, 12 min, 3.4 h, 2.1 days."""
    for unit, size in (("days", 86_400), ("h", 3_600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def table_text(head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: Iterable[str] = ()) -> str:
    """Return a table in aligned columns: the first column and `text_columns` to the left, numbers to the right.

    A row may be shorter than the head; its last cells are then empty.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    left = {head[0], *text_columns}
    for name in head:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(width=width, markup=False, highlight=False, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


class ProgressDisplay:
    """The progress of a sweep on standard error: a bar on a terminal, otherwise a line every minute.

    Use it in a `with` statement and call it with each new `Progress`.
    """

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None
        self._last_line_at = -math.inf  # seconds since the sweep began

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
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

    def __call__(self, progress: "Progress") -> None:
        """Show this state of the sweep."""
        done = progress.runs_done == progress.runs
        left = "" if progress.seconds_left is None or done else f", {duration(progress.seconds_left)} left"
        text = f"{progress.runs_done} of {counted(progress.runs, 'run')} after {duration(progress.seconds)}{left}"
        if self._bar is not None:
            self._bar.update(self._job, completed=progress.share, description=text, refresh=True)
        elif done or progress.seconds - self._last_line_at >= SECONDS_BETWEEN_LINES:
            self._last_line_at = progress.seconds
            say(f"{progress.share:.0%}, {text}")
