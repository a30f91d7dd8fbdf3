"""The settings of one run: one class per algorithm, which checks its values when an object is made.

`ALGORITHMS` is the dict of these classes by name. This module imports no torch, so that plans can be read without it.
To add an algorithm, see `bayescale.runners.algorithms.learner`.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

from bayescale.errors import InputError

SUITES = ("gym", "dmc", "playground")
DEVICE = re.compile(r"cpu|cuda(:\d+)?")
BEYOND_TABLES = 2**63  # tables hold integers below this
ROUNDED_UP = 1 + 2**-50  # floats lie a little below decimals such as 0.29; with this factor 100 steps make 29 updates


@dataclass(frozen=True)
class RunConfig:
    """Settings of one run: the task, the scaled hyperparameters, the seed, the length, and what a sweep keeps fixed.

    An env step is one decision of the agent. With an `action_repeat` of k the simulator does k steps per decision, and
    `utd`, `gamma` and all lengths count decisions. The reward of a decision is the sum over its simulator steps, so
    returns keep the task's units.

    Raises:
        InputError: a value is out of its range, or two values contradict each other.
    """

    algorithm: ClassVar[str]
    per_member: ClassVar[tuple[str, ...]] = ("learning_rate", "seed", "gamma", "tau")  # may differ within an ensemble
    critic_size_fields: ClassVar[tuple[str, ...]] = ("hidden_width", "depth")  # together with the task: model_size

    env_id: str
    utd: float  # gradient updates per env step
    batch_size: int
    learning_rate: float  # shared by all networks and the temperature
    seed: int
    env_steps: int
    suite: str = "gym"
    action_repeat: int = 1  # simulator steps per decision, fewer where the episode ends
    hidden_width: int = 256  # width of the critics, the axis of model size
    depth: int = 2  # hidden layers or blocks of the critics
    gamma: float = 0.99  # discount per env step
    tau: float = 0.005  # target <- target + tau (critic - target) after every update
    warmup_steps: int = 1_000  # env steps with uniform actions and no updates
    buffer_size: int = 1_000_000  # transitions
    evaluation_interval: int = 1_000  # env steps between evaluations; step 0 and the last step are always evaluated
    evaluation_episodes: int = 10
    stop_return: float = math.inf  # stop early at this return, see `bayescale.runners.training.stopping`
    stop_patience: int = 3  # evaluations
    device: str = "cpu"  # device of networks and replay: cpu, cuda or cuda:NUMBER; environments choose their own
    num_envs: int = field(default=1, init=False)  # parallel environments; 1 unless the algorithm makes it an argument
    n_step: int = field(default=1, init=False)  # steps of a return before the next value; 1 unless made an argument

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
        for name in (each.name for each in fields(self) if each.type is int):
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

    @classmethod
    def arguments(cls) -> tuple[Field[Any], ...]:
        """Return the fields that a plan can set."""
        return tuple(each for each in fields(cls) if each.init)

    def settings(self) -> dict[str, Any]:
        """Return the algorithm and the value of every argument, as files record them."""
        return {"algorithm": self.algorithm} | {each.name: getattr(self, each.name) for each in self.arguments()}

    @property
    def gradient_updates(self) -> int:
        """Number of gradient updates of the whole run."""
        return updates_due(self.env_steps, self.warmup_steps, self.utd)

    @property
    def working_floats(self) -> int:
        """Approximate number of floats that one member touches in an update, without observations and actions."""
        raise NotImplementedError


@dataclass(frozen=True)
class SACConfig(RunConfig):
    """Settings of a soft actor-critic run; `depth` counts the hidden layers of the actor and of each critic."""

    algorithm: ClassVar[str] = "SAC"

    @property
    def working_floats(self) -> int:
        """Approximate number of floats: activations plus parameters.

        Activations: two critics and their gradients, the actor on two batches and its gradients on one. Parameters:
        each network with its gradients and Adam's two moments, and the target critics.
        """
        hidden = self.depth * self.hidden_width
        activations = (2 + 2 + 2 + 1) * hidden * self.batch_size
        return activations + (2 * 5 + 4) * hidden * (self.hidden_width + 1)


@dataclass(frozen=True)
class BROConfig(RunConfig):
    """Settings of a BRO run with the authors' defaults; `hidden_width` and `depth` are width and blocks of critics."""

    algorithm: ClassVar[str] = "BRO"
    critic_size_fields: ClassVar[tuple[str, ...]] = (*RunConfig.critic_size_fields, "quantiles")

    hidden_width: int = 512
    warmup_steps: int = 2_500
    actor_width: int = 256
    actor_depth: int = 1
    quantiles: int = 100  # quantiles of the return per critic
    weight_decay: float = 1e-4  # decay in AdamW, for actors and critics
    reset_interval: int = 2_500_000  # gradient updates between fresh starts of all networks and optimisers
    optimistic: bool = True  # a second actor explores

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay must be 0 or more; got {self.weight_decay}. 1e-4 is usual.")

    @property
    def working_floats(self) -> int:
        """Approximate number of floats: activations plus parameters.

        Activations: product, normal form and output of every normalised layer, and three gradients per network.
        Parameters: each network with its gradients and AdamW's two moments, and the target critics.
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
    """Settings of a PQL run with the authors' defaults; `depth` counts the hidden layers of actor and critics.

    The authors use batch size 8,192, learning rate 5e-4 and eight critic updates per step of all environments, which is
    a UTD of 8 / num_envs.
    """

    algorithm: ClassVar[str] = "PQL"

    depth: int = 3
    tau: float = 0.05
    warmup_steps: int = 32 * 4_096  # 32 env steps per environment
    buffer_size: int = 5_000_000
    evaluation_interval: int = 100 * 4_096
    num_envs: int = 4_096
    n_step: int = 3
    critic_actor_ratio: int = 2  # updates of the critics per update of the actor
    noise_low: float = 0.05  # standard deviation of the exploration noise in the first environment
    noise_high: float = 0.8  # standard deviation of the exploration noise in the last environment
    target_noise: float = 0.8  # standard deviation of the noise on target actions, before clipping
    target_noise_bound: float = 0.2  # target noise is clipped to +- this
    weight_decay: float = 0.01  # decay in AdamW
    gradient_norm: float = 0.5  # largest gradient norm, for both critics together and for the actor

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
        """Approximate number of floats: two critics and one actor with gradients, and parameters as in SAC."""
        hidden = self.depth * self.hidden_width
        activations = (2 + 2 + 1 + 1) * hidden * self.batch_size
        return activations + (2 * 5 + 4) * hidden * (self.hidden_width + 1)


ALGORITHMS: dict[str, type[RunConfig]] = {config.algorithm: config for config in (SACConfig, BROConfig, PQLConfig)}


def updates_due(env_steps: int, warmup_steps: int, utd: float) -> int:
    """Return the gradient updates due after `env_steps` steps: floor((env_steps - warmup_steps) utd), at least 0.

    `utd` counts as the decimal number or fraction that the float approximates.
    """
    return max(0, math.floor((env_steps - warmup_steps) * utd * ROUNDED_UP))


def closest(word: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest of the `known` words, or lists all of them."""
    known = tuple(known)
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    return f"Did you mean '{by_folded[close[0]]}'?" if close else f"Choose among {', '.join(known)}."
