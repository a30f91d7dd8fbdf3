"""The command that trains runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bayescale.outputs import check_folder


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
    size = describe(grid)
    print(f"{size.runs} runs, {size.env_steps:,} env steps, {size.gradient_updates:,} gradient updates", flush=True)
    if not dry_run:
        table = run_sweep(grid, out, resume, workers, engine, _show_progress if sys.stderr.isatty() else None)
        print(f"wrote {table}")


def _show_progress(done: int, total: int, seconds: float) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done} of {total} runs after {seconds:.0f} s", end=end, file=sys.stderr, flush=True)
