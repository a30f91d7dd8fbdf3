"""Record what training cost: wall-clock seconds by part, energy, the machine and its software."""

import os
import platform
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PARTS = ("environment", "learning", "evaluation", "checkpoint")  # checkpoint: to write them and to continue from one
PACKAGES = ("bayescale", "torch", "gymnasium", "numpy", "mujoco", "dm_control", "playground")
POWERCAP = Path("/sys/class/powercap")


class Stopwatch:
    """Seconds by part of training, since the stopwatch was made."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Add the time since the last lap to `part`."""
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


class EnergyMeter:
    """Energy of this machine's CPU packages since the meter was made, from Linux's counters (RAPL).

    The counters count everything that runs on the machine. They wrap around to 0 every few minutes to hours, so call
    `joules` more often than that.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._counters = [zone / "energy_uj" for zone in sorted(root.glob("*:*")) if _is_package(zone)]
        self._last = self._read()
        self._microjoules = 0

    def joules(self) -> float | None:
        """Return the joules so far; None where the machine does not report them or this user may not read them."""
        now = self._read()
        if self._last is None or now is None:
            return None
        for counter, before, after in zip(self._counters, self._last, now, strict=True):
            span = 0 if after >= before else int((counter.parent / "max_energy_range_uj").read_text())
            self._microjoules += after - before + span
        self._last = now
        return self._microjoules / 1e6

    def resume(self, joules: float | None) -> None:
        """Add the joules of an earlier meter; after None, which means unknown, the total stays unknown."""
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
    """Return versions of Python and of the packages that a curve depends on (None: not installed), and the hardware.

    Args:
        device: the device of the networks; the field `gpu` names it if it is a GPU.
    """
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
    """Return whether the zone is a CPU package, and not a part of one or the platform that holds the packages."""
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return False


def processor() -> str:
    """Return the name that the machine reports for its processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
