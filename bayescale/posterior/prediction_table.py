"""The prediction table: the rows and columns that every method's predictions of new runs share.

A row is one configuration and threshold. It has the columns of the configuration, then

    threshold               the return
    q05 ... q95             quantiles of a new run's env steps (one seed); inf where runs never reach the threshold
    law_q05 ... law_q95     quantiles of the median run's env steps: parameter uncertainty alone
    p_reach                 probability that a new run reaches the threshold
    extrapolated            True where the configuration or the threshold lies outside the fitted data
    extrapolation           on which axes and how far it lies outside; empty inside
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

QUANTILE_LEVELS = np.array([0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95])
QUANTILE_COLUMNS = [f"q{round(100 * level):02d}" for level in QUANTILE_LEVELS]
LAW_QUANTILE_LEVELS = np.array([0.05, 0.50, 0.95])
LAW_QUANTILE_COLUMNS = [f"law_q{round(100 * level):02d}" for level in LAW_QUANTILE_LEVELS]


def predictions_by_threshold(
    configs: pd.DataFrame,
    thresholds: Float[np.ndarray, " threshold"],
    *,
    quantiles: Float[np.ndarray, "config threshold quantile"],
    law_quantiles: Float[np.ndarray, "config threshold law_quantile"] | None = None,
    p_reach: Float[np.ndarray, "config threshold"],
    extrapolated: Bool[np.ndarray, "config threshold"] | None = None,
    extrapolation: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the prediction table, one row per configuration and threshold, thresholds varying fastest.

    Args:
        configs: one row per configuration; all columns are kept.
        thresholds: increasing returns.
        quantiles: env steps of a new run at `QUANTILE_LEVELS`.
        law_quantiles: env steps of the median run at `LAW_QUANTILE_LEVELS`. None: no such columns.
        p_reach: probabilities in [0, 1].
        extrapolated: None: no such column, or as `extrapolation` says.
        extrapolation: texts of shape (config, threshold), empty inside the fitted data. None: no such column.
    """
    table = configs.loc[configs.index.repeat(len(thresholds))].reset_index(drop=True)
    table["threshold"] = np.tile(thresholds, len(configs))
    table[QUANTILE_COLUMNS] = quantiles.reshape(-1, len(QUANTILE_LEVELS))
    if law_quantiles is not None:
        table[LAW_QUANTILE_COLUMNS] = law_quantiles.reshape(-1, len(LAW_QUANTILE_LEVELS))
    table["p_reach"] = p_reach.ravel()
    if extrapolated is not None:
        table["extrapolated"] = extrapolated.ravel()
    if extrapolation is not None:
        table["extrapolated"] = extrapolation.ravel() != ""
        table["extrapolation"] = extrapolation.ravel()
    return table
