"""The published point pipeline of Rybkin et al., "Value-Based Deep RL Scales Predictably" (ICML 2025), to compare with.

Seeds are averaged, isotonic regression makes the mean monotone, and its first evaluation at J or above is D. The best
batch size and learning rate of each task and UTD at the highest threshold, averaged over bootstraps of the seeds, give
lines in logs with a slope shared by the tasks. D of the grid's configuration nearest to those lines, divided by the
task's median over UTD and averaged over tasks, is fitted by D_min + (beta/utd)^alpha for each threshold by itself, in
linear space. Whatever never reaches a threshold is dropped, as published; `PublishedFit.dropped` counts it.

What the method leaves open is filled in the simplest way: draws are its own bootstraps, a run scatters around the law
as the fitted configurations' runs scatter around their mean, a run at any batch size and learning rate is predicted as
one at the lines, and a task without runs has the median of the tasks' medians. A configuration above a threshold
before training says nothing of that threshold's law; a task of which no other reaches it is predicted there at 1 env
step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bayescale.comparators.floor_laws import floor_laws
from bayescale.comparators.predictions import (
    NOISE_LEVELS,
    check_resampling,
    log_residuals,
    prediction_table,
    residual_levels,
)
from bayescale.comparators.seed_means import SeedMeans, seed_means
from bayescale.data.configurations import checked_configs
from bayescale.data.curves import validate_curves
from bayescale.data.return_scale import ReturnScale, read_return_scale
from bayescale.data.tasks import require_one_suite_and_algorithm
from bayescale.data.thresholds import increasing_thresholds
from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import InputError
from bayescale.laws import FLOPS_PER_PARAMETER_AND_SAMPLE

BOOTSTRAPS = 100  # as published


@dataclass(frozen=True)
class Rule:
    """log B* or log eta* = intercept - slope log utd; draw 0 is the published estimate, the others its bootstraps."""

    slope: Float[np.ndarray, " draw"]
    intercept: Float[np.ndarray, "draw task"]

    def estimate(
        self, task: int | Int[np.ndarray, " config"], log_utd: Float[np.ndarray, " config"]
    ) -> Float[np.ndarray, " config"]:
        """The published estimate of log B* or log eta* for the tasks, by number, at the UTDs."""
        return np.asarray(self.intercept[0, task] - self.slope[0] * log_utd)


@dataclass(frozen=True)
class BudgetLine:
    """log utd* = log_coefficient + exponent log F; draw 0 is the estimate."""

    exponent: Float[np.ndarray, " draw"]
    log_coefficient: Float[np.ndarray, " draw"]

    def utd(self, budget: float) -> Float[np.ndarray, " draw"]:
        """The best UTD for a budget."""
        return np.asarray(np.exp(self.log_coefficient + self.exponent * np.log(budget)))


@dataclass(frozen=True)
class PublishedFit:
    """The pipeline's estimates; draw 0 is the published point estimate, the others its bootstraps over seeds.

    The law of threshold k in task e is median[e, k] (floor[k] + coefficient[k] utd^-exponent[k]).

    Attributes:
        env_ids: tasks.
        thresholds: increasing.
        batch_size, learning_rate: the rules, tasks in the order of `env_ids`.
        exponent, coefficient, floor: alpha, (beta/median)^alpha and D_min/median; NaN where nothing reached.
        median: of D over UTD, inf where nothing reached, 0 where all that did were above J before training.
        noise: equally likely departures of a run's log env steps from its configuration's.
        dropped: per threshold, the configurations and runs of the sweep that never reach it.
        configs: those fitted, one row each.
    """

    env_ids: tuple[str, ...]
    thresholds: Float[np.ndarray, " threshold"]
    batch_size: Rule
    learning_rate: Rule
    exponent: Float[np.ndarray, "draw threshold"]
    coefficient: Float[np.ndarray, "draw threshold"]
    floor: Float[np.ndarray, "draw threshold"]
    median: Float[np.ndarray, "draw task threshold"]
    noise: Float[np.ndarray, "level threshold"]
    dropped: pd.DataFrame
    configs: pd.DataFrame

    def log_env_steps(
        self, env_id: str | None, utd: Float[np.ndarray, " config"]
    ) -> Float[np.ndarray, "draw config threshold"]:
        """log D at each UTD, inf without an answer, 0 where D is 0; None or a new task: at the median of medians."""
        known = env_id in self.env_ids
        scale = self.median[:, self.env_ids.index(str(env_id))] if known else np.median(self.median, axis=1)
        shape = self.floor[:, None] + self.coefficient[:, None] * utd[:, None] ** -self.exponent[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_steps = np.log(scale[:, None] * shape)
        return np.where(scale[:, None] == 0, 0.0, np.where(np.isfinite(log_steps), log_steps, np.inf))

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        """Quantiles of the env steps until a new run reaches each threshold, in the columns of `Posterior.predict`.

        Raises:
            InputError: a column is missing, or a value is not positive and finite.
        """
        configs = checked_configs(configs).reset_index(drop=True)
        utd = configs["utd"].to_numpy(float)
        law = np.empty((len(self.exponent), len(configs), len(self.thresholds)))
        for env_id, rows in configs.groupby("env_id").indices.items():
            law[:, rows] = self.log_env_steps(str(env_id), utd[rows])
        return prediction_table(configs, self.thresholds, law[1:], self.noise, self.configs)

    def budget_line(self, env_step_price: float = ENV_STEP_PRICE, model_size: float | None = None) -> BudgetLine:
        """The line through each threshold's best UTD in log utd over log budget, for the median task.

        For each threshold the UTD minimises F = C + delta D with C = 10 N B*(utd) utd D, searched within a factor of
        64 around the fitted UTDs.

        Args:
            env_step_price: delta, flops that one env step is worth.
            model_size: N, critic parameters; None: that of the runs.

        Raises:
            InputError: no model size, or one threshold alone.
        """
        if model_size is None:
            if "model_size" not in self.configs:
                raise InputError("the runs have no model_size; give one.")
            model_size = float(self.configs["model_size"].median())
        if len(self.thresholds) < 2:
            raise InputError("a budget line needs two or more thresholds; fit again with more.")
        fitted = self.configs["utd"]
        log_utd = np.linspace(np.log(fitted.min() / 64), np.log(fitted.max() * 64), 2000)
        log_batch = self.batch_size.intercept.mean(axis=1)[:, None] - self.batch_size.slope[:, None] * log_utd
        per_step = env_step_price + FLOPS_PER_PARAMETER_AND_SAMPLE * model_size * np.exp(log_batch + log_utd)
        log_steps = self.log_env_steps(None, np.exp(log_utd))
        log_cost = np.log(per_step)[:, :, None] + np.where(log_steps == 0, np.inf, log_steps)
        best = log_utd[log_cost.argmin(axis=1)]
        budget = log_cost.min(axis=1)
        lines = [_line(x[np.isfinite(x)], y[np.isfinite(x)]) for x, y in zip(budget, best, strict=True)]
        exponent, coefficient = np.array(lines).T
        return BudgetLine(exponent, coefficient)


def fit_published(
    curves: pd.DataFrame,
    *,
    thresholds: Sequence[float] | Float[np.ndarray, " threshold"],
    return_scale: ReturnScale | None = None,
    seed: int = 0,
    bootstraps: int = BOOTSTRAPS,
) -> PublishedFit:
    """The published pipeline's fit of a learning-curve table.

    Args:
        curves: a learning-curve table.
        thresholds: increasing returns J, as for `time_to_threshold`.
        return_scale: as for `time_to_threshold`.
        seed: of the bootstraps, at least 0.
        bootstraps: resamples of the seeds, at least 1.

    Raises:
        InputError: a table that is not valid, several suites or algorithms, fewer than two UTDs, no configuration that
            reaches any threshold by training, or a seed or number of bootstraps out of range.
    """
    check_resampling(seed, bootstraps)
    curves = validate_curves(curves, "curves")
    require_one_suite_and_algorithm(curves)
    levels = increasing_thresholds(thresholds)
    rng = np.random.default_rng(seed)
    passages = seed_means(curves, levels, read_return_scale(return_scale), rng, bootstraps)
    configs = passages.configs
    if configs["utd"].nunique() < 2:
        raise InputError("the published law needs runs at two or more UTDs; give more.")
    if not np.isfinite(passages.means[0]).any():
        raise InputError("no configuration's mean reaches any threshold; lower the thresholds or give longer runs.")
    trained = replace(passages, means=np.where(passages.means > 0, passages.means, np.inf))
    if not np.isfinite(trained.means[0]).any():
        raise InputError("every threshold that a mean reaches lies below its return before training; raise them.")
    env_ids = tuple(sorted(map(str, configs["env_id"].unique())))
    task = configs["env_id"].map({name: i for i, name in enumerate(env_ids)}).to_numpy(int)
    rules = [_rule(trained, task, axis) for axis in ("batch_size", "learning_rate")]
    chosen = _nearest(configs, task, rules)
    utds = np.unique(configs["utd"].to_numpy(float))
    times = np.full((len(passages.means), len(env_ids), len(utds), len(levels)), np.nan)
    column = np.searchsorted(utds, configs["utd"].to_numpy(float))
    reached = np.where(np.isfinite(passages.means), passages.means, np.nan)
    times[:, task[chosen], column[chosen]] = reached[:, chosen]
    before_training = (times == 0).any(axis=2)
    times = np.where(times > 0, times, np.nan)
    median = _median(times, axis=2)
    normalised = _mean(times / median[:, :, None], axis=1)
    exponent, coefficient, floor = floor_laws(utds, normalised)
    return PublishedFit(
        env_ids=env_ids,
        thresholds=levels,
        batch_size=rules[0],
        learning_rate=rules[1],
        exponent=exponent,
        coefficient=coefficient,
        floor=floor,
        median=np.where(np.isfinite(median), median, np.where(before_training, 0.0, np.inf)),
        noise=_noise(passages, chosen),
        dropped=pd.DataFrame(
            {
                "threshold": levels,
                "configurations": np.isinf(passages.means[0]).sum(axis=0),
                "runs": np.isinf(passages.runs).sum(axis=0),
            }
        ),
        configs=configs,
    )


def _rule(passages: SeedMeans, task: Int[np.ndarray, " config"], axis: str) -> Rule:
    """Least squares of the winners' logs on log utd, one slope and an intercept per task."""
    utd = passages.configs["utd"].to_numpy(float)
    value = np.log(passages.configs[axis].to_numpy(float))
    top = passages.means[:, :, -1]
    if not np.isfinite(top[0]).any():
        top = passages.means[:, :, np.isfinite(passages.means[0]).any(axis=0)][:, :, -1]
    groups = pd.DataFrame({"task": task, "utd": utd}).groupby(["task", "utd"]).indices
    winners = np.empty((len(top), len(groups)))
    for g, members in enumerate(groups.values()):
        times = top[:, members]
        winners[:, g] = np.where(np.isfinite(times.min(axis=1)), value[members[times.argmin(axis=1)]], np.nan)
    if np.isfinite(winners[1:]).any():
        winners[0] = np.log(_mean(np.exp(winners[1:]), axis=0))
    first = np.array([members[0] for members in groups.values()])
    group_task, log_utd = task[first], np.log(utd[first])
    slopes, intercepts = np.zeros(len(top)), np.full((len(top), task.max() + 1), np.nan)
    for draw, won in enumerate(winners):
        known = np.isfinite(won)
        if not known.any():
            continue  # a bootstrap whose means never get there
        x, y = log_utd[known], won[known]
        one_hot = group_task[known, None] == np.arange(task.max() + 1)
        count = np.maximum(one_hot.sum(axis=0), 1)
        mean_x, mean_y = (one_hot * x[:, None]).sum(axis=0) / count, (one_hot * y[:, None]).sum(axis=0) / count
        within = x - one_hot @ mean_x
        square = float(within @ within)
        slopes[draw] = -float(within @ y) / square if square > 0 else 0.0
        level = mean_y + slopes[draw] * mean_x
        seen = one_hot.any(axis=0)
        intercepts[draw] = np.where(seen, level, level[seen].mean())
    return Rule(slopes, intercepts)


