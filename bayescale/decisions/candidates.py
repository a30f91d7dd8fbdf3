"""Candidate settings: what could be run, within the ranges that were swept."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.data.tasks import require_task_name
from bayescale.decisions.frontier import critic_parameters
from bayescale.laws import flops
from bayescale.posterior.posterior import Posterior

COUNTS = {"utd": 17, "batch_size": 9, "learning_rate": 9}
COUNTS_BY_SIZE = {"utd": 9, "batch_size": 7, "learning_rate": 7}  # for each of several model sizes
SIZES = 5


def swept_settings(posterior: Posterior, env_id: str, model_size: int | None = None) -> pd.DataFrame:
    """A grid in logs over the ranges that were swept: env_id, utd, batch_size, learning_rate and model_size.

    Batch and model sizes are whole. The model size is the one given; else that of the fit, or a part of the grid where
    it varies. A task without runs gets the ranges of all.

    Raises:
        InputError: no model size, given or in the data, or a task's name cut short.
    """
    rows, sizes = own_rows(posterior, env_id), swept_sizes(posterior, env_id, model_size)
    axes = [
        np.unique(np.geomspace(rows[axis].min(), rows[axis].max(), count))
        for axis, count in (COUNTS_BY_SIZE if len(sizes) > 1 else COUNTS).items()
    ]
    axes[1] = np.unique(axes[1].round())
    grid = np.stack(np.meshgrid(*axes, sizes, indexing="ij"), axis=-1).reshape(-1, 4)
    table = pd.DataFrame(grid, columns=[*COUNTS, "model_size"])
    return table.assign(env_id=env_id).astype({"batch_size": int, "model_size": int})


def swept_sizes(posterior: Posterior, env_id: str, model_size: int | None = None) -> Float[np.ndarray, " size"]:
    """The model sizes to choose from: the one given or fitted, or five over the swept range where there are several.

    Raises:
        InputError: no model size, given or in the data.
    """
    if model_size is None and "model_size" in posterior.model.varying:
        swept = own_rows(posterior, env_id)["model_size"]
        return np.unique(np.geomspace(swept.min(), swept.max(), SIZES).round())
    return np.array([critic_parameters(posterior, env_id, model_size)], float)


def swept_utds(posterior: Posterior, env_id: str) -> Float[np.ndarray, " utd"]:
    """UTDs evenly spaced in logs over the range that was swept."""
    swept = own_rows(posterior, env_id)["utd"]
    return np.unique(np.geomspace(swept.min(), swept.max(), 33))


def with_model_sizes(posterior: Posterior, configs: pd.DataFrame, model_size: int | None = None) -> pd.DataFrame:
    """The configurations with model sizes: their own, else the one given, else those of their tasks' fitted runs.

    Raises:
        InputError: no model size, here or in the data.
    """
    if "model_size" in configs:
        return configs
    of_task = {env_id: critic_parameters(posterior, env_id, model_size) for env_id in configs["env_id"].unique()}
    return configs.assign(model_size=configs["env_id"].map(of_task))


def flops_per_step(settings: pd.DataFrame) -> Float[np.ndarray, " setting"]:
    """Training flops per env step of settings with model_size, batch_size and utd."""
    size, batch, utd = (settings[name].to_numpy(float) for name in ("model_size", "batch_size", "utd"))
    return np.asarray(flops(size, batch, utd, 1.0))


def own_rows(posterior: Posterior, env_id: str) -> pd.DataFrame:
    """The fitted crossings of the task; those of all for one without runs."""
    require_task_name(env_id, posterior.tasks)
    return posterior.of_task(env_id)
