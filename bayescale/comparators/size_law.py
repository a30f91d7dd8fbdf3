"""The law of data over UTD and model size of Fu et al. (NeurIPS 2025), to compare with.

D_J(utd, N) = D_min + (a/utd)^alpha + (b/N)^beta for each task and threshold by itself, by least squares of log D over
the cells (utd, N) at the best configuration of each; cells that never reach J are dropped, as published, and counted.
B*(utd, N) = a_B / (utd^alpha_B (1 + b_B N^-beta_B)) from the same cells' batch sizes. Axes that do not vary drop out,
and so does D_min with fewer than three values of every axis. Draws are bootstraps over seeds; a run scatters around the
law as the fitted runs do. A task without runs has the geometric mean of the tasks' laws. A cell whose median run is
above a threshold before training says nothing of that threshold's law; where fewer than two others of the task reach
it, it is predicted at 1 env step, and left out of that mean unless all tasks are so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.comparators.curve_fit import constrained, search
from bayescale.comparators.formulas import Law, additive
from bayescale.comparators.predictions import check_resampling, log_residuals, prediction_table, residual_quantiles
from bayescale.data.configurations import checked_configs
from bayescale.data.crossings import validate_crossings
from bayescale.data.observations import require_reached_in_training
from bayescale.data.tasks import require_one_suite_and_algorithm
from bayescale.errors import InputError

BOOTSTRAPS = 50
AXES = ("utd", "model_size")


@dataclass(frozen=True)
class SizeFit:
    """The laws by task and threshold; draw 0 is the fit, the others its bootstraps over seeds.

    Attributes:
        env_ids: tasks.
        thresholds: increasing.
        law: its axes that vary and whether it has a floor.
        reference: geometric mean of each axis; coefficients are the terms there.
        parameters: by name; where fewer than two cells reach the threshold by training, 0 if another is above it before
            training, else NaN.
        noise: equally likely departures of a run's log env steps from its cell's median.
        dropped: per threshold, the cells and the runs at them that never reach it.
        cells: the configurations fitted, one for each task, UTD and model size.
    """

    env_ids: tuple[str, ...]
    thresholds: Float[np.ndarray, " threshold"]
    law: Law
    reference: dict[str, float]
    parameters: dict[str, Float[np.ndarray, "draw task threshold"]]
    noise: Float[np.ndarray, "level threshold"]
    dropped: pd.DataFrame
    cells: pd.DataFrame

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        """Quantiles of the env steps until a new run reaches each threshold, in the columns of `Posterior.predict`.

        Raises:
            InputError: a column is missing, or a value is not positive and finite.
        """
        configs = checked_configs(configs).reset_index(drop=True)
        if "model_size" in self.law.inputs and "model_size" not in configs:
            raise InputError("configs lack the column model_size, which the law has as an axis; add it.")
        p = {name: values[:, :, None] for name, values in self.parameters.items()}
        at = {n: (configs[n].to_numpy(float) / self.reference[n])[:, None] for n in self.law.inputs}
        law = np.log(np.maximum(self.law.formula(at, p), 1.0))[1:]
        number = {name: i for i, name in enumerate(self.env_ids)}
        chosen = np.empty((len(law), len(configs), len(self.thresholds)))
        for env_id, rows in configs.groupby("env_id").indices.items():
            mine = law[:, number[str(env_id)]] if env_id in number else _new_task(law)
            chosen[:, rows] = mine[:, rows]
        return prediction_table(
            configs, self.thresholds, np.where(np.isfinite(chosen), chosen, np.inf), self.noise, self.cells
        )

    def optimum(self, env_id: str, threshold: int, env_steps: float) -> tuple[float, float]:
        """(utd*, N*) of the least compute that reaches a threshold in `env_steps`, in closed form, at the point fit.

        With terms p = (a/utd)^alpha and q = (b/N)^beta, compute utd N D is least where alpha p = beta q, so that
        p = beta Delta/(alpha + beta) for Delta = env_steps - D_min.

        Args:
            env_id: a fitted task.
            threshold: its number.
            env_steps: more than D_min.

        Raises:
            InputError: the law lacks an axis, env_steps is not above D_min, or the task was not fitted, never reached
                the threshold or was above it before training.
        """
        if set(self.law.inputs) != set(AXES):
            raise InputError("the optimum needs runs that vary in utd and model_size; give more.")
        task = _task_number(self.env_ids, env_id)
        p = {name: float(values[0, task, threshold]) for name, values in self.parameters.items()}
        if not any(p.values()):
            raise InputError(f"{env_id} is above threshold {threshold} before training; give a higher one.")
        if np.isnan(list(p.values())).any():
            raise InputError(f"{env_id} does not reach threshold {threshold}; give a lower one.")
        floor = p.get("floor", 0.0)
        gap = env_steps - floor
        if gap <= 0:
            raise InputError(f"env_steps must exceed D_min = {floor:.4g}; got {env_steps:.4g}. Raise it.")
        alpha, beta = p["exponent_utd"], p["exponent_model_size"]
        shares = {"utd": beta / (alpha + beta), "model_size": alpha / (alpha + beta)}
        best = [
            self.reference[n] * (p[f"coefficient_{n}"] / (shares[n] * gap)) ** (1 / p[f"exponent_{n}"]) for n in AXES
        ]
        return best[0], best[1]

    def batch_rule(self, seed: int = 0) -> "BatchRule":
        """The published rule of the batch size, fitted to the cells' batch sizes."""
        return _batch_rule(self.cells, self.env_ids, self.reference, seed)


