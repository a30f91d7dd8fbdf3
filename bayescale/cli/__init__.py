"""The command line: `main` runs it.

Each command reads files, calls the public function of the same name and writes one file. Heavy imports wait inside the
functions, so that `bayescale --help` answers at once.

app           the application: its commands, exit codes and one-line errors
fit           fit
predict       predict, performance and frontier
decide        allocate, portfolio and next
sweep         sweep
check_design  check-design
compare       compare
report        report and demo
files         read and write the files that commands name
options       options that several commands share
progress      progress lines
"""

from bayescale.cli.app import main

__all__ = ["main"]
