"""CUDA graphs: the many small operations of an update, recorded once and launched by one call from then on."""

from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

import torch

Args = TypeVarTuple("Args")
R = TypeVar("R")


def recorded(function: Callable[[*Args], R], device: torch.device) -> Callable[[*Args], R]:
    """The function itself, or on a GPU one that does the same by replaying what it did before.

    There the first call with some arguments runs, the second is recorded, later ones are replayed. So the function must
    do the same operations on the same memory whenever it gets the same arguments, must not ask for values, and what it
    returns is overwritten by the next call.

    Args:
        function: takes numbers, truth values, and other objects by their identity.
        device: of all its tensors.
    """
    if device.type != "cuda":
        return function
    graphs: dict[tuple[Any, ...], tuple[torch.cuda.CUDAGraph, R]] = {}
    seen: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # the arguments too, so that their identities stay theirs

    def replay(*args: *Args) -> R:
        key = tuple(arg if isinstance(arg, int) else id(arg) for arg in args)
        if key not in seen:
            seen[key] = args
            return function(*args)
        if key not in graphs:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = function(*args)
            graphs[key] = graph, result
        graph, result = graphs[key]
        graph.replay()
        return result

    return replay
