"""Check tables of configurations: a row holds a task, UTD, batch size, learning rate and, where known, model size."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.data.tables import Column, Table, check_columns, columns_from_index

CONFIG = ("env_id", "utd", "batch_size", "learning_rate")
SIZED = (*CONFIG, "model_size")
CONFIG_COLUMNS = (
    Column("env_id", "text"),
    *(Column(name, "real", above=0) for name in CONFIG[1:]),
    Column("model_size", "real", above=0, optional=True),
    Column("evaluation_interval", "real", at_least=0, optional=True),
)
LENGTH = Column("env_steps", "real", above=0, optional=True)  # length of the run, see `performance`


def setting_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table that name the configuration of a row."""
    return [name for name in SIZED if name in table]


def checked_configs(configs: pd.DataFrame, *further: Column) -> pd.DataFrame:
    """Return the configurations; named index levels become columns.

    Args:
        configs: columns env_id, utd, batch_size, learning_rate, optionally model_size; all numbers finite and > 0.
        further: other columns that the table must hold.

    Raises:
        InputError: a column is missing or holds a wrong value; the message names the column, the rows and the remedy.
    """
    check_columns(Table(configs, "configs"), (*CONFIG_COLUMNS, *further))
    return columns_from_index(configs)


ROUNDING = 1e-9  # relative distance beyond an end of a range that counts as rounding


class SweptRange(NamedTuple):
    """The values of one axis beside the swept range of their task; NaN ends for a task without runs."""

    axis: str
    value: Float[np.ndarray, " config"]
    low: Float[np.ndarray, " config"]
    high: Float[np.ndarray, " config"]

    @property
    def below(self) -> Bool[np.ndarray, " config"]:
        """True where a value lies below the range by more than rounding."""
        return np.asarray(self.value < self.low * (1 - ROUNDING))

    @property
    def above(self) -> Bool[np.ndarray, " config"]:
        """True where a value lies above the range by more than rounding."""
        return np.asarray(self.value > self.high * (1 + ROUNDING))


def swept_ranges(fitted: pd.DataFrame, configs: pd.DataFrame) -> list[SweptRange]:
    """Return, for each axis that both tables have, the configurations' values and the ends of their tasks' ranges.

    Args:
        fitted: rows of the fitted runs.
        configs: the configurations.
    """
    axes = [axis for axis in SIZED[1:] if axis in configs and axis in fitted]
    own = fitted.groupby("env_id")[axes].agg(["min", "max"]).reindex(configs["env_id"])
    ends = ((axis, own[axis, "min"].to_numpy(float), own[axis, "max"].to_numpy(float)) for axis in axes)
    return [SweptRange(axis, configs[axis].to_numpy(float), low, high) for axis, low, high in ends]


def outside_range(fitted: pd.DataFrame, configs: pd.DataFrame) -> Bool[np.ndarray, " config"]:
    """Return True for each configuration outside the fitted range of its task in any setting, or of an unknown task.

    Args:
        fitted: rows of the fitted runs.
        configs: the configurations. A setting counts only where both tables have its column.
    """
    outside = ~configs["env_id"].isin(fitted["env_id"]).to_numpy(bool)
    for one in swept_ranges(fitted, configs):
        outside = outside | one.below | one.above
    return np.asarray(outside, bool)
