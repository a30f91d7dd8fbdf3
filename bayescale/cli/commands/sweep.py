"""Run the commands that explain a sweep plan and train its runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.arguments import counted, three_digits
from bayescale.cli.options import FlopPrice
from bayescale.cli.plan_outlook import outlook
from bayescale.cli.terminal import SweepDisplay, say
from bayescale.data.output_files import check_folder
from bayescale.errors import InputError
from bayescale.progress_display import duration

if TYPE_CHECKING:
    from bayescale.runners import Estimate


def plan(
    example: Annotated[
        bool, typer.Option("--example", help="Print a plan with every key explained; redirect it to a file and edit.")
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys of a plan: meaning, unit, default, how to choose.")
    ] = False,
    algorithm: Annotated[str, typer.Option(metavar="SAC|BRO|PQL", help="The algorithm that the plan trains.")] = "SAC",
    as_json: Annotated[bool, typer.Option("--json", help="With --keys: print a JSON object.")] = False,
) -> None:
    """Print a commented sweep plan, or the keys that a plan can have.

    `bayescale plan --example > plan.toml` writes a plan that `bayescale sweep plan.toml --out DIR` trains.
    """
    if example == keys:
        raise InputError("choose one of --example and --keys. --example prints a plan to start from.")
    if as_json and example:
        raise InputError("--json goes with --keys; a plan is TOML. Leave --json out.")
    from bayescale.runners.plan_keys import default_of, example_plan, keys_of, toml

    if example:
        print(example_plan(algorithm), end="")
        return
    documented = {
        name: {"meaning": key.meaning, "unit": key.unit, "default": default_of(algorithm, name), "choose": key.choose}
        for name, key in keys_of(algorithm).items()
    }
    if as_json:
        finite = {name: each | {"default": _jsonable(each["default"])} for name, each in documented.items()}
        print(json.dumps(finite, indent=2, allow_nan=False))
        return
    for name, each in documented.items():
        default = "required" if each["default"] is None else f"default {toml(each['default'])}"
        unit = f"; {each['unit']}" if each["unit"] else ""
        print(f"{name} ({default}{unit}): {each['meaning']}. {each['choose']}")


def sweep(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="The algorithm, task, configurations, seeds and run length.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files of the runs and for curves.parquet.")],
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Train on this machine (local) or on a Ray cluster (ray).")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster to join, as HOST:PORT; `local` starts a new one; default: join a running cluster, or "
            "start one.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a sweep that was interrupted, in the same DIR.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that train side by side; default: one per core.")
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(metavar="N", min=0.0, help="Minutes between checkpoints of long runs; 0 writes none.")
    ] = 10.0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Judge the plan and print how long it would take and how much disk it needs; train nothing.",
        ),
    ] = False,
    fit: Annotated[
        Path | None,
        typer.Option(
            metavar="FIT.nc", help="With --dry-run, say when this fit expects the runs to cross its thresholds."
        ),
    ] = None,
    hour_price: Annotated[
        float, typer.Option(metavar="PRICE", min=0.0, help="Price of one hour of this machine, for --dry-run.")
    ] = 0.0,
    env_step_price: Annotated[
        float, typer.Option("--env-step-price", metavar="PRICE", help="Price of one env step, for --dry-run.")
    ] = 0.0,
    flop_price: FlopPrice = 0.0,
) -> None:
    """Train the runs of a plan and write their learning curves.

    A plan looks like this; every list multiplies the number of runs:

    \b
    algorithm = "SAC"              # or "BRO", "PQL", or a list
    suite = "gym"                  # or "dmc", "playground"
    env_id = "Pendulum-v1"         # or a list
    utd = [0.5, 1, 2]              # gradient updates per env step
    batch_size = [64, 128]
    learning_rate = [3e-4, 1e-3]
    seed = [0, 1, 2, 3]
    env_steps = 10_000             # of each run
    hidden_width = 64              # or a list; and any setting of the algorithm
    """  # noqa: D301 - a backspace tells click to keep the lines of the plan
    check_folder(out)
    from bayescale.runners import describe, doubts, estimate, load_plan, run_sweep

    grid = load_plan(plan)
    print(describe(grid), flush=True)
    for doubt in doubts(grid):
        say(f"doubt: {doubt}")
    if dry_run:
        print(_expected(estimate(grid, out, workers=workers), hour_price, env_step_price, flop_price), flush=True)
        print("\n".join(outlook(grid.runs, fit)))
        return
    if fit is not None:
        raise InputError("--fit judges a plan, so it needs --dry-run; add it, or leave out --fit.")
    with SweepDisplay() as display:
        table = run_sweep(
            grid,
            out,
            resume=resume,
            workers=workers,
            engine=engine,
            on_progress=display,
            checkpoint_minutes=checkpoint_minutes,
            address=address,
        )
    print(f"wrote {table}")


def _expected(left: "Estimate", hour_price: float, env_step_price: float, flop_price: float) -> str:
    """Return the lines of a dry run that follow the description of the plan."""
    counts = f"{counted(left.env_steps, 'env step')}, {counted(left.gradient_updates, 'gradient update')}"
    flops = f"{three_digits(left.matrix_product_flops)} flops in matrix products"
    training = duration(left.training_seconds)
    lines = [
        f"to do: {counted(left.runs, 'run')} in {counted(left.jobs, 'job')}, {counts}, {flops}",
        f"expected: {duration(left.seconds)} with {counted(left.workers, 'worker')}, {training} of training",
        f"disk: {_size(left.result_bytes)} of results, up to {_size(left.checkpoint_bytes)} of checkpoints meanwhile",
    ]
    if hour_price or env_step_price or flop_price:
        lines.append(f"cost: {three_digits(left.cost(hour=hour_price, flop=flop_price, env_step=env_step_price))}")
    return "\n".join(lines)


def _size(count: int) -> str:
    """Return a number of bytes in the unit that people would use."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{three_digits(count / size)} {unit}"
    return f"{three_digits(count / 1e3)} kB"


def _jsonable(default: object) -> object:
    return "inf" if default == float("inf") else default
