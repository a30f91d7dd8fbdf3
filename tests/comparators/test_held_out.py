from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpyro
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.cli.commands.compare import comparison_table
from bayescale.comparators import pooling
from bayescale.comparators.held_out import METHODS, Training, _folds
from bayescale.data.tasks import naming_columns
from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.models import PRIORS, JointModel, Prior
from bayescale.posterior.posterior import Posterior
from tests.scaffolding.bare_model import BareModel

FAST = ("published", "size-law")


def made_curves(floor: float = 0.4, noise: float = 0.1, seeds: int = 4) -> pd.DataFrame:
    """Return curves of two tasks at five UTDs whose run lengths follow a law with a floor."""
    rng = np.random.default_rng(4)
    runs = []
    for env_id, difficulty in (("A", 4e4), ("B", 8e4)):
        for utd in (1.0, 2.0, 4.0, 8.0, 16.0):
            for seed in range(seeds):
                steps = difficulty * (floor + (1 - floor) / utd) * np.exp(noise * rng.standard_normal())
                at = np.arange(0, 1.3 * steps, 500.0)
                config = {"algorithm": "SAC", "env_id": env_id, "utd": utd, "batch_size": 256, "learning_rate": 1e-3}
                curve = {"env_steps": at.astype(int), "episode_return": 1000 * at / steps}
                runs.append(pd.DataFrame(config | {"seed": seed} | curve))
    return pd.concat(runs, ignore_index=True)


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return made_curves()


