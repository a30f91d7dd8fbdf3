"""The response surface of the joint model: median log env steps over UTD, model size, batch size and learning rate.

The level is that at the centre of the task's data, which the data tell best; the penalty there is taken off again to
get the level at B*, eta*. For task e and threshold k, with s = log(utd/utd_ref), n = log(N/N_e) for the task's mean
size N_e, and x the threshold scaled to [-1, 1]:

    median log T = level_ek - penalty at the centre + log r + z' K z / 2
    r = (1 - q) (w + (1 - w) e^(-alpha s)) + q e^(-gamma n)
    z = (log B - m_B + alpha_B s - room(n), log eta - m_eta + alpha_eta s - c n)

which is D_min + (a/utd)^alpha + (b/N)^gamma, written as shares of the data at the reference: q of what a larger critic
would save, (1 - q) w of what nothing would. room is how much larger a batch a larger critic bears.
w, q, m_B and m_eta vary by task, and over x along a line and a random walk of the task's own; alpha_B, alpha_eta,
gamma and the log curvatures in K depart by task from shared lines in x; alpha follows a shared line.
Axes that do not vary within any task have no parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from bayescale.errors import InputError
from bayescale.laws import log_batch_room, log_data_ratio, log_optimum, log_size_ratio, penalty
from bayescale.models.priors import PRIORS, Prior
from bayescale.models.sufficient_statistics import AXES

Sites = dict[str, Array]
RULES = ("batch_size", "learning_rate")
CENTRED = (*RULES, "model_size")


class Points(NamedTuple):
    """Where to predict: task numbers and the logs of utd/utd_ref, batch size, learning rate and N/N_e."""

    task: Int[Array, " point"]
    log_utd: Float[Array, " point"]
    log_batch_size: Float[Array, " point"]
    log_learning_rate: Float[Array, " point"]
    log_model_size: Float[Array, " point"]


@dataclass(frozen=True)
class Surface:
    """The surface for given tasks, thresholds and varying axes.

    `centres` holds for each task the mean logs of its configurations' batch size, learning rate and model size,
    `swept` the ends of its UTDs as log(utd/utd_ref).
    """

    env_ids: tuple[str, ...]
    thresholds: tuple[float, ...]
    varying: tuple[str, ...]
    utd_ref: float
    centres: tuple[tuple[float, float, float], ...]
    swept: tuple[tuple[float, float], ...]
    priors: dict[str, Prior] = field(default_factory=lambda: dict(PRIORS), hash=False)

    def points(self, configs: pd.DataFrame) -> Points:
        """Configurations as arrays; tasks without runs share the number after the last task.

        Raises:
            InputError: the model size is an axis and the configurations have none.
        """
        number = {name: i for i, name in enumerate(self.env_ids)}
        task = configs["env_id"].map(lambda name: number.get(name, len(number))).to_numpy(int)
        sized = "model_size" in self.varying
        if sized and "model_size" not in configs:
            raise InputError("configs lack the column model_size, which varies in the fitted runs; add it.")
        logs = {name: np.log(configs[name].to_numpy(float)) for name in AXES if name in configs}
        size = logs["model_size"] - np.asarray(self._centres())[task, 2] if sized else np.zeros(len(task))
        return Points(
            jnp.asarray(task),
            jnp.asarray(logs["utd"] - np.log(self.utd_ref)),
            jnp.asarray(logs["batch_size"]),
            jnp.asarray(logs["learning_rate"]),
            jnp.asarray(size),
        )

    @property
    def _x(self) -> Float[np.ndarray, " threshold"]:
        levels = np.asarray(self.thresholds)
        half = (levels[-1] - levels[0]) / 2
        return (levels - levels[0]) / half - 1 if half > 0 else np.zeros(1)

    def _fixed(self, name: str) -> float:
        """A spread between tasks that is stated: a handful of tasks says little of it, and sampling it stalls NUTS."""
        return self.priors[name].location

    def _line(self, sites: Sites, name: str) -> Float[Array, " threshold"]:
        """A parameter's line in the scaled threshold."""
        return jnp.asarray(sites[name]) + sites.get(f"{name}_drift", 0.0) * self._x

    def _by_task(self, sites: Sites, name: str, mean: str) -> Float[Array, "task threshold"]:
        """A parameter by task: population mean, the task's departure, its own line in x and a random walk around it."""
        level = (sites[mean] + self._fixed(f"{name}_sd") * sites[f"{name}_z"])[:, None]
        if f"{name}_drift" not in sites:
            return level
        drift = sites[f"{name}_drift"] + self._fixed("drift_sd") * sites[f"{name}_drift_z"]
        steps = self._fixed("walk_sd") * np.sqrt(np.diff(self._x)) * sites[f"{name}_walk_z"]
        return level + drift[:, None] * self._x + jnp.pad(jnp.cumsum(steps, axis=1), ((0, 0), (1, 0)))

    def _centres(self) -> Float[Array, "task axis"]:
        """Logs of `CENTRED` at the centre of each task's data, then of all tasks, for a new one."""
        centres = np.asarray(self.centres)
        return jnp.asarray(np.vstack([centres, centres.mean(axis=0)]))

    def _swept(self) -> Float[Array, "task end"]:
        """Ends of each task's swept log(utd/utd_ref), then of all tasks', for a new one."""
        ends = np.asarray(self.swept)
        return jnp.asarray(np.vstack([ends, [ends[:, 0].min(), ends[:, 1].max()]]))

    def _rule(self, sites: Sites, axis: str, points: Points) -> Float[Array, "point threshold"]:
        """log B* or log eta* at the points' UTD and size; the task's own value where the axis does not vary."""
        if axis not in self.varying:
            centre = self._centres()[points.task, CENTRED.index(axis)]
            return jnp.broadcast_to(centre[:, None], (len(points.task), len(self.thresholds)))
        best = self._by_task(sites, axis, f"{axis}_mean")[points.task]
        if f"{axis}_slope" in sites:
            slope = self._line(sites, f"{axis}_slope") + (self._fixed("slope_sd") * sites[f"{axis}_slope_z"])[:, None]
            best = log_optimum(best, slope[points.task], points.log_utd[:, None])
        if "batch_size_room" in sites and axis == "batch_size":
            room = log_batch_room(points.log_model_size, sites["batch_size_room"], sites["batch_size_gamma"])
            best += room[:, None]
        if "learning_rate_size" in sites and axis == "learning_rate":
            best += (sites["learning_rate_size"] * points.log_model_size)[:, None]
        return jnp.broadcast_to(best, (len(points.task), len(self.thresholds)))

    def _law(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """log env steps of the median run at B*, eta*."""
        lowest = (sites["level_mean"] + self._fixed("level_sd") * sites["level_z"])[:, None]
        rises = lowest[:, :0]
        if "gap_z" in sites:
            rises = (sites["gap_mean"] + self._fixed("gap_sd") * sites["gap_z"]) / (len(self.thresholds) - 1)
        tasks, zeros = jnp.arange(len(lowest)), jnp.zeros(len(lowest))
        centres = self._centres()[: len(lowest)]
        offset = self._penalty(sites, Points(tasks, zeros, centres[:, 0], centres[:, 1], zeros))
        level = (jnp.cumsum(jnp.concatenate([lowest, rises], axis=1), axis=1) - offset)[points.task]
        ratio = jnp.zeros(())
        if "utd" in self.varying:
            share = jax.nn.sigmoid(self._by_task(sites, "min_share", "min_share"))[points.task]
            ratio = log_data_ratio(points.log_utd[:, None], share, jnp.exp(self._line(sites, "log_alpha")))
        if "model_size" in self.varying:
            share = jax.nn.sigmoid(self._by_task(sites, "size_share", "size_share"))[points.task]
            departure = self._fixed("log_gamma_sd") * sites["log_gamma_z"][:, None]
            gamma = jnp.exp(self._line(sites, "log_gamma") + departure)[points.task]
            ratio = log_size_ratio(ratio, points.log_model_size[:, None], share, gamma)
        return level + ratio

    def _penalty(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """What the points' batch size and learning rate cost over B*, eta*, in log env steps."""
        distance: list[Array] = []
        curvature: list[Array] = []
        for axis, value in zip(RULES, (points.log_batch_size, points.log_learning_rate), strict=True):
            distance.append(value[:, None] - self._rule(sites, axis, points))
            if axis in self.varying:
                bend = self._fixed("curvature_sd") * sites[f"{axis}_curvature_z"]
                curvature.append(jnp.exp(bend[:, None] + self._line(sites, f"{axis}_curvature"))[points.task])
            else:
                curvature.append(jnp.zeros_like(distance[-1]))
        interaction = jnp.tanh(sites["interaction"]) if "interaction" in sites else jnp.zeros(())
        return penalty(distance[0], distance[1], curvature[0], curvature[1], interaction)

    def _surface(self, sites: Sites, points: Points) -> tuple[Array, Array]:
        """Location and penalty; (point, threshold) each."""
        extra = self._penalty(sites, points)
        return self._law(sites, points) + extra, extra


def varying_axes(crossings: pd.DataFrame) -> tuple[str, ...]:
    """The axes that vary within a task."""
    by_task = crossings.groupby("env_id")
    return tuple(axis for axis in AXES if axis in crossings and (by_task[axis].nunique() > 1).any())


def task_centres(crossings: pd.DataFrame) -> Mapping[str, tuple[float, float, float]]:
    """By task, in order of name, the mean logs of its configurations' batch size, learning rate and model size."""
    present = [axis for axis in AXES if axis in crossings]
    configs = crossings[["env_id", *present]].drop_duplicates()
    logs = configs.assign(**{axis: np.log(configs[axis].astype(float)) for axis in CENTRED if axis in present})
    logs = logs.assign(**{axis: 0.0 for axis in CENTRED if axis not in present})
    means = logs.groupby("env_id")[list(CENTRED)].mean()
    return {str(name): (float(b), float(r), float(n)) for name, b, r, n in means.itertuples()}


def swept_utds(crossings: pd.DataFrame, utd_ref: float) -> tuple[tuple[float, float], ...]:
    """By task, in order of name, the least and the greatest log(utd/utd_ref)."""
    ends = crossings.groupby("env_id")["utd"].agg(["min", "max"])
    return tuple((float(np.log(low / utd_ref)), float(np.log(high / utd_ref))) for _, low, high in ends.itertuples())