@dataclass(frozen=True)
class BatchRule:
    """B*(utd, N) = a_B[task] / (utd^alpha_B (1 + b_B (N/N_ref)^-beta_B)); b_B = 0 where N does not vary."""

    env_ids: tuple[str, ...]
    coefficient: Float[np.ndarray, " task"]
    exponent_utd: float
    size_term: float
    exponent_size: float
    model_size_ref: float

    def __call__(self, env_id: str, utd: float, model_size: float | None = None) -> float:
        """The batch size at a UTD and model size; None: the fitted runs' (geometric) mean size.

        Raises:
            InputError: a task that was not fitted.
        """
        relative = 1.0 if model_size is None else model_size / self.model_size_ref
        capacity = 1 + self.size_term * relative**-self.exponent_size
        return float(self.coefficient[_task_number(self.env_ids, env_id)] / (utd**self.exponent_utd * capacity))


def _task_number(env_ids: tuple[str, ...], env_id: str) -> int:
    if env_id not in env_ids:
        raise InputError(f"{env_id} was not fitted; name one of {', '.join(env_ids)}.")
    return env_ids.index(env_id)


def fit_size_law(crossings: pd.DataFrame, *, seed: int = 0, bootstraps: int = BOOTSTRAPS) -> SizeFit:
    """The law's fit of crossings.

    Args:
        crossings: one row per run and threshold, as `time_to_threshold` makes it.
        seed: of the starts and bootstraps, at least 0.
        bootstraps: resamples of the seeds of each cell, at least 1.

    Raises:
        InputError: neither UTD nor model size varies, nothing is reached by training, several suites or algorithms, or
            a seed or number of bootstraps out of range.
    """
    check_resampling(seed, bootstraps)
    crossings = validate_crossings(crossings)
    require_one_suite_and_algorithm(crossings)
    require_reached_in_training(crossings)
    axes = tuple(axis for axis in AXES if axis in crossings and crossings[axis].nunique() > 1)
    if not axes:
        raise InputError("the law needs runs at two or more UTDs or model sizes; give more.")
    rng = np.random.default_rng(seed)
    levels = np.unique(crossings["threshold"].to_numpy(float))
    cells, runs = _best_cells(crossings, len(levels))
    env_ids = tuple(sorted(map(str, cells["env_id"].unique())))
    reference = {axis: float(np.exp(np.log(cells[axis].astype(float)).mean())) for axis in axes}
    law = additive(axes, "env_steps", floor=any(cells[axis].nunique() > 2 for axis in axes))
    draws = np.stack([_medians(runs, None)] + [_medians(runs, rng) for _ in range(bootstraps)])
    shape = (len(draws), len(env_ids), len(levels))
    parameters = {name: np.full(shape, np.nan) for name in law.parameters}
    for task, env_id in enumerate(env_ids):
        mine = np.flatnonzero(cells["env_id"] == env_id)
        at = {axis: cells[axis].to_numpy(float)[mine] / reference[axis] for axis in axes}
        targets = draws[:, mine].transpose(0, 2, 1)
        for name, values in _fit_task(law, at, targets, rng).items():
            parameters[name][:, task] = values
    times, medians = np.concatenate(runs), np.repeat(draws[0], [len(own) for own in runs], axis=0)
    dropped = {"threshold": levels, "cells": np.isinf(draws[0]).sum(axis=0)}
    dropped["runs"] = np.isinf(times).sum(axis=0)
    noise = [residual_quantiles(log_residuals(*of_level)) for of_level in zip(times.T, medians.T, strict=True)]
    return SizeFit(env_ids, levels, law, reference, parameters, np.stack(noise, axis=1), pd.DataFrame(dropped), cells)


def _new_task(law: Float[np.ndarray, "draw task config threshold"]) -> Float[np.ndarray, "draw config threshold"]:
    """Mean over the tasks with D > 0, where some are left out no later than the thresholds above."""
    trained = law != 0
    mean = law.sum(axis=1) / np.maximum(trained.sum(axis=1), 1)
    above = np.fmin.accumulate(mean[..., ::-1], axis=-1)[..., ::-1]
    return np.where(trained.all(axis=1), mean, above)


