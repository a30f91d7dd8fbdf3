"""Test sweep plans: their runs, and the errors for plans that are not valid."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.errors import InputError
from bayescale.runners import Plan, RunConfig, describe, load_plan, make_plan

SHIPPED = sorted((Path(__file__).parents[3] / "case_studies" / "data").glob("*.toml"))

GOOD: dict[str, Any] = {
    "env_id": "Pendulum-v1",
    "utd": [0.5, 2],
    "batch_size": [16, 32],
    "learning_rate": [1e-3],
    "seed": [3, 1],
    "env_steps": 100,
    "warmup_steps": 40,
}


def test_plan_is_every_combination_with_the_shared_settings() -> None:
    runs = make_plan(GOOD | {"hidden_width": 8, "gamma": 1}).runs
    grid = [(run.utd, run.batch_size, run.learning_rate, run.seed) for run in runs]
    assert grid == list(itertools.product([0.5, 2.0], [16, 32], [1e-3], [3, 1]))
    assert {(run.env_id, run.hidden_width, run.gamma, run.env_steps, run.depth) for run in runs} == {
        ("Pendulum-v1", 8, 1.0, 100, 2)
    }
    assert all(isinstance(run.utd, float) and isinstance(run.gamma, float) for run in runs)


def test_tasks_and_widths_may_be_lists_and_are_the_slowest_axes() -> None:
    runs = make_plan(GOOD | {"env_id": ["B", "A"], "hidden_width": [32, 8], "seed": [0]}).runs
    order = [(run.env_id, run.hidden_width, run.utd, run.batch_size) for run in runs]
    assert order == list(itertools.product(["B", "A"], [32, 8], [0.5, 2.0], [16, 32]))
    assert make_plan(GOOD | {"env_id": ["A"], "hidden_width": [8]}) == make_plan(
        GOOD | {"env_id": "A", "hidden_width": 8}
    )
    assert make_plan(GOOD | {"algorithm": "SAC", "suite": "gym"}) == make_plan(GOOD)


def test_tasks_may_be_of_several_suites() -> None:
    several = {"env_id": {"gym": ["B", "A"], "dmc": "cartpole-swingup"}, "stop_return": {"A": 5}}
    runs = make_plan(GOOD | several | {"seed": [0]}).runs
    assert list(dict.fromkeys((run.suite, run.env_id, run.stop_return) for run in runs)) == [
        ("gym", "B", math.inf),
        ("gym", "A", 5.0),
        ("dmc", "cartpole-swingup", math.inf),
    ]
    assert len(runs) == 3 * 2 * 2


def test_a_key_goes_to_the_algorithms_that_have_it() -> None:
    plan = make_plan(GOOD | {"algorithm": ["SAC", "BRO"], "quantiles": 5, "gamma": 0.9})
    assert (
        plan.runs
        == make_plan(GOOD | {"gamma": 0.9}).runs
        + make_plan(GOOD | {"algorithm": "BRO", "quantiles": 5, "gamma": 0.9}).runs
    )


def test_runs_that_a_table_cannot_distinguish_are_refused() -> None:
    run = make_plan(GOOD | {"algorithm": "BRO"}).runs[0]
    said = (
        r"two runs have algorithm BRO, suite gym, env_id Pendulum-v1, utd 0\.5, batch_size 16, learning_rate 0\.001, "
    )
    said += (
        r"seed 3, hidden_width 512, depth 2, quantiles 100: a table could not distinguish them\. Make a plan of each"
    )
    for other in ({}, {"gamma": 0.9}, {"action_repeat": 2}, {"actor_width": 8}):
        with pytest.raises(InputError, match=said):
            Plan((run, dataclasses.replace(run, **other)))
    for other in ({"depth": 3}, {"quantiles": 5}, {"hidden_width": 8}, {"suite": "dmc"}):
        assert len(Plan((run, dataclasses.replace(run, **other))).runs) == 2


def test_lengths_per_utd_and_their_sum() -> None:
    plan = make_plan(GOOD | {"env_steps": {"0.5": 140, "2": 60}})
    assert {(run.utd, run.env_steps) for run in plan.runs} == {(0.5, 140), (2.0, 60)}
    size = describe(plan)
    assert (size.runs, size.env_steps) == (8, 4 * 140 + 4 * 60)
    assert size.gradient_updates == 4 * 50 + 4 * 40  # half of 100 steps, twice 20 steps
    assert str(size) == "8 runs, 800 env steps, 360 gradient updates"


def test_plan_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'env_id = "Pendulum-v1"\nutd = [0.5, 2]\nbatch_size = [16, 32]\nlearning_rate = [1e-3]\nseed = [3, 1]\n'
        'warmup_steps = 40\n[env_steps]\n"0.5" = 100\n"2" = 100\n'
    )
    assert load_plan(path) == make_plan(GOOD)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_plans_load(path: Path) -> None:
    assert describe(load_plan(path)).runs >= 4  # the seeds of one held-out setting


def nested(depth: int) -> Any:
    """Return a list in a list in a list, `depth` times."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_plan_of_too_many_runs_is_refused_before_any_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(_run: RunConfig) -> None:
        raise AssertionError("a run was made")

    monkeypatch.setattr(RunConfig, "__post_init__", made)
    with pytest.raises(InputError, match=r"the plan has 4,000,000 runs; one sweep takes at most 100,000\. Split it"):
        make_plan(GOOD | {"seed": list(range(1_000_000))})


