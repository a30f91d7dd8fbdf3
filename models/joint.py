"""The joint model of run lengths: the whole generative story, top to bottom.

A run length T is the number of env steps until a run first reaches a threshold. The story is told for task e, threshold
J_k and a run with UTD sigma, batch size B, learning rate eta and N critic parameters. x_k is the threshold scaled to
[-1, 1]. s_a is the log distance of axis a from its reference: log UTD less the mean log UTD of the sweep, or the log of
another setting less its mean over the task's configurations. Names in `code` are parameters, declared with their priors
in `bayescale.models.parameters`. An axis that varies within no task drops out.

(1) Optima     log B*   = `log_batch_optimum`[e,k] - `batch_utd_exponent`[e,k] s_utd
                          + log((1 + `batch_size_room`) / (1 + `batch_size_room` exp(-`batch_size_exponent` s_N)))
               log eta* = `log_rate_optimum`[e,k] - `rate_utd_exponent`[e,k] s_utd - `rate_size_exponent` s_N
(2) Penalty    phi = z' K z / 2,   z = (log B - log B*, log eta - log eta*)
               K_BB = exp(`log_batch_curvature`[e,k]),   K_ee = exp(`log_rate_curvature`[e,k]),
               K_Be = tanh(`interaction`) sqrt(K_BB K_ee)
(3) Law        log D = `log_env_steps_at_centre`[e,k] - phi(all settings at their reference) + log r
               r = (1 - q) [(1 - w) + w exp(-p s_utd)]^(1 / p) + q exp(-gamma s_N)
               w = sigmoid(`utd_share`[e,k]),   p = exp(`log_sharpness`[k]),
               q = sigmoid(`size_share`[e,k]),  gamma = exp(`log_gamma`[e,k])
               This is D = (D_min^p + (a / sigma)^p)^(1 / p) + (b / N)^gamma, written as shares of D at the reference.
               Where updates are rare, D is proportional to 1 / sigma: their number limits learning.
(4) Run length log T = m + spread (z + skew z^2),   m = log D + phi,   skew = `skewness`[e,k],   z standard normal
               spread^2 = noise^2 (1 + `configuration_effect`^2) + `error_growth`^2 (sum over axes of d_a^2)
               d_a is the log distance of axis a beyond the task's swept range: 0 for all fitted runs, which therefore
               do not inform `error_growth`, the error of the law itself where there are no data.
               m is the median. z has two parts: the configuration effect, which all seeds of a configuration share and
               which has the share `configuration_effect`^2 / (1 + `configuration_effect`^2) of the variance within the
               swept range, and the noise of a seed. The law of a single run is `bayescale.run_length_distribution`.
(5) Seed noise log noise = `log_noise`[e,k] + `utd_noise_slope`[e] s_utd + `batch_noise_slope`[e] s_B
                           + `rate_noise_slope`[e] s_eta + `size_noise_slope`[e] s_N
               Along UTD the noise stays constant beyond the task's swept range.
(6) Failure    logit P(T = inf) = `failure`[e] + `failure_penalty` phi + `failure_rise` x_k + `utd_failure_slope` s_utd
                   + `batch_failure_slope` s_B + `rate_failure_slope` s_eta + `size_failure_slope` s_N
(7) Ceiling    Task e has a ceiling; no run reaches a threshold above it. It lies below the lowest threshold with
               probability 0.3 and above the highest with 0.49; a run that reaches a threshold rules out the places
               below. The place is integrated out, see `bayescale.models.attainable`.
(8) Data       T lies between the last evaluation below the threshold and the first at or above it: left-censored if it
               is the first evaluation, right-censored if there is none, infinite if the run diverged before.

Predictions take the running maximum of the median and the running minimum of the chance to reach over thresholds.

Predictions multiply the chance to reach a threshold by the chance that it lies below the ceiling. A new task is assumed
to have none.

The likelihood (`bayescale.models.likelihood`) treats interval-censored times as normal around their mean, and adds what
the seeds of a configuration show of the skewness as an observation of its own. The thresholds of one run are
correlated; each enters by its marginal, at the weight of `SufficientStatistics.weight` (1 for one threshold), as a
composite likelihood.

Sources: Rybkin et al. (ICML 2025) for (1) and (3) in UTD, Fu et al. (NeurIPS 2025) for (1) and (3) in model size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, ArrayLike, Float

from bayescale.float64 import float64
from bayescale.models.axes import Axis, Declared, Tuned
from bayescale.models.likelihood import attainable, log_likelihood
from bayescale.models.parameters import AXES, DECLARED, PRIORS, with_replacements
from bayescale.models.pooling import ByTask, Shared
from bayescale.models.priors import Prior
from bayescale.models.sufficient_statistics import SufficientStatistics, collapse, padded
from bayescale.models.surface import (
    Frame,
    Optimum,
    Parameters,
    Points,
    correlations,
    failure_logit,
    log_law,
    log_optimum,
    log_penalty,
    log_spread,
    points_of,
    value,
)
from bayescale.run_length_distribution import RunLengthDistribution

ATTAINABLE = "attainable"  # name in draws of the chance of equation (7), by task and threshold


@dataclass(frozen=True)
class JointModel:
    """The joint model for given tasks, thresholds and varying axes.

    Attributes:
        env_ids: names of the tasks, in the order of the parameters' rows.
        thresholds: returns, increasing.
        varying: names of the axes that vary within a task.
        references: by task, the reference of each log setting, in the order of `AXES`.
        swept: by task, the lowest and highest log setting, likewise.
        priors: prior distributions by name.
    """

    env_ids: tuple[str, ...]
    thresholds: tuple[float, ...]
    varying: tuple[str, ...]
    references: tuple[tuple[float, ...], ...]
    swept: tuple[tuple[tuple[float, float], ...], ...]
    priors: dict[str, Prior] = field(default_factory=lambda: dict(PRIORS), hash=False)

    name = "joint"

    @classmethod
    def for_crossings(cls, crossings: pd.DataFrame, priors: Mapping[str, Prior] | None = None) -> "JointModel":
        """Return the model whose axes are those that vary in a crossings table; `env_id` names the task.

        Args:
            crossings: one row per run and threshold.
            priors: replacements for `PRIORS` by name.

        Raises:
            InputError: a prior has an unknown name or cannot be used.
        """
        settings = crossings[["env_id", *(axis.name for axis in AXES if axis.name in crossings)]].drop_duplicates()
        logs = settings.assign(**{axis.name: np.log(settings[axis.name].astype(float)) for axis in _present(settings)})
        by_task = logs.groupby("env_id")
        means, low, high = by_task.mean(), by_task.min(), by_task.max()
        means = means.assign(utd=np.log(np.unique(settings["utd"].astype(float))).mean())
        names = [axis.name for axis in AXES]
        means, low, high = (table.reindex(columns=names, fill_value=0.0) for table in (means, low, high))
        return cls(
            env_ids=tuple(map(str, means.index)),
            thresholds=tuple(float(threshold) for threshold in np.unique(crossings["threshold"])),
            varying=tuple(axis.name for axis in _present(settings) if (by_task[axis.name].nunique() > 1).any()),
            references=tuple(tuple(map(float, row)) for row in means.to_numpy()),
            swept=tuple(
                tuple(zip(map(float, lows), map(float, highs), strict=True))
                for lows, highs in zip(low.to_numpy(), high.to_numpy(), strict=True)
            ),
            priors=with_replacements(priors),
        )

    @cached_property
    def declared(self) -> Declared:
        """The declarations of the axes that vary, with the priors of this model."""
        return DECLARED.for_axes(self.varying).with_priors(self.priors)

    @cached_property
    def frame(self) -> Frame:
        """The declarations, thresholds and references that the response surface is stated for."""
        thresholds = np.asarray(self.thresholds)
        half = (thresholds[-1] - thresholds[0]) / 2
        x = (thresholds - thresholds[0]) / half - 1 if half > 0 else np.zeros(1)
        references, swept = np.asarray(self.references), np.asarray(self.swept)
        references = np.vstack([references, references.mean(axis=0)])
        swept = np.concatenate([swept, [np.stack([swept[:, :, 0].min(axis=0), swept[:, :, 1].max(axis=0)], axis=-1)]])
        names = [axis.name for axis in AXES]
        return Frame(
            self.declared,
            x,
            {name: references[:, i] for i, name in enumerate(names)},
            {name: swept[:, i] for i, name in enumerate(names)},
        )

    def sample_parameters(self) -> dict[str, Array]:
        """Declare the NumPyro sample sites and return every parameter by name; `declared` gives the dimensions."""
        from bayescale.models.sampler_coordinates import sample_log_exponent, sample_optima  # imports NumPyro

        declared, tasks, x = self.declared, len(self.env_ids), self.frame.x
        p: dict[str, Array] = {}
        for resource in declared.resources:
            odds = p[resource.log_saved_odds.name] = resource.log_saved_odds.sample(tasks, x)
            if resource.log_exponent is not None:
                exponent = sample_log_exponent(resource.log_exponent, odds[:tasks])
                p[resource.log_exponent.name] = resource.log_exponent.sample(tasks, x, exponent)
        for interaction in declared.interactions:
            p[interaction.strength.name] = interaction.strength.sample(tasks, x)
        centres = np.array([[self.frame.references[axis.name][e] for axis in declared.tuned] for e in range(tasks)])
        p |= sample_optima(declared.tuned, correlations(declared, p), centres, x)
        return p | {one.name: one.sample(tasks, x) for one in declared.parameters() if one.name not in p}

    def fields(self) -> dict[str, Any]:
        """Return what a saved fit needs to make the model again, as JSON takes it."""
        return asdict(self)

    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """Return the names of every parameter's dimensions; "task" has a last row for the population mean."""
        return {one.name: one.dimensions() for one in self.declared.parameters()}

    def descriptions(self) -> dict[str, tuple[str, str]]:
        """Return every parameter's unit and meaning."""
        return {one.name: (one.unit, one.meaning) for one in self.declared.parameters()}

    def population(self, draws: Mapping[str, ArrayLike]) -> dict[str, Float[np.ndarray, "*draw"]]:
        """Return the population mean of parameters that are lines over the thresholds, by name, at x = 0.

        That is the value whose prior has the parameter's name: halfway between the lowest and the highest threshold.
        """
        found = {}
        for parameter in self.declared.parameters():
            if isinstance(parameter, Shared | ByTask):
                values = np.asarray(draws[parameter.name])
                if "threshold" in parameter.dimensions():
                    values = (values[..., 0] + values[..., -1]) / 2
                found[parameter.name] = values[..., -1] if "task" in parameter.dimensions() else values
        return found

    @float64()
    def add_task(self, draws: Mapping[str, ArrayLike], key: Array) -> dict[str, Array]:
        """Return draws in which a new task, sampled from each draw's population, replaces the population's row.

        Args:
            draws: parameters by name, draw axis first.
            key: source of randomness.
        """
        extended = {name: jnp.asarray(values) for name, values in draws.items()}
        for parameter in self.declared.parameters():
            if not isinstance(parameter, Shared):
                key, own = jax.random.split(key)
                mean = extended[parameter.name][:, -1]
                fresh = jax.vmap(parameter.new_task, in_axes=(0, None, 0))(
                    mean, self.frame.x, jax.random.split(own, len(mean))
                )
                extended[parameter.name] = extended[parameter.name].at[:, -1].set(fresh)
        return extended

    def observe(self, crossings: pd.DataFrame) -> SufficientStatistics:
        """Return the sufficient statistics that `log_likelihood` reads."""
        return collapse(crossings, self.env_ids)

    def observe_each(self, tables: Sequence[pd.DataFrame]) -> list[SufficientStatistics]:
        """Return the sufficient statistics of several tables of the same configurations, in equal shapes."""
        return padded([self.observe(table) for table in tables])

    def points(self, configs: pd.DataFrame) -> Points:
        """Return configurations as arrays; see `bayescale.models.surface.points_of`."""
        return points_of(configs, self.env_ids, self.varying)

    def log_likelihood(self, p: Parameters, observed: SufficientStatistics) -> Float[Array, ""]:
        """Return the weighted log likelihood of the observations; see `bayescale.models.likelihood`."""
        return log_likelihood(self.frame, p, observed)

    def with_ceilings(self, draws: Mapping[str, ArrayLike], crossings: pd.DataFrame) -> dict[str, ArrayLike]:
        """Return draws with `attainable`, the chance that each threshold lies below the ceiling of each task.

        Args:
            draws: parameters by name, draw axis first.
            crossings: the fitted crossings.
        """
        return {**draws, ATTAINABLE: attainable(self.frame, draws, self.observe(crossings))}

    def run_lengths(self, p: Parameters, at: Points) -> RunLengthDistribution:
        """Return the distribution of a new run's length at each point, under one draw of the parameters.

        The chance `attainable` counts where the draw has it: draws of a posterior do, draws of the prior do not.
        """
        extra = log_penalty(self.frame, p, at)
        location = log_law(self.frame, p, at) + extra
        scale = jnp.exp(log_spread(self.frame, p, at))
        skew = value(self.declared.skewness, p, at)
        p_reach = self._attainable(p, at) * jax.nn.sigmoid(-failure_logit(self.frame, p, at, extra))
        return RunLengthDistribution(jax.lax.cummax(location).T, scale.T, skew.T, jax.lax.cummin(p_reach).T)

    def run_lengths_at_optimum(self, p: Parameters, at: Points) -> RunLengthDistribution:
        """Return the same with batch size and learning rate at their optimum for the highest threshold."""
        best = {axis.name: log_optimum(self.frame, axis, p, at)[-1] for axis in self.declared.tuned}
        return self.run_lengths(p, at._replace(log_settings={**at.log_settings, **best}))

    def optimum(self, p: Parameters, at: Points) -> Optimum:
        """Return B*, eta* of each threshold at the points' task, UTD and model size, and the median run there.

        The batch sizes and learning rates of the points are not read. An axis that does not vary in the sweep has its
        optimum at the task's own value.
        """
        log_env_steps = log_law(self.frame, p, at)
        tuned = {axis.name: log_optimum(self.frame, axis, p, at) for axis in self.declared.tuned}
        best = {
            axis.name: tuned.get(axis.name, jnp.asarray(self.frame.references[axis.name])[at.task])
            for axis in AXES
            if isinstance(axis, Tuned)
        }
        fails = failure_logit(self.frame, p, at, jnp.zeros_like(log_env_steps), tuned)
        return Optimum(
            jnp.broadcast_to(best["batch_size"], log_env_steps.shape).T,
            jnp.broadcast_to(best["learning_rate"], log_env_steps.shape).T,
            jax.lax.cummax(log_env_steps).T,
            jax.lax.cummin(self._attainable(p, at) * jax.nn.sigmoid(-fails)).T,
        )

    def _attainable(self, p: Parameters, at: Points) -> Array | float:
        """Return the chance that the thresholds lie below the ceiling of the points' task; 1 where it is not stated."""
        return p[ATTAINABLE].T[:, at.task] if ATTAINABLE in p else 1.0

    def shared_variance(self, p: Mapping[str, ArrayLike]) -> Float[Array, "*draw"]:
        """Return the share of a new run's variance that a configuration's seeds have in common, within the sweep."""
        effect2 = jnp.asarray(p[self.declared.configuration_effect.name]) ** 2
        return effect2 / (1 + effect2)


def _present(table: pd.DataFrame) -> tuple[Axis, ...]:
    return tuple(axis for axis in AXES if axis.name in table)
