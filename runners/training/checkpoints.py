"""Checkpoints: the whole state of an ensemble in one file, from which training continues as if never interrupted.

A file is used only for the same runs under the same versions. Its environments must also come to the same observations,
bit by bit, when they repeat the logged actions. Otherwise the ensemble is trained from the start, so the curves are the
same either way. An ensemble whose log of actions outgrows `logged_environments.MOST_BYTES` gets no checkpoints.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from bayescale.atomic_files import whole_file
from bayescale.errors import BayeScaleError, InputError
from bayescale.runners.accounting import machine
from bayescale.runners.config import RunConfig


class TrainingInterrupted(BayeScaleError):
    """Training ended between two env steps because it was asked to; the last checkpoint is written."""


@dataclass
class Checkpoints:
    """The file of one ensemble's checkpoint, and when to write it: after evaluations, and when training must end."""

    path: Path
    seconds: float  # least time between two writes
    must_end: Callable[[], bool] = field(default=lambda: False)  # asked before each env step; True ends training
    _last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Return whether it is time for another checkpoint."""
        return self.must_end() or time.monotonic() - self._last >= self.seconds

    def write(self, configs: Sequence[RunConfig], state: dict[str, Any]) -> None:
        """Replace the checkpoint; if the disk has no room, keep the old one.

        Args:
            configs: the settings of the members.
            state: tensors, numbers, texts, and lists and dicts of these.
        """
        try:
            self.path.parent.mkdir(exist_ok=True)
            with whole_file(self.path) as partial:
                torch.save({"of": _identity(configs), **state}, partial)
        except (OSError, RuntimeError):  # torch raises RuntimeError on a full disk
            pass
        self._last = time.monotonic()

    def read(self, configs: Sequence[RunConfig]) -> dict[str, Any] | None:
        """Return the training state that was saved last, or None.

        None means that no state was saved for these runs with the installed versions of the package and its libraries.

        Raises:
            InputError: this user may not read the file.
        """
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except PermissionError as error:
            raise InputError(
                f"{self.path} cannot be read ({error.strerror}). Correct its permissions, or delete it: its runs then "
                "start again."
            ) from None
        except (OSError, RuntimeError, EOFError, UnpicklingError):  # the file is missing or damaged
            return None
        return saved if isinstance(saved, dict) and saved.get("of") == _identity(configs) else None


def _identity(configs: Sequence[RunConfig]) -> str:
    return json.dumps([machine(configs[0].device), *(config.settings() for config in configs)])
