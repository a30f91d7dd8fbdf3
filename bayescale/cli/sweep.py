"""The command that trains runs."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.arguments import counted
from bayescale.cli.options import EnvStepPrice, FlopPrice
from bayescale.data.output_files import check_folder

if TYPE_CHECKING:
    from bayescale.runners import Estimate, Progress

BAR = 30  # characters
SECONDS_BETWEEN_LINES = 60.0


def sweep(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="The grid of configurations, seeds and lengths.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the runs' files and the finished table.")],
    engine: Annotated[str, typer.Option(help="Where runs are trained: local or ray.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of the Ray cluster; local: a new one; default: any, or a new one."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a sweep that was stopped.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(metavar="N", min=0.0, help="Minutes between checkpoints of long runs; 0: none.")
    ] = 10.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and how long it would take; run nothing.")
    ] = False,
    hour_price: Annotated[
        float, typer.Option(metavar="PRICE", min=0.0, help="Price of an hour of this machine, for a dry run.")
    ] = 0.0,
    env_step_price: EnvStepPrice = 0.0,
    flop_price: FlopPrice = 0.0,
) -> None:
    """Train the runs of a plan; write their learning curves.

    \b
    algorithm = "SAC"              # or "BRO", "PQL", or a list
    suite = "gym"                  # or "dmc", "playground"
    env_id = "Pendulum-v1"         # or a list
    utd = [0.5, 1, 2]
    batch_size = [64, 128]
    learning_rate = [3e-4, 1e-3]
    seed = [0, 1, 2, 3]
    env_steps = 10_000
    hidden_width = 64              # or a list; and any setting of the algorithm
    """  # noqa: D301 - the backspace tells click to keep the lines as they are
    check_folder(out)
    from bayescale.runners import describe, estimate, load_plan, run_sweep

    grid = load_plan(plan)
    print(describe(grid), flush=True)
    if dry_run:
        print(_expected(estimate(grid, out, workers), hour_price, env_step_price, flop_price))
    else:
        table = run_sweep(grid, out, resume, workers, engine, ProgressDisplay(), checkpoint_minutes, address)
        print(f"wrote {table}")


def _expected(left: "Estimate", hour_price: float, env_step_price: float, flop_price: float) -> str:
    """What a dry run says beside the counts of the plan."""
    counts = f"{counted(left.env_steps, 'env step')}, {counted(left.gradient_updates, 'gradient update')}"
    spent = duration(left.training_seconds)
    lines = [
        f"to do: {counted(left.runs, 'run')} in {counted(left.groups, 'group')}, {counts}, {left.flops:.3g} flops",
        f"expected: {duration(left.seconds)} with {counted(left.workers, 'worker')}, {spent} of training",
    ]
    if hour_price or env_step_price or flop_price:
        lines.append(f"cost: {left.cost(hour_price, flop_price, env_step_price):,.4g}")
    return "\n".join(lines)


class ProgressDisplay:
    """Shows progress on standard error: a bar on a terminal, otherwise a line now and then."""

    def __init__(self) -> None:
        self._said_at = -math.inf

    def __call__(self, progress: "Progress") -> None:
        done = progress.runs_done == progress.runs
        left = "" if progress.seconds_left is None or done else f", {duration(progress.seconds_left)} left"
        text = f"{progress.runs_done} of {counted(progress.runs, 'run')} after {duration(progress.seconds)}{left}"
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
