"""Compute the data-compute frontier: env steps and flops over UTD, at each draw's best batch size and learning rate.

    D_J(sigma) = env steps of the median run at B*(sigma), eta*(sigma);   C_J(sigma) = 10 N B*(sigma) sigma D_J(sigma)

Source: Rybkin et al. (ICML 2025), here with posterior draws in place of point estimates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from bayescale.arguments import require_positive
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import Model, Points
from bayescale.laws import flops
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds, between_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.swept_ranges import above_thresholds, joined, outside_sweep
from bayescale.run_length_distribution import RunLengthDistribution

FRONTIER_DRAWS = 1000


@dataclass(frozen=True)
class Frontier:
    """Draws of the median run's data and compute over UTD, for one task and threshold.

    Attributes:
        env_id: task.
        threshold: the return J.
        utd: sigma, gradient updates per env step.
        env_steps: D_J, of the median run; inf where it never reaches the threshold.
        flops: C_J, training flops of the median run.
        batch_size: B*, the batch size that needs the fewest env steps.
        learning_rate: eta*, the learning rate that needs the fewest env steps.
        p_reach: probability that a new run at B*, eta* reaches the threshold.
        extrapolated: True where the UTD lies outside the task's fitted range or the threshold above the fitted ones.
        extrapolation: on which axes and how far each UTD lies outside; empty inside.
        model_size: N, critic parameters.
    """

    env_id: str
    threshold: float
    utd: Float[np.ndarray, " utd"]
    env_steps: Float[np.ndarray, "draw utd"]
    flops: Float[np.ndarray, "draw utd"]
    batch_size: Float[np.ndarray, "draw utd"]
    learning_rate: Float[np.ndarray, "draw utd"]
    p_reach: Float[np.ndarray, " utd"]
    extrapolated: Bool[np.ndarray, " utd"]
    model_size: int
    extrapolation: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return one row per UTD: 5%, 50% and 95% quantiles over draws, p_reach, extrapolated and extrapolation."""
        table = pd.DataFrame({"utd": self.utd})
        for name in ("batch_size", "learning_rate", "env_steps", "flops"):
            for percent in (5, 50, 95):
                table[f"{name}_q{percent:02d}"] = quantile_over_draws(getattr(self, name), percent / 100)
        table = table.assign(p_reach=self.p_reach, extrapolated=self.extrapolated)
        return table.assign(extrapolation=list(self.extrapolation)) if self.extrapolation else table


def frontier(
    posterior: Posterior,
    *,
    env_id: str,
    threshold: float,
    utd: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    model_size: int | None = None,
    ceiling: Ceiling | None = None,
    new_task: bool = False,
) -> Frontier:
    """Return the data-compute frontier of a task at a threshold.

    Args:
        posterior: a fit.
        env_id: task.
        threshold: the return, at least the lowest of `posterior.thresholds`. Between fitted thresholds, all logs are
            linear in the return. Above the highest, runs at its B* and eta* follow the law of
            `bayescale.posterior.extrapolation`.
        utd: UTDs to evaluate, > 0; default: 25 values from half the smallest to twice the largest of the task's runs.
        model_size: critic parameters; default: that of the task's fitted runs, the middle one of several sizes.
        ceiling: the highest return that a task allows, in units of the thresholds; see `bayescale.posterior.ceilings`.
        new_task: True allows a task without runs; its frontier is that of a task sampled from the population of tasks.

    Raises:
        InputError: the threshold lies below the fitted ones, or above fewer than three; a ceiling is unusable; the task
            has no fitted runs and `new_task` is False; a UTD is not a positive number; the model size is neither given
            nor in the data.
    """
    posterior.require_tasks([env_id], new_task=new_task)
    posterior.warn_of_nothing_reached([env_id])
    wanted = posterior.as_fitted(threshold)
    given = utd_grid(posterior, env_id) if utd is None else np.ravel(utd)
    grid = np.asarray(pd.to_numeric(given, errors="coerce"), float)
    if not (len(grid) and (np.isfinite(grid) & (grid > 0)).all()):
        raise InputError("utd must be one or more numbers, finite and > 0; correct the grid.")
    size = critic_parameters(posterior, env_id, model_size)
    optimum = optima(posterior, env_id, grid, size, wanted, ceiling)
    batch, rate, steps, p_reach = (part[:, :, 0] for part in optimum)
    points = pd.DataFrame({"env_id": env_id, "utd": grid, **model_size_column(posterior, size)})
    above = above_thresholds(posterior.thresholds, wanted)
    outside = tuple(joined(text, above) for text in outside_sweep(posterior.crossings, points))
    return Frontier(
        env_id=env_id,
        threshold=wanted,
        utd=grid,
        env_steps=steps,
        flops=np.asarray(flops(size, batch, grid, steps)),
        batch_size=batch,
        learning_rate=rate,
        p_reach=p_reach.mean(axis=0),
        extrapolated=np.array([text != "" for text in outside]),
        model_size=size,
        extrapolation=outside,
    )


