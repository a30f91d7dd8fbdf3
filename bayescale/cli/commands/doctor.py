"""Run the command that says what works here and how to get the rest."""

import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NOT_FOR_USERS = ("all", "dev", "docs", "test")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for scripts and bug reports.")] = False,
) -> None:
    """Say what is installed, which devices and caches are used, and how to get what is missing.

    Paste the output into a bug report. It names no file of yours except the cache folder.
    """
    found = examination()
    print(json.dumps(found, indent=2) if as_json else in_words(found))


def examination() -> dict[str, Any]:
    """Return versions, extras, devices, threads and the cache of this installation."""
    return {
        "bayescale": version("bayescale"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {each.name: _version_of(each.name) for each in _requirements(None)},
        "problems": [problem for each in _requirements(None) if (problem := problem_of(each))],
        "extras": {extra: missing_of(extra) for extra in _extras()},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "gpus": gpus(),
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "cache": cache(),
    }


def in_words(found: dict[str, Any]) -> str:
    """Return the result of `examination` as lines for a person."""
    lines = [f"bayescale {found['bayescale']}, Python {found['python']}, {found['platform']}"]
    lines.append("core: " + ", ".join(f"{name} {here or 'missing'}" for name, here in found["packages"].items()))
    lines += [f"problem: {problem}" for problem in found["problems"]]
    for extra, missing in found["extras"].items():
        remedy = f"pip install 'bayescale[{extra}]'"
        lines.append(
            f"extra {extra}: " + (f"missing {', '.join(missing)}; get it with {remedy}" if missing else "ready")
        )
    gpus_here = found["gpus"]
    devices = "unknown without torch" if gpus_here is None else ", ".join(gpus_here) or "none that torch sees"
    lines.append(f"devices: {found['cores']} cores; GPUs: {devices}. Fits run on the CPU, sweeps on either.")
    chosen = ", ".join(f"{name}={value}" for name, value in found["threads"].items())
    lines.append(f"threads: {chosen or 'no variable limits them'}")
    kept = found["cache"]
    if kept["folder"] is None:
        lines.append(
            "cache of compiled code: off; each fit compiles anew, about 10 s. Unset BAYESCALE_CACHE to use it."
        )
    else:
        writable = "" if kept["writable"] else ", which cannot be written to; set BAYESCALE_CACHE to another folder"
        lines.append(f"cache of compiled code: {kept['megabytes']:.0f} MB in {kept['folder']}{writable}")
    return "\n".join(lines)


def problem_of(requirement: "Requirement") -> str | None:
    """Return what is wrong with an installed package in words, or None if it meets the requirement."""
    here = _version_of(requirement.name)
    if here is None:
        return f"{requirement.name} is missing; install it with: pip install '{_bare(requirement)}'."
    if not requirement.specifier.contains(here, prereleases=True):
        return f"{requirement.name} {here} does not meet {requirement.specifier}; pip install '{_bare(requirement)}'."
    return None


def missing_of(extra: str) -> list[str]:
    """Return the packages of an extra, and of the extras it includes, that are missing or of an unsuitable version."""
    missing: list[str] = []
    for each in _requirements(extra):
        if each.name == "bayescale":
            missing += [name for inner in sorted(each.extras) for name in missing_of(inner)]
        elif problem_of(each):
            missing.append(each.name)
    return missing


def gpus() -> list[str] | None:
    """Return the names of the GPUs that torch sees, or None if torch is not installed or does not load."""
    try:
        import torch

        return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    except (ImportError, OSError, RuntimeError):
        return None


def cache() -> dict[str, Any]:
    """Return the folder of compiled code, its size in megabytes, and whether it can be written to."""
    from bayescale.inference.compilation_cache import cache_folder

    folder = cache_folder(os.environ)
    if folder is None:
        return {"folder": None, "megabytes": 0.0, "writable": False}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return {"folder": str(folder), "megabytes": size / 1e6, "writable": os.access(existing, os.W_OK)}


def _extras() -> list[str]:
    declared = metadata("bayescale").get_all("Provides-Extra") or []
    return [extra for extra in declared if extra not in NOT_FOR_USERS]


def _requirements(extra: str | None) -> Iterator["Requirement"]:
    """Yield the requirements of the core (None) or of an extra alone that hold for this Python."""
    from packaging.requirements import Requirement

    for requirement in map(Requirement, requires("bayescale") or ()):
        marker = requirement.marker
        core = marker is None or marker.evaluate({"extra": ""})
        if core == (extra is None) and (marker is None or marker.evaluate({"extra": extra or ""})):
            yield requirement


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _bare(requirement: "Requirement") -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
