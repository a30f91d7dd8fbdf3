"""Test the record of seconds, flops, energy, versions and hardware."""

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from bayescale.runners import BROConfig, SACConfig, run_ensemble
from bayescale.runners.accounting import PARTS, EnergyMeter, Stopwatch, machine
from bayescale.runners.config import RunConfig
from bayescale.runners.networks import matmul as products

RUN = {"env_id": "Pendulum-v1", "utd": 2.0, "batch_size": 16, "learning_rate": 1e-3, "seed": 0, "env_steps": 50}
SMALL = {"warmup_steps": 40, "evaluation_interval": 50, "evaluation_episodes": 1}


@pytest.mark.parametrize("shape", [(8, 1), (16, 2), (12, 3)])
@pytest.mark.parametrize(
    "algorithm", [SACConfig, partial(BROConfig, actor_width=20), partial(BROConfig, optimistic=False)]
)
def test_flops_of_an_update_equal_the_count_of_torch(
    algorithm: Callable[..., RunConfig], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count the flops of two ensembles that differ by ten updates only, on the operations that they run."""
    monkeypatch.setattr(products, "BY_NUMPY", False)  # torch counts no products of NumPy
    width, depth = shape
    config = algorithm(**RUN, **SMALL, hidden_width=width, depth=depth)
    members = [config, dataclasses.replace(config, seed=1)]
    counted = []
    for utd in (1.0, 2.0):
        with FlopCounterMode(display=False) as counter:
            results = run_ensemble([dataclasses.replace(member, utd=utd) for member in members])
        counted.append(counter.get_total_flops())
    assert results[0].gradient_updates == 20
    assert counted[1] - counted[0] == 10 * 2 * results[0].matrix_product_flops > 0


def test_a_stopwatch_adds_seconds_to_the_parts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 11.0, 13.0, 17.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    stopwatch = Stopwatch()
    for part in ("evaluation", "environment", "evaluation"):
        stopwatch.lap(part)
    assert stopwatch.seconds == dict.fromkeys(PARTS, 0.0) | {"environment": 2.0, "evaluation": 5.0}


def test_a_run_reports_seconds_of_every_part() -> None:
    (result,) = run_ensemble([SACConfig(**RUN, **SMALL, hidden_width=8)])
    assert set(result.seconds) == set(PARTS)
    assert all(seconds > 0 for seconds in result.seconds.values())


def counters(root: Path, **zones: tuple[str, int]) -> Path:
    """Write a folder like the kernel's, with the name and microjoules of each zone, and return it."""
    for zone, (name, microjoules) in zones.items():
        folder = root / zone.replace("_", ":")
        folder.mkdir(exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text("1000000\n")
    return root


def test_energy_counts_every_package_once(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl").mkdir()
    parts = {"rapl_0_0": ("core", 0), "psys_0": ("psys", 0)}
    meter = EnergyMeter(counters(tmp_path, rapl_0=("package-0", 100_000), rapl_1=("package-1", 900_000), **parts))
    assert meter.joules() == 0.0
    parts = {"rapl_0_0": ("core", 500_000), "psys_0": ("psys", 500_000)}
    counters(tmp_path, rapl_0=("package-0", 300_000), rapl_1=("package-1", 50_000), **parts)
    assert meter.joules() == pytest.approx(0.2 + 0.15)  # the second counter has wrapped around to 0
    counters(tmp_path, rapl_0=("package-0", 400_000), rapl_1=("package-1", 50_000))
    assert meter.joules() == pytest.approx(0.2 + 0.15 + 0.1)


def test_energy_is_unknown_where_the_machine_does_not_report_it(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path / "nowhere").joules() is None
    root = counters(tmp_path, rapl_0=("package-0", 5))
    (root / "rapl:0" / "energy_uj").unlink()
    assert EnergyMeter(root).joules() is None


def test_the_machine_names_the_versions_and_hardware() -> None:
    said = machine()
    assert {"python", "bayescale", "torch", "gymnasium", "numpy", "platform", "processor"} <= said.keys()
    assert said["cores"] == os.cpu_count()
    assert said["torch"]
