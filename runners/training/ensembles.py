"""Runs of a plan that train together, as stacked members of one ensemble."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from bayescale.runners.config import RunConfig

Ensemble = tuple[RunConfig, ...]

# More members share the cost of calling an operation, until their activations no longer stay near the core from one
# operation to the next. A constant, not this machine's cache: a plan must give the same ensembles everywhere.
CACHE_BYTES = 8 * 2**20
MOST_MEMBERS = 16
# On a GPU more members also keep more of it busy, until memory bandwidth or arithmetic runs out: at some dozens of
# width 256, some hundreds of width 64.
GPU_BYTES = 2 * 2**30
MOST_ON_GPU = 256


def shared_settings(config: RunConfig) -> RunConfig:
    """The configuration with all that may differ between members at one value: equal for runs that can be stacked."""
    at_one: dict[str, Any] = dict.fromkeys(config.own, 1)
    return dataclasses.replace(config, **at_one)


def make_ensembles(runs: Sequence[RunConfig]) -> list[Ensemble]:
    """The runs in ensembles, in order of their first runs; a function of the runs alone.

    Runs that can be stacked are cut into as few ensembles as the cache allows, of sizes as equal as possible.
    """
    alike: dict[RunConfig, list[RunConfig]] = {}
    for run in runs:
        alike.setdefault(shared_settings(run), []).append(run)
    ensembles = []
    for settings, members in alike.items():
        pieces = -(-len(members) // members_at_most(settings))
        cuts = [i * len(members) // pieces for i in range(pieces + 1)]
        ensembles += [tuple(members[start:end]) for start, end in itertools.pairwise(cuts)]
    return ensembles


def members_at_most(config: RunConfig) -> int:
    """Members whose working sets fit the cache, or a share of the GPU's memory; at least 1."""
    room, most = (CACHE_BYTES, MOST_MEMBERS) if config.device == "cpu" else (GPU_BYTES, MOST_ON_GPU)
    return min(max(1, room // (4 * config.working_floats)), most)
