"""Looking at the first rows of stretches alone gives what looking at every row gives."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bayescale.data.curves import validate_curves
from bayescale.data.tables import stretches
from bayescale.errors import InputError
from tests.scaffolding.small_curves import table


def stretched(**columns):
    return table(4, 6, **columns)


FRAMES = {
    "plain": stretched(),
    "shuffled": stretched().sample(frac=1, random_state=0, ignore_index=True),
    "runs in another order": stretched().iloc[[*range(12, 24), *range(12)]].reset_index(drop=True),
    "blanks": stretched(env_id=["Ant"] * 12 + ["Ant "] * 12),
    "categories": stretched().astype({"env_id": "category", "seed": "category", "utd": "category"}),
    "narrow rates": stretched(learning_rate=np.float32(1e-4)),
    "arrow": stretched(batch_size=pd.array([64] * 24, dtype=pd.ArrowDtype(pa.int64()))),
    "objects": stretched(seed=pd.Series(np.repeat([2**60 + 1, 2**60], 12), dtype=object)).drop(columns="model_size"),
    "a missing name": stretched(env_id=["Ant"] * 23 + [None]),
    "missing rates": stretched(learning_rate=[1e-3] * 12 + [np.nan] * 12),
    "a rate below 0": stretched(learning_rate=[1e-3] * 18 + [-1.0] * 6),
    "a broken batch size": stretched(batch_size=[64.0] * 18 + [64.5] * 6),
    "bytes": stretched(env_id=pd.Series([b"Ant"] * 24, dtype="category")),
}


def result(frame):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            read = validate_curves(frame)
        except InputError as error:
            return str(error), []
    return read, [str(one.message) for one in heard]


@pytest.mark.parametrize("name", FRAMES)
def test_stretches_change_nothing(monkeypatch, name):
    whole, heard_whole = result(FRAMES[name])
    monkeypatch.setattr(stretches, "FROM_ROWS", 1)
    few, heard_few = result(FRAMES[name])
    assert heard_few == heard_whole
    if isinstance(whole, str):
        assert few == whole
    else:
        pd.testing.assert_frame_equal(few, whole)


def test_the_stretches_of_a_column(monkeypatch):
    monkeypatch.setattr(stretches, "FROM_ROWS", 1)
    column = pd.Series(["a"] * 5 + ["b"] * 4 + ["a"] * 6)
    assert stretches.stretch_starts(column).tolist() == [0, 5, 9]
    assert stretches.stretch_lengths(np.array([0, 5, 9]), 15).tolist() == [5, 4, 6]
    assert stretches.stretch_starts(pd.Series(range(20))) is None
    assert stretches.stretch_starts(pd.Series([[1]] * 20)) is None
