"""The command line: `main` runs it.

Each command reads files, calls the public function of the same name and writes one file. Heavy imports wait inside the
functions, so that `bayescale --help` answers at once.

app           the application: its commands, exit codes and one-line errors
sweep         the command sweep
fit           the command fit
predict       the commands predict, performance and frontier
decide        the commands allocate, portfolio and next
check_design  the command check-design
compare       the command compare
report        the commands report and demo
options       options that several commands share
files         read and write the files that commands name
terminal      print messages, numbers, tables and progress
"""

from bayescale.cli.app import main

__all__ = ["main"]
