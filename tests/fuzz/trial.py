"""Damage an artefact, read it, and judge the outcome."""

import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import BayeScaleError
from bayescale.posterior.posterior import Posterior
from bayescale.runners.sweeps.plan import Plan
from tests.fuzz.artefacts import Artefact
from tests.fuzz.damage import damage

PATIENCE = 300  # seconds after which a reader counts as hanging


class Hangs(BaseException):
    """A reader has not come back in time."""


def outcome(name: str, artefact: Artefact, seed: int) -> str:
    """Return "read" or "refused", or the sentences that say what is wrong with the outcome.

    Args:
        name: name of the artefact.
        artefact: its files and its reader.
        seed: seed of the damage.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        folder = top / "in"
        folder.mkdir()
        artefact.write(folder)
        said = [damage(folder, rng) for _ in range(rng.integers(1, 3)) if any(p.is_file() for p in folder.rglob("*"))]
        before = _files(top), _files(Path.cwd())
        with warnings.catch_warnings(), _guard():
            warnings.simplefilter("ignore")
            try:
                read = artefact.read(folder)
                problem = None if isinstance(read, pd.DataFrame | Plan | Posterior) else f"returned {type(read)}"
                verdict = "read"
            except BayeScaleError as error:
                problem, verdict = _problem(str(error), top), "refused"
            except (Exception, Hangs):
                problem, verdict = traceback.format_exc(limit=-4), "failed"
        if (_files(top), _files(Path.cwd())) != before:
            problem = f"{problem or ''} left files behind"
    return verdict if problem is None else f"{name}, seed {seed}, {' and '.join(said)}: {problem}"


def _problem(message: str, top: Path) -> str | None:
    """Return what an error message lacks, or None: it is one line, names the file or a flag, and ends as a sentence."""
    if "\n" in message or not message.endswith((".", "?")):
        return f"no sentence: {message!r}"
    if str(top) not in message and "--" not in message:
        return f"no file: {message!r}"
    return f"long: {message[:200]!r}" if len(message) > 1500 else None


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@contextmanager
def _guard() -> Iterator[None]:
    def expired(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
