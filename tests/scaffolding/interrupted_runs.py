"""Short runs that are killed during training and continue from a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bayescale.runners import RunConfig, run_ensemble
from bayescale.runners.training.checkpoints import Checkpoints
from bayescale.runners.training.results import RunResult

SMALL: dict[str, Any] = {
    "utd": 1.0, "batch_size": 16, "learning_rate": 1e-3, "seed": 0, "env_steps": 90, "hidden_width": 16,
    "warmup_steps": 20, "evaluation_interval": 30, "evaluation_episodes": 1,
}  # fmt: skip


class Killed(BaseException):
    """An exception that nothing catches, in place of a kill."""


def whole_and_resumed(
    configs: list[RunConfig], path: Path, killed_at: float = 0.5, spoil: Callable[[], None] = lambda: None
) -> tuple[list[RunResult], list[RunResult], list[float]]:
    """Return results without a kill, results after a kill and a resume, and the progress heard after the resume."""
    shares: list[float] = []

    def kill(share: float) -> None:
        if share > killed_at:
            raise Killed

    with pytest.raises(Killed):
        run_ensemble(configs, on_progress=kill, checkpoints=Checkpoints(path, seconds=0.0))
    spoil()
    whole = run_ensemble(configs)
    resumed = run_ensemble(configs, on_progress=shares.append, checkpoints=Checkpoints(path, seconds=1e9))
    return whole, resumed, shares


def assert_same(whole: list[RunResult], resumed: list[RunResult]) -> None:
    """Assert that curves, ends and agents of both lists are equal bit by bit."""
    for one, other in zip(whole, resumed, strict=True):
        pd.testing.assert_frame_equal(other.curve, one.curve, check_exact=True)
        assert (other.status, other.env_steps, other.gradient_updates) == (
            one.status,
            one.env_steps,
            one.gradient_updates,
        )
        for mine, theirs in zip(other.agent, one.agent, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
