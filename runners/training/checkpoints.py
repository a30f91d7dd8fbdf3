"""Checkpoints: the whole state of an ensemble in one file, from which training goes on as if nothing had happened.

A file is used only by the same runs under the same versions, and only if its environments, led through the logged
actions once more, come to the same observations bit by bit; otherwise the ensemble is trained from the start. So the
curves are the same anyway. There are none of ensembles whose log of actions outgrows `logged_environments.MOST_BYTES`.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from bayescale.atomic_files import whole_file
from bayescale.runners.accounting import machine
from bayescale.runners.config import RunConfig


@dataclass
class Checkpoints:
    """Where the checkpoint of one ensemble is kept, and how often it is written: at evaluations, at most."""

    path: Path
    seconds: float  # between two at least
    _last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Whether it is time for another."""
        return time.monotonic() - self._last >= self.seconds

    def write(self, configs: Sequence[RunConfig], state: dict[str, Any]) -> None:
        """Replaces the checkpoint. One for which the disk has no room is left out: the one before stays.

        Args:
            configs: of the members.
            state: tensors, numbers, texts, and dicts of these.
        """
        try:
            self.path.parent.mkdir(exist_ok=True)
            with whole_file(self.path) as partial:
                torch.save({"of": _identity(configs), **state}, partial)
        except (OSError, RuntimeError):  # torch has its own words for a full disk
            pass
        self._last = time.monotonic()

    def read(self, configs: Sequence[RunConfig]) -> dict[str, Any] | None:
        """The state that was written last; None if there is none of these runs under these versions."""
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError):  # none, or damaged
            return None
        return saved if isinstance(saved, dict) and saved.get("of") == _identity(configs) else None


def _identity(configs: Sequence[RunConfig]) -> str:
    return json.dumps(
        [machine(configs[0].device), *({"algorithm": config.algorithm, **asdict(config)} for config in configs)]
    )
