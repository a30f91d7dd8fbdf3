"""Fit the published point pipeline of Rybkin et al., to compare with.

Source: Rybkin et al., "Value-Based Deep RL Scales Predictably" (ICML 2025). The pipeline has four steps.

1. Average the returns of a configuration's seeds. Isotonic regression makes the mean monotone. D is the first
   evaluation at which it reaches the threshold J.
2. Find the fastest batch size and learning rate of each task and UTD at the highest threshold, averaged over
   bootstraps of the seeds. Fit log B* and log eta* by lines in log UTD whose slope all tasks share.
3. Take D of the swept configuration nearest to the lines, divide it by the task's median over UTD and average it over
   tasks. Fit D = D_min + (beta / utd)^alpha by least squares in linear space, separately for each threshold.
4. Fit the line of log UTD over log budget through the UTD that minimises the budget at each threshold.

Configurations that never reach a threshold are dropped, as published; `PublishedFit.dropped` counts them.

The publication predicts no single runs. The simplest choices are made:

- Bootstraps over seeds are the draws of the law.
- A run scatters around the law as the fitted configurations' runs scatter around their mean.
- A run is predicted from its UTD alone, as if its batch size and learning rate were on the lines.
- A task without runs has the median of the tasks' medians.
- A configuration above a threshold before training carries no information about that threshold. If no other
  configuration of the task reaches the threshold, the task is predicted to reach it at 1 env step.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bayescale.comparators.floor_laws import floor_laws
from bayescale.comparators.predictions import check_resampling, log_residuals, prediction_table, residual_quantiles
from bayescale.comparators.published_rules import Rule, fit_rule, nanmean, nearest_configurations
from bayescale.comparators.seed_means import SeedMeans, seed_means
from bayescale.data.configurations import checked_configs
from bayescale.data.curves import validate_curves
from bayescale.data.return_scale import ReturnScale, read_return_scale
from bayescale.data.tasks import require_one_suite_and_algorithm
from bayescale.data.thresholds import increasing_thresholds
from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import InputError
from bayescale.laws import FLOPS_PER_PARAMETER_AND_SAMPLE

BOOTSTRAPS = 100  # number of the publication


@dataclass(frozen=True)
class BudgetLine:
    """The line log utd* = log_coefficient + exponent log F over the budget F.

    Draw 0 is the published estimate, the others are its bootstraps.
    """

    exponent: Float[np.ndarray, " draw"]
    log_coefficient: Float[np.ndarray, " draw"]

    def utd(self, budget: float) -> Float[np.ndarray, " draw"]:
        """Return the optimal UTD for a budget in flops."""
        return np.asarray(np.exp(self.log_coefficient + self.exponent * np.log(budget)))


@dataclass(frozen=True)
class PublishedFit:
    """The pipeline's estimates. Draw 0 is the published point estimate, the others are its bootstraps over seeds.

        D[e, k](utd) = median[e, k] (floor[k] + coefficient[k] utd^-exponent[k])   for task e and threshold k

    Attributes:
        env_ids: tasks.
        thresholds: increasing returns.
        batch_size: line of log B*, tasks in the order of `env_ids`.
        learning_rate: line of log eta*, likewise.
        exponent: alpha; NaN where no configuration reaches the threshold.
        coefficient: (beta / median)^alpha; NaN likewise.
        floor: D_min / median; NaN likewise.
        median: median of D over UTD; inf where no configuration reaches the threshold, 0 where all that reach it are
            above it before training.
        noise: equally likely departures of a run's log env steps from those of its configuration.
        dropped: per threshold, the numbers of configurations and runs that never reach it.
        configs: the fitted configurations, one row each.
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
        """Return log D at each UTD; inf where the law is unknown, 0 where the task starts above the threshold.

        Args:
            env_id: a task. A task that was not fitted, or None, has the median of the tasks' medians.
            utd: UTD of each configuration.
        """
        known = env_id in self.env_ids
        scale = self.median[:, self.env_ids.index(str(env_id))] if known else np.median(self.median, axis=1)
        shape = self.floor[:, None] + self.coefficient[:, None] * utd[:, None] ** -self.exponent[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_steps = np.log(scale[:, None] * shape)
        return np.where(scale[:, None] == 0, 0.0, np.where(np.isfinite(log_steps), log_steps, np.inf))

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        """Return quantiles of the run lengths of new runs, in the columns of `Posterior.predict`.

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
        """Fit the line of log utd* over log budget through the optimum of each threshold, for the median task.

        The optimum of a threshold minimises F = C + delta D with C = 10 N B*(utd) utd D, over UTDs within a factor of
        64 of the fitted ones.

        Args:
            env_step_price: delta, in flops per env step.
            model_size: N, in critic parameters; None: the median of the runs.

        Raises:
            InputError: the model size is unknown, or there is only one threshold.
        """
        if model_size is None:
            if "model_size" not in self.configs:
                raise InputError("the runs have no model_size; give model_size in critic parameters.")
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
    """Fit the published pipeline to a learning-curve table.

    Args:
        curves: a learning-curve table of one suite and algorithm.
        thresholds: increasing returns J; see `time_to_threshold`.
        return_scale: see `time_to_threshold`.
        seed: seed of the bootstraps, >= 0.
        bootstraps: number of resamples of the seeds, >= 1.

    Raises:
        InputError: the table is not valid, holds several suites or algorithms or fewer than two UTDs, no configuration
            reaches any threshold in training, or `seed` or `bootstraps` is out of range.
    """
    check_resampling(seed, bootstraps)
    curves = validate_curves(curves, "curves")
    require_one_suite_and_algorithm(curves)
    returns = increasing_thresholds(thresholds)
    rng = np.random.default_rng(seed)
    passages = seed_means(curves, returns, read_return_scale(return_scale), rng, bootstraps)
    configs = passages.configs
    if configs["utd"].nunique() < 2:
        raise InputError("the published law needs runs at two or more UTDs; give more.")
    if not np.isfinite(passages.means[0]).any():
        raise InputError("no configuration's mean reaches any threshold; lower the thresholds or give longer runs.")
    in_training = replace(passages, means=np.where(passages.means > 0, passages.means, np.inf))
    if not np.isfinite(in_training.means[0]).any():
        raise InputError(
            "all means that reach a threshold are above it before their first env step; raise the thresholds."
        )
    env_ids = tuple(sorted(map(str, configs["env_id"].unique())))
    task = configs["env_id"].map({name: i for i, name in enumerate(env_ids)}).to_numpy(int)
    rules = [fit_rule(in_training, task, axis) for axis in ("batch_size", "learning_rate")]
    chosen = nearest_configurations(configs, task, rules)
    utds = np.unique(configs["utd"].to_numpy(float))
    env_steps = np.full((len(passages.means), len(env_ids), len(utds), len(returns)), np.nan)
    column = np.searchsorted(utds, configs["utd"].to_numpy(float))
    reached = np.where(np.isfinite(passages.means), passages.means, np.nan)
    env_steps[:, task[chosen], column[chosen]] = reached[:, chosen]
    before_training = (env_steps == 0).any(axis=2)
    env_steps = np.where(env_steps > 0, env_steps, np.nan)
    median = _nanmedian(env_steps, axis=2)
    normalised = nanmean(env_steps / median[:, :, None], axis=1)
    exponent, coefficient, floor = floor_laws(utds, normalised)
    return PublishedFit(
        env_ids=env_ids,
        thresholds=returns,
        batch_size=rules[0],
        learning_rate=rules[1],
        exponent=exponent,
        coefficient=coefficient,
        floor=floor,
        median=np.where(np.isfinite(median), median, np.where(before_training, 0.0, np.inf)),
        noise=_noise(passages, chosen),
        dropped=pd.DataFrame(
            {
                "threshold": returns,
                "configurations": np.isinf(passages.means[0]).sum(axis=0),
                "runs": np.isinf(passages.runs).sum(axis=0),
            }
        ),
        configs=configs,
    )


def _noise(passages: SeedMeans, chosen: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, "level threshold"]:
    """Return equally likely departures of runs from the mean of their configuration, over the chosen configurations."""
    of_chosen = np.isin(passages.config_of_run, chosen)
    runs, means = passages.runs[of_chosen], passages.means[0, passages.config_of_run[of_chosen]]
    by_threshold = [residual_quantiles(log_residuals(*pair)) for pair in zip(runs.T, means.T, strict=True)]
    return np.stack(by_threshold, axis=1)


def _line(x: Float[np.ndarray, " threshold"], y: Float[np.ndarray, " threshold"]) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line; NaN without two different x."""
    if len(np.unique(x)) < 2:
        return np.nan, np.nan
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def _nanmedian(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Return np.nanmedian; NaN without a warning where all values are NaN."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.asarray(np.nanmedian(values, axis=axis))
