"""The kinds of axes that a sweep can vary, and all the declarations of a model in one structure.

A resource (UTD, model size) saves data the more of it there is. A tuned setting (batch size, learning rate) has an
optimum, which shifts with the resources. `bayescale.models.parameters` declares the axes with their numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import cast

from bayescale.models.pooling import ByTask, ByTaskAndThreshold, Cumulative, Parameter, Shared
from bayescale.models.priors import Prior


@dataclass(frozen=True, kw_only=True)
class PowerShift:
    """An optimum that falls with a resource v as (v / v_ref)^-exponent."""

    resource: str
    exponent: ByTask | Shared


@dataclass(frozen=True, kw_only=True)
class SaturatingShift:
    """An optimum that rises with a resource v as (1 + room) / (1 + room (v / v_ref)^-exponent)."""

    resource: str
    room: Shared
    exponent: Shared


@dataclass(frozen=True, kw_only=True)
class Resource:
    """An axis that saves data, along one of two laws.

        D / D_ref = (1 - q) + q (v / v_ref)^-exponent
        D / D_ref = ((1 - q) + q (v / v_ref)^-sharpness)^(1 / sharpness)

    Attributes:
        name: column of the table.
        log_saved_odds: logit of q.
        log_exponent: log of the exponent of the first law; None: the axis follows the second.
        log_sharpness: log of the sharpness of the second law; None: the axis follows the first.
        noise_slope: slope of the log seed noise in log v.
        failure_slope: slope of the logit of the chance of failure in log v.
        noise_levels_off: the seed noise stays constant beyond the swept range.
    """

    name: str
    log_saved_odds: ByTask
    log_exponent: ByTask | Shared | None = None
    log_sharpness: Shared | None = None
    noise_slope: ByTask
    failure_slope: Shared
    noise_levels_off: bool = False


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """An axis with an optimum: missing it by z in logs costs curvature z^2 / 2 in log env steps.

    Attributes:
        name: column of the table.
        log_optimum: log of the optimum at the reference of all resources.
        shifts: how resources shift the optimum.
        log_curvature: log of the curvature.
        noise_slope: slope of the log seed noise in the log of the setting.
        failure_slope: slope of the logit of the chance of failure in the log of the setting.
    """

    name: str
    log_optimum: ByTask
    shifts: tuple[PowerShift | SaturatingShift, ...]
    log_curvature: ByTask
    noise_slope: ByTask
    failure_slope: Shared


Axis = Resource | Tuned


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """The correlation of two tuned axes in the penalty, as its inverse tanh."""

    axes: tuple[str, str]
    strength: Shared


@dataclass(frozen=True, kw_only=True)
class Declared:
    """All declarations of a model, by field; a field that holds one parameter has its name."""

    axes: tuple[Axis, ...]
    interactions: tuple[Interaction, ...]
    log_env_steps_at_centre: Cumulative
    log_noise: ByTaskAndThreshold
    skewness: ByTaskAndThreshold
    configuration_effect: Shared
    error_growth: Shared
    failure: ByTask
    failure_penalty: Shared
    failure_rise: Shared

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The axes that save data, in order."""
        return tuple(axis for axis in self.axes if isinstance(axis, Resource))

    @property
    def tuned(self) -> tuple[Tuned, ...]:
        """The axes that have an optimum, in order."""
        return tuple(axis for axis in self.axes if isinstance(axis, Tuned))

    def parameters(self) -> tuple[Parameter, ...]:
        """Return every parameter, in order of declaration."""
        return tuple(_parameters(self))

    def law_parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters of the response surface along the axes: all but those of noise and failure."""
        return tuple(
            one for axis in self.axes for one in _parameters(axis) if one not in (axis.noise_slope, axis.failure_slope)
        )

    def for_axes(self, varying: Sequence[str]) -> "Declared":
        """Return the declarations of a sweep in which only these axes vary."""

        def own(axis: Axis) -> Axis:
            if isinstance(axis, Resource):
                return axis
            return replace(axis, shifts=tuple(shift for shift in axis.shifts if shift.resource in varying))

        return replace(
            self,
            axes=tuple(own(axis) for axis in self.axes if axis.name in varying),
            interactions=tuple(one for one in self.interactions if set(one.axes) <= set(varying)),
        )

    def with_priors(self, priors: Mapping[str, Prior]) -> "Declared":
        """Return the declarations with the priors of the same names."""
        return cast("Declared", _with_priors(self, priors))


def _parameters(held: object) -> Iterator[Parameter]:
    """Yield the parameters in a declaration, an axis, or a tuple of them."""
    if isinstance(held, Parameter):
        yield held
    elif isinstance(held, tuple):
        for item in held:
            yield from _parameters(item)
    elif is_dataclass(held):
        for field in fields(held):
            yield from _parameters(getattr(held, field.name))


def _with_priors(held: object, priors: Mapping[str, Prior]) -> object:
    """Return a copy of a declaration, an axis, or a tuple of them, with other priors."""
    if isinstance(held, Parameter):
        return held.with_priors(priors)
    if isinstance(held, tuple):
        return tuple(_with_priors(item, priors) for item in held)
    if is_dataclass(held) and not isinstance(held, type):
        return replace(held, **{field.name: _with_priors(getattr(held, field.name), priors) for field in fields(held)})
    return held
