"""Try damaged files without end: `python -m tests.fuzz.long [--inputs 100000] [--first 1000] [--only NAME]`.

The script prints each outcome that is neither a table nor one sentence with the file and the remedy, and the seed that
makes it again. Its exit code is 1 if there are any.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter

from tests.fuzz.artefacts import artefacts
from tests.fuzz.trial import outcome


def main() -> int:
    """Run the trials and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="damaged inputs of all kinds together")
    parser.add_argument("--first", type=int, default=1000, help="first seed")
    parser.add_argument("--only", help="name of one kind")
    given = parser.parse_args()
    made = {name: one for name, one in artefacts().items() if given.only in (None, name)}
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        for number in range(given.inputs):
            name = list(made)[number % len(made)]
            verdict = outcome(name, made[name], given.first + number // len(made))
            known = verdict in ("read", "refused")
            found[verdict if known else "wrong"] += 1
            if not known:
                print(verdict, flush=True)
    print(", ".join(f"{verdict}: {count:,}" for verdict, count in sorted(found.items())))
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