def test_the_most_runs_are_counted_over_all_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = GOOD | {"algorithm": ["SAC", "BRO"], "env_id": {"gym": ["A", "B"], "dmc": "C"}, "hidden_width": [8, 16]}
    runs = len(make_plan(plan).runs)
    assert runs == 2 * 3 * 2 * 8
    monkeypatch.setattr("bayescale.runners.sweeps.plan.MOST_RUNS", runs)
    make_plan(plan)
    monkeypatch.setattr("bayescale.runners.sweeps.plan.MOST_RUNS", runs - 1)
    with pytest.raises(InputError, match="the plan has 96 runs; one sweep takes at most 95"):
        make_plan(plan)


@given(
    utd=st.lists(st.floats(0.02, 64), min_size=1, max_size=3, unique=True),
    learning_rate=st.lists(st.floats(1e-6, 1), min_size=1, max_size=3, unique=True),
    seed=st.lists(st.integers(0, 2**31), min_size=1, max_size=3, unique=True),
)
def test_every_run_occurs_once(utd: list[float], learning_rate: list[float], seed: list[int]) -> None:
    runs = make_plan(GOOD | {"utd": utd, "learning_rate": learning_rate, "seed": seed}).runs
    assert len(runs) == 2 * len(utd) * len(learning_rate) * len(seed)
    assert len(set(runs)) == len(runs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rates": [1e-3]}, r"unknown key 'learning_rates'\. Did you mean 'learning_rate'\?"),
        ({"seeds": [0]}, r"unknown key 'seeds'\. Did you mean 'seed'\?"),
        ({"zzz": 1}, r"unknown key 'zzz'\. Choose among algorithm, env_id, utd, batch_size"),
        ({"algorithm": "sca"}, r"algorithm must be one of SAC.*; got 'sca'\. Did you mean 'SAC'\?"),
        ({"algorithm": 1}, r"algorithm must be a name; got 1\. Write it in quotes"),
        ({"algorithm": ["SAC", "SAC"]}, "algorithm has SAC twice"),
        ({"device": "gpu"}, r"device must be cpu, cuda or cuda:NUMBER; got 'gpu'\. Leave it out for cpu"),
        ({"device": ["cuda"]}, r"device must be a name; got \['cuda'\]\. Write one value, not a list"),
        ({"suite": "gim"}, r"suite must be one of gym.*; got 'gim'\. Did you mean 'gym'\?"),
        ({"suite": ["gym"]}, r"suite must be a name; got \['gym'\]\. Write env_id = \{ SUITE = \[\.\.\.\], "),
        ({"suite": "gym", "env_id": {"gym": ["A"]}}, "the key suite is given, and env_id names suites too"),
        ({"env_id": {"gim": ["A"]}}, r"suite must be one of gym.*; got 'gim'\. Did you mean 'gym'\?"),
        ({"env_id": {"gym": []}}, r"env_id must be a list with at least one value; got \[\]"),
        ({"env_id": {}}, r"env_id has no suite\. Write env_id = \{ SUITE = "),
        ({"utd": None}, r"the key 'utd' is missing\. Add it\."),
        ({"env_id": None}, "the key 'env_id' is missing"),
        ({"env_id": ["Pendulum-v1", 2]}, r"env_id must be a name; got 2\. Write it in quotes"),
        ({"env_id": ""}, "env_id must be a name; got ''"),
        ({"env_id": []}, r"env_id must be a list with at least one value; got \[\]"),
        ({"env_id": ["Pendulum-v1"] * 2}, "env_id has Pendulum-v1 twice"),
        ({"utd": 1}, r"utd must be a list with at least one value; got 1\. Write utd = \[\.\.\.\]"),
        ({"utd": []}, r"utd must be a list with at least one value; got \[\]"),
        ({"utd": [1, "2"]}, r"utd must be a number; got '2'\. Write it without quotes\."),
        ({"utd": [0]}, r"utd must be positive and finite; got 0\.0"),
        ({"utd": [-1]}, "utd must be positive and finite"),
        ({"utd": [1, 1.0]}, r"utd has 1 twice\. Keep one of them\."),
        ({"learning_rate": [float("inf")]}, "learning_rate must be positive and finite; got inf"),
        ({"learning_rate": [float("nan")]}, "learning_rate must be positive and finite; got nan"),
        (
            {"batch_size": [16.0]},
            r"batch_size must be a whole number; got 16\.0\. Write it without quotes and decimal point",
        ),
        ({"batch_size": [True]}, "batch_size must be a whole number; got True"),
        ({"batch_size": [16, 64]}, "batch_size 64 is larger than warmup_steps 40"),
        ({"buffer_size": 20}, "batch_size 32 is larger than buffer_size 20"),
        ({"seed": [0, 1, 0]}, "seed has 0 twice"),
        ({"seed": [-1]}, r"seed must lie in \[0, 2\*\*63\); got -1"),
        ({"seed": [2**63]}, r"seed must lie in \[0, 2\*\*63\); got 9223372036854775808"),
        ({"env_steps": {"0.5": 100, "2": 60, "2.0": 70}}, r"env_steps has utd 2 twice\. Keep one of them"),
        ({"gamma": [0.9, 0.99]}, r"gamma must be a number; got \[0\.9, 0\.99\]\. Write one value, not a list"),
        ({"utd": [[1]]}, r"utd must be a number; got \[1\]\. Write one value, not a list"),
        ({"algorithm": ["SAC", "BRO"], "quantile": 5}, r"unknown key 'quantile'\. Did you mean 'quantiles'\?"),
        ({"quantiles": 5}, "unknown key 'quantiles'"),
        ({"env_steps": "many"}, "env_steps must be a whole number; got 'many'"),
        ({"env_steps": {"0.5": 100}}, r"env_steps has no length for utd 2\. Add \"2\" = "),
        ({"env_steps": {"0.5": 100, "2": 100, "4": 100}}, "env_steps has the key '4', which is not in utd"),
        ({"env_steps": {"0": {"5": 100}, "2": 100}}, "env_steps has the key '0'.*Write UTDs in quotes"),
        ({"env_steps": {"half": 100}}, "env_steps has the key 'half', which is not a UTD"),
        ({"hidden_width": "wide"}, "hidden_width must be a whole number; got 'wide'"),
        ({"hidden_width": [8, 16, 8]}, "hidden_width has 8 twice"),
        ({"depth": [1, 2]}, r"depth must be a whole number; got \[1, 2\]"),
        ({"action_repeat": 0}, r"action_repeat must be at least 1; got 0\. Raise it"),
        ({"action_repeat": 0.5}, r"action_repeat must be a whole number; got 0\.5"),
        ({"gamma": 2}, r"gamma must lie in \(0, 1\]; got 2\.0"),
        ({"gamma": 2**64}, r"gamma holds a whole number of more than 64 bits\. Write a smaller one"),
        ({"gamma": nested(10_000)}, r"gamma must be a number; got \[\[.*\.\.\..*\]\]\. Write one value, not a list"),
        ({"seed": nested(10_000)}, r"seed must be a whole number; got \[\["),
    ],
)
def test_bad_plans(changes: dict[str, Any], said: str) -> None:
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(InputError, match=said) as raised:
        make_plan(content)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"utd = [", r"plan\.toml is not valid TOML: .*Correct that line"),
        (b"\xff\xfe", r"plan\.toml is not text in UTF-8"),
        (b"utd = [1]", r"plan\.toml: the key 'env_id' is missing"),
        (b"utd = " + b"[" * 10_000 + b"]" * 10_000, r"plan\.toml nests lists or tables too deeply"),
        (b"utd = " + b"{a = " * 10_000 + b"1" + b"}" * 10_000, r"plan\.toml nests lists or tables too deeply"),
        (b"gamma." + b".".join([b"a"] * 10_000) + b" = 1", r"plan\.toml: the key 'env_id' is missing"),
        (b"utd = " + b"1" * 10_000, r"plan\.toml holds a number of thousands of digits\. Write a smaller one"),
        (None, r"plan\.toml cannot be read \(No such file or directory\)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_files(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_plan(path)
