"""Test what a fit says about the runs behind it: failed settings, tasks that reached nothing, one evaluation a run."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.posterior.outcomes import (
    diverged_counts,
    failed_settings,
    failure_warning,
    highest_returns,
    near_failed_settings,
    nothing_reached,
    one_evaluation_warning,
    run_counts,
)
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior, sweep

LONG, SHORT = 20_000, 3_000


def curves(*, short_utd: float = 4.0, top: float = 900.0) -> pd.DataFrame:
    """Return curves of 3 UTDs x 2 batch sizes x 2 seeds that rise to `top`; runs at `short_utd` are short."""
    rows = []
    for utd in (1.0, 2.0, 4.0):
        for batch_size in (64, 128):
            for seed in (0, 1):
                steps = np.arange(1_000, (SHORT if utd == short_utd else LONG) + 1, 1_000)
                returns = top * steps / LONG + seed
                run = {"algorithm": "SAC", "env_id": "Known-v0", "utd": utd, "batch_size": batch_size, "seed": seed}
                rows.append(pd.DataFrame({**run, "learning_rate": 3e-4, "env_steps": steps, "episode_return": returns}))
    return pd.concat(rows, ignore_index=True)


def crossings(table: pd.DataFrame, thresholds=(100.0, 700.0)) -> pd.DataFrame:
    return bs.time_to_threshold(table, thresholds=thresholds)


def failed_at(table: pd.DataFrame, env_id: str, threshold: float, **options: bool) -> tuple[str, ...]:
    (failed,) = failed_settings(table, env_id, np.array([threshold]), **options)
    return failed


AT_UTD_4 = ("UTD 4, batch size 64, learning rate 0.0003", "UTD 4, batch size 128, learning rate 0.0003")


def test_settings_whose_runs_all_ended_early_below_a_return_failed_there_and_not_at_a_return_that_they_reached():
    table = crossings(curves())
    assert failed_at(table, "Known-v0", 700.0) == AT_UTD_4
    assert failed_at(table, "Known-v0", 100.0) == ()
    assert failed_at(table, "Known-v0", 136.5) == AT_UTD_4
    assert failed_at(table, "Known-v0", 135.5) == ()  # one of two seeds reached 136
    assert failed_at(table, "Other-v0", 700.0) == ()
    fallback = table.drop(columns="highest_return")
    assert failed_at(fallback, "Known-v0", 136.5) == AT_UTD_4
    assert failed_at(fallback, "Known-v0", 1e9) == AT_UTD_4  # the settings of the highest threshold
    assert failed_at(crossings(curves(short_utd=0)), "Known-v0", 700.0) == ()


def test_runs_known_to_be_cut_short_did_not_fail_and_runs_that_diverged_did_at_every_return():
    table = crossings(curves())
    assert failed_at(table, "Known-v0", 700.0, cut_short=True) == ()
    utd_4, utd_2 = table["utd"] == 4, table["utd"] == 2
    for status in ("finished", "stopped early", "running"):
        assert failed_at(table.assign(status=np.where(utd_4, status, "")), "Known-v0", 700.0) == ()
    diverged = table.assign(status=np.where(utd_2, "diverged", "finished"))
    at_utd_2 = tuple(name.replace("UTD 4", "UTD 2") for name in AT_UTD_4)
    for threshold in (100.0, 700.0):
        assert failed_at(diverged, "Known-v0", threshold) == at_utd_2
        assert failed_at(diverged, "Known-v0", threshold, cut_short=True) == at_utd_2
    crashed = diverged.replace({"status": {"diverged": "crashed"}})
    assert failed_at(crashed, "Known-v0", 700.0) == at_utd_2
    assert failed_at(crashed, "Known-v0", 700.0, cut_short=True) == ()
    one_seed = table.assign(status=np.where(utd_2 & (table["seed"] == 0), "diverged", "finished"))
    assert failed_at(one_seed, "Known-v0", 700.0) == ()


def test_settings_nearest_to_a_failed_one_are_near_it_and_a_tie_counts():
    settings = pd.DataFrame({"env_id": "Known-v0", "utd": [1.0, 2.0, 2.8, 2.9, 4.0, 99.0], "batch_size": 90})
    settings = settings.assign(learning_rate=3e-4)
    near = near_failed_settings(crossings(curves()), settings, np.array([100.0, 700.0]))
    assert near[:, 0].tolist() == [False] * 6
    assert near[:, 1].tolist() == [False, False, False, True, True, True]
    tie = settings.assign(utd=np.sqrt(8.0))
    assert near_failed_settings(crossings(curves()), tie, np.array([700.0])).all()
    assert not near_failed_settings(crossings(curves()), settings.assign(env_id="New-v0"), np.array([700.0])).any()


def test_the_counts_of_a_task_by_hand():
    table = crossings(curves())
    assert run_counts(table, "Known-v0", [100.0]) == [(12, 12)]
    assert run_counts(table, "Known-v0", [700.0]) == [(12, 8)]
    assert run_counts(table, "Known-v0", [900.5]) == [(12, 4)]  # the seeds 1 end at 901
    assert run_counts(table, "New-v0", [700.0]) == [(0, 0)]
    fallback = table.drop(columns="highest_return")
    assert run_counts(fallback, "Known-v0", [300.0]) == [(12, 8)]
    assert run_counts(fallback, "Known-v0", [900.5]) == [(12, None)]
    names = pd.Series(["Known-v0", "New-v0"])
    assert highest_returns(table, names).tolist() == [901, 901]
    assert highest_returns(fallback, names).tolist() == [700, 700]


def test_a_task_that_reached_nothing_is_named_with_its_highest_return():
    learnt, not_learnt = curves(), curves(top=40.0).assign(env_id="Sparse-v0")
    table = crossings(pd.concat([learnt, not_learnt]))
    clauses = nothing_reached(table, ["Known-v0", "Sparse-v0", "New-v0"])
    assert clauses == {
        "Sparse-v0": "none of 12 runs on Sparse-v0 reached 100, the lowest fitted threshold (the highest return was 41)"
    }
    bare = nothing_reached(table.drop(columns="highest_return"), ["Sparse-v0"])
    assert bare == {"Sparse-v0": "none of 12 runs on Sparse-v0 reached 100, the lowest fitted threshold"}


def test_the_warning_of_failed_settings_names_them_and_the_remedy():
    table = crossings(curves())
    said = failure_warning(table)
    assert said is not None
    assert said.startswith(
        "all runs ended before a quarter of the longest run and below 700 at 2 settings: "
        "UTD 4, batch size 64, learning rate 0.0003; UTD 4, batch size 128, learning rate 0.0003. Decisions"
    )
    assert "did they diverge? Say so in a column `status`" in said
    diverged = failure_warning(table.assign(status=np.where(table["utd"] == 4, "diverged", "finished")))
    assert diverged is not None
    assert diverged.startswith("all runs diverged or crashed at 2 settings: ")
    assert "cut short" not in diverged
    assert failure_warning(crossings(curves(short_utd=0))) is None
    many = failure_warning(table.assign(status="crashed"))
    assert many is not None
    assert "; and 3 more" in many


def test_diverged_runs_are_counted_by_the_settings_that_vary():
    table = crossings(curves(short_utd=0))
    assert diverged_counts(table) is None
    assert diverged_counts(table.assign(status="diverged")) is None  # all had reached the highest threshold
    low = crossings(curves(short_utd=0), thresholds=(100.0, 2_000.0))
    lost = (low["utd"] == 4) & (low["batch_size"] == 64) | (low["utd"] == 2) & (low["seed"] == 0)
    said = diverged_counts(low.assign(status=np.where(lost, "diverged", "finished")))
    assert said == (
        "4 of 12 runs diverged: UTD 4, batch size 64: 2 of 2; UTD 2, batch size 64: 1 of 2; UTD 2, batch size 128: "
        "1 of 2."
    )
    one = low[(low["utd"] == 4) & (low["batch_size"] == 64)]
    assert diverged_counts(one.assign(status="diverged")) == "2 of 2 runs diverged."
    both = pd.concat([low, low.assign(env_id="Other-v0")]).assign(status="crashed")
    both.loc[(both["env_id"] == "Other-v0") & (both["utd"] == 1), "status"] = "diverged"
    assert diverged_counts(both) == (
        "4 of 24 runs diverged: Other-v0, UTD 1, batch size 64: 2 of 2; Other-v0, UTD 1, batch size 128: 2 of 2."
    )


def test_one_evaluation_a_run_is_said():
    table = curves(short_utd=0)
    last = table[table["env_steps"] == LONG]
    said = one_evaluation_warning(crossings(last, (300.0, 900.5)))
    assert said is not None
    assert "one evaluation a run" in said
    assert one_evaluation_warning(crossings(table)) is None
    two = table[table["env_steps"].isin([1_000, LONG])]
    assert one_evaluation_warning(crossings(two, (300.0, 900.5))) is None


@pytest.fixture
def fitted(monkeypatch):
    """Replace the sampler by draws from the prior."""
    monkeypatch.setattr("bayescale.workflow.fit_with_options", lambda table, *_, **__: prior_posterior(table))
    return bs.fit


def test_a_fit_warns_once_of_each(fitted):
    table = crossings(curves())
    with pytest.warns(UserWarning, match="all runs ended before a quarter") as heard:
        fitted(table)
    assert len(heard) == 1
    fitted(crossings(curves(short_utd=0)))  # a sweep without failures gives no warning
    some = (table["utd"] == 4) & (table["seed"] == 0)
    with pytest.warns(UserWarning, match=r"^2 of 12 runs diverged: UTD 4, batch size 64: 1 of 2; ") as heard:
        fitted(table.assign(status=np.where(some, "diverged", "finished")))
    assert len(heard) == 1


def unlearnt() -> bs.Posterior:
    """Return a posterior of which no run of the second task reached a threshold."""
    table = sweep()
    second = table["env_id"] == TASKS[1]
    table.loc[second, ["env_steps_lower", "env_steps_upper"]] = (1e5, np.inf)
    return prior_posterior(table.assign(censored=table["censored"] | second, highest_return=100.0))


def test_predictions_for_a_task_that_reached_nothing_warn_once():
    posterior = unlearnt()
    configs = posterior.crossings[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates()
    with pytest.warns(
        UserWarning, match=r"none of 16 runs on Hopper & co reached 321.*cannot be learnt, and on the other tasks\.$"
    ):
        posterior.predict(configs)
    posterior.predict(configs)
    bs.frontier(posterior, env_id=TASKS[1], threshold=THRESHOLDS[0])


def test_no_decision_is_made_for_a_task_that_reached_nothing():
    posterior = unlearnt()
    said = (
        r"none of 16 runs on Hopper & co reached 321, the lowest fitted threshold \(the highest return was 100\): give"
    )
    with pytest.raises(bs.Infeasible, match=said):
        bs.allocate(posterior, env_id=TASKS[1], threshold=THRESHOLDS[0])
    with pytest.raises(bs.Infeasible, match=said):
        bs.portfolio(posterior, budget=1e30)
    assert bs.allocate(posterior, env_id=TASKS[0], threshold=THRESHOLDS[0]).feasible


def failing() -> bs.Posterior:
    """Return a posterior whose runs at UTD 4 all diverged."""
    table = sweep()
    return prior_posterior(table.assign(status=np.where(table["utd"] == 4, "diverged", "finished")))


def test_decisions_leave_failed_settings_out():
    posterior, free = failing(), prior_posterior()
    options = {"env_id": TASKS[0], "threshold": THRESHOLDS[0]}
    choices = [bs.allocate(each, **options, prices=bs.Prices(flop=0.0, env_step=1.0)) for each in (posterior, free)]
    assert choices[0].utd < 2.0  # nearer to 1 than to 4, in logs
    assert choices[1].utd > 2.0  # the control: without failures, high UTDs need the fewest env steps
    assert len(choices[0].left_out) == 4
    assert choices[1].left_out == ()
    path = bs.budget_path(posterior, env_id=TASKS[0], prices=bs.Prices(flop=0.0, env_step=1.0))
    assert path.utd.max() < 2.0
    assert path.utd_chosen.max() < 2.0
    split = bs.portfolio(posterior, budget=1e30, prices=bs.Prices(flop=0.0, env_step=1.0))
    assert all(choice.utd < 2.0 for choice in split.choices)
    everywhere = dataclasses.replace(posterior, crossings=posterior.crossings.assign(status="diverged"))
    said = "at all swept settings of <b>x, every run diverged"
    with pytest.raises(bs.Infeasible, match=said):
        bs.allocate(everywhere, **options)
    with pytest.raises(bs.Infeasible, match=said):
        bs.budget_path(everywhere, env_id=TASKS[0])
