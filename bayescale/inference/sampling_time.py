"""Estimate how long a sampling will take, and show how far it is."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import jax
import numpy as np
from jaxtyping import Array, Float

from bayescale.arguments import counted
from bayescale.inference.chains import OnProgress
from bayescale.progress_display import ProgressDisplay, duration

TIMED_GRADIENTS = 20
# HMC took 15 to 19 on the shipped Pendulum sweep and 22 on the published Gym sweep, NUTS 30 and 31.
GRADIENTS_PER_ITERATION = {"hmc": 20, "nuts": 30, "fast": 10}


def seconds_per_gradient(
    value_and_grad: Callable[[np.ndarray], tuple[Array, Array]], at: Float[np.ndarray, " dim"]
) -> float:
    """Return the mean time of a gradient on this machine."""
    jax.block_until_ready(value_and_grad(at))
    start = time.perf_counter()
    for _ in range(TIMED_GRADIENTS):
        jax.block_until_ready(value_and_grad(at))
    return (time.perf_counter() - start) / TIMED_GRADIENTS


def expected_time(gradient: float, method: str, *, chains: int, iterations: int, rounds: int) -> str:
    """Return a sentence about the time of a sampling.

    Args:
        gradient: seconds per gradient.
        method: "hmc", "nuts" or "fast".
        chains: number of chains; as many run at the same time as there are cores.
        iterations: iterations of each chain in the first round.
        rounds: most rounds.
    """
    one_after_another = -(-chains // min(chains, os.cpu_count() or 1))
    seconds = one_after_another * iterations * GRADIENTS_PER_ITERATION[method] * gradient
    longer = f", up to {rounds} times as many draws if the chains need them" if rounds > 1 else ""
    amount = f"{counted(chains, 'chain')} of {iterations:,} iterations"
    return f"sampling: {amount} take about {duration(seconds)} here{longer}."


@contextmanager
def sampling_progress(shown: bool) -> Iterator[tuple[OnProgress, OnProgress]]:
    """Show progress on standard error; yield a function that advances it and one that adds to its total."""
    if not shown:
        yield (lambda _: None), (lambda _: None)
        return
    done, total, lock = 0, 0, Lock()

    def advance(iterations: int) -> None:
        nonlocal done
        with lock:
            done += iterations
            display.advance(min(done / max(total, 1), 1.0), f"sampling: {done:,} of {total:,} iterations")

    def expect(iterations: int) -> None:
        nonlocal total
        total += iterations

    with ProgressDisplay() as display:
        yield advance, expect
