"""How well a fit predicts each of its own configurations from all the others, without fitting again.

The posterior without a configuration is the posterior itself, its draws weighted by one over the likelihood of the
configuration's runs: leave-one-out by Pareto-smoothed importance sampling (Vehtari, Gelman & Gabry, "Practical Bayesian
Model Evaluation", Statistics and Computing 2017). A configuration's seeds and thresholds share its misfit and their
luck, so that it leaves as a whole. What cannot be reweighted shows in the Pareto k.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from bayescale.data.configurations import setting_columns
from bayescale.data.observations import observations
from bayescale.float64 import float64
from bayescale.inference.arviz_compat import smoothed_weights
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import Model
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import runs
from bayescale.run_length_distribution import RunLengthDistribution

RELIABLE = 0.7  # the largest Pareto k at which the weighted draws stand for the posterior without a configuration
LOO_DRAWS = 2000
LEAST = 1e-12  # a chance below counts as this


@compiled_code_kept()
@float64()
def leave_one_out(posterior: Posterior) -> pd.DataFrame:
    """One row per configuration of the fit: its columns, `observations`, `log_score` and `pareto_k`.

    `log_score` is the mean log density of log env steps of the configuration's observations by a posterior that has not
    seen them, averaged over (log lower, log upper] as in `bayescale.validation.scores`; NaN if all its runs were there before
    training. Where `pareto_k` is above 0.7 it cannot be trusted: leave the configuration out and fit again.

    Args:
        posterior: a fit. With several thresholds its likelihood is a composite one, and the weights undo that.
    """
    crossings, model = posterior.crossings, posterior.model
    draws = posterior.flat_draws(LOO_DRAWS)
    settings = setting_columns(crossings)
    tables = [table for _, table in crossings.groupby(settings, sort=False)]
    known = np.stack([_log_likelihoods(model, draws, each) for each in _separated(model, crossings, tables)])
    weights, pareto_k = smoothed_weights(-known)
    configs = pd.concat([table[settings].iloc[:1] for table in tables], ignore_index=True)
    seen = [table[~observations(table).before_training] for table in tables]
    scores = [
        _log_score(posterior, configs.iloc[[i]], table, of_draws, draws)
        for i, (table, of_draws) in enumerate(zip(seen, weights, strict=True))
    ]
    return configs.assign(observations=[len(table) for table in seen], log_score=scores, pareto_k=pareto_k)


def _separated(model: Model, crossings: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> list[Any]:
    """What the likelihood reads of each configuration, in equal shapes; times weigh as they did in the fit."""
    weight = model.observe(crossings).weight
    return [replace(observed, weight=weight) for observed in model.observe_each(tables)]


@partial(jax.jit, static_argnums=0)
def _log_likelihoods(model: Model, draws: dict[str, Array], observed: Any) -> Float[Array, " draw"]:
    return jax.vmap(model.log_likelihood, in_axes=(0, None))(draws, observed)


def _log_score(
    posterior: Posterior,
    config: pd.DataFrame,
    seen: pd.DataFrame,
    weights: Float[np.ndarray, " draw"],
    draws: dict[str, np.ndarray],
) -> float:
    """The mean log density of one configuration's observations."""
    if seen.empty:
        return np.nan
    times = runs(posterior.model, draws, config)
    threshold = [posterior.threshold_number(level) for level in seen["threshold"]]
    each = RunLengthDistribution(*(part[:, 0, threshold] for part in times))
    lower, upper, _ = observations(seen)
    earlier, by_then = (weights @ each.reached_by(bound) for bound in (lower, upper))
    chance = np.where(np.isinf(upper), 1.0, by_then) - earlier
    bounded = np.isfinite(lower) & np.isfinite(upper)
    width = np.where(bounded, np.where(bounded, upper, 1.0) - np.where(bounded, lower, 0.0), 1.0)
    return float(np.log(np.maximum(chance, LEAST) / width).mean())
