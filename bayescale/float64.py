"""Run JAX in float64 inside the package, and leave the precision of the caller's JAX code alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def float64() -> Iterator[None]:
    """Trace and run JAX in float64 inside this block, or inside a function that carries this decorator.

    The setting holds for the current thread, so a function that runs in a thread pool needs the decorator too.
    Convert results to NumPy before the block ends: outside, JAX rounds its own float64 arrays to float32.
    """
    if hasattr(jax, "enable_x64"):
        with jax.enable_x64(True):
            yield
    else:  # JAX before 0.8
        from jax.experimental import enable_x64  # type: ignore[attr-defined]  # JAX after 0.8 lacks it

        with enable_x64():
            yield
