"""What training cost: wall-clock by what it went to, energy, and on which machine with which software."""

import os
import platform
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PARTS = ("environment", "learning", "evaluation", "checkpoint")  # the last: writing them, and going on from one
PACKAGES = ("bayescale", "torch", "gymnasium", "numpy", "mujoco", "dm_control", "playground")
POWERCAP = Path("/sys/class/powercap")


class Stopwatch:
    """Seconds by part since it was made."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Gives the time since the last lap to `part`."""
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


class EnergyMeter:
    """Energy of this machine's CPU packages since it was made, by Linux's running average power limit counters.

    They count whatever runs on the machine, and start again from 0 every few minutes to hours: read them more often.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._counters = [zone / "energy_uj" for zone in sorted(root.glob("*:*")) if _is_package(zone)]
        self._last = self._read()
        self._microjoules = 0

    def joules(self) -> float | None:
        """Joules so far; None where the machine does not report them or this user may not read them."""
        now = self._read()
        if self._last is None or now is None:
            return None
        for counter, before, after in zip(self._counters, self._last, now, strict=True):
            span = 0 if after >= before else int((counter.parent / "max_energy_range_uj").read_text())
            self._microjoules += after - before + span
        self._last = now
        return self._microjoules / 1e6

    def resume(self, joules: float | None) -> None:
        """Adds what another meter had counted before; None: that is not known, nor will it be."""
        if joules is None:
            self._last = None
        else:
            self._microjoules += round(joules * 1e6)

    def _read(self) -> list[int] | None:
        try:
            return [int(counter.read_text()) for counter in self._counters] or None
        except (OSError, ValueError):
            return None


def machine(device: str = "cpu") -> dict[str, str | int | None]:
    """Versions of Python and of the packages that decide a curve (None: not installed), and hardware; `gpu` if used."""
    versions: dict[str, str | int | None] = {"python": platform.python_version(), **dict.fromkeys(PACKAGES)}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    hardware: dict[str, str | int | None] = {"processor": processor(), "cores": os.cpu_count(), "gpu": None}
    if device != "cpu":
        from bayescale.runners.devices import gpu_name

        hardware["gpu"] = gpu_name(device)
    return versions | {"platform": platform.platform()} | hardware


def _is_package(zone: Path) -> bool:
    """Not a part of a package, nor the whole platform, which holds the packages."""
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return False


def processor() -> str:
    """The processor's name, as the machine reports it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
