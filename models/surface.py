"""The response surface of the joint model: median log env steps, seed noise and failure as functions of the settings.

The equations stand at the head of `bayescale.models.joint`, numbered as they are cited here. Parameters are a mapping
from the names in `bayescale.models.parameters` to values: by task and threshold, by task, by threshold or scalar.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from bayescale.errors import InputError
from bayescale.laws import log_batch_room, log_crossover_ratio, log_size_ratio, penalty
from bayescale.models.axes import Declared, PowerShift, Resource, Tuned
from bayescale.models.parameters import AXES
from bayescale.models.pooling import Parameter, Shared

Parameters = Mapping[str, Array]
AnyArray = np.ndarray | Array


class Points(NamedTuple):
    """Points at which to evaluate the surface.

    Attributes:
        task: number of the task; the number after the last task is a task without runs.
        log_settings: log of each setting, by the name of its axis.
    """

    task: Int[AnyArray, " point"]
    log_settings: dict[str, Float[AnyArray, " point"]]


def points_of(configs: pd.DataFrame, env_ids: Sequence[str], varying: Sequence[str]) -> Points:
    """Return configurations as arrays; tasks without runs share the number after the last task.

    Args:
        configs: one row per configuration.
        env_ids: names of the fitted tasks; their order numbers the tasks.
        varying: names of the axes that `configs` must have.

    Raises:
        InputError: an axis varies in the fitted runs and the configurations lack its column.
    """
    missing = [name for name in varying if name not in configs]
    if missing:
        raise InputError(f"configs lack the column {missing[0]}, which varies in the fitted runs; add it.")
    number = {name: i for i, name in enumerate(env_ids)}
    task = configs["env_id"].map(lambda name: number.get(name, len(number))).to_numpy(int)
    return Points(
        task, {axis.name: np.log(configs[axis.name].to_numpy(float)) for axis in AXES if axis.name in configs}
    )


class Optimum(NamedTuple):
    """Optimal hyperparameters and the median run there, in logs; draw axis first."""

    log_batch_size: Float[Array, "*draw point threshold"]
    log_learning_rate: Float[Array, "*draw point threshold"]
    log_env_steps: Float[Array, "*draw point threshold"]
    p_reach: Float[Array, "*draw point threshold"]


@dataclass(frozen=True)
class Frame:
    """The sweep that a surface is stated for: its declarations, thresholds and references.

    Attributes:
        declared: declarations of the axes that vary.
        x: thresholds scaled to [-1, 1].
        references: reference of each log setting by task, then for a task without runs.
        swept: lowest and highest swept log setting, likewise.
    """

    declared: Declared
    x: Float[np.ndarray, " threshold"]
    references: Mapping[str, Float[np.ndarray, " task"]]
    swept: Mapping[str, Float[np.ndarray, "task end"]]

    @property
    def centres(self) -> Points:
        """One point per task, with every setting at its reference."""
        count = len(next(iter(self.references.values())))
        return Points(jnp.arange(count), {name: jnp.asarray(logs) for name, logs in self.references.items()})

    def beyond(self, name: str, at: Points) -> Float[Array, " point"]:
        """Return the log distance beyond the task's swept range along an axis, signed; 0 inside the range."""
        distance = self.distance(name, at)
        return distance - self.clipped(name, distance, at)

    def clipped(self, name: str, distance: Float[Array, " point"], at: Points) -> Float[Array, " point"]:
        """Return log distances from the reference, moved to the nearer end of the task's swept range if beyond it."""
        ends = jnp.asarray(self.swept[name] - self.references[name][:, None])[at.task]
        return jnp.clip(distance, ends[:, 0], ends[:, 1])

    def distance(self, name: str, at: Points) -> Float[Array, " point"]:
        """Return log(setting / reference) along an axis."""
        return jnp.asarray(at.log_settings[name] - jnp.asarray(self.references[name])[at.task])


def value(
    declared: Parameter, p: Parameters, at: Points, function: Callable[[Array], Array] = jnp.asarray
) -> Float[Array, "*threshold_point"]:
    """Return a parameter at the points, or what a function makes of it, to be broadcast over thresholds and points.

    The function is applied to each task's value once, before the values are gathered to the points.
    """
    values = function(p[declared.name])
    if isinstance(declared, Shared):
        return values[:, None] if values.ndim else values
    return values.T[..., at.task]


