"""Runs of a plan that train together, as stacked members of one ensemble."""

import dataclasses
import itertools
from collections.abc import Sequence

from bayescale.runners.config import SACConfig

Ensemble = tuple[SACConfig, ...]

OWN = ("learning_rate", "seed", "gamma", "tau")  # what may differ between the members of an ensemble

# More members share the cost of calling an operation, until their activations no longer stay near the core from one
# operation to the next. A constant, not this machine's cache: a plan must give the same ensembles everywhere.
CACHE_BYTES = 8 * 2**20
MOST_MEMBERS = 16


def shared_settings(config: SACConfig) -> SACConfig:
    """The configuration with all that may differ between members at one value: equal for runs that can be stacked."""
    return dataclasses.replace(config, learning_rate=1.0, seed=0, gamma=1.0, tau=1.0)


def make_ensembles(runs: Sequence[SACConfig]) -> list[Ensemble]:
    """The runs in ensembles, in order of their first runs; a function of the runs alone.

    Runs that can be stacked are cut into as few ensembles as the cache allows, of sizes as equal as possible.
    """
    alike: dict[SACConfig, list[SACConfig]] = {}
    for run in runs:
        alike.setdefault(shared_settings(run), []).append(run)
    ensembles = []
    for settings, members in alike.items():
        pieces = -(-len(members) // members_at_most(settings))
        cuts = [i * len(members) // pieces for i in range(pieces + 1)]
        ensembles += [tuple(members[start:end]) for start, end in itertools.pairwise(cuts)]
    return ensembles


def members_at_most(config: SACConfig) -> int:
    """Members whose working sets fit the cache, at least 1.

    A member keeps the activations of two critics and their gradients, the actor's on two batches and their gradients on
    one, and of each network its parameters, their gradients and Adam's two moments, and the critics' targets.
    """
    hidden = config.depth * config.hidden_width
    activations = (2 + 2 + 2 + 1) * hidden * config.batch_size
    parameters = (2 * 5 + 4) * hidden * (config.hidden_width + 1)
    return min(max(1, CACHE_BYTES // (4 * (activations + parameters))), MOST_MEMBERS)
