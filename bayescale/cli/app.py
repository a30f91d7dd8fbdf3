"""Register the commands, run one, and turn every exception into an exit code and one sentence."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from bayescale.cli.commands.check_design import check_design
from bayescale.cli.commands.compare import compare
from bayescale.cli.commands.decide import allocate, portfolio
from bayescale.cli.commands.doctor import doctor
from bayescale.cli.commands.fit import fit
from bayescale.cli.commands.import_curves import import_curves
from bayescale.cli.commands.next_runs import next_runs
from bayescale.cli.commands.predict import frontier, performance, predict
from bayescale.cli.commands.recommend import recommend
from bayescale.cli.commands.report import demo, report
from bayescale.cli.commands.sweep import plan, sweep
from bayescale.cli.interrupts import Outcome, answer, print_line
from bayescale.errors import BayeScaleError
from bayescale.progress_display import be_quiet, is_quiet

INTERNAL_ERROR = 1
BAD_USAGE = 2
COMPLETION = "_BAYESCALE_COMPLETE"  # variable by which a shell asks for completions

# Typer raises click's usage errors and exports one of them; the others share its base class.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="bayescale",
    help=(
        "Predict how value-based deep RL scales, with calibrated uncertainty, from small sweeps.\n\n"
        "`demo` shows the whole chain. Curves come from `sweep`, which trains the runs of a `plan`, from `import`, "
        "or from a table of your own. `fit` turns them into a file that `predict`, `performance`, `frontier`, "
        "`allocate`, `portfolio`, `next`, `recommend` and `report` read."
    ),
    epilog="Exit codes: 0 done, 2 bad usage or bad input, 3 not converged, 4 infeasible, 130 interrupted.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after `bayescale` on the command line; None takes them from this process, which then has
            nothing else to do.

    Returns:
        0 done, 1 internal error, 2 bad usage or bad input, 3 not converged, 4 infeasible, 130 interrupted.
    """
    return answer(lambda: run_command(arguments), ends_process=arguments is None)


def run_command(arguments: Sequence[str] | None) -> Outcome:
    """Run one command and return its exit code and error; see `main`."""
    try:
        command = typer.main.get_command(app)
        given = list(sys.argv[1:] if arguments is None else arguments)
        if COMPLETION in os.environ:  # the shell asks for the words that may come next
            command.main(given, prog_name="bayescale", standalone_mode=False)
        with warnings.catch_warnings(), command.make_context("bayescale", given) as context:
            warnings.showwarning = lambda message, *_: None if is_quiet() else print_line("warning", str(message))
            command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as done:
        return Outcome(done.exit_code)
    except _USAGE_ERROR as error:
        return Outcome(BAD_USAGE, _usage(cast(typer.BadParameter, error)))
    except BayeScaleError as error:
        return Outcome(error.exit_code, str(error))
    except BrokenPipeError:  # the program that reads our output, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Outcome(INTERNAL_ERROR)
    except Exception as error:
        if os.environ.get("BAYESCALE_DEBUG"):
            raise
        said = f"internal error: {type(error).__name__}: {error}; run with BAYESCALE_DEBUG=1 for the traceback."
        return Outcome(INTERNAL_ERROR, said)
    finally:
        be_quiet(False)
    return Outcome(0)


def _print_version(wanted: bool) -> None:
    if wanted:
        from bayescale import __version__

        print(f"bayescale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print results and errors only: no notes, warnings or progress. Goes before COMMAND."
        ),
    ] = False,
) -> None:
    """Take the options that come before a command."""
    be_quiet(quiet)


app.command()(plan)
app.command()(sweep)
app.command("import")(import_curves)
app.command()(fit)
app.command()(predict)
app.command()(performance)
app.command()(frontier)
app.command()(allocate)
app.command()(portfolio)
app.command("next")(next_runs)
app.command()(recommend)
app.command("check-design")(check_design)
app.command()(compare)
app.command()(report)
app.command()(demo)
app.command()(doctor)


def _usage(error: typer.BadParameter) -> str:
    command = error.ctx.command_path if error.ctx else "bayescale"
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message} (see '{command} --help')."
