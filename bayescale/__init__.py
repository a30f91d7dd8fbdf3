"""Predict how value-based deep RL scales, with calibrated uncertainty, from small sweeps.

The chain is one function per step: `read_curves`, `time_to_threshold`, `fit`, then `frontier`, `allocate`,
`next_experiments` and `report` on the posterior. The folders, in the order of use:

    runners         train agents and write learning curves
    importers       read learning curves from the logs of other tools
    data            validate learning curves and turn them into times to thresholds
    models          state the hierarchical Bayesian model of these times: priors, equations, likelihood
    inference       draw from a model's posterior and check that the chains converged
    posterior       keep the draws, predict new runs from them, save and load them
    decisions       turn predictions into advice: frontier, allocation, portfolio, next experiments
    validation      check the model: simulation, calibration, leave-one-out, held-out scores
    comparators     fit the published pipelines and simpler models, to compare with
    reporting       draw plots and write the report
    cli             offer all of this on the command line

Files beside the folders: `workflow` (the whole chain in one place), `plots` (the plots that users call), `laws` (the
scaling laws as pure functions), `run_length_distribution` (the distribution of a run's time to a threshold), `float64`,
`arguments`, `atomic_files`, `progress_display`, `summaries`, `errors`. `models` and `runners` are links to the folders
of these names at the top level.

Public names are listed once, in `__init__.pyi`; each loads its module on first use.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("bayescale")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
