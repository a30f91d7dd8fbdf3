"""The state of an ensemble for a checkpoint: each part names its own in `state_dict` and takes it in `load_state_dict`.

A state holds tensors, numbers, texts, and lists and dicts of these. A part is the learner, the replay buffer, or the
random streams of one purpose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Generator, Tensor

from bayescale.errors import BayeScaleError
from bayescale.runners.networks.random_streams import load_stream_states, stream_states

State = dict[str, Any]

_PLAIN = (Tensor, bool, int, float, str, type(None))


class Part(Protocol):
    """An object whose state belongs into a checkpoint."""

    def state_dict(self) -> State:
        """Return everything that training changes; the tensors may be the object's own, so save them at once."""

    def load_state_dict(self, state: State) -> None:
        """Take over the state of an equal object; raise KeyError, ValueError or RuntimeError if it does not fit."""


@dataclass(frozen=True)
class Streams:
    """The random streams of all members for one purpose, as a part."""

    generators: Sequence[Generator]

    def state_dict(self) -> State:
        """Return the state of every stream."""
        return stream_states(self.generators)

    def load_state_dict(self, state: State) -> None:
        """Set every stream."""
        load_stream_states(self.generators, state)


def state_of(parts: Mapping[str, Part]) -> State:
    """Return the state of every part under its name.

    Raises:
        BayeScaleError: a state holds an object that a checkpoint cannot save.
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    for name, state in states.items():
        _refuse_objects(name, state)
    return states


def set_state(parts: Mapping[str, Part], states: State) -> bool:
    """Load the state of every part; return False if the states are of other parts, which then must not be used.

    Args:
        parts: newly made parts.
        states: the result of `state_of` for equal parts at any time.
    """
    if not _fits(states, state_of(parts)):
        return False
    try:
        for name, part in parts.items():
            part.load_state_dict(states[name])
    except (ValueError, KeyError, RuntimeError):  # torch raises these for the state of another object
        return False
    return True


def _refuse_objects(name: str, value: object) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_objects(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _refuse_objects(f"{name}.{i}", item)
    elif not isinstance(value, _PLAIN):
        raise BayeScaleError(
            f"a checkpoint cannot hold {name}, of type {type(value).__name__}. Keep its state in tensors, numbers, "
            "lists or dicts, or give it state_dict and load_state_dict."
        )


def _fits(saved: object, own: object) -> bool:
    """Return whether `saved` has all entries of `own`, of the same types, shapes and lengths.

    `saved` may have more entries: an optimiser of torch has no moments before its first step.
    """
    if isinstance(own, Tensor):
        return isinstance(saved, Tensor) and (saved.shape, saved.dtype) == (own.shape, own.dtype)
    if isinstance(own, Mapping):
        return isinstance(saved, Mapping) and all(key in saved and _fits(saved[key], own[key]) for key in own)
    if isinstance(own, list | tuple):
        same = type(saved) is type(own) and len(saved) == len(own)
        return same and all(_fits(one, other) for one, other in zip(saved, own, strict=True))  # type: ignore[call-overload]
    return type(saved) is type(own)
