"""Fit the joint model with complete pooling (all tasks are one) or without pooling (each task separately)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.data.configurations import checked_configs
from bayescale.data.crossings import validate_crossings
from bayescale.data.tasks import require_one_suite_and_algorithm
from bayescale.errors import InputError
from bayescale.inference.sampling import WARMUP, SamplerOptions
from bayescale.models.parameters import ONE_TASK_FOR_ALL
from bayescale.posterior.posterior import Posterior
from bayescale.workflow import fit_with_options


@dataclass(frozen=True)
class NoPooling:
    """Posteriors of separately fitted tasks.

    Attributes:
        posteriors: the posterior of each task.
    """

    posteriors: dict[str, Posterior]

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        """Predict each task from its own posterior; see `Posterior.predict`. Rows are in the order of `configs`.

        Raises:
            InputError: a task has no fitted runs, or for the reasons of `Posterior.predict`.
        """
        configs = checked_configs(configs).reset_index(drop=True)
        new = sorted(set(configs["env_id"]) - set(self.posteriors))
        if new:
            raise InputError(f"no pooling cannot predict {new[0]}, a task without runs; fit some of its runs.")
        tables = []
        for env_id, rows in configs.groupby("env_id").indices.items():
            table = self.posteriors[str(env_id)].predict(configs.iloc[rows])
            tables.append(table.set_index(np.repeat(rows, len(table) // len(rows))))
        return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)


def fit_complete_pooling(
    crossings: pd.DataFrame,
    *,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = WARMUP,
    require_convergence: bool = True,
    method: str = "hmc",
    most_draws: int | None = None,
) -> Posterior:
    """Fit the joint model with one law, optimum and noise for all tasks: every spread between tasks is 0.

    Args and Raises: see `bayescale.fit`.
    """
    options = SamplerOptions(seed=seed, chains=chains, draws=draws, warmup=warmup, method=method, most_draws=most_draws)
    return fit_with_options(crossings, options, priors=ONE_TASK_FOR_ALL, require_convergence=require_convergence)


def fit_no_pooling(
    crossings: pd.DataFrame,
    *,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = WARMUP,
    require_convergence: bool = True,
    method: str = "hmc",
    most_draws: int | None = None,
) -> NoPooling:
    """Fit the joint model to each task separately.

    Args and Raises: see `bayescale.fit`. InputError is also raised for several suites or algorithms.
    """
    crossings = validate_crossings(crossings)
    require_one_suite_and_algorithm(crossings)
    options = SamplerOptions(seed=seed, chains=chains, draws=draws, warmup=warmup, method=method, most_draws=most_draws)
    return NoPooling(
        {
            str(env_id): fit_with_options(own, options, require_convergence=require_convergence)
            for env_id, own in crossings.groupby("env_id")
        }
    )
