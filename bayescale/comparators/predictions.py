"""The prediction table of a comparator: bootstrap draws of its law, and seeds around it."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import require_count
from bayescale.data.configurations import outside_range
from bayescale.posterior.posterior import LEVELS, QUANTILES

CHUNK = 200  # configurations at a time bounds memory
NOISE_LEVELS = (np.arange(25) + 0.5) / 25


def check_resampling(seed: int, bootstraps: int) -> None:
    """Nothing, if there is a source of bootstraps and at least one of them; InputError otherwise."""
    require_count("seed", seed, 0)
    require_count("bootstraps", bootstraps)


def prediction_table(
    configs: pd.DataFrame,
    thresholds: Float[np.ndarray, " threshold"],
    log_env_steps: Float[np.ndarray, "draw config threshold"],
    noise: Float[np.ndarray, "level threshold"],
    fitted: pd.DataFrame,
) -> pd.DataFrame:
    """Quantiles of a new run's env steps, in the columns of `Posterior.predict`.

    Args:
        configs: one row per configuration.
        thresholds: increasing.
        log_env_steps: draws of the law; inf where the method has no finite answer.
        noise: equally likely departures of a run's log env steps from the law.
        fitted: the runs fitted, for the range of each axis.
    """
    tables = []
    for first in range(0, len(configs), CHUNK):
        some, law = configs.iloc[first : first + CHUNK], log_env_steps[:, first : first + CHUNK]
        runs = (law[:, None] + noise[:, None]).reshape(-1, *law.shape[1:])
        quantiles = np.quantile(runs, LEVELS, axis=0, method="inverted_cdf")  # interpolating would meet inf - inf
        law_quantiles = np.quantile(law, [0.05, 0.5, 0.95], axis=0, method="inverted_cdf")
        table = some.loc[some.index.repeat(len(thresholds))].reset_index(drop=True)
        table["threshold"] = np.tile(thresholds, len(some))
        monotone = np.exp(np.maximum.accumulate(quantiles, axis=2))
        table[list(QUANTILES)] = monotone.reshape(len(LEVELS), -1).T
        table[["law_q05", "law_q50", "law_q95"]] = np.exp(law_quantiles).reshape(3, -1).T
        table["p_reach"] = np.isfinite(law).mean(axis=0).ravel()
        table["extrapolated"] = np.repeat(outside_range(fitted, some), len(thresholds))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def log_residuals(times: Float[np.ndarray, " run"], centres: Float[np.ndarray, " run"]) -> Float[np.ndarray, " known"]:
    """Log times over their cells' centres, of the runs where both are finite and > 0."""
    known = np.isfinite(times) & np.isfinite(centres) & (times > 0) & (centres > 0)
    logs: np.ndarray = np.log(np.maximum(times[known], 1.0) / np.maximum(centres[known], 1.0))
    return logs


def residual_levels(residuals: Float[np.ndarray, " run"]) -> Float[np.ndarray, " level"]:
    """Equally likely departures, the quantiles of the residuals; zeros without residuals."""
    return np.quantile(residuals, NOISE_LEVELS) if len(residuals) else np.zeros(len(NOISE_LEVELS))
