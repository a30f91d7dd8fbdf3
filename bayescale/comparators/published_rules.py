"""Fit the published rules of the optimal batch size and learning rate.

log B* = intercept - slope log utd, log eta* likewise       `Rule`: Rybkin et al., "Value-Based Deep RL Scales
                                                            Predictably" (ICML 2025)
B*(utd, N) = a_B / (utd^alpha_B (1 + b_B N^-beta_B))        `BatchRule`: Fu et al., "Compute-Optimal Scaling for
                                                            Value-Based Deep RL" (NeurIPS 2025)
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import minimize

from bayescale.comparators.seed_means import SeedMeans
from bayescale.errors import InputError


@dataclass(frozen=True)
class Rule:
    """The line log B* (or log eta*) = intercept - slope log utd.

    Draw 0 is the published estimate, the others are its bootstraps.

    Attributes:
        slope: exponent by which the optimum falls with the UTD, shared by the tasks.
        intercept: log of the optimum at UTD 1.
    """

    slope: Float[np.ndarray, " draw"]
    intercept: Float[np.ndarray, "draw task"]

    def estimate(
        self, task: int | Int[np.ndarray, " config"], log_utd: Float[np.ndarray, " config"]
    ) -> Float[np.ndarray, " config"]:
        """Return the published estimate of log B* or log eta* for task numbers and log UTDs."""
        return np.asarray(self.intercept[0, task] - self.slope[0] * log_utd)


@dataclass(frozen=True)
class BatchRule:
    """The law B*(utd, N) = a_B / (utd^alpha_B (1 + b_B (N / N_ref)^-beta_B)).

    Attributes:
        env_ids: tasks.
        coefficient: a_B of each task.
        exponent_utd: alpha_B.
        size_term: b_B; 0 if N does not vary.
        exponent_size: beta_B.
        model_size_ref: N_ref, in critic parameters.
    """

    env_ids: tuple[str, ...]
    coefficient: Float[np.ndarray, " task"]
    exponent_utd: float
    size_term: float
    exponent_size: float
    model_size_ref: float

    def __call__(self, env_id: str, utd: float, model_size: float | None = None) -> float:
        """Return the batch size at a UTD and model size; None: the geometric mean size of the fitted runs.

        Raises:
            InputError: the task was not fitted.
        """
        relative = 1.0 if model_size is None else model_size / self.model_size_ref
        capacity = 1 + self.size_term * relative**-self.exponent_size
        return float(self.coefficient[task_number(self.env_ids, env_id)] / (utd**self.exponent_utd * capacity))


def fit_rule(passages: SeedMeans, task: Int[np.ndarray, " config"], axis: str) -> Rule:
    """Fit the line of log B* or log eta* to the fastest settings, with one intercept per task and a shared slope.

    A task without a fastest setting has the mean of the other tasks' intercepts. The slope is 0 if no task has fastest
    settings at two UTDs.

    Args:
        passages: run lengths of the configurations' means; inf where they are above a threshold before training.
        task: task number of each configuration.
        axis: batch_size or learning_rate.
    """
    utd = passages.configs["utd"].to_numpy(float)
    log_setting = np.log(passages.configs[axis].to_numpy(float))
    ever_reached = np.isfinite(passages.means[0]).any(axis=0)
    highest = passages.means[:, :, np.flatnonzero(ever_reached)[-1]]
    groups = pd.DataFrame({"task": task, "utd": utd}).groupby(["task", "utd"]).indices
    fastest = np.empty((len(highest), len(groups)))
    for g, members in enumerate(groups.values()):
        env_steps = highest[:, members]
        log_fastest = log_setting[members[env_steps.argmin(axis=1)]]
        fastest[:, g] = np.where(np.isfinite(env_steps.min(axis=1)), log_fastest, np.nan)
    if np.isfinite(fastest[1:]).any():
        fastest[0] = np.log(nanmean(np.exp(fastest[1:]), axis=0))
    first = np.array([members[0] for members in groups.values()])
    group_task, log_utd = task[first], np.log(utd[first])
    slopes, intercepts = np.zeros(len(highest)), np.full((len(highest), task.max() + 1), np.nan)
    for draw, log_fastest in enumerate(fastest):
        known = np.isfinite(log_fastest)
        if not known.any():
            continue  # no configuration reaches J in this bootstrap
        seen = np.unique(group_task[known])
        one_hot = (group_task[known, None] == seen).astype(float)
        solution, _, rank, _ = np.linalg.lstsq(
            np.column_stack([one_hot, -log_utd[known]]), log_fastest[known], rcond=None
        )
        if rank == len(solution):
            slopes[draw] = solution[-1]
        else:
            solution = np.linalg.lstsq(one_hot, log_fastest[known], rcond=None)[0]
        intercepts[draw] = solution[: len(seen)].mean()
        intercepts[draw, seen] = solution[: len(seen)]
    return Rule(slopes, intercepts)


def nearest_configurations(
    configs: pd.DataFrame, task: Int[np.ndarray, " config"], rules: list[Rule]
) -> Int[np.ndarray, " chosen"]:
    """Return the number of the configuration nearest to the lines in logs, for each task and UTD."""
    log_utd = np.log(configs["utd"].to_numpy(float))
    distance = np.zeros(len(configs))
    for rule, axis in zip(rules, ("batch_size", "learning_rate"), strict=True):
        wanted = rule.estimate(task, log_utd)
        distance += (np.log(configs[axis].to_numpy(float)) - wanted) ** 2
    order = pd.DataFrame({"task": task, "utd": log_utd, "distance": distance})
    return order.groupby(["task", "utd"])["distance"].idxmin().to_numpy(int)


def fit_batch_rule(
    cells: pd.DataFrame, env_ids: tuple[str, ...], *, model_size_ref: float | None, seed: int
) -> BatchRule:
    """Fit the rule of Fu et al. by least squares of log batch sizes.

    b_B and beta_B are searched from several starts; the other parameters are solved for.

    Args:
        cells: the fastest configuration of each task, UTD and model size.
        env_ids: tasks.
        model_size_ref: N_ref, in critic parameters; None: the model size does not vary.
        seed: seed of the starts.
    """
    task = cells["env_id"].map({name: i for i, name in enumerate(env_ids)}).to_numpy(int)
    log_utd, log_batch = (np.log(cells[name].to_numpy(float)) for name in ("utd", "batch_size"))
    log_size = None if model_size_ref is None else np.log(cells["model_size"].to_numpy(float) / model_size_ref)

    def lines(theta: Float[np.ndarray, " two"]) -> tuple[Float[np.ndarray, " parameter"], float]:
        """Return log a_B by task and alpha_B for theta = (log b_B, log beta_B), and the sum of squares."""
        capacity = 0.0 if log_size is None else np.log1p(np.exp(theta[0] - np.exp(theta[1]) * log_size))
        design = np.column_stack([task[:, None] == np.arange(len(env_ids)), -log_utd]).astype(float)
        solved, *_ = np.linalg.lstsq(design, log_batch + capacity, rcond=None)
        return solved, float(np.square(design @ solved - capacity - log_batch).sum())

    if model_size_ref is None:
        solved, _ = lines(np.zeros(2))
        return BatchRule(env_ids, np.exp(solved[:-1]), float(solved[-1]), 0.0, 0.0, 1.0)
    starts = np.random.default_rng(seed).normal(0.0, 1.0, (8, 2))
    ends = [minimize(lambda theta: lines(theta)[1], start, method="Nelder-Mead") for start in starts]
    best = min(ends, key=lambda end: float(end.fun)).x
    solved, _ = lines(best)
    size_term, exponent_size = (float(value) for value in np.exp(best))
    return BatchRule(env_ids, np.exp(solved[:-1]), float(solved[-1]), size_term, exponent_size, model_size_ref)


def task_number(env_ids: tuple[str, ...], env_id: str) -> int:
    """Return the number of a fitted task, or raise InputError."""
    if env_id not in env_ids:
        raise InputError(f"{env_id} was not fitted; name one of {', '.join(env_ids)}.")
    return env_ids.index(env_id)


def nanmean(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Return np.nanmean; NaN without a warning where all values are NaN."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.asarray(np.nanmean(values, axis=axis))
