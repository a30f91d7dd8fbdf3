"""Test fits of several algorithms: task names hold the algorithm, and rows must name the algorithm too."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.data.tasks import naming_columns, with_task_names

SETTING = ["env_id", "utd", "batch_size", "learning_rate"]


def both(factor: float) -> pd.DataFrame:
    """Simulate crossings of SAC and BRO, whose runs take `factor` times as long."""
    design = pd.DataFrame(
        {"env_id": "Known-v0", "utd": [1.0, 2.0, 4.0], "batch_size": 256, "learning_rate": 5e-4, "seeds": 6}
    )
    law = bs.KnownLaw(env_steps=(5e4,), utd_ref=2.0)
    tables = []
    for algorithm, longer in (("SAC", 1.0), ("BRO", factor)):
        location = law.location(design) + np.log(longer)
        runs = bs.simulate_runs(
            design.assign(algorithm=algorithm),
            thresholds=(500.0,),
            location=location,
            scale=0.1,
            rng=np.random.default_rng(1),
        )
        tables.append(bs.crossings_of(runs, every=500, horizon=1e6))
    return pd.concat(tables, ignore_index=True)


def test_each_algorithm_is_predicted_by_its_own_runs() -> None:
    table = both(3.0)
    posterior = bs.fit(table, chains=1, draws=200, warmup=200, require_convergence=False)
    assert posterior.tasks == ("BRO/Known-v0", "SAC/Known-v0")
    configs = table[[*SETTING, "algorithm"]].drop_duplicates()
    predicted = posterior.predict(configs)
    assert list(predicted["env_id"].unique()) == ["Known-v0"]
    middle = predicted[predicted["utd"] == 2.0].set_index("algorithm")["law_q50"]
    assert middle["SAC"] == pytest.approx(5e4, rel=0.15)
    assert middle["BRO"] == pytest.approx(15e4, rel=0.15)
    assert bs.score(predicted, crossings=table).coverage90 > 0.85
    named, bare = (
        bs.coverage(posterior, crossings=one, rng=np.random.default_rng(0)) for one in (posterior.named(table), table)
    )
    pd.testing.assert_frame_equal(named, bare)  # equal settings of two algorithms are two configurations
    swapped = predicted.assign(algorithm=predicted["algorithm"].map({"SAC": "BRO", "BRO": "SAC"}))
    assert bs.score(swapped, crossings=table).coverage90 < 0.1  # this control must fail
    by_name = posterior.predict(configs.assign(env_id="SAC/Known-v0").drop(columns="algorithm"))
    assert by_name["law_q50"].iloc[1] == pytest.approx(middle["SAC"])
    known = bs.frontier(posterior, env_id="BRO/Known-v0", threshold=500.0, utd=np.array([2.0]), model_size=1)
    assert known.env_steps.mean() > 1e5
    new = bs.frontier(posterior, env_id="BRO/New-v0", threshold=500.0, utd=[2.0], model_size=1, new_task=True)
    assert len(new.utd) == 1  # a new task is accepted where the caller says that it is one
    for ask in (
        lambda env_id: bs.frontier(posterior, env_id=env_id, threshold=500.0, utd=[2.0], model_size=1),
        lambda env_id: bs.allocate(posterior, env_id=env_id, threshold=500.0, model_size=1),
    ):
        with pytest.raises(bs.InputError, match="knows Known-v0 as BRO/Known-v0, SAC/Known-v0; name one of them"):
            ask("Known-v0")
    with pytest.raises(bs.InputError, match="more than one algorithm, so that rows need the column algorithm"):
        posterior.predict(configs.drop(columns="algorithm"))


def test_names_hold_only_the_columns_that_differ() -> None:
    table = pd.DataFrame({"suite": ["gym", "dmc"], "algorithm": ["SAC", "SAC"], "env_id": ["Ant", "dog"]})
    assert naming_columns(table) == ("suite",)
    assert list(with_task_names(table, ("suite",))["env_id"]) == ["gym/Ant", "dmc/dog"]
    assert list(with_task_names(table, ("suite",), known=["Ant"])["env_id"]) == ["Ant", "dmc/dog"]
    assert naming_columns(table.drop(columns="suite")) == ()
    assert with_task_names(table, ()) is table
