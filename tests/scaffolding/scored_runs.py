"""A prediction of one configuration, and crossings of runs that it may be scored on."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from bayescale.posterior.prediction_table import QUANTILE_COLUMNS, QUANTILE_LEVELS


def predictions(median: float, spread: float, utd: float = 1.0) -> pd.DataFrame:
    row = {"env_id": "A", "utd": utd, "batch_size": 256, "learning_rate": 1e-3, "threshold": 0.5}
    quantiles = median * np.exp(spread * norm.ppf(QUANTILE_LEVELS))
    return pd.DataFrame([row | dict(zip(QUANTILE_COLUMNS, quantiles, strict=True))])


def observed(*times: float, last: float = 1e6, grid: float = 100.0, utd: float = 1.0) -> pd.DataFrame:
    """Return the crossings of runs that reach the threshold at `times`, with evaluations every `grid` env steps.

    A run with an infinite time is right-censored at `last`.
    """
    upper = np.ceil(np.array(times) / grid) * grid
    row = {"env_id": "A", "utd": utd, "batch_size": 256, "learning_rate": 1e-3, "threshold": 0.5}
    frame = pd.DataFrame([row | {"seed": i} for i in range(len(times))])
    lower = np.where(np.isinf(upper), last, upper - grid)
    return frame.assign(env_steps_lower=lower, env_steps_upper=upper, censored=np.isinf(upper))
