"""The joint model of env steps to thresholds over UTD, batch size and learning rate, tasks and thresholds.

The level is that at the centre of the task's data, which the data tell best; the penalty there is taken off again to
get the level at B*, eta*. For task e and threshold k, with s = log(utd/utd_ref) and x the threshold scaled to [-1, 1]:

    median log T = level_ek - penalty at the centre + log(w + (1 - w) e^(-alpha s)) + z' K z / 2
    z = (log B - m_B + alpha_B s, log eta - m_eta + alpha_eta s)

w, m_B and m_eta vary by task, and over x along a line and a random walk of the task's own; alpha_B and alpha_eta vary
by task around shared lines in x; alpha and the curvatures follow shared lines. Predictions take the running maximum
over thresholds, so that thresholds cannot cross, far from the data neither. Around the median lie the misfit of a
configuration, shared by its seeds, and the luck of a seed, together as in `RunTimes`: their spread and skew vary by
task and threshold, and the log spread along task-wise lines in log B and log eta. A run fails for good with a chance
that grows with x and with the penalty. The thresholds of a run are correlated: their terms enter as a composite
likelihood, each by its marginal, at the weight of `Cells.weight` (exactly 1 with one threshold).
Axes that do not vary within any task have no parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Float, Int

from bayescale.errors import InputError
from bayescale.laws import log_data_ratio, log_optimum, penalty
from bayescale.models.cells import AXES, Cells, collapse, padded
from bayescale.models.priors import PRIORS, Prior
from bayescale.run_times import RunTimes, normal_score

Sites = dict[str, Array]
RULES = ("batch_size", "learning_rate")
PULL = 0.85  # power of the curvature: at 1 flat penalties diverge, at 1/2 optima beyond the data mix half as well


class Points(NamedTuple):
    """Where to predict: task numbers and the logs of utd/utd_ref, batch size and learning rate."""

    task: Int[Array, " point"]
    log_utd: Float[Array, " point"]
    log_batch_size: Float[Array, " point"]
    log_learning_rate: Float[Array, " point"]


class Optimum(NamedTuple):
    """Optimal hyperparameters and the median run there, in logs; draw axis first."""

    log_batch_size: Float[Array, "*draw utd threshold"]
    log_learning_rate: Float[Array, "*draw utd threshold"]
    log_env_steps: Float[Array, "*draw utd threshold"]
    p_reach: Float[Array, "*draw utd threshold"]


@dataclass(frozen=True)
class JointModel:
    """The model for given tasks, thresholds and varying axes.

    `centres` holds for each task the mean logs of its configurations' batch size and learning rate.
    """

    env_ids: tuple[str, ...]
    thresholds: tuple[float, ...]
    varying: tuple[str, ...]
    utd_ref: float
    centres: tuple[tuple[float, float], ...]
    priors: dict[str, Prior] = field(default_factory=lambda: dict(PRIORS), hash=False)

    name = "joint"

    @classmethod
    def for_crossings(cls, crossings: pd.DataFrame, priors: dict[str, Prior] | None = None) -> "JointModel":
        """The model whose axes are those that vary in a crossings table.

        Raises:
            InputError: more than one suite, algorithm or model size; this model has no axis for them.
        """
        for column in ("suite", "algorithm", "model_size"):
            if column in crossings and crossings[column].nunique() > 1:
                names = ", ".join(map(str, sorted(crossings[column].unique())))
                raise InputError(f"one fit holds one {column}; got {names}. Fit them one at a time.")
        by_task = crossings.groupby("env_id")
        used = crossings[["env_id", *AXES]].drop_duplicates()
        used = used.assign(**{axis: np.log(used[axis].astype(float)) for axis in RULES})
        logs = used.groupby("env_id")[list(RULES)].mean()
        return cls(
            env_ids=tuple(str(name) for name in logs.index),
            thresholds=tuple(float(v) for v in np.unique(crossings["threshold"])),
            varying=tuple(axis for axis in AXES if (by_task[axis].nunique() > 1).any()),
            utd_ref=float(np.exp(np.log(crossings["utd"].unique().astype(float)).mean())),
            centres=tuple((float(b), float(r)) for b, r in logs.to_numpy()),
            priors=dict(PRIORS) if priors is None else priors,
        )

    def observe(self, crossings: pd.DataFrame) -> Cells:
        """The sufficient statistics that `log_likelihood` reads."""
        return collapse(crossings, self.env_ids)

    def observe_each(self, tables: Sequence[pd.DataFrame]) -> list[Cells]:
        """The sufficient statistics of several tables of the same runs, in equal shapes."""
        cells = [self.observe(table) for table in tables]
        most = max(len(one.log_bound) for one in cells)
        return [padded(one, most) for one in cells]

    def points(self, configs: pd.DataFrame) -> Points:
        """Configurations as arrays; tasks without runs share the number after the last task."""
        number = {name: i for i, name in enumerate(self.env_ids)}
        task = configs["env_id"].map(lambda name: number.get(name, len(number))).to_numpy(int)
        logs = np.log(configs[list(AXES)].to_numpy(float))
        return Points(jnp.asarray(task), *jnp.asarray(logs.T - [[np.log(self.utd_ref)], [0.0], [0.0]]))

    @property
    def _x(self) -> Float[np.ndarray, " threshold"]:
        levels = np.asarray(self.thresholds)
        half = (levels[-1] - levels[0]) / 2
        return (levels - levels[0]) / half - 1 if half > 0 else np.zeros(1)

    def sites(self) -> None:
        """Declares the parameters (NumPyro sample sites)."""
        tasks, levels = len(self.env_ids), len(self.thresholds)

        def draw(name: str, prior: str | None = None, shape: tuple[int, ...] = ()) -> Any:
            return numpyro.sample(name, self.priors[prior or name].distribution().expand(shape).to_event(len(shape)))

        def standard(name: str, *shape: int) -> Any:
            return numpyro.sample(name, dist.Normal(0.0, 1.0).expand(shape).to_event(len(shape)))

        draw("level_mean")
        standard("level_z", tasks)
        for name in ("log_noise", "skew"):
            draw(f"{name}_mean", shape=(levels,))
            standard(f"{name}_z", tasks, levels)
        draw("misfit")
        for name in ("failure", "failure_penalty", "failure_rise"):
            draw(name)
        standard("failure_z", tasks)
        walking = ["min_share"] if "utd" in self.varying else []
        walking += [axis for axis in RULES if axis in self.varying]
        if levels > 1:
            draw("gap_mean", shape=(levels - 1,))
            standard("gap_z", tasks, levels - 1)
            for name in walking:
                draw(f"{name}_drift")
                standard(f"{name}_drift_z", tasks)
                standard(f"{name}_walk_z", tasks, levels - 1)
        if "utd" in self.varying:
            draw("min_share"), draw("log_alpha")
            standard("min_share_z", tasks)
            if levels > 1:
                draw("log_alpha_drift")
        for axis in walking:
            if axis not in RULES:
                continue
            draw(f"{axis}_noise")
            standard(f"{axis}_noise_z", tasks)
            mean, curvature = draw(f"{axis}_mean"), draw(f"{axis}_curvature")
            bend = self._fixed("curvature_sd") * standard(f"{axis}_curvature_z", tasks)
            self._optimum_sites(axis, mean, curvature - self.priors[f"{axis}_curvature"].location + bend)
            if levels > 1:
                draw(f"{axis}_curvature_drift", "curvature_drift")
            if "utd" in self.varying:
                draw(f"{axis}_slope")
                standard(f"{axis}_slope_z", tasks)
                if levels > 1:
                    draw(f"{axis}_slope_drift")
        if all(axis in self.varying for axis in RULES):
            draw("interaction")

    def _optimum_sites(self, axis: str, mean: Array, bend: Float[Array, " task"]) -> None:
        """Declares the tasks' departures from the mean optimum, independent standard normal.

        They are sampled as pulls: the distance of the optimum from the centre of the task's data, times a power of the
        curvature. Where the optimum lies beyond the data, these tell the slope but not how far away and how curved it
        ends.
        """
        spread = self._fixed(f"{axis}_sd")
        if spread == 0:
            numpyro.sample(f"{axis}_z", dist.Normal(0.0, 1.0).expand(bend.shape).to_event(1))
            return
        stretch = jnp.exp(-PULL * bend)
        at_centre = (self._centres()[:-1, RULES.index(axis)] - mean) / spread
        pull = numpyro.sample(f"{axis}_pull", dist.Normal(-at_centre / stretch, 1 / stretch).to_event(1))
        numpyro.deterministic(f"{axis}_z", at_centre + stretch * pull)

    def log_likelihood(self, sites: Sites, cells: Cells) -> Float[Array, ""]:
        """The weighted log likelihood of the cells.

        A configuration's misfit is shared by its seeds and integrated out; a censored run is predicted from the
        configuration's other runs, which is exact for one and treats several as independent given the rest.
        """
        points = Points(
            jnp.asarray(cells.task),
            jnp.asarray(cells.log_utd - np.log(self.utd_ref)),
            jnp.asarray(cells.log_batch_size),
            jnp.asarray(cells.log_learning_rate),
        )
        median, extra = self._surface(sites, points)
        skew = self._skew(sites, points)
        noise = jnp.exp(self._log_noise(sites, points))
        spread = noise * jnp.sqrt(1 + sites["misfit"] ** 2)
        location = median + skew * spread  # of the mean
        noise2 = noise**2 * (1 + 2 * skew**2)
        misfit2 = sites["misfit"] ** 2 * noise2
        seed2 = noise2 + cells.grid_variance
        n, error = cells.count, jnp.where(cells.count > 0, cells.mean - location, 0.0)
        shrunk = n * misfit2 / (seed2 + n * misfit2)
        logs = n * jnp.log(seed2) + jnp.log1p(n * misfit2 / seed2)
        known = -0.5 * (logs + (cells.squares + n * error**2 * (1 - shrunk)) / seed2)
        lean = skew / jnp.sqrt(1 + sites["misfit"] ** 2)  # among the seeds of a configuration, whose spread is smaller
        known -= 0.5 * cells.lean_precision * (cells.lean - lean) ** 2
        fails = self._failure(sites, points, extra)
        known += n * jax.nn.log_sigmoid(-fails)

        at = cells.censored_config, cells.censored_threshold
        scale = (noise * jnp.sqrt(1 + sites["misfit"] ** 2 * seed2 / (seed2 + n * misfit2)))[at]
        later = (cells.log_bound - (location + shrunk * error)[at]) / scale + skew[at]
        tail = log_ndtr(-cells.censored_side * normal_score(later, skew[at]))
        reached = jax.nn.log_sigmoid(-fails[at]) + tail
        censored = jnp.where(cells.censored_side > 0, jnp.logaddexp(jax.nn.log_sigmoid(fails[at]), reached), reached)
        total: Array = cells.weight * (known.sum() + censored.sum())
        return total

    def runs(self, sites: Sites, points: Points) -> RunTimes:
        """A new run at each point under one draw."""
        location, extra = self._surface(sites, points)
        scale = jnp.exp(self._log_noise(sites, points)) * jnp.sqrt(1 + sites["misfit"] ** 2)
        p_reach = jax.nn.sigmoid(-self._failure(sites, points, extra))
        skew = self._skew(sites, points)
        return RunTimes(jax.lax.cummax(location, axis=1), scale, skew, jax.lax.cummin(p_reach, axis=1))

    def shared_variance(self, sites: Sites) -> Float[Array, "*draw"]:
        """The share of a new run's variance that the seeds of a configuration have in common."""
        variance = jnp.asarray(sites["misfit"]) ** 2
        return variance / (1 + variance)

    def optimum(self, sites: Sites, task: int, log_utd: Float[Array, " utd"]) -> Optimum:
        """B*, eta* of each threshold over UTD under one draw, and the median run at them."""
        count = len(log_utd)
        points = Points(jnp.full(count, task), log_utd, jnp.zeros(count), jnp.zeros(count))
        best = {axis: self._rule(sites, axis, points) for axis in RULES}
        at_best = self._law(sites, points)
        fails = self._failure(sites, points, jnp.zeros_like(at_best))
        p_reach = jax.lax.cummin(jax.nn.sigmoid(-fails), axis=1)
        return Optimum(best["batch_size"], best["learning_rate"], jax.lax.cummax(at_best, axis=1), p_reach)

    def with_new_task(self, draws: Mapping[str, ArrayLike], key: Array) -> Sites:
        """Draws with one more task, whose parameters come from the population of each draw."""
        out = {name: jnp.asarray(values) for name, values in draws.items()}
        for name, values in list(out.items()):
            key, fresh = jax.random.split(key)
            if name.endswith("_z"):
                shape = (len(values), 1, *values.shape[2:])
                out[name] = jnp.concatenate([values, jax.random.normal(fresh, shape)], axis=1)
        return out

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

    def _rule(self, sites: Sites, axis: str, points: Points) -> Float[Array, "point threshold"]:
        """log B* or log eta* at the points' UTD; the task's own value where the axis does not vary."""
        if axis not in self.varying:
            centre = self._centres()[points.task, RULES.index(axis)]
            return jnp.broadcast_to(centre[:, None], (len(points.task), len(self.thresholds)))
        at_reference = self._by_task(sites, axis, f"{axis}_mean")[points.task]
        if f"{axis}_slope" not in sites:
            return jnp.broadcast_to(at_reference, (len(points.task), len(self.thresholds)))
        slope = self._line(sites, f"{axis}_slope") + (self._fixed("slope_sd") * sites[f"{axis}_slope_z"])[:, None]
        return log_optimum(at_reference, slope[points.task], points.log_utd[:, None])

    def _law(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """log env steps of the median run at B*, eta*."""
        lowest = (sites["level_mean"] + self._fixed("level_sd") * sites["level_z"])[:, None]
        rises = lowest[:, :0]
        if "gap_z" in sites:
            rises = (sites["gap_mean"] + self._fixed("gap_sd") * sites["gap_z"]) / (len(self.thresholds) - 1)
        tasks = jnp.arange(len(lowest))
        centres = self._centres()[: len(lowest)]
        offset = self._penalty(sites, Points(tasks, jnp.zeros(len(lowest)), centres[:, 0], centres[:, 1]))
        level = (jnp.cumsum(jnp.concatenate([lowest, rises], axis=1), axis=1) - offset)[points.task]
        if "utd" not in self.varying:
            return level
        share = jax.nn.sigmoid(self._by_task(sites, "min_share", "min_share"))[points.task]
        return level + log_data_ratio(points.log_utd[:, None], share, jnp.exp(self._line(sites, "log_alpha")))

    def _centres(self) -> Float[Array, "task axis"]:
        """Log batch size and learning rate at the centre of each task's data, then of all tasks, for a new one."""
        centres = np.asarray(self.centres)
        return jnp.asarray(np.vstack([centres, centres.mean(axis=0)]))

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

    def _log_noise(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """Log of the seed spread: by task and threshold at the centre of the task's data, a plane from there on."""
        noise = (sites["log_noise_mean"] + self._fixed("log_noise_sd") * sites["log_noise_z"])[points.task]
        centres = self._centres()[points.task]
        for i, (axis, value) in enumerate(zip(RULES, (points.log_batch_size, points.log_learning_rate), strict=True)):
            if axis in self.varying:
                slope = sites[f"{axis}_noise"] + self._fixed("noise_slope_sd") * sites[f"{axis}_noise_z"]
                noise += (slope[points.task] * (value - centres[:, i]))[:, None]
        return noise

    def _skew(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """How far the mean of a run's log env steps lies above the median, in units of their spread."""
        return (sites["skew_mean"] + self._fixed("skew_sd") * sites["skew_z"])[points.task]

    def _failure(self, sites: Sites, points: Points, extra: Array) -> Float[Array, "point threshold"]:
        """Logit of the chance that a run never reaches the threshold."""
        task = sites["failure"] + self._fixed("failure_sd") * sites["failure_z"]
        return task[points.task][:, None] + sites["failure_penalty"] * extra + sites["failure_rise"] * self._x
