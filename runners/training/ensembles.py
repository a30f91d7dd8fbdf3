"""Group the runs of a plan into ensembles: runs that train together, with stacked parameters."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from bayescale.runners.config import RunConfig

Ensemble = tuple[RunConfig, ...]

# More members share the cost of calling an operation, until their activations no longer stay in the cache between
# operations. The size is a constant and not this machine's, because a plan must give the same ensembles everywhere.
CACHE_BYTES = 8 * 2**20
MOST_MEMBERS = 16
# More members use more of a GPU, until its memory bandwidth or arithmetic is used up: with some dozens of members of
# width 256, or some hundreds of width 64.
GPU_BYTES = 2 * 2**30
MOST_ON_GPU = 256


def shared_settings(config: RunConfig) -> RunConfig:
    """Return the settings with every field that members may differ in set to 1; equal for runs that can be stacked."""
    at_one: dict[str, Any] = dict.fromkeys(config.per_member, 1)
    return dataclasses.replace(config, **at_one)


def make_ensembles(runs: Sequence[RunConfig]) -> list[Ensemble]:
    """Return the runs as ensembles, in the order of their first runs; the result depends on the runs alone.

    Runs that can be stacked form as few ensembles as the cache allows, of sizes as equal as possible.
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
    """Return how many members fit the cache, or a share of the GPU's memory, together; at least 1."""
    room, most = (CACHE_BYTES, MOST_MEMBERS) if config.device == "cpu" else (GPU_BYTES, MOST_ON_GPU)
    return min(max(1, room // (4 * config.working_floats)), most)
