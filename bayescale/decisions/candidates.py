"""Candidate settings: grids of UTD, batch size, learning rate and model size within the swept ranges."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import three_digits
from bayescale.data.tasks import require_task_name
from bayescale.decisions.frontier import critic_parameters
from bayescale.errors import Infeasible
from bayescale.laws import flops
from bayescale.posterior.posterior import Posterior

GRID_POINTS = {"utd": 17, "batch_size": 9, "learning_rate": 9}  # values per axis at one model size
GRID_POINTS_PER_SIZE = {"utd": 9, "batch_size": 7, "learning_rate": 7}  # values per axis where model sizes vary too
MODEL_SIZES = 5  # values of the model size where it varies
UTDS = 33  # values of a grid of UTDs alone


def swept_settings(posterior: Posterior, *, env_id: str, model_size: int | None = None) -> pd.DataFrame:
    """Return a grid of settings, evenly spaced in logs over the ranges that the fitted runs of a task cover.

    Args:
        posterior: a fit.
        env_id: task; the grid of a task without runs covers the ranges of all fitted runs.
        model_size: critic parameters; default: the size of the fitted runs, or `MODEL_SIZES` sizes if it varies.

    Returns:
        One row per setting with the columns env_id, utd, batch_size (whole), learning_rate and model_size (whole).

    Raises:
        InputError: the model size is neither given nor in the data, or `env_id` is part of a fitted task's name.
    """
    rows, sizes = crossings_of_task(posterior, env_id), swept_sizes(posterior, env_id, model_size)
    axes = [
        np.unique(np.geomspace(rows[axis].min(), rows[axis].max(), count))
        for axis, count in (GRID_POINTS_PER_SIZE if len(sizes) > 1 else GRID_POINTS).items()
    ]
    axes[1] = np.unique(axes[1].round())
    grid = np.stack(np.meshgrid(*axes, sizes, indexing="ij"), axis=-1).reshape(-1, 4)
    table = pd.DataFrame(grid, columns=[*GRID_POINTS, "model_size"])
    return table.assign(env_id=env_id).astype({"batch_size": int, "model_size": int})


def require_candidates(env_id: str, threshold: float, kept: Bool[np.ndarray, " setting"]) -> None:
    """Raise Infeasible unless a candidate setting is left for a return."""
    if not kept.any():
        raise Infeasible(
            f"at all swept settings of {env_id}, every run diverged, crashed or ended early below return "
            f"{three_digits(threshold)}, so no setting can be recommended. Sweep other settings, or give --cut-short "
            "(cut_short=True) if the runs were only cut short."
        )


def swept_sizes(posterior: Posterior, env_id: str, model_size: int | None = None) -> Float[np.ndarray, " size"]:
    """Return the model sizes to choose from: the given or fitted one, or `MODEL_SIZES` sizes over the swept range.

    Raises:
        InputError: the model size is neither given nor in the data.
    """
    if model_size is None and "model_size" in posterior.model.varying:
        swept = crossings_of_task(posterior, env_id)["model_size"]
        return np.unique(np.geomspace(swept.min(), swept.max(), MODEL_SIZES).round())
    return np.array([critic_parameters(posterior, env_id, model_size)], float)


def swept_utds(posterior: Posterior, env_id: str) -> Float[np.ndarray, " utd"]:
    """Return UTDs evenly spaced in logs over the swept range."""
    swept = crossings_of_task(posterior, env_id)["utd"]
    return np.unique(np.geomspace(swept.min(), swept.max(), UTDS))


def with_model_sizes(posterior: Posterior, configs: pd.DataFrame, model_size: int | None = None) -> pd.DataFrame:
    """Return the configurations with a column `model_size`.

    An existing column is kept. Otherwise every row gets the given model size, or the size of its task's fitted runs.

    Raises:
        InputError: the model size is neither given nor in the configurations or the data.
    """
    if "model_size" in configs:
        return configs
    sizes = {env_id: critic_parameters(posterior, env_id, model_size) for env_id in configs["env_id"].unique()}
    return configs.assign(model_size=configs["env_id"].map(sizes))


def flops_per_step(settings: pd.DataFrame) -> Float[np.ndarray, " setting"]:
    """Return the training flops per env step, 10 N B sigma, of each setting.

    Args:
        settings: columns model_size (N, critic parameters), batch_size (B) and utd (sigma).
    """
    size, batch, utd = (settings[name].to_numpy(float) for name in ("model_size", "batch_size", "utd"))
    return np.asarray(flops(size, batch, utd, 1.0))


def crossings_of_task(posterior: Posterior, env_id: str) -> pd.DataFrame:
    """Return the fitted crossings of a task, or all fitted crossings if the task has no runs.

    Raises:
        InputError: `env_id` is part of a fitted task's name.
    """
    require_task_name(env_id, posterior.tasks)
    return posterior.of_task(env_id)