def _nearest(configs: pd.DataFrame, task: Int[np.ndarray, " config"], rules: list[Rule]) -> Int[np.ndarray, " chosen"]:
    """For each task and UTD the configuration nearest to the rules, in logs."""
    log_utd = np.log(configs["utd"].to_numpy(float))
    distance = np.zeros(len(configs))
    for rule, axis in zip(rules, ("batch_size", "learning_rate"), strict=True):
        wanted = rule.estimate(task, log_utd)
        distance += (np.log(configs[axis].to_numpy(float)) - wanted) ** 2
    order = pd.DataFrame({"task": task, "utd": log_utd, "distance": distance})
    return order.groupby(["task", "utd"])["distance"].idxmin().to_numpy(int)


def _noise(passages: SeedMeans, chosen: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, "level threshold"]:
    levels = passages.means.shape[2]
    noise = np.zeros((len(NOISE_LEVELS), levels))
    mine = np.isin(passages.config_of_run, chosen)
    for k in range(levels):
        run, mean = passages.runs[mine, k], passages.means[0, passages.config_of_run[mine], k]
        noise[:, k] = residual_levels(log_residuals(run, mean))
    return noise


def _line(x: Float[np.ndarray, " threshold"], y: Float[np.ndarray, " threshold"]) -> tuple[float, float]:
    if len(x) < 2:
        return np.nan, np.nan
    slope = float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) @ (x - x.mean())))
    return slope, float(y.mean() - slope * x.mean())


def _mean(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Mean of what is not NaN; NaN where all are."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _median(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Median of what is not NaN; NaN where all are."""
    count = np.isfinite(values).sum(axis=axis, keepdims=True)
    ordered = np.sort(values, axis=axis)  # NaN last
    ends = [np.take_along_axis(ordered, at, axis=axis) for at in ((count - 1) // 2, count // 2)]
    return np.where(count > 0, (ends[0] + ends[1]) / 2, np.nan).squeeze(axis)
