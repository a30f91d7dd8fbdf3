"""The settings of one run, a class per algorithm, checked when they are made; without torch, to be read anywhere.

`ALGORITHMS` holds the classes by name. `bayescale.runners.algorithms.learner` says how an algorithm is added.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import ClassVar

from bayescale.errors import InputError

SUITES = ("gym", "dmc", "playground")
DEVICE = re.compile(r"cpu|cuda(:\d+)?")
BEYOND_TABLES = 2**63  # whole numbers from here on
ROUNDED_UP = 1 + 2**-50  # 0.29 is stored as a little less, and 100 steps make 29 updates all the same


@dataclass(frozen=True)
class RunConfig:
    """One run: task, the scaled hyperparameters, seed, length, and what stays fixed over a sweep.

    Environment steps are the agent's decisions, wherever they are counted: with an `action_repeat` of k the simulator
    does k steps for each, and `utd`, `gamma` and all lengths are per decision. The reward of a decision is the sum of
    its steps', so returns stay in the task's units.
    """

    algorithm: ClassVar[str]
    own: ClassVar[tuple[str, ...]] = ("learning_rate", "seed", "gamma", "tau")  # may differ within an ensemble
    sized_by: ClassVar[tuple[str, ...]] = ("hidden_width", "depth")  # what the critics' size follows from, on a task
    num_envs = 1  # that a run acts in at once; an algorithm that takes many makes a field of it, and of the next
    n_step = 1  # steps of a return before its value is asked for

    env_id: str
    utd: float  # gradient updates per environment step, above or below 1
    batch_size: int
    learning_rate: float  # shared by all networks and the temperature
    seed: int
    env_steps: int
    suite: str = "gym"
    action_repeat: int = 1  # steps of the simulator per decision, fewer where the episode ends
    hidden_width: int = 256  # of the critics, and so the axis of model size
    depth: int = 2
    gamma: float = 0.99
    tau: float = 0.005  # target <- target + tau (critic - target) after every update
    warmup_steps: int = 1_000  # steps with uniform actions and no updates
    buffer_size: int = 1_000_000
    evaluation_interval: int = 1_000  # env steps between evaluations; step 0 and the last step are always evaluated
    evaluation_episodes: int = 10
    stop_return: float = (
        math.inf
    )  # end the run once this return is safely reached; see `bayescale.runners.training.stopping`
    stop_patience: int = 3  # evaluations
    device: str = "cpu"  # of networks and replay: "cpu", "cuda" or "cuda:NUMBER"; environments choose their own

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise InputError(
                f"suite must be one of {', '.join(SUITES)}; got '{self.suite}'. {closest(self.suite, SUITES)}"
            )
        if not DEVICE.fullmatch(self.device):
            raise InputError(f"device must be cpu, cuda or cuda:NUMBER; got '{self.device}'. Leave it out for cpu.")
        for name in ("utd", "learning_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be positive and finite; got {value}. Give a number such as 1 or 1e-3.")
        for name in (field.name for field in fields(self) if field.type is int):
            if name not in ("seed", "warmup_steps") and getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}. Raise it.")
        for name in ("gamma", "tau"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in (0, 1]; got {getattr(self, name)}. 0.99 and 0.005 are usual.")
        if math.isnan(self.stop_return):
            raise InputError("stop_return must be a number; got nan. Give a return, or leave it out for whole runs.")
        if not 0 <= self.seed < BEYOND_TABLES:
            raise InputError(f"seed must lie in [0, 2**63); got {self.seed}. Number the seeds from 0.")
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
        updates = (self.env_steps - self.warmup_steps) * self.utd
        if not 1 <= updates * ROUNDED_UP < BEYOND_TABLES:
            raise InputError(
                f"utd {self.utd} makes {updates:.3g} gradient updates of the env_steps after warmup_steps; a run takes "
                "from 1 to 2**63. Correct one of them."
            )
        for name in ("env_steps", "warmup_steps", "evaluation_interval"):
            value = getattr(self, name)
            if value % self.num_envs:
                raise InputError(
                    f"{name} {value} is not a multiple of num_envs {self.num_envs}, and all environments step "
                    f"together. Give {-(-value // self.num_envs) * self.num_envs}."
                )

    @property
    def gradient_updates(self) -> int:
        """Updates of the whole run."""
        return updates_due(self.env_steps, self.warmup_steps, self.utd)

    @property
    def working_floats(self) -> int:
        """About how many floats one member of an ensemble touches in an update, observations and actions left out."""
        raise NotImplementedError


@dataclass(frozen=True)
class SACConfig(RunConfig):
    """A run of soft actor-critic; `depth` counts hidden layers, of the actor and of each critic."""

    algorithm: ClassVar[str] = "SAC"

    @property
    def working_floats(self) -> int:
        """Activations and parameters.

        A member keeps the activations of two critics and their gradients, the actor's on two batches and their
        gradients on one, and of each network its parameters, their gradients and Adam's two moments, and the critics'
        targets.
        """
        hidden = self.depth * self.hidden_width
        activations = (2 + 2 + 2 + 1) * hidden * self.batch_size
        return activations + (2 * 5 + 4) * hidden * (self.hidden_width + 1)


@dataclass(frozen=True)
class BROConfig(RunConfig):
    """A run of BRO, with its authors' defaults; `hidden_width` and `depth` are width and blocks of the critics."""

    algorithm: ClassVar[str] = "BRO"
    sized_by: ClassVar[tuple[str, ...]] = (*RunConfig.sized_by, "quantiles")

    hidden_width: int = 512
    warmup_steps: int = 2_500
    actor_width: int = 256
    actor_depth: int = 1
    quantiles: int = 100  # of each critic
    weight_decay: float = 1e-4  # of AdamW, for actors and critics
    reset_interval: int = 2_500_000  # gradient updates between fresh starts of all networks and optimisers
    optimistic: bool = True  # a second actor explores

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay must be 0 or more; got {self.weight_decay}. 1e-4 is usual.")

    @property
    def working_floats(self) -> int:
        """Activations and parameters.

        Of every normalised layer a network keeps product, normal form and output, and three gradients beside them; of
        every parameter its gradient and the optimiser's two moments, and critics their targets.
        """
        critic_layers, actor_layers = 2 * self.depth + 1, 2 * self.actor_depth + 1
        actors = 2 if self.optimistic else 1
        critic_row = (3 * critic_layers + 3) * self.hidden_width + 5 * self.quantiles
        actor_row = (3 * actor_layers + 3) * self.actor_width
        critic_parameters = 2 * self.depth * self.hidden_width**2 + self.hidden_width * self.quantiles
        actor_parameters = 2 * self.actor_depth * self.actor_width**2
        activations = (2 * critic_row + actors * actor_row) * self.batch_size
        return activations + 2 * 5 * critic_parameters + actors * 4 * actor_parameters


