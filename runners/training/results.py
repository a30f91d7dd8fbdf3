"""What comes of a run: its learning curve, its agent, and how it ended."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pandas as pd

from bayescale.runners.config import RunConfig

FLOPS_PER_PARAMETER_AND_SAMPLE = 10  # forward target 2, forward critic 2, backward 4, forward in the actor's loss 2


class RunStatus(Enum):
    """How a run ended; the value is the word in the manifest."""

    FINISHED = "finished"
    DIVERGED = "diverged"
    STOPPED = "stopped early"


@dataclass(frozen=True)
class RunResult:
    """The learning curve of one run, its agent, and how and where it ended."""

    curve: pd.DataFrame
    agent: Any  # what the algorithm's learner gives
    status: RunStatus
    env_steps: int
    gradient_updates: int
    update_flops: int  # of one update, in matrix products
    seconds: dict[str, float]  # of the whole ensemble, by what they went to, see `accounting.PARTS`
    machine_joules: float | None  # of all that ran on the machine meanwhile; None where it does not report them


def training_flops(model_size: int, batch_size: int, gradient_updates: int) -> float:
    """Training flops C = 10 N B u, for N = `model_size` critic parameters, batch size B and u updates.

    The count of Rybkin et al. (2025): critics and target only, without the actor's own network, acting and evaluation.
    """
    return float(FLOPS_PER_PARAMETER_AND_SAMPLE * model_size * batch_size * gradient_updates)


def run_key(config: RunConfig, model_size: int) -> dict[str, str | float | int]:
    """The columns that tell this run from others, in the order of a learning-curve table."""
    return {
        "suite": config.suite,
        "algorithm": config.algorithm,
        "env_id": config.env_id,
        "utd": float(config.utd),
        "batch_size": config.batch_size,
        "learning_rate": float(config.learning_rate),
        "model_size": model_size,
        "seed": config.seed,
    }
