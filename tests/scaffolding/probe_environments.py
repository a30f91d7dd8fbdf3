"""Small tasks with values known in closed form; importing this module registers them with Gymnasium."""

import dataclasses
import math
import os
import signal
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pandas as pd
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from bayescale.runners import run_ensemble
from bayescale.runners.config import RunConfig
from bayescale.runners.training.results import RunStatus

Observation = NDArray[np.float32]


class Outcome(NamedTuple):
    reward: float
    terminated: bool
    truncated: bool


class Probe(gymnasium.Env[Observation, NDArray[np.float32]]):
    """A task that observes its position; a subclass defines `start`, the first position, and `outcome`, one step."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    position = 0.0
    action = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.position = self.start()
        return np.array([self.position], np.float32), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.action = action.item()
        outcome = self.outcome()
        return np.array([self.position], np.float32), *outcome, {}

    def start(self) -> float:
        return 0.0

    def outcome(self) -> Outcome:
        raise NotImplementedError


class ConstantReward(Probe):
    """A task of one step with reward 1, then termination: Q = 1."""

    def outcome(self) -> Outcome:
        return Outcome(1.0, True, False)


class ObservedReward(Probe):
    """A task of one step that observes -1 or 1, pays the same reward and terminates: Q(s) = s."""

    def start(self) -> float:
        return float(self.np_random.choice((-1.0, 1.0)))

    def outcome(self) -> Outcome:
        return Outcome(self.position, True, False)


class DelayedReward(Probe):
    """A task of two steps, rewards 0 and 1, then termination: Q(1) = 1, Q(0) = gamma (1 + T H(1)) with entropy H."""

    def outcome(self) -> Outcome:
        at_end, self.position = self.position == 1.0, 1.0
        return Outcome(float(at_end), at_end, False)


class ActionReward(Probe):
    """A task of one step with reward -((a - 7)/5)^2: the optimum in [0, 10] is 7, which is 0.4 on [-1, 1]."""

    action_space = gymnasium.spaces.Box(0.0, 10.0, (1,), np.float32)

    def outcome(self) -> Outcome:
        return Outcome(-(((self.action - 7.0) / 5.0) ** 2), True, False)


class Truncated(Probe):
    """A task with reward 1 and truncation after every step: Q = (1 + gamma T H)/(1 - gamma) with entropy H."""

    def outcome(self) -> Outcome:
        return Outcome(1.0, False, True)


class Clock(Probe):
    """A task that observes a tenth of its step count and pays the step count as reward.

    An episode terminates from the third step on, after the first action of 0.5 or less.
    """

    steps = 0

    def start(self) -> float:
        self.steps = 0
        return 0.0

    def outcome(self) -> Outcome:
        self.steps += 1
        self.position = self.steps / 10
        return Outcome(float(self.steps), self.steps >= 3 and self.action <= 0.5, False)


def clocks_at_once(num_envs: int, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gymnasium.make("ProbeClock-v0")] * num_envs, autoreset_mode=mode)


class Failing(Probe):
    """A task of one step with reward 1; its tenth step raises while the environment variable PROBE_FAILS is set."""

    steps = 0

    def outcome(self) -> Outcome:
        self.steps += 1
        if self.steps == 10 and "PROBE_FAILS" in os.environ:
            raise ValueError("the simulator is down")
        return Outcome(1.0, True, False)


class Killed(Failing):
    """A task that kills its process at the step where `Failing` raises."""

    def outcome(self) -> Outcome:
        try:
            return super().outcome()
        except ValueError:
            os.kill(os.getpid(), signal.SIGKILL)
            raise


class Unseen(ConstantReward):
    """A task that observes NaN."""

    def start(self) -> float:
        return math.nan


gymnasium.register("ProbeClock-v0", entry_point=f"{__name__}:Clock", max_episode_steps=5)
for _probe in (ConstantReward, ObservedReward, DelayedReward, ActionReward, Truncated, Failing, Killed, Unseen):
    gymnasium.register(f"Probe{_probe.__name__}-v0", entry_point=f"{__name__}:{_probe.__name__}")


def trained_on(env_id: str, config: RunConfig, **changes: Any) -> list[tuple[Any, pd.DataFrame]]:
    """Return the agents of two seeds trained on a probe, each with its curve."""
    first = dataclasses.replace(config, env_id=env_id, **changes)
    results = run_ensemble([first, dataclasses.replace(first, seed=1)])
    assert [result.status for result in results] == [RunStatus.FINISHED] * 2
    return [(result.agent, result.curve) for result in results]
