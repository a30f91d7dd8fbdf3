"""Find each draw's best batch size and learning rate at a UTD by the law, and the median run there."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.decisions.candidates import model_size_column
from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import Model, Points
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds, between_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution

LAW_DRAWS = 1000


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
    draws, fitted = posterior.flat_draws(LAW_DRAWS, [env_id]), posterior.thresholds
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


@partial(jax.jit, static_argnums=0)
def _optimum(model: Model, draws: Mapping[str, Any], points: Points) -> Any:
    """Apply `model.optimum` under every draw; JAX compiles once per model (by value) and array shape."""
    return jax.vmap(model.optimum, in_axes=(0, None))(draws, points)


@partial(jax.jit, static_argnums=0)
def _run_lengths_at_optimum(model: Model, draws: Mapping[str, Any], points: Points) -> Any:
    """Apply `model.run_lengths_at_optimum` under every draw."""
    return jax.vmap(model.run_lengths_at_optimum, in_axes=(0, None))(draws, points)
