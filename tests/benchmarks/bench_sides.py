"""Start the sides of a training benchmark as processes, warm them up, and time their work; see bench_training.py."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

PEERS_PYTHON = os.environ.get("BENCH_PEERS", ".venv-bench/bin/python")


class Process(NamedTuple):
    """One process of a side and the file of its error output."""

    popen: subprocess.Popen[str]
    errors: IO[str]

    def answer(self) -> str:
        """Return the next line of output; raise RuntimeError with the last line of errors if the process ended."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(self.errors.read().strip().rpartition("\n")[2])
        return line.strip()


Side = list[Process]


@contextmanager
def side(python: str, name: str, width: int, settings: Mapping[str, str], count: int = 1) -> Iterator[Side]:
    """Yield `count` warmed-up processes of a side, started with the environment variables `settings`."""
    script = str(Path(__file__).with_name("bench_training.py"))
    with ExitStack() as stack:
        processes = []
        for _ in range(count):
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            popen = subprocess.Popen(
                [python, script, name, str(width)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | settings,
            )
            stack.enter_context(popen)
            stack.callback(popen.kill)
            processes.append(Process(popen, errors))
        for process in processes:
            while process.answer() != "ready":  # libraries may print lines first
                pass
        yield processes


class Done(NamedTuple):
    """The work that all processes of a side did together for one line, and its duration."""

    amount: float
    seconds: float


def ask(processes: Side, line: str = "") -> Done:
    """Send one line to each process and wait for all answers."""
    start = time.perf_counter()
    for process in processes:
        assert process.popen.stdin is not None
        process.popen.stdin.write(f"{line}\n")
        process.popen.stdin.flush()
    amount = sum(float(process.answer()) for process in processes)
    return Done(amount, time.perf_counter() - start)


def result(bench: str, ours: float, theirs: float, unit: str, peer: str) -> dict[str, object]:
    """Return the line of a benchmark."""
    values = {"bench": bench, "ours": float(f"{ours:.4g}"), "peer": peer, "theirs": float(f"{theirs:.4g}")}
    return {**values, "unit": unit, "ratio": float(f"{ours / theirs:.3g}")}
