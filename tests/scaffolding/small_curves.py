"""Make small learning-curve tables, valid and invalid, and check that `read_curves` refuses them."""

import re

import numpy as np
import pandas as pd
import pytest

from bayescale.data.curves import read_curves
from bayescale.errors import InputError


def table(runs=2, evaluations=3, **columns) -> pd.DataFrame:
    """Return a small valid table, sorted; `columns` replace columns of it."""
    rows = runs * evaluations
    frame = pd.DataFrame(
        {
            "suite": "gym",
            "algorithm": "SAC",
            "env_id": "Pendulum-v1",
            "utd": 0.5,
            "batch_size": 256,
            "learning_rate": 3e-4,
            "model_size": 70_000,
            "seed": np.repeat(np.arange(runs), evaluations),
            "env_steps": np.tile(np.arange(1, evaluations + 1) * 1000, runs),
            "episode_return": np.linspace(-1200.0, -200.0, rows),
        }
    )
    return frame.assign(**columns)


def fails(text, *sources):
    """Check that reading the sources raises an InputError in one line that ends with a full stop and holds the text."""
    with pytest.raises(InputError, match=re.escape(text)) as error:
        read_curves(*sources)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    assert error.value.exit_code == 2


def csv(folder, frame, name="curves.csv"):
    """Write the frame to a CSV file and return its path."""
    frame.to_csv(folder / name, index=False)
    return folder / name


def with_value(column, position, value):
    """Return a valid table with one value replaced."""
    frame = table()
    frame[column] = frame[column].astype(object)
    frame.loc[position, column] = value
    return frame.infer_objects()
