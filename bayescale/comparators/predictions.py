"""The prediction table of a comparator: bootstrap draws of its law, and seeds around it."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import require_count
from bayescale.data.configurations import outside_range
from bayescale.posterior.prediction_table import LAW_QUANTILE_LEVELS, QUANTILE_LEVELS, predictions_by_threshold

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
        quantiles = np.quantile(runs, QUANTILE_LEVELS, axis=0, method="inverted_cdf")  # interpolating would meet inf - inf
        law_quantiles = np.quantile(law, LAW_QUANTILE_LEVELS, axis=0, method="inverted_cdf")
        monotone = np.maximum.accumulate(quantiles, axis=2)
        table = predictions_by_threshold(
            some,
            thresholds,
            quantiles=np.exp(np.moveaxis(monotone, 0, -1)),
            law_quantiles=np.exp(np.moveaxis(law_quantiles, 0, -1)),
            p_reach=np.isfinite(law).mean(axis=0),
            extrapolated=np.repeat(outside_range(fitted, some)[:, None], len(thresholds), axis=1),
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def log_residuals(times: Float[np.ndarray, " run"], centres: Float[np.ndarray, " run"]) -> Float[np.ndarray, " known"]:
    """Log times over their cells' centres, of the runs where both are finite and > 0."""
    known = np.isfinite(times) & np.isfinite(centres) & (times > 0) & (centres > 0)
    logs: np.ndarray = np.log(np.maximum(times[known], 1.0) / np.maximum(centres[known], 1.0))
    return logs


def residual_quantiles(residuals: Float[np.ndarray, " run"]) -> Float[np.ndarray, " level"]:
    """Equally likely departures, the quantiles of the residuals; zeros without residuals."""
    return np.quantile(residuals, NOISE_LEVELS) if len(residuals) else np.zeros(len(NOISE_LEVELS))
