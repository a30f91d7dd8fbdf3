"""The interface between the training loop and an algorithm, and a guide to adding one.

An algorithm is a settings class and a learner class.

Settings: in `config.py`, derive a frozen dataclass from `RunConfig`. Name the algorithm, give its own settings and
defaults, list in `per_member` the settings that may differ between members of an ensemble and in `critic_size_fields`
the settings that determine `model_size`, and count `working_floats`. If one run acts in many environments or learns
from returns over several steps, make `num_envs` and `n_step` arguments. Add the class to `ALGORITHMS`.

Learner: write a class that fulfils `Learner` in a module of `algorithms/` and add it to `LEARNERS` in `registry.py`;
`sac.py` is the shortest example. Plans, ensembles, sweeps and tables then accept the algorithm.

A learner may use `torch.nn` and `torch.optim`. Training runs in torch's inference mode, so let `update` work inside
`with torch.inference_mode(False), torch.enable_grad():`, on `Batch(*(values.clone() for values in batch))`. Modules
draw their first parameters from torch's global stream, so make each member's modules inside
`with torch.random.fork_rng([]):`, after `torch.manual_seed(stream.initial_seed())`.

Checkpoints: `state_dict` returns everything that training changes and a later update reads, as tensors, numbers,
texts, and lists and dicts of these. Create all of it in `__init__`, because a checkpoint is loaded into a new learner.

GPU: everything is made and run under `torch.device(...)`, so new tensors lie on the GPU; only the generators that are
passed in decide where they draw. `networks/random_streams.py` draws for all members at once, and
`networks/cuda_graphs.py` records an update that always does the same operations; without recording, small networks are
slow on a GPU.

Tests: follow those of SAC. Compare gradients with autograd and members with runs alone, train a member that holds NaN
beside one that must not change, and run the probes of `tests/scaffolding/probe_environments.py`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Generator, Tensor


class Batch(NamedTuple):
    """Transitions of every member."""

    observation: Tensor  # (member, observation, batch)
    action: Tensor  # (member, action, batch), in [-1, 1]
    reward: Tensor  # (member, batch), from one step or the discounted sum over several
    next_observation: Tensor  # (member, observation, batch), after these steps
    discount: Tensor  # (member, batch), factor of the next value: gamma^steps, or 0 where the episode terminated


class Losses(NamedTuple):
    """Losses of one update, before its optimiser steps; (member,)."""

    critic: Tensor
    actor: Tensor


class Learner(Protocol):
    """Agents of one algorithm, stacked along a leading member axis, that draw only from the streams they are given.

    No member's numbers depend on another member, and all members have done equally many updates.
    """

    model_size: int  # critic parameters of one member
    matrix_product_flops: int  # exact flops of the matrix products in one update of one member

    def update(self, batch: Batch, streams: Sequence[Generator]) -> Losses:
        """Do one gradient update of every member and return its losses; a loss that is not finite ends the member."""

    def explore(self, observations: Tensor, streams: Sequence[Generator]) -> Tensor:
        """Return actions to train on in [-1, 1], (member, num_envs, action), for (member, num_envs, observation)."""

    def greedy(self, observations: Tensor) -> Tensor:
        """Return actions to evaluate, (member, n, action), for n observations each, (member, n, observation)."""

    def agent(self, member: int) -> Any:
        """Return a copy of one member's parameters, in the algorithm's own form."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes; the tensors may be the learner's own, so save them at once."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an equal learner.

        Raises:
            KeyError, ValueError, RuntimeError: the state belongs to something else.
        """
