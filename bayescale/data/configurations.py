"""Tables of configurations: what is predicted, scored and compared, one row for each."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from bayescale.data.tables import Column, Table, check_columns, columns_from_index

CONFIG = ("env_id", "utd", "batch_size", "learning_rate")
SIZED = (*CONFIG, "model_size")
CONFIG_COLUMNS = (
    Column("env_id", "text"),
    *(Column(name, "real", above=0) for name in CONFIG[1:]),
    *(Column(name, "real", above=0, optional=True) for name in ("model_size", "evaluation_interval")),
)
LENGTH = Column("env_steps", "real", above=0, optional=True)  # of the run, for `performance`


def setting_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table that say which configuration a row is of."""
    return [name for name in SIZED if name in table]


def checked_configs(configs: pd.DataFrame, *further: Column) -> pd.DataFrame:
    """The configurations, if each has a task, settings that are finite and > 0 and what `further` asks for.

    Named levels of their index become columns.

    Raises:
        InputError: naming the column, the rows and the remedy.
    """
    check_columns(Table(configs, "configs"), (*CONFIG_COLUMNS, *further))
    return columns_from_index(configs)


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
