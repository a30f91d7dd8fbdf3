"""The data-compute frontier: env steps and flops over UTD, each draw at its own optimal batch size and learning rate.

Source: Rybkin et al. (ICML 2025), with a posterior in place of point estimates.
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
from bayescale.data.tasks import require_task_name
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.laws import flops
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds, between_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution

FRONTIER_DRAWS = 1000


@dataclass(frozen=True)
class Frontier:
    """Draws of the median run's data and compute over UTD for one task and threshold.

    Attributes:
        utd: gradient updates per env step.
        env_steps: of the median run, by draw and UTD; inf where it never gets there.
        flops: training flops of that run.
        batch_size: B*, the batch size that needs the fewest env steps.
        learning_rate: eta*, likewise.
        p_reach: chance that a run at the optimum reaches the threshold at all.
        extrapolated: UTD outside the task's data, or the threshold above those fitted.
        model_size: critic parameters, of the laws where their runs vary in it, and of the flops.
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

    def table(self) -> pd.DataFrame:
        """One row per UTD: the 5%, 50% and 95% quantiles over draws of each quantity."""
        table = pd.DataFrame({"utd": self.utd})
        for name in ("batch_size", "learning_rate", "env_steps", "flops"):
            for level in (5, 50, 95):
                table[f"{name}_q{level:02d}"] = quantile(getattr(self, name), level / 100)
        return table.assign(p_reach=self.p_reach, extrapolated=self.extrapolated)


def frontier(
    posterior: Posterior,
    env_id: str,
    threshold: float,
    utd: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    model_size: int | None = None,
    ceiling: Ceiling | None = None,
) -> Frontier:
    """The frontier of a task at a return.

    Args:
        posterior: a fit; a task without runs gets the population's frontier.
        env_id: task.
        threshold: the return, from the lowest of `posterior.thresholds` on. Between them all logs are linear in the
            return; beyond, runs at B* and eta* of the highest go on by the law of `bayescale.posterior.extrapolation`.
        utd: where to evaluate, > 0; default 25 values from half the smallest to twice the largest of the task's runs.
        model_size: critic parameters; default those of the task's fitted runs, the middle size of several.
        ceiling: the best return there is, in units of the thresholds, see `bayescale.posterior.ceilings`.

    Raises:
        InputError: a threshold below those fitted, or beyond fewer than three; a ceiling that cannot be, a task's name
            cut short, a UTD that is no positive number, no model size.
    """
    require_task_name(env_id, posterior.tasks)
    wanted = posterior.as_fitted(threshold)
    given = utd_grid(posterior, env_id) if utd is None else np.ravel(utd)
    grid = np.asarray(pd.to_numeric(given, errors="coerce"), float)
    if not (len(grid) and (np.isfinite(grid) & (grid > 0)).all()):
        raise InputError("utd must be one or more numbers, finite and > 0; correct the grid.")
    size = critic_parameters(posterior, env_id, model_size)
    at_best = optima(posterior, env_id, grid, size, wanted, ceiling)
    batch, rate, steps, p_reach = (part[:, :, 0] for part in at_best)
    outside = posterior.extrapolated(pd.DataFrame({"env_id": env_id, "utd": grid, **sized(posterior, size)}))
    return Frontier(
        env_id=env_id,
        threshold=wanted,
        utd=grid,
        env_steps=steps,
        flops=np.asarray(flops(size, batch, grid, steps)),
        batch_size=batch,
        learning_rate=rate,
        p_reach=p_reach.mean(axis=0),
        extrapolated=outside | (wanted > posterior.thresholds[-1]),
        model_size=size,
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
    """B*, eta*, env steps of the median run there and the chance to get there, for every fitted threshold or for one.

    The model size is read where it varies in the fitted runs.
    """
    configs = pd.DataFrame({"env_id": env_id, "utd": utd, "batch_size": 1, "learning_rate": 1.0})
    points = posterior.model.points(configs.assign(**sized(posterior, model_size)))
    draws, fitted = posterior.flat_draws(FRONTIER_DRAWS), posterior.thresholds
    batch, rate, steps, p_reach = (np.asarray(part) for part in _optimum(posterior.model, draws, points))
    if threshold is not None:
        times = RunLengthDistribution(steps, np.zeros_like(steps), np.zeros_like(steps), p_reach)
        if threshold > fitted[-1]:
            times = RunLengthDistribution(*_runs_at_best(posterior.model, draws, points))
        best = ceilings(ceiling, pd.Series([env_id] * len(utd)), posterior.crossings)
        times = at_thresholds(times, fitted, [threshold], best)
        steps, p_reach = np.where(times.p_reach > 0, times.location, np.inf), times.p_reach
        within = np.array([min(threshold, fitted[-1])])
        batch, rate = (between_thresholds(part, fitted, within) for part in (batch, rate))
    return np.exp(batch), np.exp(rate), np.exp(steps), p_reach


def quantile(values: Float[np.ndarray, "draw *rest"], level: float) -> Float[np.ndarray, "*rest"]:
    """A quantile over draws; where some are inf, that of one draw."""
    return np.asarray(np.quantile(values, level, axis=0, method="linear" if np.isfinite(values).all() else "nearest"))


@partial(jax.jit, static_argnums=0)
def _optimum(model: Any, draws: dict[str, jax.Array], points: Any) -> Any:
    """`model.optimum` under every draw; compiled once for equal models and as many draws and points."""
    return jax.vmap(model.optimum, in_axes=(0, None))(draws, points)


@partial(jax.jit, static_argnums=0)
def _runs_at_best(model: Any, draws: dict[str, jax.Array], points: Any) -> Any:
    """`model.runs_at_best` under every draw, as `_optimum`."""
    return jax.vmap(model.runs_at_best, in_axes=(0, None))(draws, points)


def sized(posterior: Posterior, model_size: float | None) -> dict[str, float]:
    """The column that a configuration has besides UTD, batch size and rate: its model size, if the fit has that axis.

    Raises:
        InputError: the fit has it, and none was given.
    """
    if "model_size" not in posterior.model.varying:
        return {}
    if model_size is None:
        raise InputError("model_size varies in the fitted runs; give model_size= (critic parameters).")
    return {"model_size": model_size}


def utd_grid(posterior: Posterior, env_id: str, count: int = 25) -> Float[np.ndarray, " utd"]:
    """UTDs evenly spaced in logs from half the smallest to twice the largest of the task's runs."""
    swept = posterior.of_task(env_id)["utd"]
    return np.geomspace(swept.min() / 2, swept.max() * 2, count)


def critic_parameters(posterior: Posterior, env_id: str, model_size: int | None = None) -> int:
    """The model size to count a task's flops with: the one given, else that of its fitted runs.

    Raises:
        InputError: neither given nor in the data, or not positive.
    """
    size = posterior.model_size(env_id) if model_size is None else model_size
    if size is None:
        raise InputError(
            "the fitted runs have no model_size, which flops need; give the critic parameters as model_size."
        )
    require_positive("model_size", size)
    return int(size)
