"""Test which fits complete pooling and no pooling make, and how no pooling predicts many configurations."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.comparators import pooling
from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.inference.sampling import SamplerOptions
from bayescale.posterior.posterior import Posterior
from tests.scaffolding.bare_model import BareModel
from tests.scaffolding.short_runs import run

SETTINGS = {"seed": 1, "chains": 2, "draws": 30, "warmup": 40, "require_convergence": False, "most_draws": 50}
CROSSINGS = bs.time_to_threshold(pd.concat([run([1, 2, 3], env_id=env_id) for env_id in "AB"]), thresholds=[2.0, 3.0])


class Rows(Posterior):
    """A posterior that predicts the sum of the requested UTDs, once for each threshold."""

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        return configs.loc[configs.index.repeat(2)].assign(
            threshold=[2.0, 3.0] * len(configs), q50=configs["utd"].sum()
        )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the arguments of each fit, by name."""
    heard: list[dict[str, Any]] = []

    def remember(crossings: pd.DataFrame, options: SamplerOptions, **named: Any) -> Rows:
        heard.append({"crossings": crossings, "priors": None} | asdict(options) | named)
        return Rows(BareModel(), {}, {}, crossings, Status.CONVERGED, {})

    monkeypatch.setattr(pooling, "fit_with_options", remember)
    return heard


def test_settings_of_a_fit_are_passed_on(asked: list[dict[str, Any]]) -> None:
    bs.fit_complete_pooling(CROSSINGS, **SETTINGS)
    bs.fit_no_pooling(CROSSINGS, **SETTINGS)
    for own in asked:
        assert {name: own[name] for name in SETTINGS} == SETTINGS
    assert [sorted(own["crossings"]["env_id"].unique()) for own in asked] == [["A", "B"], ["A"], ["B"]]
    assert [own["priors"] for own in asked[1:]] == [None, None]


@pytest.mark.usefixtures("asked")
def test_many_configurations_without_pooling_come_back_in_their_order() -> None:
    utds = np.arange(1.0, 31.0)
    configs = pd.DataFrame({"env_id": [*"ABB"] * 10, "utd": utds, "batch_size": 256, "learning_rate": 3e-4})
    separate = bs.fit_no_pooling(CROSSINGS)
    table = separate.predict(configs.set_axis([7] * 30))
    assert table["utd"].tolist() == np.repeat(utds, 2).tolist()
    assert table["threshold"].tolist() == [2.0, 3.0] * 30
    assert table.index.tolist() == list(range(60))
    for env_id, rows in table.groupby("env_id"):
        assert rows["q50"].unique().tolist() == [utds[configs["env_id"] == env_id].sum()]
    with pytest.raises(InputError, match="no pooling cannot predict C, a task without runs; fit some of its runs"):
        separate.predict(configs.assign(env_id=[*"ADC"] * 10))
