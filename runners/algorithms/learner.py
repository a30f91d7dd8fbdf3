"""What the training loop asks of an algorithm, and how one is added.

An algorithm is a settings class and a learner. In `config.py`, derive the settings from `RunConfig`: name the
algorithm, give its own scalars and defaults, list in `own` what may differ between the members of an ensemble and in
`sized_by` what `model_size` follows from, count `working_floats`, make fields of `num_envs` and `n_step` if it acts in
many environments or learns from returns over several steps, and add the class to `ALGORITHMS`. In a module named after
the algorithm in lower case, write a class of the algorithm's name that does what `Learner` says; `sac.py` is the
shortest example. Plans, ensembles, sweeps and tables then know it.

It may be made of `torch.nn` and `torch.optim`. Training runs in torch's inference mode, so let `update` do its work in
`with torch.inference_mode(False), torch.enable_grad():`, on `Batch(*(values.clone() for values in batch))`. Modules
draw their first parameters from torch's global stream, so make those of each member in
`with torch.random.fork_rng([]):`, after `torch.manual_seed(stream.initial_seed())`. Checkpoints find the state by
themselves, as `bayescale.runners.training.state` says: tensors, arrays, numbers, streams, modules and optimisers, in attributes,
lists and dicts, so make all of it with the learner: what comes later is taken for scratch. Before the first step they
refuse any other object without `state_dict` and `load_state_dict`.

On a GPU all is made and run under `torch.device(...)`, so tensors come to lie there by themselves; only the generators
that are handed over decide where they draw. `bayescale.runners.networks.random_streams` draws for all members at once, and
`bayescale.runners.networks.cuda_graphs` records an update that always does the same: without it small networks are slow there.

Its tests are those of SAC: gradients against autograd, members against runs alone, a member that holds NaN beside one
that must not notice, and the probes of `tests/scaffolding/probe_environments.py`.
"""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

from torch import Generator, Tensor

from bayescale.runners.config import RunConfig


class Batch(NamedTuple):
    """Transitions of every member."""

    observation: Tensor  # (member, observation, batch)
    action: Tensor  # (member, action, batch), in [-1, 1]
    reward: Tensor  # (member, batch), of one step or the discounted sum of several
    next_observation: Tensor  # (member, observation, batch), after them
    discount: Tensor  # (member, batch), of the value there: gamma^steps, 0 where the episode terminated


class Losses(NamedTuple):
    """Losses of one update, before its optimiser steps; (member,)."""

    critic: Tensor
    actor: Tensor


class Learner(Protocol):
    """Agents of one algorithm, stacked along a leading member axis, that draw only from the streams handed to them.

    No member's numbers depend on another's, and all members have done equally many updates.
    """

    model_size: int  # critic parameters of one member
    update_flops: int  # of one update of one member, in matrix products

    def update(self, batch: Batch, streams: Sequence[Generator]) -> Losses:
        """Losses of one gradient update of every member, (member,); a member whose losses are not finite is ended."""

    def explore(self, observations: Tensor, streams: Sequence[Generator]) -> Tensor:
        """Actions to train on in [-1, 1], (member, num_envs, action), in (member, num_envs, observation)."""

    def greedy(self, observations: Tensor) -> Tensor:
        """Actions to be judged by, (member, n, action), in n observations of each member, (member, n, observation)."""

    def agent(self, member: int) -> Any:
        """A copy of one member's parameters, as the algorithm keeps them."""


def make_learner(
    configs: Sequence[RunConfig], observation_size: int, action_size: int, init_streams: Sequence[Generator]
) -> Learner:
    """The learner of the configurations, which are of one algorithm, with parameters drawn from `init_streams`."""
    name = configs[0].algorithm
    learner = getattr(importlib.import_module(f"bayescale.runners.algorithms.{name.lower()}"), name)
    return cast("Learner", learner(configs, observation_size, action_size, init_streams))
