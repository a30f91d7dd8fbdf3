"""Step environments with Gymnasium's vector interface: one simulator steps all environments of a member.

This is used for a task that is registered with a `vector_entry_point`, where a member has several environments.
Register your own task in a module and name it `module:Id-v0`: every process of a sweep then finds it. Isaac Lab, for
example, steps thousands of robots on a GPU. It observes only after it has reset the environments whose episodes ended,
so a few lines around it must keep the observations before the resets:

```python
class Lift(gymnasium.vector.VectorEnv):
    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}

    def __init__(self, num_envs):  # sets num_envs, single_observation_space and single_action_space
        ...

    def step(self, actions):  # actions are an array; results may be arrays or tensors, one row per environment
        ...
        return observations, rewards, terminated, truncated, {"final_obs": observations_before_resets}

gymnasium.register("Lift-v0", vector_entry_point=Lift)
```

After `reset(seed=...)` all observations and rewards must depend on the seed and the actions alone. Every member of an
ensemble makes one such environment for training and one for evaluation. Where a process can hold only one simulator,
let both be rows of it.
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
    """Environments of one task, with one vector environment per member.

    Args:
        env_id: the task, for messages.
        make: makes the vector environment of a member.
        members: number of members.

    Raises:
        InputError: the autoreset mode of the environment is neither SAME_STEP nor DISABLED.
    """

    def __init__(self, env_id: str, make: Callable[[], Env], members: int) -> None:
        self._env_id = env_id
        self._envs = [make() for _ in range(members)]
        first = self._envs[0]
        observed, acted = vector_spaces(env_id, first.single_observation_space, first.single_action_space)
        self.observation_size, self.action_size = observed.shape[0], acted.shape[0]
        self._bounds = ActionBounds(acted.low, acted.high)
        self._mode = first.metadata.get("autoreset_mode")
        if self._mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise InputError(
                f"env_id '{env_id}' has the autoreset mode {self._mode}, in which some steps ignore their actions. "
                "Register it with SAME_STEP and final_obs in its infos, or with DISABLED."
            )

    def reset(self, seeds: Sequence[int]) -> FloatArray:
        """See `Environments`."""
        pairs = zip(self._envs, seeds, strict=True)
        return np.concatenate([_array(env.reset(seed=seed)[0], np.float32) for env, seed in pairs])

    def step(self, actions: FloatArray, running: BoolArray) -> Outcome:
        """See `Environments`."""
        stretched = self._bounds.stretch(np.where(running[:, None], actions, np.float32(0.0)))
        by_member = np.split(stretched, len(self._envs))
        parts = [self._step(env, acted) for env, acted in zip(self._envs, by_member, strict=True)]
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
                    f"env_id '{self._env_id}' ended episodes without final_obs in its infos, so the last observation "
                    "of a truncated episode is lost. Add it."
                )
        return Outcome(observation, final, reward, terminated, truncated)


def _array(values: Any, kind: Any) -> NDArray[Any]:
    """Return a copy of an array, or of a tensor on any device, as an array."""
    return np.array(values.cpu().numpy() if hasattr(values, "cpu") else values, kind)
