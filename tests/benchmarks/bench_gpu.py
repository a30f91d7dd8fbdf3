"""Compare the speed of the runners with their peers on one GPU; --only names single benchmarks.

Each benchmark prints one JSON object on a line. A rate is the difference between a long and a short line of
bench_training.py. Set-up, first steps and evaluations cancel in it; a line of ours includes them, and a peer's need
not. Sides are measured one after another. Each side is several processes that share the GPU: it updates the networks
of some processes while the cores step the environments of others. Each of our processes trains an ensemble, each
process of a peer one agent. rejax keeps its environments on the GPU too; it is one process with its best number of
seeds.

BENCH_PEERS is the Python of the peers; its torch and JAX must see the GPU.
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
LINE_SECONDS = 2.0  # difference between a long and a short line
SHORT = 64  # updates of each agent in a short line
SEEDS = (64, 256)  # numbers of seeds that rejax is tried with
SETTINGS = {"BENCH_DEVICE": "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Bench(NamedTuple):
    """Two sides of bench_training.py and the width of their networks."""

    ours: str
    peer: str
    width: int
    members: int  # members per ensemble of ours


BENCHES = {
    f"runner-sac-h{width}{suffix}": Bench("bayescale", peer, width, members)
    for width, members in ((64, 32), (256, 16))
    for suffix, peer in {"": "stable-baselines3", "-sbx": "sbx", "-rejax": "rejax"}.items()
} | {
    "runner-bro": Bench("bayescale-bro", "plain-torch-bro", 256, 8),
    "runner-pql": Bench("bayescale-pql", "plain-torch-pql", 64, 8),
}


class Rate(NamedTuple):
    """Agent updates per second, and the number of agents that do them together."""

    updates: float
    agents: int


def main() -> None:
    """Print the line of each benchmark once it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES), metavar="NAME")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2), metavar="N")
    arguments = parser.parse_args()
    for name in arguments.only:
        print(json.dumps(compare(name, BENCHES[name], arguments.processes)), flush=True)


def compare(name: str, bench: Bench, processes: int) -> dict[str, object]:
    """Return the line of a benchmark, including the number of our agents that trained at once."""
    ours = rate(sys.executable, bench.ours, bench.width, processes, bench.members)
    try:
        theirs, peer = peer_rate(bench.peer, bench.width, processes)
    except (OSError, RuntimeError) as error:
        return {"bench": name, "peer": bench.peer, "error": f"the peer does not run: {error}"}
    return result(name, ours.updates, theirs.updates, "agent-updates/s", peer) | {"members": ours.agents}


def peer_rate(peer: str, width: int, processes: int) -> tuple[Rate, str]:
    """Return a peer's rate and its name."""
    if peer == "rejax":
        best = max(rate(PEERS_PYTHON, peer, width, 1, seeds) for seeds in SEEDS)
        return best, f"rejax, {best.agents} seeds"
    python = sys.executable if peer.startswith("plain-torch") else PEERS_PYTHON
    return rate(python, peer, width, processes), f"{peer}, {processes} processes"


@cache
def rate(python: str, name: str, width: int, count: int, agents: int = 1) -> Rate:
    """Return the rate of `count` processes with `agents` agents each, the median over several long lines."""
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
    """Return the updates of each agent that take LINE_SECONDS longer than a short line."""
    updates, seconds = SHORT, 0.0
    while seconds < LINE_SECONDS / 4:
        updates *= 4
        seconds = ask(processes, str(updates)).seconds - short_seconds
    return SHORT + -(-round((updates - SHORT) * LINE_SECONDS / seconds) // SHORT) * SHORT


if __name__ == "__main__":
    main()
