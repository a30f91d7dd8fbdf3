"""Turn env steps into transitions over n steps.

The transition from step t spans k steps: k = n, or fewer if the episode ends before. Its reward is
r_t + gamma r_(t+1) + ... + gamma^(k-1) r_(t+k-1), its next observation is the one after these k steps, and its discount
is gamma^k, or 0 where the episode terminated. The transitions at the end of a truncated episode are shorter, and their
discount keeps the value of the next observation.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayescale.runners.suites.environments import FloatArray, Outcome


class Transitions(NamedTuple):
    """Transitions of every member of the ensemble (one member per run), equally many for each."""

    observation: FloatArray  # (member, transition, observation)
    action: FloatArray  # (member, transition, action), in [-1, 1]
    reward: NDArray[np.float64]  # (member, transition, 1)
    next_observation: FloatArray  # (member, transition, observation)
    discount: NDArray[np.float64]  # (member, transition, 1); gamma^steps, 0 where the episode terminated


class _Step(NamedTuple):
    """One env step of every member; shapes as in `Transitions`, with an environment in place of a transition."""

    observation: FloatArray
    action: FloatArray
    reward: NDArray[np.float64]
    next_observation: FloatArray
    going_on: NDArray[np.float64]  # 0 where terminated, else 1
    ended: NDArray[np.bool_]


class NStepReturns:
    """A window over the last `n_step` env steps that gives out a transition once its steps are over.

    Args:
        gammas: discount factor per step of each member.
        n_step: n, the steps of a transition within an episode.
    """

    def __init__(self, gammas: Sequence[float], n_step: int = 1) -> None:
        self._gamma = np.array(gammas)[:, None, None]
        self._window: deque[_Step] = deque(maxlen=n_step)

    def add(self, observation: FloatArray, action: FloatArray, outcome: Outcome) -> Transitions | None:
        """Add an env step and return the transitions that began n - 1 steps before it; None in the first n - 1 steps.

        Args:
            observation: the observations before the step, (member, environment, observation).
            action: the actions, (member, environment, action).
            outcome: the result of the actions, rows ordered member by member.
        """
        shape = (*action.shape[:2], -1)
        ended = (outcome.terminated | outcome.truncated).reshape(shape)
        going_on = 1.0 - outcome.terminated.reshape(shape)
        reward, following = outcome.reward.reshape(shape), outcome.final_observation.reshape(shape)
        self._window.append(_Step(observation, action, reward, following, going_on, ended))
        if len(self._window) < (self._window.maxlen or 1):
            return None
        first, *later = self._window
        reward, following, discount = first.reward, first.next_observation, self._gamma * first.going_on
        gathering, power = ~first.ended, self._gamma
        for step in later:
            if not gathering.any():
                break
            reward = reward + np.where(gathering, power * step.reward, 0.0)
            following = np.where(gathering, step.next_observation, following)
            power = power * self._gamma
            discount = np.where(gathering, power * step.going_on, discount)
            gathering = gathering & ~step.ended
        return Transitions(first.observation, first.action, reward, following, discount)
