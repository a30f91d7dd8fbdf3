"""Keep what comes of each run: its evaluations, its learning curve, its agent, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.runners.config import RunConfig

FLOPS_PER_PARAMETER_AND_SAMPLE = 10  # 2 target forward, 2 critic forward, 4 backward, 2 in the actor update


class RunStatus(Enum):
    """The way in which a run ended; its value is the word in the manifest."""

    FINISHED = "finished"
    DIVERGED = "diverged"
    STOPPED = "stopped early"


@dataclass(frozen=True)
class RunResult:
    """The learning curve of one run, its agent, and how and where it ended."""

    curve: pd.DataFrame
    agent: Any  # a copy of the parameters, of the algorithm's own type
    status: RunStatus
    env_steps: int
    gradient_updates: int
    matrix_product_flops: int  # exact flops of the matrix products of one update
    seconds: dict[str, float]  # seconds of the whole ensemble by part, see `accounting.PARTS`
    machine_joules: float | None  # energy of everything that ran on the machine meanwhile; None if it is not reported


class Evaluation(NamedTuple):
    """The mean return of one member after so many env steps and updates; a row of its learning curve."""

    env_steps: int
    episode_return: float
    gradient_updates: int
    flops: float


class RunEnd(NamedTuple):
    """The way in which a run ended, and the env steps and updates it had done."""

    status: RunStatus
    env_steps: int
    gradient_updates: int


class MemberRecords:
    """The evaluations of every member of an ensemble so far, and the ends of the members that no longer train."""

    def __init__(self, members: int) -> None:
        self.alive = np.ones(members, np.bool_)
        self._evaluations: list[list[Evaluation]] = [[] for _ in range(members)]
        self._ends: dict[int, RunEnd] = {}

    def alive_members(self) -> list[int]:
        """Return the positions of the members that still train."""
        return np.flatnonzero(self.alive).tolist()

    def add_evaluation(self, member: int, evaluation: Evaluation) -> None:
        """Append an evaluation to the member's curve."""
        self._evaluations[member].append(evaluation)

    def returns(self, member: int) -> list[float]:
        """Return the mean returns of all evaluations of the member."""
        return [evaluation.episode_return for evaluation in self._evaluations[member]]

    def end(self, members: Sequence[int], end: RunEnd) -> None:
        """End the runs of these members."""
        self.alive[members] = False
        self._ends |= dict.fromkeys(members, end)

    def end_diverged(self, values: NDArray[np.floating], env_steps: int, gradient_updates: int) -> None:
        """End the runs of the members, along the first axis of `values`, that have a value that is not finite."""
        finite = np.isfinite(values)
        if finite.all():
            return
        diverged = self.alive & ~finite.reshape(len(finite), -1).all(axis=1)
        self.end(np.flatnonzero(diverged).tolist(), RunEnd(RunStatus.DIVERGED, env_steps, gradient_updates))

    def run_end(self, member: int) -> RunEnd | None:
        """Return how the member's run ended before its last step; None if it did not."""
        return self._ends.get(member)

    def curve(self, member: int, config: RunConfig, model_size: int) -> pd.DataFrame:
        """Return the member's learning curve with the columns of a learning-curve table."""
        curve = pd.DataFrame(self._evaluations[member], columns=list(Evaluation._fields))
        for position, (name, value) in enumerate(run_key(config, model_size).items()):
            curve.insert(position, name, value)
        return curve

    def to_json(self) -> dict[str, Any]:
        """Return all records as JSON values."""
        ends = {member: (end.status.value, *end[1:]) for member, end in self._ends.items()}
        return {"evaluations": self._evaluations, "ends": ends}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over records that `to_json` returned and JSON has kept."""
        self._evaluations = [[Evaluation(*row) for row in rows] for rows in saved["evaluations"]]
        self._ends = {int(i): RunEnd(RunStatus(status), *counts) for i, (status, *counts) in saved["ends"].items()}
        self.alive[list(self._ends)] = False


def training_flops(model_size: int, batch_size: int, gradient_updates: int) -> float:
    """Return the training flops C = 10 N B u of u gradient updates.

    The count follows Rybkin et al. (2025): critics and target, without the actor's parameters, acting and evaluation.

    Args:
        model_size: N, the number of critic parameters.
        batch_size: B, samples per update.
        gradient_updates: u.
    """
    return float(FLOPS_PER_PARAMETER_AND_SAMPLE * model_size * batch_size * gradient_updates)


def run_key(config: RunConfig, model_size: int) -> dict[str, str | float | int]:
    """Return the columns that identify a run, in the order of a learning-curve table."""
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
