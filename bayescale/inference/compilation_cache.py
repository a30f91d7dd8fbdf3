"""Compiled code kept between processes, in the user's cache folder: a second fit of equal shapes starts at once.

BAYESCALE_CACHE names another folder, or is `off`. A folder that JAX was told of before is left alone. A cache that
cannot be kept, for want of a home folder or of room on the disk, costs a slower start and is not spoken of.
"""

import hashlib
import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax

VARIABLE = "BAYESCALE_CACHE"


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where compiled code is kept, one folder for each kind of processor; None if switched off or without a home.

    Args:
        environment: variables by name.
    """
    chosen = environment.get(VARIABLE, "")
    if chosen == "off":
        return None
    folder = chosen or f"{environment.get('XDG_CACHE_HOME') or '~/.cache'}/bayescale"
    if folder.split("/")[0] == "~":
        home = environment.get("HOME", os.path.expanduser("~"))  # noqa: PTH111  # '~' itself for a user without a home
        if home in ("", "~"):
            return None
        return Path(home, folder[2:]) / _processor()
    return Path(folder) / _processor()


def keep_compiled() -> None:
    """Tells JAX to keep compiled code, unless it was told of a folder, or the folder cannot be written to."""
    folder = cache_folder(os.environ)
    told = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # JAX adds its options at run time
    if folder is None or told:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # dozens of small ones add up to seconds
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")  # one for each


@contextmanager
def on_cpu() -> Iterator[None]:
    """JAX computes on the CPU here, even if there is a GPU, unless it was told to leave the CPU out.

    For chains, long sequences of small steps: an H100 was not done in 110 s with what its host did in 16.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        yield
        return
    with jax.default_device(cpu):
        yield


def _processor() -> str:
    """A name for this kind of processor: code compiled for one may not run on another that shares the folder."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