@dataclass(frozen=True)
class PQLConfig(RunConfig):
    """A run of PQL, with its authors' defaults; `depth` counts hidden layers, of the actor and of each critic.

    Their batch size is 8,192 and their learning rate 5e-4. Eight critic updates per step of all environments are a UTD
    of 8 / num_envs.
    """

    algorithm: ClassVar[str] = "PQL"

    depth: int = 3
    tau: float = 0.05
    warmup_steps: int = 32 * 4_096  # 32 of each environment
    buffer_size: int = 5_000_000
    evaluation_interval: int = 100 * 4_096
    num_envs: int = 4_096
    n_step: int = 3
    critic_actor_ratio: int = 2  # updates of the critics per update of the actor
    noise_low: float = 0.05  # standard deviation of exploration in the first environment
    noise_high: float = 0.8  # and in the last
    target_noise: float = 0.8  # standard deviation of the noise on the target's actions, before it is cut
    target_noise_bound: float = 0.2
    weight_decay: float = 0.01  # of AdamW
    gradient_norm: float = 0.5  # at most, of both critics' gradients together and of the actor's

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise_low", "noise_high", "target_noise", "target_noise_bound", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"{name} must be 0 or more; got {value}. Leave it out for the authors' value.")
        if not self.gradient_norm > 0:
            raise InputError(f"gradient_norm must be positive; got {self.gradient_norm}. 0.5 is usual.")
        if self.num_envs > self.buffer_size:
            raise InputError(
                f"num_envs {self.num_envs} is larger than buffer_size {self.buffer_size}. Raise buffer_size."
            )
        if self.num_envs * self.n_step > self.warmup_steps:
            raise InputError(
                f"warmup_steps {self.warmup_steps} is less than n_step {self.n_step} times num_envs {self.num_envs}, "
                "so the first update would find no transitions. Raise warmup_steps."
            )

    @property
    def working_floats(self) -> int:
        """Activations of two critics and one actor, their gradients, and of each network what SAC keeps."""
        hidden = self.depth * self.hidden_width
        activations = (2 + 2 + 1 + 1) * hidden * self.batch_size
        return activations + (2 * 5 + 4) * hidden * (self.hidden_width + 1)


ALGORITHMS: dict[str, type[RunConfig]] = {config.algorithm: config for config in (SACConfig, BROConfig, PQLConfig)}


def updates_due(env_steps: int, warmup_steps: int, utd: float) -> int:
    """Gradient updates that must be done after `env_steps` steps: floor((env_steps - warmup_steps) utd), at least 0.

    That is of the decimal number or fraction that `utd` rounds.
    """
    return max(0, math.floor((env_steps - warmup_steps) * utd * ROUNDED_UP))


def closest(word: str, known: Iterable[str]) -> str:
    """A sentence that helps whoever misspelt one of the `known` words."""
    known = tuple(known)
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    return f"Did you mean '{by_folded[close[0]]}'?" if close else f"Choose among {', '.join(known)}."
