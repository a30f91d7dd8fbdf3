"""The state of learners, replay and random streams, found by walking their attributes: no algorithm lists its own.

State is what an object of this package holds, in attributes, lists, dicts and tuples to any depth: tensors and arrays,
each storage once and as a whole; random streams; and numbers, except in tuples and dataclasses, which are constants.
An equal object made anew has the same state under the same names; what an object makes on the way beside that, such as
room for the activations of so many observations, is scratch and may be missing from a new one.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

Found = dict[str, Any]  # by name: a flat view of a storage, the bytes of a stream's state, or a number


class _Place(NamedTuple):
    """Where something was found."""

    name: str
    value: Any
    owner: Any  # what holds a number and can be given another; None for constants
    key: Any


def state_of(root: object) -> Found:
    """The state by name; tensors are views, so the state must be saved before the object goes on."""
    found: Found = {}
    storages = set()
    for place in _walk(_Place("", root, None, None), set()):
        if isinstance(place.value, Generator):
            found[place.name] = place.value.get_state()
        elif isinstance(place.value, Tensor):
            flat = _storage(place.value)
            if flat.numel() and (flat.device, flat.data_ptr()) not in storages:
                storages.add((flat.device, flat.data_ptr()))
                found[place.name] = flat
        elif place.owner is not None:
            found[place.name] = place.value
    return found


def set_state(root: object, state: Found) -> bool:
    """Whether `state` is one of an object like `root`; if so `root` has it now.

    Args:
        root: an object made anew.
        state: of an equal object, after any time.
    """
    own = state_of(root)
    if not all(name in state and _alike(state[name], value) for name, value in own.items()):
        return False
    for place in list(_walk(_Place("", root, None, None), set())):
        if place.name not in own:
            continue
        if isinstance(place.value, Generator):
            place.value.set_state(state[place.name])
        elif isinstance(place.value, Tensor):
            _storage(place.value).copy_(state[place.name])
        elif isinstance(place.owner, list | dict):
            place.owner[place.key] = state[place.name]
        else:
            setattr(place.owner, place.key, state[place.name])
    return True


def _walk(place: _Place, seen: set[int]) -> Iterator[_Place]:
    name, value = place.name, place.value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.flags.writeable:
        yield place._replace(value=torch.from_numpy(value))
    elif isinstance(value, Tensor | Generator | bool | int | float):
        yield place
    elif id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, dict):
            held = [_Place(f"{name}.{key}", item, value, key) for key, item in value.items()]
        elif isinstance(value, list):
            held = [_Place(f"{name}.{i}", item, value, i) for i, item in enumerate(value)]
        elif isinstance(value, tuple):
            held = [_Place(f"{name}.{i}", item, None, None) for i, item in enumerate(value)]
        elif _is_ours(value):
            held = [_Place(f"{name}.{key}", item, value, key) for key, item in vars(value).items()]
        else:
            held = []
        for below in held:
            yield from _walk(below, seen)


def _is_ours(value: object) -> bool:
    ours = type(value).__module__.startswith("bayescale.") and hasattr(value, "__dict__")
    return ours and not dataclasses.is_dataclass(value)


def _storage(tensor: Tensor) -> Tensor:
    """All of the storage that the tensor is a view of, flat."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.as_strided((size,), (1,), 0)


def _alike(saved: object, own: object) -> bool:
    if isinstance(own, Tensor):
        return isinstance(saved, Tensor) and (saved.shape, saved.dtype) == (own.shape, own.dtype)
    return type(saved) is type(own)
