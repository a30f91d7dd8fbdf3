"""The sides of a training benchmark as processes that have warmed up and wait, see bench_training.py."""

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
    """One process and where it writes its errors."""

    popen: subprocess.Popen[str]
    errors: IO[str]

    def answer(self) -> str:
        """Its next line; RuntimeError with its last words where it ended instead."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(self.errors.read().strip().rpartition("\n")[2])
        return line.strip()


Side = list[Process]


@contextmanager
def side(python: str, name: str, width: int, settings: Mapping[str, str], count: int = 1) -> Iterator[Side]:
    """So many processes of a side, with these environment variables."""
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
            while process.answer() != "ready":  # libraries may print before
                pass
        yield processes


class Done(NamedTuple):
    """What all processes of a side did together for one line."""

    amount: float
    seconds: float


def ask(processes: Side, line: str = "") -> Done:
    """One line to each process."""
    start = time.perf_counter()
    for process in processes:
        assert process.popen.stdin is not None
        process.popen.stdin.write(f"{line}\n")
        process.popen.stdin.flush()
    amount = sum(float(process.answer()) for process in processes)
    return Done(amount, time.perf_counter() - start)


def result(bench: str, ours: float, theirs: float, unit: str, peer: str) -> dict[str, object]:
    """The line of a benchmark."""
    values = {"bench": bench, "ours": float(f"{ours:.4g}"), "peer": peer, "theirs": float(f"{theirs:.4g}")}
    return {**values, "unit": unit, "ratio": float(f"{ours / theirs:.3g}")}