def log_optimum(frame: Frame, axis: Tuned, p: Parameters, at: Points) -> Float[Array, "threshold point"]:
    """Return the log of an axis's optimum, equation (1)."""
    best = value(axis.log_optimum, p, at)
    for shift in axis.shifts:
        distance = frame.distance(shift.resource, at)
        if isinstance(shift, PowerShift):
            best = best - value(shift.exponent, p, at) * distance
        else:
            best = best + log_batch_room(distance, p[shift.room.name], p[shift.exponent.name])
    return best


def log_penalty(frame: Frame, p: Parameters, at: Points) -> Float[Array, "threshold point"]:
    """Return the extra log env steps of missing the optima, equation (2)."""
    tuned = frame.declared.tuned
    distances = [at.log_settings[axis.name] - log_optimum(frame, axis, p, at) for axis in tuned]
    curvatures = [value(axis.log_curvature, p, at, jnp.exp) for axis in tuned]
    if not tuned:
        return jnp.zeros((len(frame.x), len(at.task)))
    return jnp.asarray(penalty(distances, curvatures, correlations(frame.declared, p)))


def correlations(declared: Declared, p: Parameters) -> Float[Array, "axis axis"]:
    """Return the correlation matrix of the tuned axes in the penalty."""
    order = [axis.name for axis in declared.tuned]
    matrix = jnp.asarray(np.eye(len(order)))
    for interaction in declared.interactions:
        pair = np.zeros((len(order), len(order)))
        pair[tuple(order.index(name) for name in interaction.axes)] = 1.0
        matrix = matrix + jnp.tanh(p[interaction.strength.name]) * (pair + pair.T)
    return matrix


def log_law(frame: Frame, p: Parameters, at: Points) -> Float[Array, "threshold point"]:
    """Return log env steps of the median run at the optima, equation (3)."""
    at_centre = p[frame.declared.log_env_steps_at_centre.name].T - log_penalty(frame, p, frame.centres)
    log_ratio = jnp.zeros(())
    for resource in frame.declared.resources:
        share = value(resource.log_saved_odds, p, at, jax.nn.sigmoid)
        distance = frame.distance(resource.name, at)
        if resource.log_sharpness is not None:
            sharpness = value(resource.log_sharpness, p, at, jnp.exp)
            log_ratio = log_ratio + log_crossover_ratio(distance, share, sharpness)
        if resource.log_exponent is not None:
            exponent = value(resource.log_exponent, p, at, jnp.exp)
            log_ratio = jnp.asarray(log_size_ratio(log_ratio, distance, share, exponent))
    return at_centre[:, at.task] + log_ratio


def log_noise(frame: Frame, p: Parameters, at: Points) -> Float[Array, "threshold point"]:
    """Return the log of the seed noise, equation (5)."""
    noise = value(frame.declared.log_noise, p, at)
    for axis in frame.declared.axes:
        distance = frame.distance(axis.name, at)
        if isinstance(axis, Resource) and axis.noise_levels_off:
            distance = frame.clipped(axis.name, distance, at)
        noise = noise + value(axis.noise_slope, p, at) * distance
    return noise


def log_spread(frame: Frame, p: Parameters, at: Points) -> Float[Array, "threshold point"]:
    """Return the log of the spread of a new run, equation (4): seed noise, configuration effect, growing error."""
    declared = frame.declared
    squared_distance = sum((frame.beyond(axis.name, at) ** 2 for axis in declared.axes), jnp.zeros(1))
    error = p[declared.error_growth.name] ** 2 * squared_distance
    noise = jnp.exp(2 * log_noise(frame, p, at))
    return jnp.log(noise * (1 + p[declared.configuration_effect.name] ** 2) + error) / 2


def failure_logit(
    frame: Frame,
    p: Parameters,
    at: Points,
    extra: Float[Array, "threshold point"],
    optima: Mapping[str, Float[Array, "threshold point"]] | None = None,
) -> Float[Array, "threshold point"]:
    """Return the logit of the chance that a run never reaches the threshold, equation (6).

    Args:
        frame: the sweep.
        p: the parameters.
        at: the points.
        extra: the penalty there.
        optima: by tuned axis, log settings of each threshold that replace those of the points.
    """
    declared = frame.declared
    logit = value(declared.failure, p, at) + p[declared.failure_penalty.name] * extra
    logit += p[declared.failure_rise.name] * frame.x[:, None]
    for axis in declared.axes:
        distance = frame.distance(axis.name, at)
        if optima is not None and axis.name in optima:
            distance = optima[axis.name] - jnp.asarray(frame.references[axis.name])[at.task]
        logit += p[axis.failure_slope.name] * distance
    return logit
