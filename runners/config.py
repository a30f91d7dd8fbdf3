"""The settings of one SAC run, checked when they are made; without torch, so that plans can be read anywhere."""

import math
from dataclasses import dataclass

from bayescale.errors import InputError


@dataclass(frozen=True)
class SACConfig:
    """One run: task, the three scaled hyperparameters, seed, length, and what stays fixed over a sweep."""

    env_id: str
    utd: float  # gradient updates per environment step, above or below 1
    batch_size: int
    learning_rate: float  # shared by actor, critics and temperature
    seed: int
    env_steps: int
    hidden_width: int = 256
    depth: int = 2  # hidden layers
    gamma: float = 0.99
    tau: float = 0.005  # target <- target + tau (critic - target) after every update
    warmup_steps: int = 1_000  # steps with uniform actions and no updates
    buffer_size: int = 1_000_000
    evaluation_interval: int = 1_000  # env steps between evaluations; step 0 and the last step are always evaluated
    evaluation_episodes: int = 10

    def __post_init__(self) -> None:
        for name in ("utd", "learning_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be positive and finite; got {value}. Give a number such as 1 or 1e-3.")
        for name in (
            "batch_size",
            "env_steps",
            "hidden_width",
            "depth",
            "buffer_size",
            "evaluation_interval",
            "evaluation_episodes",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}. Raise it.")
        for name in ("gamma", "tau"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in (0, 1]; got {getattr(self, name)}. 0.99 and 0.005 are usual.")
        if self.seed < 0:
            raise InputError(f"seed must not be negative; got {self.seed}. Number the seeds from 0.")
        if self.batch_size > self.buffer_size:
            raise InputError(
                f"batch_size {self.batch_size} is larger than buffer_size {self.buffer_size}. Raise buffer_size."
            )
        if self.batch_size > self.warmup_steps:
            raise InputError(
                f"batch_size {self.batch_size} is larger than warmup_steps {self.warmup_steps}, so the first update "
                "would find too few transitions. Raise warmup_steps."
            )
        if self.env_steps <= self.warmup_steps:
            raise InputError(
                f"env_steps {self.env_steps} does not exceed warmup_steps {self.warmup_steps}, so nothing would be "
                "learned. Raise env_steps."
            )

    @property
    def gradient_updates(self) -> int:
        """Updates of the whole run."""
        return updates_due(self.env_steps, self.warmup_steps, self.utd)


def updates_due(env_steps: int, warmup_steps: int, utd: float) -> int:
    """Gradient updates that must be done after `env_steps` steps: floor((env_steps - warmup_steps) utd), at least 0."""
    return max(0, math.floor((env_steps - warmup_steps) * utd))