@compiled_code_kept()
@float64()
def optima(
    posterior: Posterior,
    env_id: str,
    utd: Float[np.ndarray, " utd"],
    model_size: float | None = None,
    threshold: float | None = None,
    ceiling: Ceiling | None = None,
) -> tuple[Float[np.ndarray, "draw utd threshold"], ...]:
    """Return B*, eta*, env steps of the median run at B* and eta*, and its probability to reach the threshold.

    Args:
        posterior: a fit.
        env_id: task.
        utd: gradient updates per env step.
        model_size: critic parameters; read only where the model size varies in the fitted runs.
        threshold: one return; None: all fitted thresholds.
        ceiling: the highest return that a task allows; used with `threshold` alone.
    """
    configs = pd.DataFrame({"env_id": env_id, "utd": utd, "batch_size": 1, "learning_rate": 1.0})
    points = posterior.model.points(configs.assign(**model_size_column(posterior, model_size)))
    draws, fitted = posterior.flat_draws(FRONTIER_DRAWS), posterior.thresholds
    batch, rate, steps, p_reach = (np.asarray(part) for part in _optimum(posterior.model, draws, points))
    if threshold is not None:
        distribution = RunLengthDistribution(steps, np.zeros_like(steps), np.zeros_like(steps), p_reach)
        if threshold > fitted[-1]:
            distribution = RunLengthDistribution(*_run_lengths_at_optimum(posterior.model, draws, points))
        best = ceilings(ceiling, pd.Series([env_id] * len(utd)), posterior.crossings)
        distribution = at_thresholds(distribution, fitted, [threshold], best)
        steps, p_reach = np.where(distribution.p_reach > 0, distribution.location, np.inf), distribution.p_reach
        within = np.array([min(threshold, fitted[-1])])
        batch, rate = (between_thresholds(part, fitted, within) for part in (batch, rate))
    return np.exp(batch), np.exp(rate), np.exp(steps), p_reach


def quantile_over_draws(values: Float[np.ndarray, "draw *rest"], level: float) -> Float[np.ndarray, "*rest"]:
    """Return a quantile over draws; if any value is inf, take the nearest draw instead of interpolating."""
    return np.asarray(np.quantile(values, level, axis=0, method="linear" if np.isfinite(values).all() else "nearest"))


@partial(jax.jit, static_argnums=0)
def _optimum(model: Model, draws: dict[str, jax.Array], points: Points) -> Any:
    """Apply `model.optimum` under every draw; JAX compiles once per model (by value) and array shape."""
    return jax.vmap(model.optimum, in_axes=(0, None))(draws, points)


@partial(jax.jit, static_argnums=0)
def _run_lengths_at_optimum(model: Model, draws: dict[str, jax.Array], points: Points) -> Any:
    """Apply `model.run_lengths_at_optimum` under every draw."""
    return jax.vmap(model.run_lengths_at_optimum, in_axes=(0, None))(draws, points)


def model_size_column(posterior: Posterior, model_size: float | None) -> dict[str, float]:
    """Return the column `model_size` of a configuration if the model size varies in the fit, else no column.

    Raises:
        InputError: the model size varies in the fit and `model_size` is None.
    """
    if "model_size" not in posterior.model.varying:
        return {}
    if model_size is None:
        raise InputError("model_size varies in the fitted runs; give model_size= (critic parameters).")
    return {"model_size": model_size}


def utd_grid(posterior: Posterior, env_id: str, count: int = 25) -> Float[np.ndarray, " utd"]:
    """Return UTDs evenly spaced in logs, from half the smallest to twice the largest of the task's runs."""
    swept = posterior.of_task(env_id)["utd"]
    return np.geomspace(swept.min() / 2, swept.max() * 2, count)


def critic_parameters(posterior: Posterior, env_id: str, model_size: int | None = None) -> int:
    """Return the model size that a task's flops are counted with: the given one, else that of its fitted runs.

    Raises:
        InputError: the model size is neither given nor in the data, or not positive.
    """
    size = posterior.model_size(env_id) if model_size is None else model_size
    if size is None:
        raise InputError(
            "the fitted runs have no model_size, which flops need; give the critic parameters as model_size."
        )
    require_positive("model_size", size)
    return int(size)
