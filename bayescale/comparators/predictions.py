"""Make the prediction table of a method whose law has bootstrap draws and whose runs scatter around the law."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import require_count
from bayescale.data.configurations import outside_range
from bayescale.posterior.prediction_table import LAW_QUANTILE_LEVELS, QUANTILE_LEVELS, predictions_by_threshold

CHUNK = 200  # configurations predicted at a time, which bounds memory
NOISE_LEVELS = (np.arange(25) + 0.5) / 25  # quantile levels of the departures of runs from the law


def check_resampling(seed: int, bootstraps: int) -> None:
    """Raise InputError unless `seed` is a whole number >= 0 and `bootstraps` a whole number >= 1."""
    require_count("seed", seed, 0)
    require_count("bootstraps", bootstraps)


def prediction_table(
    configs: pd.DataFrame,
    thresholds: Float[np.ndarray, " threshold"],
    log_env_steps: Float[np.ndarray, "draw config threshold"],
    noise: Float[np.ndarray, "level threshold"],
    fitted: pd.DataFrame,
) -> pd.DataFrame:
    """Return quantiles of the run lengths of new runs, in the columns of `Posterior.predict`.

    Args:
        configs: one row per configuration.
        thresholds: increasing returns.
        log_env_steps: draws of the law; inf where the method predicts no finite run length.
        noise: equally likely departures of a run's log env steps from the law.
        fitted: the fitted runs, for the range of each setting.
    """
    tables = []
    for first in range(0, len(configs), CHUNK):
        some, law = configs.iloc[first : first + CHUNK], log_env_steps[:, first : first + CHUNK]
        runs = (law[:, None] + noise[:, None]).reshape(-1, *law.shape[1:])
        # Draws may be infinite: "inverted_cdf" never interpolates, which would compute inf - inf.
        quantiles = np.quantile(runs, QUANTILE_LEVELS, axis=0, method="inverted_cdf")
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


def log_residuals(
    env_steps: Float[np.ndarray, " run"], centres: Float[np.ndarray, " run"]
) -> Float[np.ndarray, " known"]:
    """Return log ratios of run lengths to the centres of their configurations, where both are finite and > 0."""
    known = np.isfinite(env_steps) & np.isfinite(centres) & (env_steps > 0) & (centres > 0)
    return np.asarray(np.log(np.maximum(env_steps[known], 1.0) / np.maximum(centres[known], 1.0)))


def residual_quantiles(residuals: Float[np.ndarray, " run"]) -> Float[np.ndarray, " level"]:
    """Return equally likely departures, the quantiles of the residuals; zeros if there are no residuals."""
    return np.quantile(residuals, NOISE_LEVELS) if len(residuals) else np.zeros(len(NOISE_LEVELS))
