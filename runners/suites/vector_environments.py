"""Environments of Gymnasium's vector interface: one simulator steps a whole group.

A task is stepped so where it is registered with a `vector_entry_point` and a group has several environments. Register
your own in a module and name it `module:Id-v0`: every process of a sweep then finds it. Isaac Lab, for example, steps
thousands of robots on a GPU; it observes only after it has reset the environments whose episodes ended, so a few lines
around it must keep what was there before:

```python
class Lift(gymnasium.vector.VectorEnv):
    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}

    def __init__(self, num_envs):  # sets num_envs, single_observation_space and single_action_space
        ...

    def step(self, actions):  # an array; what is returned may be arrays or tensors, an environment per row
        ...
        return observations, rewards, terminated, truncated, {"final_obs": observations_before_resets}

gymnasium.register("Lift-v0", vector_entry_point=Lift)
```

`reset(seed=...)` must decide all that follows. Every member of an ensemble makes one such environment to train and one
to be evaluated: where a process can hold one simulator only, let them be rows of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from bayescale.errors import InputError
from bayescale.runners.suites.environments import ActionBounds, BoolArray, FloatArray, Outcome, vector_spaces

Env = gymnasium.vector.VectorEnv[Any, Any, Any]


class VectorEnvironments:
    """One vector environment per group.

    Args:
        env_id: the task, for messages.
        make: makes the environment of a group.
        groups: number of groups.

    Raises:
        InputError: the environment starts new episodes only in the step after an end, or does not say when.
    """

    def __init__(self, env_id: str, make: Callable[[], Env], groups: int) -> None:
        self._env_id = env_id
        self._envs = [make() for _ in range(groups)]
        first = self._envs[0]
        observed, acted = vector_spaces(env_id, first.single_observation_space, first.single_action_space)
        self.observation_size, self.action_size = observed.shape[0], acted.shape[0]
        self._bounds = ActionBounds(acted.low, acted.high)
        self._mode = first.metadata.get("autoreset_mode")
        if self._mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise InputError(
                f"env_id '{env_id}' has the autoreset mode {self._mode}, in which some steps are none of the agent's. "
                "Register it with SAME_STEP and final_obs in its infos, or with DISABLED."
            )

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """See `Environments`."""
        pairs = zip(self._envs, seeds, strict=True)
        return np.concatenate([_array(env.reset(seed=seed)[0], np.float32) for env, seed in pairs])

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """See `Environments`."""
        stretched = self._bounds.stretch(np.where(running[:, None], actions, np.float32(0.0)))
        by_group = np.split(stretched, len(self._envs))
        parts = [self._step(env, acted) for env, acted in zip(self._envs, by_group, strict=True)]
        return Outcome(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def close(self) -> None:
        """See `Environments`."""
        for env in self._envs:
            env.close()

    def _step(self, env: Env, actions: FloatArray) -> Outcome:
        observed, rewarded, ended, cut, infos = env.step(actions)
        observation, reward = _array(observed, np.float32), _array(rewarded, np.float64)
        terminated, truncated = _array(ended, np.bool_), _array(cut, np.bool_)
        final, ends = observation, terminated | truncated
        if ends.any():
            if self._mode is AutoresetMode.DISABLED:
                observation = _array(env.reset(options={"reset_mask": ends})[0], np.float32)
            elif "final_obs" in infos:
                final = observation.copy()
                final[ends] = np.stack([_array(infos["final_obs"][i], np.float32) for i in np.flatnonzero(ends)])
            else:
                raise InputError(
                    f"env_id '{self._env_id}' ended episodes without final_obs in its infos, so what a truncated one "
                    "led to is lost. Add it."
                )
        return Outcome(observation, final, reward, terminated, truncated)


def _array(values: Any, kind: Any) -> NDArray[Any]:
    """A copy, of an array or of a tensor on any device."""
    return np.array(values.cpu().numpy() if hasattr(values, "cpu") else values, kind)
