"""Transitions over several steps: the rewards until the episode ends or n steps have passed, and what follows.

From a step t, with k the steps to the end of its episode, at most n: reward r_t + gamma r_(t+1) + ... over k steps,
then the value of the observation after them, discounted by gamma^k, or by 0 where the episode terminated. A truncated
episode goes on in its value: its last transitions are shorter, not worth less.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayescale.runners.suites.environments import FloatArray, Outcome


class Transitions(NamedTuple):
    """Equally many transitions of every member."""

    observation: FloatArray  # (member, transition, observation)
    action: FloatArray  # (member, transition, action), in [-1, 1]
    reward: NDArray[np.float64]  # (member, transition, 1)
    next_observation: FloatArray  # (member, transition, observation)
    discount: NDArray[np.float64]  # (member, transition, 1)


class _Step(NamedTuple):
    """One step of every member's environments; as `Transitions`, before discounting."""

    observation: FloatArray
    action: FloatArray
    reward: NDArray[np.float64]
    next_observation: FloatArray
    going_on: NDArray[np.float64]  # 0 where terminated, else 1
    ended: NDArray[np.bool_]


class Returns:
    """Makes the transitions of `n_step` steps, each handed out once its steps are over.

    Args:
        gammas: discount of each member.
        n_step: steps of a transition whose episode goes on.
    """

    def __init__(self, gammas: Sequence[float], n_step: int = 1) -> None:
        self._gamma = np.array(gammas)[:, None, None]
        self._window: deque[_Step] = deque(maxlen=n_step)

    def add(self, observation: FloatArray, action: FloatArray, outcome: Outcome) -> Transitions | None:
        """The transitions that begin n - 1 steps before this one; None before there are any.

        Args:
            observation: acted on, (member, environment, observation).
            action: (member, environment, action).
            outcome: of the actions, rows member by member.
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
