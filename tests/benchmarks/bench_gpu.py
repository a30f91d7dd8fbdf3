"""Speed of the runners beside their peers on one GPU: one JSON object per line, all or those that --only names.

Rates are between a short line and a long one (bench_training.py): set-up, first steps and evaluations, which a line of
ours holds and one of a peer need not, cancel. Sides are measured one after another. Each is so many processes that
share the GPU, which updates the networks of some while the cores step the environments of others: of ours an ensemble
each, of a peer an agent each. rejax, whose environments are on the GPU too, is one process with its best number of
seeds.
BENCH_PEERS is the Python of the peers, whose torch and JAX must see the GPU.
"""

import argparse
import json
import os
import statistics
import sys
from functools import cache
from typing import NamedTuple

from bench_sides import PEERS_PYTHON, Side, ask, result, side

REPEATS = 3
LINE_SECONDS = 2.0  # between a short line and a long one
SHORT = 64  # updates of each agent
SEEDS = (64, 256)  # of rejax
SETTINGS = {"BENCH_DEVICE": "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Bench(NamedTuple):
    """Which sides of bench_training.py, and at which width."""

    ours: str
    peer: str
    width: int
    members: int  # of each process of ours


BENCHES = {
    f"runner-sac-h{width}{suffix}": Bench("bayescale", peer, width, members)
    for width, members in ((64, 32), (256, 16))
    for suffix, peer in {"": "stable-baselines3", "-sbx": "sbx", "-rejax": "rejax"}.items()
} | {
    "runner-bro": Bench("bayescale-bro", "plain-torch-bro", 256, 8),
    "runner-pql": Bench("bayescale-pql", "plain-torch-pql", 64, 8),
}


class Rate(NamedTuple):
    """Agent updates per second, of so many agents together."""

    updates: float
    agents: int


def main() -> None:
    """Prints the lines as they are known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES), metavar="NAME")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2), metavar="N")
    arguments = parser.parse_args()
    for name in arguments.only:
        print(json.dumps(compare(name, BENCHES[name], arguments.processes)), flush=True)


def compare(name: str, bench: Bench, processes: int) -> dict[str, object]:
    """The line of a benchmark, with how many agents of ours trained at once."""
    ours = rate(sys.executable, bench.ours, bench.width, processes, bench.members)
    try:
        theirs, peer = peer_rate(bench.peer, bench.width, processes)
    except (OSError, RuntimeError) as error:
        return {"bench": name, "peer": bench.peer, "error": f"the peer does not run: {error}"}
    return result(name, ours.updates, theirs.updates, "agent-updates/s", peer) | {"members": ours.agents}


def peer_rate(peer: str, width: int, processes: int) -> tuple[Rate, str]:
    """A peer's rate, and its name."""
    if peer == "rejax":
        best = max(rate(PEERS_PYTHON, peer, width, 1, seeds) for seeds in SEEDS)
        return best, f"rejax, {best.agents} seeds"
    python = sys.executable if peer.startswith("plain-torch") else PEERS_PYTHON
    return rate(python, peer, width, processes), f"{peer}, {processes} processes"


@cache
def rate(python: str, name: str, width: int, count: int, agents: int = 1) -> Rate:
    """The rate of so many processes of a side, with so many agents each; the median of several long lines."""
    settings = SETTINGS | os.environ | {"BENCH_SEEDS": str(agents), "BENCH_MEMBERS": str(agents)}
    with side(python, name, width, settings, count) as processes:
        ask(processes, str(SHORT))
        short = ask(processes, str(SHORT))
        updates = long_line(processes, short.seconds)
        lines = [ask(processes, str(updates)) for _ in range(REPEATS)]
    more = [line.amount - short.amount for line in lines]
    rates = [amount / (line.seconds - short.seconds) for amount, line in zip(more, lines, strict=True)]
    return Rate(statistics.median(rates), round(more[0] / (updates - SHORT)))


def long_line(processes: Side, short_seconds: float) -> int:
    """Updates of each agent that take LINE_SECONDS more than a short line."""
    updates, seconds = SHORT, 0.0
    while seconds < LINE_SECONDS / 4:
        updates *= 4
        seconds = ask(processes, str(updates)).seconds - short_seconds
    return SHORT + -(-round((updates - SHORT) * LINE_SECONDS / seconds) // SHORT) * SHORT


if __name__ == "__main__":
    main()
