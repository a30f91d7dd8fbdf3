"""Test estimates of runs, flops and time before a sweep starts."""

import dataclasses
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.runners import estimate, make_plan, run_sweep
from bayescale.runners.sweeps.estimates import (
    Rates,
    estimate_ensembles,
    last_end,
    measured_rates,
    rate_key,
    recorded_rates,
)
from bayescale.runners.sweeps.folder import job_file, read_job
from bayescale.runners.training.ensembles import Ensemble, make_ensembles
from tests.scaffolding import small_sweep

CONTENT = {**small_sweep.CONTENT, "batch_size": [8]}
PLAN = make_plan(CONTENT)
ENSEMBLES = make_ensembles(PLAN.runs)
PLAN_FILE = """
env_id = "Pendulum-v1"
utd = [0.5, 2]
batch_size = [8]
learning_rate = [1e-3]
seed = [0, 1]
env_steps = { "0.5" = 120, "2" = 90 }
hidden_width = 8
warmup_steps = 40
evaluation_interval = 50
evaluation_episodes = 1
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("estimate") / "out"
    run_sweep(PLAN, out, workers=1)
    return out


def never(_ensemble: Ensemble) -> Rates:
    raise AssertionError("the rates of this ensemble are known")


def test_an_estimate_by_hand() -> None:
    """Estimate two ensembles of two runs: 120 steps, 40 updates, 4 evaluations; 90 steps, 100 updates, 3 of them."""
    rates = {rate_key(ENSEMBLES[0]): Rates(env_step=0.1, update=1.0, evaluation=2.0, matrix_product_flops=1e3)}
    expected = estimate_ensembles(ENSEMBLES, rates, never, workers=2)
    assert (expected.runs, expected.jobs, expected.env_steps, expected.gradient_updates) == (4, 2, 420, 280)
    assert expected.matrix_product_flops == 280e3
    first, second = 12 + 40 + 8, 9 + 100 + 6
    assert expected.training_seconds == pytest.approx(first + second)
    assert expected.seconds == pytest.approx(second)
    assert estimate_ensembles(ENSEMBLES, rates, never, workers=1).seconds == pytest.approx(first + second)
    assert expected.cost(hour=3600.0) == pytest.approx(second)
    assert expected.cost(flop=2.0, env_step=10.0) == pytest.approx(560e3 + 4200)


def test_ensembles_with_equal_rates_are_measured_once() -> None:
    plan = make_plan(CONTENT | {"utd": [0.5, 1, 2], "env_steps": 100, "batch_size": [8, 16]})
    measured = []

    def measure(ensemble: Ensemble) -> Rates:
        measured.append(ensemble)
        return Rates(1.0, 1.0, 1.0, 1.0)

    estimate_ensembles(make_ensembles(plan.runs), {}, measure, workers=1)
    assert [ensemble[0].batch_size for ensemble in measured] == [8, 16]


@given(seconds=st.lists(st.integers(1, 20), min_size=1, max_size=6), workers=st.integers(1, 4))
def test_longest_first_is_at_most_a_third_from_the_best_schedule(seconds: list[int], workers: int) -> None:
    """Compare with the best of all schedules; Graham (1969) bounds the ratio by 4/3 - 1/(3 workers)."""

    def ended(assignment: tuple[int, ...]) -> int:
        return max(sum(s for s, w in zip(seconds, assignment, strict=True) if w == worker) for worker in range(workers))

    best = min(ended(assignment) for assignment in itertools.product(range(workers), repeat=len(seconds)))
    assert best <= last_end(seconds, workers) <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9


def test_a_trial_counts_what_the_runs_count(finished: Path) -> None:
    trained = read_job(finished, 1)
    assert trained is not None
    measured, recorded = measured_rates(ENSEMBLES[1]), recorded_rates(trained.records)
    assert measured.matrix_product_flops == recorded.matrix_product_flops
    assert all(rate > 0 for rate in measured)
    record = trained.records[0]
    assert recorded.env_step * 90 == pytest.approx(record["environment_seconds"])
    assert recorded.update * 100 == pytest.approx(record["learning_seconds"])
    assert recorded.evaluation * 3 == pytest.approx(record["evaluation_seconds"])


def test_a_trial_of_runs_with_many_environments() -> None:
    pql = {"algorithm": "PQL", "num_envs": 6, "warmup_steps": 60, "env_steps": 12_000, "evaluation_interval": 600}
    (ensemble,) = make_ensembles(make_plan(CONTENT | pql | {"utd": [0.1], "depth": 1}).runs)
    rates = measured_rates(ensemble)
    assert rates.matrix_product_flops > 0
    assert rate_key(ensemble) == rate_key(tuple(dataclasses.replace(run, env_steps=6_000) for run in ensemble))


def test_the_rest_of_a_sweep_is_estimated_from_its_own_records(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayescale.runners.sweeps.estimates.measured_rates", never)
    assert estimate(PLAN, finished)[:4] == (0, 0, 0, 0)
    kept = job_file(finished, 0).read_bytes()
    job_file(finished, 0).unlink()
    left = estimate(PLAN, finished, workers=3)
    job_file(finished, 0).write_bytes(kept)
    trained = read_job(finished, 1)
    assert trained is not None
    by_hand = estimate_ensembles(ENSEMBLES[:1], {rate_key(ENSEMBLES[0]): recorded_rates(trained.records)}, never, 3)
    assert left._replace(result_bytes=0, checkpoint_bytes=0) == by_hand
    transition = 3 + 1 + 1 + 3 + 1  # floats: observation, action, reward, next observation, end
    replay = 2 * 4 * ENSEMBLES[0][0].env_steps * transition
    assert left.checkpoint_bytes == replay + 2 * 4 * ENSEMBLES[0][0].working_floats
    assert left.result_bytes > 33_000
    with pytest.raises(InputError, match="holds a sweep of another plan"):
        estimate(make_plan(CONTENT | {"gamma": 0.9}), finished)


def test_the_command_prints_the_estimate_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayescale.cli.commands.sweep.outlook", lambda runs, fit: [f"{len(runs)} runs, {fit}"])
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(PLAN_FILE)
    options = ["--dry-run", "--workers", "2", "--env-step-price", "10"]
    assert cli.main(["sweep", str(plan), "--out", str(out), *options]) == 0
    said = capsys.readouterr()
    counts, to_do, expected, disk, cost, judged = said.out.splitlines()
    assert counts == "4 runs, 420 env steps, 280 gradient updates"
    assert to_do.startswith("to do: 4 runs in 2 jobs, 420 env steps, 280 gradient updates, ")
    assert expected.startswith("expected: ")
    assert " with 2 workers, " in expected
    assert re.fullmatch(r"disk: 72\.\d kB of results, up to [\d.]+ kB of checkpoints meanwhile", disk)
    assert cost == "cost: 4,200"
    assert judged == "4 runs, None"
    doubts = said.err.splitlines()
    assert [line.partition(":")[0] for line in doubts] == ["doubt"] * len(doubts)
    assert "every run has learning rate 0.001: the sweep cannot tell the optimal learning rate." in said.err
    assert list(tmp_path.iterdir()) == [plan]


def test_counts_of_one_are_in_the_singular(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        PLAN_FILE.replace("[0.5, 2]", "[0.5]").replace("[0, 1]", "[0]").replace(', "2" = 90', "").replace("120", "42")
    )
    monkeypatch.setattr("bayescale.runners.sweeps.estimates.measured_rates", lambda _: Rates(1.0, 1.0, 1.0, 1e3))
    monkeypatch.setattr("bayescale.cli.commands.sweep.outlook", lambda runs, _: [f"{len(runs)} run"])
    assert cli.main(["sweep", str(plan), "--out", str(tmp_path / "out"), "--dry-run", "--workers", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 run, 42 env steps, 1 gradient update",
        "to do: 1 run in 1 job, 42 env steps, 1 gradient update, 1,000 flops in matrix products",
        "expected: 45 s with 1 worker, 45 s of training",
        "disk: 34.6 kB of results, up to 13.2 kB of checkpoints meanwhile",
        "1 run",
    ]


def test_a_task_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="'Pendulum-v9' is not a registered Gymnasium task"):
        estimate(make_plan(CONTENT | {"env_id": "Pendulum-v9"}))
