"""What commands that take long say while they work."""

import sys


def say(line: str) -> None:
    """Shows the line on standard error, at once: what comes out of a command stays apart."""
    print(line, file=sys.stderr, flush=True)
