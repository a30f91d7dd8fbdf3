"""Find the stretches of equal values in a column.

Most columns of a learning-curve table have one value in all rows of a run. A check of the first row of each stretch is
then a check of all rows, at a thousandth of the cost.
"""

import numpy as np
import pandas as pd
from jaxtyping import Int

FROM_ROWS = 5_000  # rows from which stretches are looked for; small tables are checked whole in no time
WORTHWHILE = 4  # rows of a stretch, on average, from which it pays to look at the first rows alone


def stretch_starts(values: pd.Series) -> Int[np.ndarray, " stretch"] | None:
    """Return the position of the first row of each stretch of equal values; None where it does not pay to know them.

    A missing value differs from every value. Columns of objects may hold values that cannot be compared: None.
    """
    if len(values) < FROM_ROWS:
        return None
    if isinstance(values.dtype, pd.CategoricalDtype):
        array = values.cat.codes.to_numpy()
    elif isinstance(values.dtype, pd.StringDtype):
        array = values.array
    elif isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        array = values.to_numpy()
    else:
        return None
    changed = np.ones(len(values), bool)
    changed[1:] = np.asarray(pd.array(array[1:] != array[:-1], dtype="boolean").fillna(True), bool)
    starts = np.flatnonzero(changed)
    return starts if WORTHWHILE * len(starts) <= len(values) else None


def stretch_lengths(starts: Int[np.ndarray, " stretch"], rows: int) -> Int[np.ndarray, " stretch"]:
    """Return the number of rows of each stretch of a table of so many rows."""
    return np.diff(np.append(starts, rows))
