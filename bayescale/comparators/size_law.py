"""Fit the law of data over UTD and model size of Fu et al., to compare with.

Source: Fu et al., "Compute-Optimal Scaling for Value-Based Deep RL" (NeurIPS 2025).

    D_J(utd, N) = D_min + (a / utd)^alpha + (b / N)^beta          for each task and threshold J separately
    B*(utd, N) = a_B / (utd^alpha_B (1 + b_B N^-beta_B))

A cell is a pair of a UTD and a model size N, at its fastest configuration. The first law is fitted by least squares of
log D over the cells, the second to the cells' batch sizes. Cells that never reach J are dropped, as published;
`SizeFit.dropped` counts them. Axes that do not vary drop out. So does D_min if every axis has fewer than three values.

The publication predicts no single runs. The simplest choices are made:

- Bootstraps over seeds are the draws of the law.
- A run scatters around the law as the fitted runs scatter around their cell's median.
- A task without runs has the geometric mean of the tasks' laws.
- A cell whose median run is above J before training carries no information about the law. If fewer than two other cells
  of the task reach J, the task is predicted to reach J at 1 env step. Such a task is left out of the geometric mean,
  unless all tasks are so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import gmean

from bayescale.comparators.curve_fit import constrained, search
from bayescale.comparators.formulas import Law, additive
from bayescale.comparators.predictions import check_resampling, log_residuals, prediction_table, residual_quantiles
from bayescale.comparators.published_rules import BatchRule, fit_batch_rule, task_number
from bayescale.data.configurations import checked_configs
from bayescale.data.crossings import validate_crossings
from bayescale.data.observations import require_reached_in_training
from bayescale.data.tasks import require_one_suite_and_algorithm
from bayescale.errors import InputError

BOOTSTRAPS = 50
AXES = ("utd", "model_size")


@dataclass(frozen=True)
class SizeFit:
    """The fitted laws by task and threshold. Draw 0 is the fit, the others are its bootstraps over seeds.

    Attributes:
        env_ids: tasks.
        thresholds: increasing returns.
        law: the law in the axes that vary, with a floor D_min or without.
        reference: geometric mean of each axis; coefficients are the sizes of the terms there.
        parameters: values by name. Where fewer than two cells reach the threshold in training, they are 0 if another
            cell is above it before training, else NaN.
        noise: equally likely departures of a run's log env steps from its cell's median.
        dropped: per threshold, the numbers of cells and of their runs that never reach it.
        cells: the fitted configurations, one for each task, UTD and model size.
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
        """Return quantiles of the run lengths of new runs, in the columns of `Posterior.predict`.

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
        log_env_steps = np.empty((len(law), len(configs), len(self.thresholds)))
        for env_id, rows in configs.groupby("env_id").indices.items():
            of_task = law[:, number[str(env_id)]] if env_id in number else _new_task(law)
            log_env_steps[:, rows] = of_task[:, rows]
        finite = np.where(np.isfinite(log_env_steps), log_env_steps, np.inf)
        return prediction_table(configs, self.thresholds, finite, self.noise, self.cells)

    def optimum(self, env_id: str, threshold: int, env_steps: float) -> tuple[float, float]:
        """Return (utd*, N*) of the least compute that reaches a threshold in `env_steps`, at the point fit.

        With terms p = (a / utd)^alpha and q = (b / N)^beta, the compute utd N D is least where alpha p = beta q. Hence
        p = beta Delta / (alpha + beta) with Delta = env_steps - D_min.

        Args:
            env_id: a fitted task.
            threshold: index of the threshold in `thresholds`.
            env_steps: env steps until the threshold is reached, more than D_min.

        Raises:
            InputError: the law lacks an axis, `env_steps` is not above D_min, or the task was not fitted, never reaches
                the threshold or is above it before training.
        """
        if set(self.law.inputs) != set(AXES):
            raise InputError("the optimum needs runs that vary in utd and model_size; give more.")
        task = task_number(self.env_ids, env_id)
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

    def batch_rule(self, seed: int = 0) -> BatchRule:
        """Fit the published law of B* to the cells' batch sizes.

        Args:
            seed: seed of the starts of the search.
        """
        return fit_batch_rule(self.cells, self.env_ids, model_size_ref=self.reference.get("model_size"), seed=seed)


def fit_size_law(crossings: pd.DataFrame, *, seed: int = 0, bootstraps: int = BOOTSTRAPS) -> SizeFit:
    """Fit the law to crossings.

    Args:
        crossings: one row per run and threshold, as `time_to_threshold` returns it, of one suite and algorithm.
        seed: seed of the starts and bootstraps, >= 0.
        bootstraps: number of resamples of the seeds of each cell, >= 1.

    Raises:
        InputError: neither UTD nor model size varies, no run reaches a threshold in training, there are several suites
            or algorithms, or `seed` or `bootstraps` is out of range.
    """
    check_resampling(seed, bootstraps)
    crossings = validate_crossings(crossings)
    require_one_suite_and_algorithm(crossings)
    require_reached_in_training(crossings)
    axes = tuple(axis for axis in AXES if axis in crossings and crossings[axis].nunique() > 1)
    if not axes:
        raise InputError("the law needs runs at two or more UTDs or model sizes; give more.")
    rng = np.random.default_rng(seed)
    thresholds = np.unique(crossings["threshold"].to_numpy(float))
    cells, runs = _fastest_by_cell(crossings, len(thresholds))
    env_ids = tuple(sorted(map(str, cells["env_id"].unique())))
    reference = {axis: float(gmean(cells[axis].astype(float))) for axis in axes}
    law = additive(axes, output="env_steps", floor=any(cells[axis].nunique() > 2 for axis in axes))
    draws = np.stack([_medians(runs, None)] + [_medians(runs, rng) for _ in range(bootstraps)])
    shape = (len(draws), len(env_ids), len(thresholds))
    parameters = {name: np.full(shape, np.nan) for name in law.parameters}
    for task, env_id in enumerate(env_ids):
        of_task = np.flatnonzero(cells["env_id"] == env_id)
        at = {axis: cells[axis].to_numpy(float)[of_task] / reference[axis] for axis in axes}
        targets = draws[:, of_task].transpose(0, 2, 1)
        for name, values in _fit_task(law, at, targets, rng).items():
            parameters[name][:, task] = values
    env_steps, medians = np.concatenate(runs), np.repeat(draws[0], [len(of_cell) for of_cell in runs], axis=0)
    noise = [residual_quantiles(log_residuals(*pair)) for pair in zip(env_steps.T, medians.T, strict=True)]
    return SizeFit(
        env_ids=env_ids,
        thresholds=thresholds,
        law=law,
        reference=reference,
        parameters=parameters,
        noise=np.stack(noise, axis=1),
        dropped=pd.DataFrame(
            {
                "threshold": thresholds,
                "cells": np.isinf(draws[0]).sum(axis=0),
                "runs": np.isinf(env_steps).sum(axis=0),
            }
        ),
        cells=cells,
    )


def _new_task(law: Float[np.ndarray, "draw task config threshold"]) -> Float[np.ndarray, "draw config threshold"]:
    """Return the mean log law of the tasks that start below the threshold.

    Where a task is left out, the mean is capped by the means at higher thresholds, so that it does not fall with the
    threshold.
    """
    starts_below = law != 0
    mean = law.sum(axis=1) / np.maximum(starts_below.sum(axis=1), 1)
    capped = np.fmin.accumulate(mean[..., ::-1], axis=-1)[..., ::-1]
    return np.where(starts_below.all(axis=1), mean, capped)


def _fastest_by_cell(
    crossings: pd.DataFrame, thresholds: int
) -> tuple[pd.DataFrame, list[Float[np.ndarray, "run threshold"]]]:
    """Return the fastest configuration of each task, UTD and model size, and the run lengths of its runs.

    The fastest configuration is the one whose median run reaches the highest threshold first. Ties are broken by the
    next lower threshold. A configuration that is above a threshold before training counts as never reaching it, because
    its run length carries no information about the law.
    """
    names = [n for n in ("env_id", "utd", "model_size", "batch_size", "learning_rate") if n in crossings]
    env_steps = crossings["env_steps_upper"].to_numpy(float).reshape(-1, thresholds)
    runs = crossings[names].iloc[::thresholds].reset_index(drop=True)
    groups = [(key, env_steps[rows]) for key, rows in runs.groupby(names).indices.items()]
    table = pd.DataFrame([key for key, _ in groups], columns=names)
    medians = np.array([np.median(rows, axis=0) for _, rows in groups])
    in_training = np.where(medians > 0, medians, np.inf)
    order = table.assign(**{f"median_{k}": in_training[:, k] for k in range(thresholds)})
    cell = [n for n in ("env_id", "utd", "model_size") if n in names]
    by_speed = order.sort_values([*cell, *(f"median_{k}" for k in reversed(range(thresholds)))])
    fastest = by_speed.drop_duplicates(cell).index
    return table.loc[fastest].reset_index(drop=True), [groups[i][1] for i in fastest]


def _medians(
    runs: list[Float[np.ndarray, "run threshold"]], rng: np.random.Generator | None
) -> Float[np.ndarray, "cell threshold"]:
    """Return the median run length of each cell, over its runs or, given `rng`, over a resample of them."""
    if rng is not None:
        runs = [env_steps[rng.integers(0, len(env_steps), len(env_steps))] for env_steps in runs]
    return np.array([np.median(env_steps, axis=0) for env_steps in runs])


def _fit_task(
    law: Law,
    at: dict[str, Float[np.ndarray, " cell"]],
    targets: Float[np.ndarray, "draw threshold cell"],
    rng: np.random.Generator,
) -> dict[str, Float[np.ndarray, "draw threshold"]]:
    """Return the parameters of each draw and threshold of one task; bootstraps start at their threshold's point fit.

    Args:
        law: the law.
        at: UTD and model size of each cell over their references.
        targets: D; inf where a cell never reaches the threshold, 0 where it is above the threshold before training.
        rng: source of the starts.
    """
    known, before_training = np.isfinite(targets) & (targets > 0), (targets == 0).any(axis=2)
    enough = known.sum(axis=2) >= 2
    fitted = enough[0] | ~before_training[0]
    unfitted = np.tile(np.where(before_training[0], 0.0, np.nan), (len(targets), 1))
    parameters = {name: unfitted.copy() for name in law.parameters}
    if not known[0][fitted].any():
        return parameters
    known, enough, of_fitted = known[:, fitted], enough[:, fitted], targets[:, fitted]
    positive = np.where(known, of_fitted, 1.0)
    unit = np.exp(np.log(positive).sum(axis=2) / np.maximum(known.sum(axis=2), 1))  # geometric mean of the known D
    scaled = positive / unit[:, :, None]
    weights = known.astype(float)
    point, _ = search(law, at, outputs=scaled[0], weights=weights[0], rng=rng)
    start = np.tile(point, (len(scaled), 1))
    outputs, weights = (values.reshape(-1, scaled.shape[2]) for values in (scaled, weights))
    found, _ = search(law, at, outputs=outputs, weights=weights, rng=rng, start=start)
    otherwise = np.where(before_training[:, fitted], 0.0, np.nan)
    for name, values in constrained(law, found).items():
        scale = 1.0 if name.startswith("exponent") else unit
        parameters[name][:, fitted] = np.where(enough, scale * values.reshape(enough.shape), otherwise)
    return parameters
