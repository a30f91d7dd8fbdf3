"""Test recorded updates and equal curves on a GPU; skipped where torch sees none."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bayescale.runners import BROConfig, PQLConfig, RunConfig, SACConfig, make_plan, run_ensemble, run_sweep
from bayescale.runners.algorithms.registry import make_learner
from bayescale.runners.networks.cuda_graphs import recorded
from bayescale.runners.networks.random_streams import BlockStreams
from bayescale.runners.training.results import RunStatus
from tests.scaffolding.interrupted_runs import assert_same, whole_and_resumed
from tests.scaffolding.learner_twins import ACTION, OBSERVATION, batch_of, stream

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

GPU = torch.device("cuda")
SMALL: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 1e-3,
    "seed": 0,
    "env_steps": 240,
    "hidden_width": 32,
    "warmup_steps": 80,
    "evaluation_interval": 80,
    "evaluation_episodes": 2,
    "device": "cuda",
}
CONFIGS = [
    SACConfig("Pendulum-v1", utd=1.0, **SMALL),
    BROConfig("Pendulum-v1", utd=0.5, **SMALL, actor_width=16, quantiles=10, reset_interval=50),
    PQLConfig("Pendulum-v1", utd=1.0, **SMALL, num_envs=4, depth=2),
]
each_algorithm = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.algorithm)


def members_of(config: RunConfig) -> list[RunConfig]:
    return [
        config,
        dataclasses.replace(config, seed=1, learning_rate=3e-3),
        dataclasses.replace(config, seed=2, tau=0.1),
    ]


def after_updates(members: list[RunConfig], device: torch.device, updates: int) -> list[Any]:
    """Return the members' agents after updates on new batches, which share one place in memory, and the last losses."""
    members = [dataclasses.replace(member, device=device.type) for member in members]
    with device, torch.inference_mode():
        learner = make_learner(members, OBSERVATION, ACTION, [stream(member.seed) for member in members])
        streams = BlockStreams([10 + member.seed for member in members], device)
        batch = None
        for i in range(updates):
            with torch.device("cpu"):
                new = batch_of([member.seed + 1000 * i for member in members], members[0].batch_size)
            if batch is None:
                batch = type(new)(*(values.to(device) for values in new))
            for place, values in zip(batch, new, strict=True):
                place.copy_(values)
            streams.advance()
            losses = learner.update(batch, streams)
        return [learner.agent(i) for i in range(len(members))] + [losses]


def assert_close(one: Any, other: Any, rtol: float, atol: float) -> None:
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_close(mine, theirs, rtol, atol)
    else:
        torch.testing.assert_close(torch.as_tensor(one).cpu(), torch.as_tensor(other).cpu(), rtol=rtol, atol=atol)


@each_algorithm
@pytest.mark.parametrize("updates", [1, 2, 3, 40])
def test_recorded_updates_equal_those_on_the_cpu(config: RunConfig, updates: int) -> None:
    on_cpu, on_gpu = (after_updates(members_of(config), device, updates) for device in (torch.device("cpu"), GPU))
    assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-3 if updates > 3 else 1e-5)


@each_algorithm
def test_a_member_equals_the_same_run_alone(config: RunConfig) -> None:
    together = after_updates(members_of(config), GPU, 40)
    for i, member in enumerate(members_of(config)):
        assert_close(together[i], after_updates([member], GPU, 40)[0], rtol=1e-3, atol=1e-3)
    with pytest.raises(AssertionError):
        assert_close(together[0], together[1], rtol=1e-3, atol=1e-3)


@each_algorithm
def test_curves_repeat_themselves(config: RunConfig) -> None:
    first, second = (run_ensemble(members_of(config)) for _ in range(2))
    assert_same(first, second)
    assert {result.status for result in first} == {RunStatus.FINISHED}
    assert len(first[0].curve) == 4


@each_algorithm
def test_a_resumed_ensemble_equals_one_that_was_not_killed(config: RunConfig, tmp_path: Path) -> None:
    whole, resumed, shares = whole_and_resumed(members_of(config)[:2], tmp_path / "checkpoint.pt")
    assert len(shares) == 2
    assert_same(whole, resumed)


def test_a_member_that_diverges_ends_alone() -> None:
    sound, *others = members_of(CONFIGS[0])
    broken = dataclasses.replace(sound, seed=7, learning_rate=1e25)
    results = run_ensemble([sound, broken, *others])
    assert [result.status for result in results] == [RunStatus.FINISHED, RunStatus.DIVERGED, *[RunStatus.FINISHED] * 2]
    assert 0 < results[1].gradient_updates < 20
    beside = run_ensemble([sound, dataclasses.replace(broken, learning_rate=1e-3), *others])
    pd.testing.assert_frame_equal(results[0].curve, beside[0].curve)


def test_a_sweep_says_which_gpu_trained_it(tmp_path: Path) -> None:
    plan = {
        "env_id": "Pendulum-v1",
        "utd": [0.5, 1],
        "batch_size": [32],
        "learning_rate": [1e-3, 3e-3],
        "seed": [0, 1],
        "env_steps": 240,
        "hidden_width": 32,
        "warmup_steps": 80,
        "evaluation_interval": 80,
        "device": "cuda",
    }
    tables = [
        pd.read_parquet(run_sweep(make_plan(plan), tmp_path / str(workers), workers=workers)) for workers in (1, 2)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    records = pd.read_json(tmp_path / "1" / "manifest.jsonl", lines=True)
    assert set(records["gpu"]) == {torch.cuda.get_device_name()}
    assert set(records["device"]) == {"cuda"}
    assert set(records["group_size"]) == {4}


def test_recorded_runs_then_records_then_replays() -> None:
    counts = torch.zeros(2, device=GPU)
    calls = []

    def count(place: int) -> torch.Tensor:
        calls.append(place)
        counts[place] += 1
        return counts + 0

    again = recorded(count, GPU)
    seen = [again(place).tolist() for place in (0, 1, 0, 0, 1, 1, 0)]
    assert seen == [[1, 0], [1, 1], [2, 1], [3, 1], [3, 2], [3, 3], [4, 3]]
    assert calls == [0, 1, 0, 1]
