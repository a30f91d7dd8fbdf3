"""Check, before a sweep writes anything, that the packages, tasks and devices of its runs are here."""

import importlib.util
from collections.abc import Sequence

from bayescale.errors import MissingExtra
from bayescale.runners.config import RunConfig

TRAINED_WITH = ("torch", "gymnasium", "threadpoolctl")  # packages that the extra `runners` brings


def check_tasks(runs: Sequence[RunConfig]) -> None:
    """Raise InputError unless every task of the runs can be made and stepped here; MissingExtra for a package."""
    for package in TRAINED_WITH:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "runners")
    from bayescale.runners.suites.tasks import check_task

    # A task may have one kind of environment for a single copy and another for several, be they two or thousands.
    for task in dict.fromkeys(
        (run.suite, run.env_id, min(each, 2), run.action_repeat)
        for run in runs
        for each in (run.num_envs, run.evaluation_episodes)
    ):
        check_task(*task)


def check_devices(runs: Sequence[RunConfig]) -> None:
    """Raise InputError unless this machine has every device of the runs."""
    from bayescale.runners.devices import find_device

    for device in dict.fromkeys(run.device for run in runs):
        find_device(device)