def _best_cells(crossings: pd.DataFrame, levels: int) -> tuple[pd.DataFrame, list[Float[np.ndarray, "run threshold"]]]:
    """For each task, UTD and model size the configuration fastest to the highest threshold, and its runs' times.

    Ties, such as none that gets there, go to the fastest to the next lower threshold. One that is there before training
    counts as never there: its time says nothing of the law.
    """
    names = [n for n in ("env_id", "utd", "model_size", "batch_size", "learning_rate") if n in crossings]
    times = crossings["env_steps_upper"].to_numpy(float).reshape(-1, levels)
    runs = crossings[names].iloc[::levels].reset_index(drop=True)
    groups = [(key, times[rows]) for key, rows in runs.groupby(names).indices.items()]
    table = pd.DataFrame([key for key, _ in groups], columns=names)
    medians = np.array([np.median(rows, axis=0) for _, rows in groups])
    trained = np.where(medians > 0, medians, np.inf)
    order = table.assign(**{f"t{k}": trained[:, k] for k in range(levels)})
    cell = [n for n in ("env_id", "utd", "model_size") if n in names]
    best = order.sort_values([*cell, *(f"t{k}" for k in reversed(range(levels)))]).drop_duplicates(cell).index
    return table.loc[best].reset_index(drop=True), [groups[i][1] for i in best]


def _medians(
    runs: list[Float[np.ndarray, "run threshold"]], rng: np.random.Generator | None
) -> Float[np.ndarray, "cell threshold"]:
    resampled = runs if rng is None else [times[rng.integers(0, len(times), len(times))] for times in runs]
    return np.array([np.median(times, axis=0) for times in resampled])


def _fit_task(
    law: Law,
    at: dict[str, Float[np.ndarray, " cell"]],
    targets: Float[np.ndarray, "draw threshold cell"],
    rng: np.random.Generator,
) -> dict[str, Float[np.ndarray, "draw threshold"]]:
    """Parameters of every bootstrap, each threshold's started from its point fit; targets in their own unit."""
    known, before_training = np.isfinite(targets) & (targets > 0), (targets == 0).any(axis=2)
    enough = known.sum(axis=2) >= 2
    fitted = enough[0] | ~before_training[0]
    unfitted = np.tile(np.where(before_training[0], 0.0, np.nan), (len(targets), 1))
    parameters = {name: unfitted.copy() for name in law.parameters}
    if not known[0][fitted].any():
        return parameters
    known, enough, some = known[:, fitted], enough[:, fitted], targets[:, fitted]
    unit = np.exp(
        (np.where(known, np.log(np.where(known, some, 1.0)), 0.0)).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    )
    scaled = np.where(known, some, 1.0) / unit[:, :, None]
    weights = known.astype(float)
    point, _ = search(law, at, scaled[0], weights[0], rng)
    start = np.tile(point, (len(some), 1))
    found, _ = search(law, at, scaled.reshape(-1, scaled.shape[2]), weights.reshape(-1, scaled.shape[2]), rng, start)
    otherwise = np.where(before_training[:, fitted], 0.0, np.nan)
    for name, values in constrained(law, found).items():
        scale = 1.0 if name.startswith("exponent") else unit
        parameters[name][:, fitted] = np.where(enough, scale * values.reshape(enough.shape), otherwise)
    return parameters


def _batch_rule(cells: pd.DataFrame, env_ids: tuple[str, ...], reference: dict[str, float], seed: int) -> BatchRule:
    task = cells["env_id"].map({name: i for i, name in enumerate(env_ids)}).to_numpy(int)
    log_utd, log_batch = (np.log(cells[name].to_numpy(float)) for name in ("utd", "batch_size"))
    size_ref = reference.get("model_size", 1.0)
    log_size = np.log(cells["model_size"].to_numpy(float) / size_ref) if "model_size" in reference else None

    def lines(theta: Float[np.ndarray, " two"]) -> tuple[Float[np.ndarray, " parameter"], float]:
        """Given b_B and beta_B the rule is linear in logs."""
        capacity = 0.0 if log_size is None else np.log1p(np.exp(theta[0] - np.exp(theta[1]) * log_size))
        design = np.column_stack([task[:, None] == np.arange(len(env_ids)), -log_utd]).astype(float)
        solved, *_ = np.linalg.lstsq(design, log_batch + capacity, rcond=None)
        return solved, float(np.square(design @ solved - capacity - log_batch).sum())

    if log_size is None:
        solved, _ = lines(np.zeros(2))
        return BatchRule(env_ids, np.exp(solved[:-1]), float(solved[-1]), 0.0, 0.0, size_ref)
    from scipy.optimize import minimize

    starts = np.random.default_rng(seed).normal(0.0, 1.0, (8, 2))
    ends = [minimize(lambda theta: lines(theta)[1], start, method="Nelder-Mead") for start in starts]
    best = min(ends, key=lambda end: float(end.fun)).x
    solved, _ = lines(best)
    return BatchRule(
        env_ids, np.exp(solved[:-1]), float(solved[-1]), float(np.exp(best[0])), float(np.exp(best[1])), size_ref
    )
