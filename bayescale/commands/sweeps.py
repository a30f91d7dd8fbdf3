"""The command that trains runs."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.outputs import check_folder

if TYPE_CHECKING:
    from bayescale.runners.progress import Progress

BAR = 30  # characters
SECONDS_BETWEEN_LINES = 60.0


def sweep(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="The grid of configurations, seeds and lengths.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the runs' files and the finished table.")],
    engine: Annotated[str, typer.Option(help="Where runs are trained: local.")] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a sweep that was stopped.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
) -> None:
    """Train the runs of a plan; write their learning curves."""
    check_folder(out)
    from bayescale.runners import describe, load_plan, run_sweep

    grid = load_plan(plan)
    print(describe(grid), flush=True)
    if not dry_run:
        print(f"wrote {run_sweep(grid, out, resume, workers, engine, ProgressDisplay())}")


class ProgressDisplay:
    """Shows progress on standard error: a bar on a terminal, otherwise a line now and then."""

    def __init__(self) -> None:
        self._said_at = -math.inf

    def __call__(self, progress: "Progress") -> None:
        done = progress.runs_done == progress.runs
        left = "" if progress.seconds_left is None or done else f", {duration(progress.seconds_left)} left"
        text = f"{progress.runs_done} of {progress.runs} runs after {duration(progress.seconds)}{left}"
        if sys.stderr.isatty():
            filled = int(progress.share * BAR)
            bar = "#" * filled + "." * (BAR - filled)
            print(
                f"\r\x1b[K[{bar}] {progress.share:.0%}, {text}", end="\n" if done else "", file=sys.stderr, flush=True
            )
        elif done or progress.seconds - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = progress.seconds
            print(f"{progress.share:.0%}, {text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """As people say it: 50 s, 12 min, 3.4 h, 2.1 days."""
    for unit, size in (("days", 86_400), ("h", 3_600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
