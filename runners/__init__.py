"""Train agents on tasks of several suites and write learning-curve tables; needs the extra `runners`.

`train` trains one run, `run_ensemble` several together, and `run_sweep` all runs of a plan. Files and folders in the
order of the flow:

    config          the settings of a run, one class per algorithm
    plan_keys       the documentation of each key of a plan, and example plans
    suites          environments of all suites behind one interface
    networks        networks of all members of an ensemble, stacked
    algorithms      SAC, BRO and PQL, each for an ensemble of agents
    training        train an ensemble, from settings to learning curves
    sweeps          train all runs of a plan, on this machine or a Ray cluster
    devices         find the device of networks and replay
    accounting      record seconds, energy, versions and hardware

Public names are listed once, in `__init__.pyi`; each loads its module on first use. So plans can be read without torch,
which `train` and `run_ensemble` import, or the workers of a sweep.
"""

import lazy_loader

from bayescale.errors import MissingExtra
from bayescale.runners.sweeps.checks import TRAINED_WITH

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if error.name in TRAINED_WITH:
            raise MissingExtra(error.name, "runners") from None
        raise
