"""Keep compiled code in the user's cache folder, so that a second fit with arrays of the same shapes starts at once.

The variable BAYESCALE_CACHE names another folder; `off` switches the cache off. A folder that the caller chose in JAX
stays in use. Without a home folder or room on the disk, fits start more slowly and no warning is given.
"""

import hashlib
import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

VARIABLE = "BAYESCALE_CACHE"


@contextmanager
def compiled_code_kept() -> Iterator[None]:
    """Keep the code that JAX compiles inside this block, or inside a function that carries this decorator.

    The first call switches JAX's cache on for the rest of the process. JAX warns of each entry that it cannot read or
    write; these warnings are ignored inside the block.
    """
    _switch_cache_on()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
        yield


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder for code compiled for this kind of processor; None if switched off or without a home folder.

    Args:
        environment: environment variables by name.
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


def _switch_cache_on() -> None:
    """Give JAX the cache folder, unless JAX has one already or the folder cannot be written to."""
    folder = cache_folder(os.environ)
    present = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # JAX adds its options at run time
    if folder is None or present:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # dozens of small ones add up to seconds
        reset_cache()  # JAX decides at its first compilation whether it has a cache, which may lie behind


def _processor() -> str:
    """Return a name for this kind of processor: code compiled for one may not run on another that shares the folder."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
