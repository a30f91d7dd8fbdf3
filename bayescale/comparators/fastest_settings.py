"""Fit lines of the fastest batch size and learning rate over UTD, for the published pipeline.

Source: Rybkin et al., "Value-Based Deep RL Scales Predictably" (ICML 2025).
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bayescale.comparators.seed_means import SeedMeans


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
        solution, _, rank, _ = np.linalg.lstsq(np.column_stack([one_hot, -log_utd[known]]), log_fastest[known])
        if rank == len(solution):
            slopes[draw] = solution[-1]
        else:
            solution = np.linalg.lstsq(one_hot, log_fastest[known])[0]
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


def nanmean(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Return np.nanmean; NaN without a warning where all values are NaN."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.asarray(np.nanmean(values, axis=axis))
