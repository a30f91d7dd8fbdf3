"""Estimate how well a fit predicts each of its configurations from all the others, without fitting again.

Draws of the posterior, weighted by one over the likelihood of a configuration's runs, are draws of the posterior
without that configuration. Pareto smoothing stabilises the weights; a large Pareto k says that they are unreliable.
A configuration is left out as a whole, because its seeds and thresholds share a configuration effect.
Source: Vehtari, Gelman & Gabry, "Practical Bayesian Model Evaluation Using Leave-One-Out Cross-Validation and WAIC",
Statistics and Computing 2017.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

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
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution

RELIABLE = 0.7  # largest Pareto k at which weights are reliable
LOO_DRAWS = 2000
LEAST = 1e-12  # smaller predictive probabilities count as this one


@compiled_code_kept()
@float64()
def leave_one_out(posterior: Posterior) -> pd.DataFrame:
    """Estimate the log score of each configuration under the posterior without it.

    Args:
        posterior: a fit. The likelihood of several thresholds is composite; the weights use the same likelihood.

    Returns:
        One row per configuration with its columns and

        - observations: pairs of a run and a threshold, without those reached before training.
        - log_score: their mean log predictive density of log env steps, averaged over (log lower, log upper] as in
          `bayescale.validation.scores`; NaN without observations.
        - pareto_k: shape of the weights' tail. Above 0.7 the log score is unreliable: leave the configuration out and
          fit again.
    """
    crossings, model = posterior.crossings, posterior.model
    draws = posterior.flat_draws(LOO_DRAWS)
    settings = setting_columns(crossings)
    tables = [table for _, table in crossings.groupby(settings, sort=False)]
    log_likelihoods = np.stack(
        [_log_likelihoods(model, draws, each) for each in _observe_each(model, crossings, tables)]
    )
    weights, pareto_k = smoothed_weights(-log_likelihoods)
    configs = pd.concat([table[settings].iloc[:1] for table in tables], ignore_index=True)
    seen = [table[~observations(table).before_training] for table in tables]
    scores = [
        _log_score(posterior, configs.iloc[[i]], table, draw_weights, draws)
        for i, (table, draw_weights) in enumerate(zip(seen, weights, strict=True))
    ]
    return configs.assign(observations=[len(table) for table in seen], log_score=scores, pareto_k=pareto_k)


def _observe_each(model: Model, crossings: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> list[Any]:
    """Return each configuration's observations in equal shapes, weighted as in the fit, with what its runs reached."""
    whole = model.observe(crossings)
    return [replace(each, weight=whole.weight, reached=whole.reached) for each in model.observe_each(tables)]


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
    """Return the mean log predictive density of one configuration's observations under weighted draws."""
    if seen.empty:
        return np.nan
    predicted = run_lengths(posterior.model, draws, config)
    threshold = [posterior.threshold_number(value) for value in seen["threshold"]]
    run_length = RunLengthDistribution(*(part[:, 0, threshold] for part in predicted))
    lower, upper, _ = observations(seen)
    cdf_lower, cdf_upper = (weights @ run_length.reached_by(bound) for bound in (lower, upper))
    probability = np.where(np.isinf(upper), 1.0, cdf_upper) - cdf_lower
    bounded = np.isfinite(lower) & np.isfinite(upper)
    width = np.where(bounded, np.where(bounded, upper, 1.0) - np.where(bounded, lower, 0.0), 1.0)
    return float(np.log(np.maximum(probability, LEAST) / width).mean())
