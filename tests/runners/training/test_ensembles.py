"""Test how the runs of a plan are grouped into ensembles."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.runners import RunConfig, make_plan
from bayescale.runners.training.ensembles import MOST_MEMBERS, make_ensembles, members_at_most, shared_settings

CONTENT: dict[str, Any] = {
    "env_id": "Pendulum-v1",
    "utd": [0.5, 2],
    "batch_size": [64, 256],
    "learning_rate": [1e-3, 3e-3, 1e-2],
    "seed": [0, 1, 2, 3],
    "env_steps": 4_000,
    "hidden_width": 64,
}


@given(
    width=st.sampled_from([8, 64, 256, 1024]),
    seeds=st.integers(1, 20),
    rates=st.integers(1, 3),
    depth=st.integers(1, 3),
)
def test_ensembles_hold_every_run_once_with_runs_of_equal_settings(
    width: int, seeds: int, rates: int, depth: int
) -> None:
    changes = {"hidden_width": width, "depth": depth, "seed": list(range(seeds)), "learning_rate": [1e-3, 3e-3][:rates]}
    runs = make_plan(CONTENT | changes).runs
    ensembles = make_ensembles(runs)
    assert sorted(map(repr, runs)) == sorted(repr(run) for ensemble in ensembles for run in ensemble)
    for ensemble in ensembles:
        assert len({shared_settings(run) for run in ensemble}) == 1
        assert 1 <= len(ensemble) <= members_at_most(ensemble[0])
    by_settings: dict[RunConfig, list[int]] = {}
    for ensemble in ensembles:
        by_settings.setdefault(shared_settings(ensemble[0]), []).append(len(ensemble))
    assert all(max(sizes) - min(sizes) <= 1 for sizes in by_settings.values())


def test_members_share_all_but_their_own_settings() -> None:
    run = make_plan(CONTENT).runs[0]
    for name in ("learning_rate", "gamma", "tau"):
        assert len(make_ensembles([run, dataclasses.replace(run, **{name: 0.5})])) == 1
    assert len(make_ensembles([run, dataclasses.replace(run, seed=9)])) == 1
    for name in ("utd", "batch_size", "env_steps", "hidden_width", "depth", "evaluation_interval", "buffer_size"):
        other = dataclasses.replace(run, **{name: getattr(run, name) + 1})
        assert make_ensembles([run, other, run]) == [(run, run), (other,)]


@pytest.mark.parametrize("name", ["hidden_width", "batch_size", "depth"])
def test_larger_runs_form_smaller_ensembles(name: str) -> None:
    small = make_plan(CONTENT).runs[0]
    sizes = [
        members_at_most(dataclasses.replace(small, warmup_steps=3_000, **{name: getattr(small, name) * 4**i}))
        for i in range(3)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert MOST_MEMBERS >= sizes[0] > sizes[-1] >= 1


@pytest.mark.parametrize(
    ("device", "width", "members"),
    [
        ("cpu", 64, 12),  # 8 MiB for members of 4 (7 64 + 14 65) 128 = 695,296 bytes
        ("cpu", 8, 16),  # `MOST_MEMBERS`, however small the networks are
        ("cuda", 512, 68),  # 2 GiB for members of 4 (7 64 + 14 513) 1,024 = 31,252,480 bytes
    ],
)
def test_the_most_members_by_hand(device: str, width: int, members: int) -> None:
    run = make_plan(CONTENT | {"batch_size": [64], "hidden_width": width, "device": device}).runs[0]
    assert members_at_most(run) == members


def test_ensembles_are_larger_on_a_gpu_and_use_one_device() -> None:
    seeds = list(range(300))
    on_cpu, on_gpu = (
        make_plan(
            CONTENT | {"utd": [1], "batch_size": [64], "learning_rate": [1e-3], "seed": seeds, "device": device}
        ).runs
        for device in ("cpu", "cuda")
    )
    assert [len(ensemble) for ensemble in make_ensembles(on_gpu)] == [150, 150]
    assert len(make_ensembles(on_cpu)) > 10
    assert len(make_ensembles([on_cpu[0], on_gpu[0]])) == 2
    wide = dataclasses.replace(on_gpu[0], hidden_width=4096)
    assert 1 <= members_at_most(wide) < members_at_most(on_gpu[0])
