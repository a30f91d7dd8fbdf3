"""The data-compute frontier: env steps and flops over UTD, each draw at its own optimal batch size and learning rate.

Source: Rybkin et al. (ICML 2025), with a posterior in place of point estimates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from bayescale.errors import InputError
from bayescale.laws import flops
from bayescale.posterior import Posterior
from bayescale.tasks import require_task_name

FRONTIER_DRAWS = 1000


@dataclass(frozen=True)
class Frontier:
    """Draws of the median run's data and compute over UTD for one task and threshold.

    Attributes:
        utd: gradient updates per env step.
        env_steps: of the median run, by draw and UTD.
        flops: training flops of that run.
        batch_size: B*, the batch size that needs the fewest env steps.
        learning_rate: eta*, likewise.
        p_reach: chance that a run at the optimum reaches the threshold at all.
        extrapolated: UTD outside the task's data.
        model_size: critic parameters, of the laws where their runs vary in it, and of the flops.
    """

    env_id: str
    threshold: float
    utd: Float[np.ndarray, " utd"]
    env_steps: Float[np.ndarray, "draw utd"]
    flops: Float[np.ndarray, "draw utd"]
    batch_size: Float[np.ndarray, "draw utd"]
    learning_rate: Float[np.ndarray, "draw utd"]
    p_reach: Float[np.ndarray, " utd"]
    extrapolated: Bool[np.ndarray, " utd"]
    model_size: int

    def table(self) -> pd.DataFrame:
        """One row per UTD: the 5%, 50% and 95% quantiles over draws of each quantity."""
        table = pd.DataFrame({"utd": self.utd})
        for name in ("batch_size", "learning_rate", "env_steps", "flops"):
            for level in (5, 50, 95):
                table[f"{name}_q{level:02d}"] = np.quantile(getattr(self, name), level / 100, axis=0)
        return table.assign(p_reach=self.p_reach, extrapolated=self.extrapolated)


def frontier(
    posterior: Posterior,
    env_id: str,
    threshold: float,
    utd: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    model_size: int | None = None,
) -> Frontier:
    """The frontier of a task at a fitted threshold.

    Args:
        posterior: a fit; a task without runs gets the population's frontier.
        env_id: task.
        threshold: one of `posterior.thresholds`.
        utd: where to evaluate, > 0; default 25 values from half the smallest to twice the largest of the task's runs.
        model_size: critic parameters; default those of the task's fitted runs, the middle size of several.

    Raises:
        InputError: a threshold that was not fitted, a task's name cut short, a UTD that is no positive number, no model
            size.
    """
    at = posterior.threshold_number(threshold)
    given = utd_grid(posterior, env_id) if utd is None else np.ravel(utd)
    grid = np.asarray(pd.to_numeric(given, errors="coerce"), float)
    if not (len(grid) and (np.isfinite(grid) & (grid > 0)).all()):
        raise InputError("utd must be one or more numbers, finite and > 0; correct the grid.")
    size = critic_parameters(posterior, env_id, model_size)
    batch, rate, steps, p_reach = (part[:, :, at] for part in optima(posterior, env_id, grid, size))
    return Frontier(
        env_id=env_id,
        threshold=float(posterior.thresholds[at]),
        utd=grid,
        env_steps=steps,
        flops=np.asarray(flops(size, batch, grid, steps)),
        batch_size=batch,
        learning_rate=rate,
        p_reach=p_reach.mean(axis=0),
        extrapolated=posterior.extrapolated(pd.DataFrame({"env_id": env_id, "utd": grid, **sized(posterior, size)})),
        model_size=size,
    )


def optima(
    posterior: Posterior, env_id: str, utd: Float[np.ndarray, " utd"], model_size: float | None = None
) -> tuple[Float[np.ndarray, "draw utd threshold"], ...]:
    """B*, eta*, env steps of the median run there and the chance to get there, for every threshold.

    The model size is read where it varies in the fitted runs.
    """
    require_task_name(env_id, posterior.tasks)
    configs = pd.DataFrame({"env_id": env_id, "utd": utd, "batch_size": 1, "learning_rate": 1.0})
    points = posterior.model.points(configs.assign(**sized(posterior, model_size)))
    best = _optimum(posterior.model, posterior.flat_draws(FRONTIER_DRAWS), points)
    return *(np.exp(np.asarray(part)) for part in best[:3]), np.asarray(best[3])


@partial(jax.jit, static_argnums=0)
def _optimum(model: Any, draws: dict[str, jax.Array], points: Any) -> Any:
    """`model.optimum` under every draw; compiled once for equal models and as many draws and points."""
    return jax.vmap(model.optimum, in_axes=(0, None))(draws, points)


def sized(posterior: Posterior, model_size: float | None) -> dict[str, float]:
    """The column that a configuration has besides UTD, batch size and rate: its model size, if the fit has that axis.

    Raises:
        InputError: the fit has it, and none was given.
    """
    if "model_size" not in posterior.model.varying:
        return {}
    if model_size is None:
        raise InputError("model_size varies in the fitted runs; give model_size= (critic parameters).")
    return {"model_size": model_size}


def utd_grid(posterior: Posterior, env_id: str, count: int = 25) -> Float[np.ndarray, " utd"]:
    """UTDs evenly spaced in logs from half the smallest to twice the largest of the task's runs."""
    swept = posterior.of_task(env_id)["utd"]
    return np.geomspace(swept.min() / 2, swept.max() * 2, count)


def critic_parameters(posterior: Posterior, env_id: str, model_size: int | None = None) -> int:
    """The model size to count a task's flops with: the one given, else that of its fitted runs.

    Raises:
        InputError: neither given nor in the data, or not positive.
    """
    size = posterior.model_size(env_id) if model_size is None else model_size
    if size is None:
        raise InputError(
            "the fitted runs have no model_size, which flops need; give the critic parameters as model_size."
        )
    if size <= 0:
        raise InputError(f"model_size must be > 0; got {size}. Give the number of critic parameters.")
    return int(size)
