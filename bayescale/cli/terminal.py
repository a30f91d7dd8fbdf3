"""Print messages, tables and the progress of a sweep. Rich is imported only where something is drawn."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bayescale.arguments import counted
from bayescale.progress_display import ProgressDisplay, duration, is_quiet

if TYPE_CHECKING:
    from bayescale.runners import Progress

PIPE_WIDTH = 10_000  # characters; a table that goes to a pipe or a file is never cut or wrapped


def say(line: str) -> None:
    """Print the line on standard error at once, so that standard output holds only the command's result.

    After `be_quiet(True)`, print nothing.
    """
    if is_quiet():
        return
    print(line, file=sys.stderr, flush=True)


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


class SweepDisplay(ProgressDisplay):
    """The progress of a sweep. Call it with each new `Progress`."""

    def __call__(self, progress: "Progress") -> None:
        """Show this state of the sweep."""
        done = progress.runs_done == progress.runs
        left = "" if progress.seconds_left is None or done else f", {duration(progress.seconds_left)} left"
        text = f"{progress.runs_done} of {counted(progress.runs, 'run')} after {duration(progress.seconds)}{left}"
        self.show(progress.share, text, seconds=progress.seconds, last=done)
