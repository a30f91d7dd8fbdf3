"""Candidate settings: ranges and grids of UTD, batch size, learning rate and model size that decisions choose from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import number, require_positive, three_digits
from bayescale.data.tasks import require_task_name
from bayescale.errors import Infeasible, InputError
from bayescale.laws import flops
from bayescale.posterior.posterior import Posterior

GRID_POINTS = {"utd": 17, "batch_size": 9, "learning_rate": 9}  # values per axis at one model size
GRID_POINTS_PER_SIZE = {"utd": 9, "batch_size": 7, "learning_rate": 7}  # values per axis where model sizes vary too
MODEL_SIZES = 5  # values of the model size where it varies
UTDS = 33  # values of a grid of UTDs alone
PER_OCTAVE = 4  # UTDs between a UTD and its double that a decision chooses among
MOST_UTDS = 25  # UTDs that a decision chooses among, at most
AXES = ("utd", "batch_size", "learning_rate", "model_size")

Within = Mapping[str, Any]  # lowest and highest value by axis


def ranges(
    posterior: Posterior, env_id: str, *, within: Within | None = None, model_size: int | None = None
) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value of each axis that a decision may choose: the swept range, or the given one.

    Args:
        posterior: a fit.
        env_id: task; a task without runs has the ranges of all fitted runs.
        within: ranges by axis that replace the swept ones; beyond the sweep they extrapolate.
        model_size: critic parameters; default: that of the fitted runs, or the swept range where it varies.

    Raises:
        InputError: `within` names an axis that does not vary in the fit or holds no two increasing positive numbers,
            the model size is neither given nor in the data, or `env_id` is part of a fitted task's name.
    """
    rows = crossings_of_task(posterior, env_id)
    found = {name: (float(rows[name].min()), float(rows[name].max())) for name in AXES[:-1]}
    sizes = swept_sizes(posterior, env_id, model_size)
    found["model_size"] = float(sizes[0]), float(sizes[-1])
    for name, pair in (within or {}).items():
        if name not in posterior.model.varying or (name == "model_size" and model_size is not None):
            choices = [axis for axis in posterior.model.varying if axis != "model_size" or model_size is None]
            raise InputError(
                f"within must name axes that the fitted runs vary and that no other argument sets, of "
                f"{', '.join(choices) or 'which there is none'}; got {name!r}. Leave it out."
            )
        ends = tuple(number(end) for end in pair) if isinstance(pair, (tuple, list)) else ()
        if len(ends) != 2 or not 0 < ends[0] <= ends[1] < np.inf:
            raise InputError(
                f"within must give the lowest and the highest {name}, finite and > 0; got {pair!r}. "
                f"Try within={{{name!r}: ({found[name][0]:g}, {found[name][1]:g})}}."
            )
        found[name] = ends
    return found


def setting_grid(
    posterior: Posterior, *, env_id: str, within: Within | None = None, model_size: int | None = None
) -> pd.DataFrame:
    """Return a grid of settings, evenly spaced in logs over the `ranges` that a decision may choose from.

    Returns:
        One row per setting with the columns env_id, utd, batch_size (whole), learning_rate and model_size (whole).

    Raises:
        InputError: as `ranges` raises it.
    """
    limits = ranges(posterior, env_id, within=within, model_size=model_size)
    sizes = np.unique(np.geomspace(*limits["model_size"], MODEL_SIZES).round())
    axes = [
        np.unique(np.geomspace(*limits[axis], count))
        for axis, count in (GRID_POINTS_PER_SIZE if len(sizes) > 1 else GRID_POINTS).items()
    ]
    axes[1] = np.unique(axes[1].round())
    grid = np.stack(np.meshgrid(*axes, sizes, indexing="ij"), axis=-1).reshape(-1, 4)
    table = pd.DataFrame(grid, columns=[*GRID_POINTS, "model_size"])
    return table.assign(env_id=env_id).astype({"batch_size": int, "model_size": int})


def utd_candidates(posterior: Posterior, env_id: str, low: float, high: float) -> Float[np.ndarray, " utd"]:
    """Return the UTDs that a decision chooses among: the swept ones within the range, its ends, and steps between them.

    The steps are a quarter of an octave, or larger where this would make more than `MOST_UTDS`.
    """
    swept = crossings_of_task(posterior, env_id)["utd"].unique().astype(float)
    inside = swept[(swept >= low) & (swept <= high)]
    ends = np.unique([low, high, *inside])
    if len(ends) == 1:
        return ends
    if len(ends) > MOST_UTDS:
        return np.geomspace(low, high, MOST_UTDS)
    octaves = np.log2(ends[1:] / ends[:-1])
    steps = np.maximum(octaves * PER_OCTAVE, 1)
    most = MOST_UTDS - 1
    steps = np.maximum(steps * min(1.0, most / steps.sum()), 1).round().astype(int)
    pieces = (np.geomspace(a, b, n + 1) for a, b, n in zip(ends[:-1], ends[1:], steps, strict=True))
    return np.unique(np.concatenate([ends, *(piece[1:-1] for piece in pieces)]))


def utd_grid(posterior: Posterior, env_id: str, low: float, high: float) -> Float[np.ndarray, " utd"]:
    """Return `utd_candidates`, and quarter octaves beyond: down to half the lowest and up to twice the highest."""
    beyond = 2.0 ** (np.arange(1, PER_OCTAVE + 1) / PER_OCTAVE)
    return np.concatenate([low / beyond[::-1], utd_candidates(posterior, env_id, low, high), high * beyond])


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


def critic_parameters(posterior: Posterior, env_id: str, model_size: int | None = None) -> int:
    """Return the model size that a task's flops are counted with: the given one, else that of its fitted runs.

    Raises:
        InputError: the model size is neither given nor in the data, or not positive.
    """
    size = posterior.model_size(env_id) if model_size is None else model_size
    if size is None:
        raise InputError(
            "the fitted runs have no model_size, which flops need; give the critic parameters as model_size."
        )
    require_positive("model_size", size)
    return int(size)


def model_size_column(posterior: Posterior, model_size: float | None) -> dict[str, float]:
    """Return the column `model_size` of a configuration if the model size varies in the fit, else no column.

    Raises:
        InputError: the model size varies in the fit and `model_size` is None.
    """
    if "model_size" not in posterior.model.varying:
        return {}
    if model_size is None:
        raise InputError("model_size varies in the fitted runs; give model_size= (critic parameters).")
    return {"model_size": model_size}
