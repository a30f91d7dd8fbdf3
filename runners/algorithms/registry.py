"""The learner class of every algorithm, under the name that its settings class in `config` has.

Importing this module imports torch, so plans read `config.ALGORITHMS` instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Generator

from bayescale.runners.algorithms.bro import BRO
from bayescale.runners.algorithms.learner import Learner
from bayescale.runners.algorithms.pql import PQL
from bayescale.runners.algorithms.sac import SAC
from bayescale.runners.config import RunConfig

# A learner class takes the settings of its own algorithm, observation size, action size, and initial random streams.
LEARNERS: dict[str, Callable[[Sequence[Any], int, int, Sequence[Generator]], Learner]] = {
    "SAC": SAC,
    "BRO": BRO,
    "PQL": PQL,
}


def make_learner(
    configs: Sequence[RunConfig], observation_size: int, action_size: int, init_streams: Sequence[Generator]
) -> Learner:
    """Make the learner of configurations of one algorithm, with first parameters drawn from `init_streams`."""
    return LEARNERS[configs[0].algorithm](configs, observation_size, action_size, init_streams)
