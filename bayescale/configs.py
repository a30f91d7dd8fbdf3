"""Tables of configurations: what is predicted, scored and compared, one row for each."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from bayescale.errors import InputError

CONFIG = ("env_id", "utd", "batch_size", "learning_rate")
SIZED = (*CONFIG, "model_size")


def setting_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table that say which configuration a row is of."""
    return [name for name in SIZED if name in table]


def checked_configs(configs: pd.DataFrame) -> pd.DataFrame:
    """The configurations, if each has a task and settings that are finite and > 0; InputError otherwise."""
    missing = [name for name in CONFIG if name not in configs]
    if missing:
        raise InputError(
            f"configs lack the column {missing[0]}; give one row per configuration with {', '.join(CONFIG)}."
        )
    for name in (name for name in (*SIZED[1:], "evaluation_interval") if name in configs):
        values = pd.to_numeric(configs[name], errors="coerce").to_numpy(float)
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"configs must have {name} finite and > 0; correct or remove the other rows.")
    if not len(configs):
        raise InputError("configs are empty; give one row per configuration.")
    return configs


def outside_range(fitted: pd.DataFrame, configs: pd.DataFrame) -> Bool[np.ndarray, " config"]:
    """True where a configuration lies outside its task's range in the fit of UTD, batch size, rate or model size."""
    axes = [axis for axis in SIZED[1:] if axis in configs and axis in fitted]
    ranges = fitted.groupby("env_id")[axes].agg(["min", "max"])
    outside = ~configs["env_id"].isin(ranges.index).to_numpy()
    mine = ranges.reindex(configs["env_id"])
    for axis in axes:
        value = configs[axis].to_numpy(float)
        low, high = mine[axis, "min"].to_numpy(float), mine[axis, "max"].to_numpy(float)
        outside = outside | (value < low * (1 - 1e-9)) | (value > high * (1 + 1e-9))
    return np.asarray(outside, bool)
