"""The command line: `main` runs it.

interrupts    end a command with one line when Ctrl-C or SIGTERM comes
app           the application: its commands, exit codes and one-line errors
commands      one file per command, or per few that belong together
options       options that several commands share
files         read and write the files that commands name
plan_outlook  say what planned runs can show, and when a fit expects them to cross its thresholds
terminal      print messages, numbers, tables and progress
"""

from collections.abc import Sequence

from bayescale.cli.interrupts import Outcome, answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as `bayescale.cli.app.main` does; signals are heard during imports."""

    def command() -> Outcome:
        from bayescale.cli.app import run_command

        return run_command(arguments)

    return answer(command, ends_process=arguments is None)


__all__ = ["main"]
