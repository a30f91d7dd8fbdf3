"""Predict at the command line: evaluations that a user names, and fitted runs that evaluate at irregular steps."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cli import app as cli
from bayescale.cli.commands.predict import parse_evaluations
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import QUANTILE_COLUMNS
from tests.scaffolding.irregular_evaluations import TASKS, UNEVEN, irregular_crossings
from tests.scaffolding.prior_posterior import prior_posterior


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a fit of runs that evaluate at irregular steps, and a table of configurations."""
    folder = tmp_path_factory.mktemp("irregular")
    prior_posterior(irregular_crossings()).save(folder / "fit.nc")
    configs = pd.DataFrame({"env_id": TASKS, "utd": 2.0, "batch_size": 128, "learning_rate": 1e-4})
    configs.to_csv(folder / "configs.csv", index=False)
    return folder


def predicted(files: Path, *options: str) -> pd.DataFrame:
    out = files / "predicted.csv"
    asked = ["predict", str(files / "fit.nc"), "--at", str(files / "configs.csv"), "--out", str(out)]
    assert cli.main([*asked, *options]) == 0
    return pd.read_csv(out)


def test_predict_says_where_the_quantiles_are_of_the_crossing_itself(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_default = predicted(files)
    note = "quantiles for Uneven-v1, Two-v1 are of the crossing itself, not rounded up to an evaluation."
    assert capsys.readouterr().err.count(note) == 1
    assert by_default.groupby("env_id")["evaluation_interval"].first()[[*TASKS]].tolist() == [0, 0, 1_000]
    listed = predicted(files, "--evaluations", ",".join(map(str, UNEVEN)))
    steps = listed[QUANTILE_COLUMNS].to_numpy()
    assert np.isin(steps[np.isfinite(steps)], UNEVEN).all()
    assert json.loads(listed["evaluation_steps"].iloc[0]) == UNEVEN.tolist()
    every = predicted(files, "--evaluations", "2500")[QUANTILE_COLUMNS].to_numpy()
    assert (every[np.isfinite(every)] % 2_500 == 0).all()
    assert (predicted(files, "--evaluations", "crossing")["evaluation_interval"] == 0).all()
    assert capsys.readouterr().err == ""


def test_evaluations_are_parsed_and_refused(files: Path, refused: Callable[..., str]) -> None:
    assert [parse_evaluations(text) for text in (None, "crossing", "1e3", "1,2.5")] == [None, "crossing", 1e3, [1, 2.5]]
    with pytest.raises(InputError, match=r"--evaluations must be EVERY, .*; got 'often'\. Try --evaluations 1000\."):
        parse_evaluations("often")
    asked = ("predict", files / "fit.nc", "--at", files / "configs.csv", "--out", files / "no.csv", "--evaluations")
    for text, said in (
        ("2,1", "evaluations must increase; got [2, 1]. Sort"),
        ("1,nan", "evaluations must be finite and >= 0"),
        ("-5", "evaluations must be a finite number > 0; got -5.0"),
        ("1,,2", "--evaluations must be EVERY"),
    ):
        assert said in refused(*asked, text)
    assert not (files / "no.csv").exists()