def runs_of(curves: pd.DataFrame) -> pd.DataFrame:
    return curves[["algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]].drop_duplicates()


@pytest.mark.parametrize(("leave_out", "utds"), [("utd-max", {16.0}), ("utd-min", {1.0}), ("utd-ends", {1.0, 16.0})])
def test_utd_splits_hold_out_the_ends(curves: pd.DataFrame, leave_out: str, utds: set[float]) -> None:
    runs = runs_of(curves).reset_index(drop=True)
    (held,) = _folds(runs, leave_out, 0, np.random.default_rng(0))
    assert set(runs[held]["utd"]) == utds
    assert not set(runs[~held]["utd"]) & utds


def test_each_task_is_left_out_once_and_some_of_its_runs_come_back(curves: pd.DataFrame) -> None:
    runs = runs_of(curves).reset_index(drop=True)
    folds = _folds(runs, "task", 3, np.random.default_rng(0))
    assert [set(runs[held]["env_id"]) for held in folds] == [{"A"}, {"B"}]
    assert [int(held.sum()) for held in folds] == [17, 17]


def test_of_each_configuration_a_quarter_of_the_seeds_is_left_out(curves: pd.DataFrame) -> None:
    runs = runs_of(curves).reset_index(drop=True)
    (held,) = _folds(runs, "seeds", 0, np.random.default_rng(0))
    assert runs[held].groupby(["env_id", "utd"]).size().tolist() == [1] * 10
    assert set(runs[held]["seed"]) == {3}


def test_scores_come_from_runs_that_were_not_fitted(curves: pd.DataFrame) -> None:
    levels = [300.0, 600.0, 900.0]
    table = bs.compare(curves, leave_out="utd-max", thresholds=levels, methods=FAST).set_index("method")
    assert table["observations"].tolist() == [2 * 4 * 3] * 2
    fitted = bs.fit_published(curves[curves["utd"] < 16], thresholds=levels)
    crossings = bs.time_to_threshold(curves[curves["utd"] == 16], thresholds=levels)
    by_hand = bs.score(fitted.predict(crossings.drop_duplicates(["env_id", "utd"])[CONFIG]), crossings=crossings)
    assert table.loc["published", list(by_hand._fields)].tolist() == pytest.approx(list(by_hand))


CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]


def test_the_method_whose_law_is_true_wins(curves: pd.DataFrame) -> None:
    """The control: a law per task beats the shared law once the tasks differ in shape."""
    alike = bs.compare(curves, leave_out="utd-min", thresholds=[500.0, 900.0], methods=FAST).set_index("method")
    assert alike.loc["published", "male"] < 0.2
    other = made_curves(floor=0.0)
    mixed = pd.concat([curves[curves["env_id"] == "A"], other[other["env_id"] == "B"]])
    unlike = bs.compare(mixed, leave_out="utd-min", thresholds=[500.0, 900.0], methods=FAST).set_index("method")
    assert unlike.loc["size-law", "male"] < unlike.loc["published", "male"]
    assert unlike.loc["published", "male"] > alike.loc["published", "male"]


def test_a_method_that_cannot_answer_says_why() -> None:
    curves = made_curves(seeds=2)
    few = curves[curves["utd"] <= 2]
    table = bs.compare(few, leave_out="utd-max", thresholds=[500.0], methods=FAST)
    assert table["wis"].isna().all()
    assert table["observations"].tolist() == [0, 0]
    assert table["note"].str.contains("two or more UTDs").all()


@pytest.mark.parametrize(("options", "said"), [
    ({"leave_out": "utd"}, "leave_out must be one of utd-max"),
    ({"methods": ("magic",)}, "methods must be among bayescale"),
    ({"methods": ()}, "methods must be among bayescale, .*; got none"),
    ({"give_back": 4}, "needs leave_out task"),
    ({"leave_out": "task", "give_back": 20}, "give_back must be less than the runs of A, 20; got 20"),
])  # fmt: skip
def test_bad_choices_are_refused(curves: pd.DataFrame, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        bs.compare(curves, thresholds=[500.0], **options)


def test_splits_that_leave_nothing_are_refused(curves: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no runs of some task"):
        bs.compare(curves[curves["utd"] == 1], leave_out="utd-max", thresholds=[500.0])
    with pytest.raises(InputError, match="two or more seeds"):
        bs.compare(curves[curves["seed"] == 0], leave_out="seeds", thresholds=[500.0])
    with pytest.raises(InputError, match="leaving tasks out needs two or more"):
        bs.compare(curves[curves["env_id"] == "A"], leave_out="task", thresholds=[500.0])


def of_two_algorithms(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of task A as SAC on A and those of task B as BRO on A."""
    return curves.assign(env_id="A", algorithm=np.where(curves["env_id"] == "A", "SAC", "BRO"))


def test_tasks_of_several_algorithms_are_tasks_by_their_names(curves: pd.DataFrame) -> None:
    named = curves.assign(env_id=np.where(curves["env_id"] == "A", "SAC/A", "BRO/A"))
    scores = [
        bs.compare(table, leave_out="utd-max", thresholds=[300.0, 600.0], return_scale=scale, methods=FAST).drop(
            columns="seconds"
        )
        for table, scale in (
            (of_two_algorithms(curves), {"A": (0.0, 900.0)}),
            (named, {"SAC/A": (0.0, 900.0), "BRO/A": (0.0, 900.0)}),
        )
    ]
    pd.testing.assert_frame_equal(*scores)
    assert (scores[0]["male"] < 0.3).all()
    mixed = bs.compare(
        curves.assign(env_id="A", seed=curves.groupby("env_id").ngroup() * 4 + curves["seed"]),
        leave_out="utd-max",
        thresholds=[300.0, 600.0],
        return_scale={"A": (0.0, 900.0)},
        methods=FAST,
    )
    assert (mixed["wis"] > scores[0]["wis"]).all()  # control: as one task, whose run lengths differ twofold


def test_every_method_sees_tasks_of_one_kind_and_by_itself_refuses_others(
    curves: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Training] = []

    def remember(training: Training) -> Any:
        seen.append(training)
        return bs.fit_size_law(training.crossings)

    monkeypatch.setitem(METHODS, "size-law", remember)
    both = of_two_algorithms(curves)
    bs.compare(both, leave_out="task", thresholds=[300.0], methods=("size-law",))
    assert [list(training.crossings["env_id"].unique()) for training in seen] == [["SAC/A"], ["BRO/A"]]
    for training in seen:
        assert set(training.curves["env_id"]) == set(training.crossings["env_id"])
        assert naming_columns(training.crossings) == naming_columns(training.curves) == ()
    crossings = bs.time_to_threshold(both, thresholds=[300.0])
    for fit in (
        lambda: bs.fit_published(both, thresholds=[300.0]),
        lambda: bs.fit_size_law(crossings),
        lambda: bs.fit_no_pooling(crossings),
    ):
        with pytest.raises(InputError, match=r"this method fits one algorithm; got BRO, SAC\. Fit each by itself, or"):
            fit()


def test_the_command_prints_and_writes_the_table(
    curves: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bs.write_curves(curves, tmp_path / "curves.parquet")
    out = tmp_path / "table.csv"
    arguments = ["compare", str(tmp_path / "curves.parquet"), "--leave-out", "utd-max", "--out", str(out)]
    assert cli.main([*arguments, "--thresholds", "500,900", "--methods", "published,size-law"]) == 0
    said = capsys.readouterr().out
    table = pd.read_csv(out)
    assert table["method"].tolist() == list(FAST)
    assert f"{table['coverage90'].iloc[0]:.3f}" in said
    assert cli.main([*arguments, "--methods", "magic"]) == 2
    assert "methods must be among" in capsys.readouterr().err


class Stub(Posterior):
    """A posterior that predicts the names of its tasks."""

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        twice = configs.loc[configs.index.repeat(2)].reset_index(drop=True)
        return twice.assign(threshold=[500.0, 900.0] * len(configs), by="+".join(self.crossings["env_id"].unique()))


@pytest.mark.usefixtures("jax_float64")
def test_complete_pooling_leaves_no_spread_between_tasks(curves: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Prior]] = []

    def remember(crossings: pd.DataFrame, *_: Any, priors: dict[str, Prior], **__: Any) -> Stub:
        given.append(priors)
        return Stub(BareModel(), {}, {}, crossings, Status.CONVERGED, {})

    monkeypatch.setattr(pooling, "fit_with_options", remember)
    crossings = bs.time_to_threshold(curves.assign(batch_size=128 * (1 + curves["seed"])), thresholds=[500.0])
    bs.fit_complete_pooling(crossings)
    configs = pd.DataFrame({"env_id": ["A", "B"], "utd": 2.0, "batch_size": 2048, "learning_rate": 1e-3})

    def times(priors: dict[str, Prior]) -> list[np.ndarray]:
        model = JointModel.for_crossings(crossings, PRIORS | priors)
        with numpyro.handlers.seed(rng_seed=0):
            sites = model.sample_parameters()
        return [np.asarray(part) for part in model.run_lengths(sites, model.points(configs))]

    pooled, partial = times(given[0]), times({})
    for one, own in zip(pooled, partial, strict=True):  # location, scale, skewness and p_reach
        assert one[0] == pytest.approx(one[1])
        assert own[0] != pytest.approx(own[1])


def test_no_pooling_fits_each_task_by_itself(curves: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pooling,
        "fit_with_options",
        lambda crossings, *_, **__: Stub(BareModel(), {}, {}, crossings, Status.CONVERGED, {}),
    )
    separate = bs.fit_no_pooling(bs.time_to_threshold(curves, thresholds=[500.0, 900.0]))
    configs = pd.DataFrame(
        {"env_id": ["B", "A", "B"], "utd": [4.0, 2.0, 1.0], "batch_size": 256, "learning_rate": 1e-3}
    )
    table = separate.predict(configs)
    assert table["by"].tolist() == ["B", "B", "A", "A", "B", "B"]
    assert table["utd"].tolist() == [4.0, 4.0, 2.0, 2.0, 1.0, 1.0]
    assert table["threshold"].tolist() == [500.0, 900.0] * 3
    with pytest.raises(InputError, match="a task without runs"):
        separate.predict(configs.assign(env_id="new"))


@pytest.mark.parametrize(
    ("unsure", "loo", "note"),
    [
        (0.69, (2 * 10 * 1.0 + 2 * 20 * 2.0 + 2 * 20 * 8.0) / 100, ""),
        (
            0.71,
            (2 * 10 * 1.0 + 20 * 2.0 + 2 * 20 * 8.0) / 80,
            "loo averages 7 of 8 configurations; at the others Pareto k is",
        ),
        (np.nan, (2 * 10 * 1.0 + 20 * 2.0 + 2 * 20 * 8.0) / 80, "loo averages 7 of 8 configurations; at the others"),
    ],
)
def test_loo_is_of_the_configurations_that_all_methods_can_be_trusted_with(
    curves: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, unsure: float, loo: float, note: str
) -> None:
    """The fits hold UTD 1 to 8 of tasks A and B; without pooling, task B at UTD 2 has an unreliable Pareto k."""

    class Median(Posterior):
        def predict(self, configs: pd.DataFrame, **_: Any) -> pd.DataFrame:
            return bs.fit_size_law(self.crossings).predict(configs)

    def alone(posterior: Posterior) -> pd.DataFrame:
        table = posterior.crossings[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates()
        own = posterior.crossings["env_id"].nunique() == 1
        table = table.assign(observations=np.where(table["utd"] == 1, 10, 20), pareto_k=0.69)
        table["log_score"] = table["utd"] + np.where(own, 1.0, 0.0)
        table.loc[table["utd"] == 4, ["observations", "log_score"]] = 0, np.nan
        table.loc[(table["utd"] == 2) & (table["env_id"] == "B"), "pareto_k"] = unsure if own else 0.0
        return table

    def fit(crossings: pd.DataFrame, *_: Any, **__: Any) -> Median:
        return Median(BareModel(), {}, {}, crossings, Status.CONVERGED, {})

    monkeypatch.setattr(pooling, "fit_with_options", fit)
    monkeypatch.setattr(import_module("bayescale.comparators.held_out"), "leave_one_out", alone)
    methods = ("no-pooling", "complete-pooling", "size-law")
    table = bs.compare(curves, leave_out="utd-max", thresholds=[500.0], methods=methods).set_index("method")
    assert table["loo"].tolist() == pytest.approx([loo + 1, loo, np.nan], nan_ok=True)
    assert table.loc["size-law", "note"] == ""
    assert all(said.startswith(note) and bool(said) == bool(note) for said in table["note"].iloc[:2])


def test_every_method_is_listed_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert all(method in said for method in METHODS)


def test_the_printed_table_keeps_its_columns_apart_however_bad_a_method_is():
    scores = {"coverage90": 0.5, "wis": 0.342, "male": 0.434, "log_score": -949437752909828992.0, "width90": 0.832}
    scores["loo"] = -0.25
    table = pd.DataFrame([{"method": "size-law", "observations": 225, **scores, "weight": float("nan"), "note": ""}])
    head, row = comparison_table(table).splitlines()
    assert row.split() == ["size-law", "225", "0.500", "0.342", "0.434", "-9.49e+17", "-0.250", "0.832", "nan"]
    assert len(row) == len(head)
