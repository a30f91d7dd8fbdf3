"""The command line: each command reads files, calls the public function of the same name and writes one file.

Nothing here computes. Heavy imports wait inside the commands, so that `bayescale --help` answers at once.
"""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bayescale.errors import BayeScaleError, Infeasible, InputError
from bayescale.options import (
    EnvStepPrice,
    FitFile,
    FlopPrice,
    ModelSize,
    ReturnScaleFile,
    Task,
    parse_thresholds,
    parse_utd,
    read_candidates,
    read_configs,
)
from bayescale.outputs import check_folder, check_output, written

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.allocation import Allocation
    from bayescale.posterior import Posterior

INTERNAL_ERROR = 1
BAD_USAGE = 2
INTERRUPTED = 130

# Typer raises click's usage errors and exports one of them; the others share its base class.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="bayescale",
    help="Predict how value-based deep RL scales, with calibrated uncertainty, from small sweeps.",
    epilog="Exit codes: 0 done, 2 bad usage or bad input, 3 not converged, 4 infeasible.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 bad usage or input, 3 not converged, 4 infeasible, 1 internal error, 130 interrupted.

    Args:
        arguments: what follows `bayescale` on the command line; None: those of this process.
    """
    try:
        command = typer.main.get_command(app)
        with command.make_context("bayescale", list(sys.argv[1:] if arguments is None else arguments)) as context:
            command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as done:
        return done.exit_code
    except _USAGE_ERROR as error:
        return _usage_error(cast(typer.BadParameter, error))
    except BayeScaleError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _say("interrupted; nothing was written.", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERNAL_ERROR
    except Exception as error:
        if os.environ.get("BAYESCALE_DEBUG"):
            raise
        name = type(error).__name__
        return _say(f"internal error: {name}: {error}; run with BAYESCALE_DEBUG=1 for the traceback.", INTERNAL_ERROR)
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        from bayescale import __version__

        print(f"bayescale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """The options that come before a command."""


@app.command()
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


@app.command()
def fit(
    curves: Annotated[list[str], typer.Argument(metavar="CURVES...", help="Files or globs: .csv, .csv.gz, .parquet.")],
    out: Annotated[Path, typer.Option(metavar="FIT.nc", help="The posterior to write.")],
    thresholds: Annotated[
        str | None, typer.Option(metavar="J,J,...", help="Increasing returns; default: ten, from the data.")
    ] = None,
    return_scale: ReturnScaleFile = None,
    reset_period: Annotated[
        float | None, typer.Option(metavar="UPDATES", help="Gradient updates between full resets of the agent, if any.")
    ] = None,
    chains: Annotated[int, typer.Option(min=1, help="Markov chains.")] = 4,
    draws: Annotated[int, typer.Option(min=1, help="Draws kept per chain.")] = 1000,
    warmup: Annotated[int, typer.Option(min=1, help="Adaptation iterations per chain.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampler.")] = 0,
    allow_unconverged: Annotated[
        bool, typer.Option("--allow-unconverged", help="Write draws that cannot be trusted too, and say so.")
    ] = False,
) -> None:
    """Fit the joint model to learning curves."""
    check_output(out, ".nc")
    levels = parse_thresholds(thresholds)
    import bayescale as bs

    table = bs.read_curves(*curves)
    crossings = bs.time_to_threshold(table, levels, return_scale, reset_period)
    posterior = bs.fit(crossings, seed, chains, draws, warmup, require_convergence=not allow_unconverged)
    with written(out) as partial:
        posterior.save(partial)
    print(_fit_summary(posterior))
    print(f"wrote {out}")


@app.command()
def predict(
    fit: FitFile,
    at: Annotated[
        Path, typer.Option(metavar="CONFIGS.csv", help="Columns env_id, utd, batch_size, learning_rate, [model_size].")
    ],
    out: Annotated[Path, typer.Option(metavar="PRED.csv", help="The table to write.")],
) -> None:
    """Predict the env steps until new runs reach each threshold."""
    check_output(out, ".csv")
    configs = read_configs(at)
    import bayescale as bs

    _write_csv(bs.load(fit).predict(configs), out)


@app.command()
def frontier(
    fit: FitFile,
    env: Task,
    threshold: Annotated[float, typer.Option(metavar="J", help="The return to reach.")],
    out: Annotated[Path, typer.Option(metavar="FRONTIER.csv", help="The table to write.")],
    utd: Annotated[
        str | None, typer.Option(metavar="LO:HI:N", help="N UTDs from LO to HI, evenly spaced in logs.")
    ] = None,
    model_size: ModelSize = None,
) -> None:
    """Tabulate data and compute over UTD, with bands."""
    check_output(out, ".csv")
    grid = parse_utd(utd)
    import bayescale as bs

    posterior = _load(fit, env)
    _write_csv(bs.frontier(posterior, env, threshold, grid, model_size).table(), out)


@app.command()
def allocate(
    fit: FitFile,
    env: Task,
    budget: Annotated[
        float | None, typer.Option(metavar="F", help="Reach the highest return within this budget.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(metavar="J", help="Reach this return at the least cost.")] = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    risk: Annotated[
        str,
        typer.Option(metavar="mean|cvar:A|prob:A", help="What counts over draws: mean, cvar:0.9, prob:0.9."),
    ] = "mean",
    model_size: ModelSize = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the choice here too.")] = None,
) -> None:
    """Choose what to run for a budget or for a return."""
    if (budget is None) == (threshold is None):
        raise InputError("allocate needs one of --budget and --threshold; give exactly one.")
    if budget is not None and not 0 < budget < math.inf:
        raise InputError(f"--budget must be finite and > 0; got {budget:g}. Correct it.")
    if out is not None:
        check_output(out, ".json")
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    choice = bs.allocate(_load(fit, env), env, budget, threshold, prices, risk, model_size)
    if out is not None:
        with written(out) as partial:
            partial.write_text(choice.to_json() + "\n", encoding="utf-8")
    print(_allocation_table(choice))
    if out is not None:
        print(f"wrote {out}")
    if not choice.feasible:
        raise Infeasible(
            f"the budget {budget:g} does not reach even return {choice.threshold:g} on {env}; "
            f"the cheapest choice, shown, costs {choice.budget['mean']:.3g} on average."
        )


@app.command("next")
def next_runs(
    fit: FitFile,
    candidates: Annotated[
        Path,
        typer.Option(metavar="CONFIGS.csv", help="Columns env_id, utd, batch_size, learning_rate, [env_steps]."),
    ],
    budget: Annotated[float, typer.Option(metavar="F", help="For all runs together.")],
    out: Annotated[Path, typer.Option(metavar="NEXT.csv", help="The table to write.")],
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="Most runs.")] = 8,
    env: Annotated[
        str | None, typer.Option(metavar="ENV", help="The task to decide about; default: those of the candidates.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="J", help="The return to decide about; default: the highest within reach.")
    ] = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated results.")] = 0,
) -> None:
    """Choose the runs that teach most for their cost."""
    if not 0 < budget < math.inf:
        raise InputError(f"--budget must be finite and > 0; got {budget:g}. Correct it.")
    check_output(out, ".csv")
    table = read_candidates(candidates)
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = _load(fit, *([env] if env else table["env_id"].unique()))
    _write_csv(bs.next_experiments(posterior, table, budget, n, env, threshold, prices, model_size, seed), out)


@app.command()
def compare(
    curves: Annotated[list[str], typer.Argument(metavar="CURVES...", help="Files or globs: .csv, .csv.gz, .parquet.")],
    leave_out: Annotated[
        str, typer.Option(metavar="WHAT", help="What is held out: utd-max, utd-min, utd-ends, task, seeds.")
    ],
    out: Annotated[Path, typer.Option(metavar="TABLE.csv", help="The table to write.")],
    thresholds: Annotated[
        str | None, typer.Option(metavar="J,J,...", help="Increasing returns; default: ten, from the data.")
    ] = None,
    return_scale: ReturnScaleFile = None,
    methods: Annotated[
        str | None,
        typer.Option(metavar="M,M,...", help="bayescale, complete-pooling, no-pooling, published, size-law; or all."),
    ] = None,
    give_back: Annotated[int, typer.Option(min=0, help="Runs of each held-out task to fit after all.")] = 0,
    reset_period: Annotated[
        float | None, typer.Option(metavar="UPDATES", help="Gradient updates between full resets of the agent, if any.")
    ] = None,
    chains: Annotated[int, typer.Option(min=1, help="Markov chains.")] = 4,
    draws: Annotated[int, typer.Option(min=1, help="Draws kept per chain.")] = 1000,
    warmup: Annotated[int, typer.Option(min=1, help="Adaptation iterations per chain.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of samplers and bootstraps.")] = 0,
) -> None:
    """Score every method on runs held out of its fit."""
    check_output(out, ".csv")
    levels = parse_thresholds(thresholds)
    import bayescale as bs
    from bayescale.compare import METHODS

    chosen = tuple(METHODS) if methods is None else tuple(methods.split(","))
    table = bs.compare(
        bs.read_curves(*curves), leave_out, levels, return_scale, chosen, give_back, reset_period,
        seed, chains, draws, warmup, _say_progress if sys.stderr.isatty() else None,
    )  # fmt: skip
    print(_comparison_table(table))
    _write_csv(table, out)


@app.command()
def report(
    fit: FitFile,
    out: Annotated[Path, typer.Option(metavar="report.html", help="The page to write.")],
    curves: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURVES", help="The fitted learning curves, to draw: a file or a quoted glob; repeatable."
        ),
    ] = None,
    return_scale: ReturnScaleFile = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
) -> None:
    """Write the fit and its figures as one HTML page."""
    check_output(out, ".html")
    import bayescale as bs

    posterior, prices = bs.load(fit), bs.Prices(flop=flop_price, env_step=env_step_price)
    table = bs.read_curves(*curves) if curves else None
    bs.report(posterior, out, table, prices, return_scale=return_scale, model_size=model_size)
    print(f"wrote {out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the posterior and the report.")] = Path(
        "bayescale-demo"
    ),
) -> None:
    """Run the whole chain on the sweep that ships with it."""
    check_folder(out)
    from bayescale.workflow import demo

    print(demo(out))


def _show_progress(done: int, total: int, seconds: float) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done} of {total} runs after {seconds:.0f} s", end=end, file=sys.stderr, flush=True)


def _load(fit: Path, *env_ids: str) -> "Posterior":
    """The posterior; a mistyped task would get the answer for a new one, so standard error says so."""
    import bayescale as bs

    posterior = bs.load(fit)
    for env_id in env_ids:
        if env_id not in posterior.tasks:
            print(f"note: no run of {env_id} was fitted; this is the prediction for a new task.", file=sys.stderr)
    return posterior


def _fit_summary(posterior: "Posterior") -> str:
    crossings, levels = posterior.crossings, posterior.thresholds
    runs = len(crossings) // len(levels)
    return (
        f"{runs} runs of {len(posterior.tasks)} tasks, {len(levels)} thresholds from {levels[0]:g} to {levels[-1]:g}, "
        f"{crossings['censored'].mean():.0%} of the crossings censored\n{posterior.status.value}"
    )


def _allocation_table(choice: "Allocation") -> str:
    setting = f"UTD {choice.utd:.3g}, batch size {choice.batch_size:.4g}, learning rate {choice.learning_rate:.3g}"
    lines = [
        f"{choice.env_id}, return {choice.threshold:g}: {setting}; chance of success {choice.p_success:.0%}",
        f"{'':10}{'mean':>11}{'5%':>11}{'50%':>11}{'95%':>11}",
    ]
    for name in ("env_steps", "flops", "budget", "regret"):
        summary = getattr(choice, name)
        lines.append(f"{name:10}" + "".join(f"{summary[key]:>11.3g}" for key in ("mean", "q05", "q50", "q95")))
    return "\n".join(lines)


def _say_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _comparison_table(table: "pd.DataFrame") -> str:
    names = ("coverage90", "wis", "male", "log_score", "width90", "weight")
    lines = [f"{'method':18}{'observations':>13}" + "".join(f"{name:>11}" for name in names)]
    for row in table.to_dict("records"):
        numbers = "".join(f"{row[name]:>11.3f}" for name in names)
        note = f"  ({row['note']})" if row["note"] else ""
        lines.append(f"{row['method']:18}{row['observations']:>13}{numbers}{note}")
    return "\n".join(lines)


def _write_csv(table: "pd.DataFrame", path: Path) -> None:
    with written(path) as partial:
        table.to_csv(partial, index=False)
    print(f"wrote {path}")


def _usage_error(error: typer.BadParameter) -> int:
    command = error.ctx.command_path if error.ctx else "bayescale"
    message = " ".join(error.format_message().split()).rstrip(".")
    return _say(f"{message} (see '{command} --help').", BAD_USAGE)


def _say(message: str, exit_code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
