"""The state of learners, replay and random streams, found by walking their attributes: no algorithm lists its own.

State is what an object of this package holds, in attributes, lists, dicts and tuples to any depth: tensors and arrays,
each storage once and as a whole; random streams; numbers, except in tuples and frozen dataclasses, which are constants;
parameters, buffers and attributes of torch's modules; and whatever has `state_dict` and `load_state_dict`, such as
torch's optimisers, by these. An object that is none of these and no constant is refused, never left out.
An equal object made anew has the same state under the same names; what an object makes on the way beside that, such as
room for the activations of so many observations, is scratch and may be missing from a new one.
"""

import dataclasses
import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from bayescale.errors import BayeScaleError

Found = dict[str, Any]  # by name: a flat view of a storage, the bytes of a stream's state, a number, or a state dict

_MODULE = frozenset(vars(nn.Module()))  # what torch keeps in every module
_CONSTANTS = (
    types.NoneType, str, bytes, slice, range, Enum, type, torch.device, torch.dtype, np.dtype,
    types.FunctionType, types.BuiltinFunctionType, types.MethodType,
)  # fmt: skip


class _Place(NamedTuple):
    """Where something was found."""

    name: str
    value: Any
    owner: Any  # what holds a number and can be given another; None for constants
    key: Any


def state_of(root: object) -> Found:
    """The state by name; tensors are views, so the state must be saved before the object goes on.

    Raises:
        BayeScaleError: something in it is no state that can be found.
    """
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
        elif _has_state_dict(place.value):
            found[place.name] = place.value.state_dict()
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
        elif _has_state_dict(place.value):
            try:
                place.value.load_state_dict(state[place.name])
            except (ValueError, KeyError, RuntimeError):  # torch's words for the state of something else
                return False
        elif isinstance(place.owner, list | dict):
            place.owner[place.key] = state[place.name]
        else:
            setattr(place.owner, place.key, state[place.name])
    return True


def _walk(place: _Place, seen: set[int]) -> Iterator[_Place]:
    name, value = place.name, place.value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.flags.writeable:
            yield place._replace(value=torch.from_numpy(value))
    elif isinstance(value, Tensor | Generator | bool | int | float):
        yield place
    elif not isinstance(value, _CONSTANTS) and id(value) not in seen:
        seen.add(id(value))
        if _has_state_dict(value):
            yield place
        else:
            for below in _held(name, value):
                yield from _walk(below, seen)


def _held(name: str, value: Any) -> list[_Place]:
    """What the object holds itself."""
    if isinstance(value, dict):
        return [_Place(f"{name}.{key}", item, value, key) for key, item in value.items()]
    if isinstance(value, list):
        return [_Place(f"{name}.{i}", item, value, i) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return [_Place(f"{name}.{i}", item, None, None) for i, item in enumerate(value)]
    if isinstance(value, nn.Module):
        return [_Place(f"{name}.{key}", item, value, key) for key, item in _of_module(value).items()]
    if dataclasses.is_dataclass(value):
        owner = None if _is_frozen(value) else value
        items = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [_Place(f"{name}.{key}", item, owner, key) for key, item in items.items()]
    if type(value).__module__.startswith("bayescale.") and hasattr(value, "__dict__"):
        return [_Place(f"{name}.{key}", item, value, key) for key, item in vars(value).items()]
    raise BayeScaleError(
        f"a checkpoint cannot hold {name.lstrip('.')}, of type {type(value).__name__}. Keep its state in tensors, "
        "numbers, lists or dicts, or give it state_dict and load_state_dict."
    )


def _is_frozen(value: Any) -> bool:
    return bool(value.__dataclass_params__.frozen)


def _of_module(module: nn.Module) -> dict[str, Any]:
    """Parameters, buffers, submodules and attributes; those of torch's own classes are constants."""
    own = {} if type(module).__module__.startswith("torch.") else vars(module)
    registered = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    others = {name: item for name, item in own.items() if name not in _MODULE}
    return registered | dict(module.named_children()) | others


def _has_state_dict(value: object) -> bool:
    """Whether the object saves and loads its own state; modules do, but for what they hold unregistered."""
    own = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
    return own and not isinstance(value, nn.Module)


def _storage(tensor: Tensor) -> Tensor:
    """All of the storage that the tensor is a view of, flat."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.detach().as_strided((size,), (1,), 0)


def _alike(saved: object, own: object) -> bool:
    if isinstance(own, Tensor):
        return isinstance(saved, Tensor) and (saved.shape, saved.dtype) == (own.shape, own.dtype)
    return type(saved) is type(own)
