"""Test reading return scales and converting returns to normalised returns and back."""

import re

import numpy as np
import pandas as pd
import pytest

from bayescale.data.return_scale import normalised_returns, raw_thresholds, read_return_scale
from bayescale.errors import InputError

SCALE = {"Ant-v4": (0.0, 6625.0), "Pendulum-v1": (-1600.0, -150.0)}


def test_return_scale_from_every_source(tmp_path):
    frame = pd.DataFrame([(env_id, *ends) for env_id, ends in SCALE.items()], columns=["env_id", "low", "high"])
    frame.to_csv(tmp_path / "scale.csv", index=False)
    frame.to_parquet(tmp_path / "scale.parquet")
    for source in (SCALE, frame, str(tmp_path / "scale.csv"), tmp_path / "scale.parquet"):
        assert read_return_scale(source) == SCALE
    assert read_return_scale(None) is None


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        ({"Ant-v4": (5, 5)}, "return_scale: low must be < high; got 5 and 5 for Ant-v4. Correct them."),
        ({"Ant-v4": (0, np.nan)}, "return_scale: high must be filled in; got nan at row 0."),
        ({"Ant-v4": (-np.inf, 3)}, "return_scale: low must be finite; got -inf"),
        ({"Ant-v4": ("0", 3)}, "return_scale: low must be a number; got 0"),
        ({"Ant-v4": 3}, "return_scale must map each env_id to (low, high); got {'Ant-v4': 3}."),
        ({"Ant-v4": (1, 2, 3)}, "return_scale must map each env_id to (low, high)"),
        ({}, "return_scale has no rows."),
        (pd.DataFrame({"env_id": ["a", "a"], "low": 0, "high": [1, 2]}), "return_scale has a twice. Keep one."),
        (
            pd.DataFrame({"env_id": ["a"], "max": 1}),
            "return_scale has no column 'low' or 'high'; its columns are env_id, max. Add them.",
        ),
        ("none.csv", "none.csv was not found."),
    ],
)
def test_bad_return_scales(scale, text):
    with pytest.raises(InputError, match=re.escape(text)):
        read_return_scale(scale)


def test_normalised_returns_by_hand():
    curves = pd.DataFrame({"env_id": ["Ant-v4", "Pendulum-v1", "Ant-v4"], "episode_return": [6625.0, -1600.0, 1325.0]})
    assert normalised_returns(curves, SCALE).tolist() == [1000, 0, 200]
    assert normalised_returns(curves, None).tolist() == curves["episode_return"].tolist()
    assert normalised_returns(curves[:0], SCALE).size == 0


def test_thresholds_in_units_of_the_return_by_hand():
    assert raw_thresholds(np.array([0.0, 200.0, 1000.0]), "Pendulum-v1", SCALE).tolist() == [-1600, -1310, -150]
    assert raw_thresholds(np.array([5.0]), "Pendulum-v1", None).tolist() == [5]


def test_a_task_without_a_scale_is_named():
    text = re.escape("return_scale has no Hopper-v4; it has Ant-v4, Pendulum-v1. Add its low and high.")
    with pytest.raises(InputError, match=text):
        normalised_returns(pd.DataFrame({"env_id": ["Hopper-v4"], "episode_return": [1.0]}), SCALE)
    with pytest.raises(InputError, match=text):
        raw_thresholds(np.array([1.0]), "Hopper-v4", SCALE)
