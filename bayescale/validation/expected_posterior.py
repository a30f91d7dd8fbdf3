"""Approximate the posterior that a simulated sweep would give, and follow what a decision needs from it.

The approximation is the normal distribution at the mode. It answers in a fraction of a second what chains answer in
many, and one compiled function serves all data sets of equal shapes. It compares designs; it does not replace a fit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from bayescale.arguments import three_digits
from bayescale.data.configurations import outside_range, swept_ranges
from bayescale.inference.laplace import laplace
from bayescale.inference.log_density import density_of
from bayescale.inference.model import Model, Observed, Points
from bayescale.posterior.predictive import run_lengths

UTDS = 17  # UTDs among which the budget-optimal one is sought
BEYOND = 2.0  # factor beyond the lowest and the highest UTD of the plan up to which it is sought
BATCH, RATE, UTD, COST = "optimal batch size", "optimal learning rate", "budget-optimal UTD", "cost as recommended"
EXTRA = "cost as recommended over the least cost"
QUESTIONS = (RATE, BATCH, UTD, COST)

Draws = Mapping[str, Float[np.ndarray, "draw ..."]]


class ExpectedPosterior(NamedTuple):
    """Draws from the approximation.

    Attributes:
        parameters: draws of every parameter by name.
        mode: the mode, a start for the search in similar data.
    """

    parameters: dict[str, Float[np.ndarray, "draw ..."]]
    mode: Float[np.ndarray, " dim"]


def approximation_of(
    model: Model, *, draws: int, key: Array
) -> Callable[[Observed, Float[np.ndarray, " dim"] | None], ExpectedPosterior]:
    """Return a function that approximates the posterior given observations and a start of the search, or None.

    Args:
        model: the model.
        draws: number of draws.
        key: source of randomness; all approximations use the same standard normal numbers.
    """
    density = density_of(model)
    value_and_grad = jax.jit(jax.value_and_grad(density.potential, argnums=1))
    standard = np.asarray(jax.random.normal(key, (draws, density.dimension)))
    constrain = jax.jit(jax.vmap(density.constrain))

    def approximate(observed: Observed, start: Float[np.ndarray, " dim"] | None) -> ExpectedPosterior:
        data: Any = jax.device_put(observed)
        first = np.zeros(density.dimension) if start is None else start
        found = laplace(partial(value_and_grad, data), [first])
        drawn = constrain(found.mode + standard @ found.root.T)
        return ExpectedPosterior({name: np.asarray(values) for name, values in drawn.items()}, found.mode)

    return approximate


@dataclass(frozen=True)
class Followed:
    """The quantities of a plan that a design check follows.

    Attributes:
        model: the model of the plan and its variants.
        settings: one row per task and UTD, all other settings at the middle of the task's configurations.
    """

    model: Model
    settings: pd.DataFrame

    @classmethod
    def of(cls, model: Model, design: pd.DataFrame) -> "Followed":
        """Return what to follow for a design."""
        rows = []
        for env_id, task in design.groupby("env_id"):
            low, high = task["utd"].min(), task["utd"].max()
            grid = np.geomspace(low / BEYOND, high * BEYOND, UTDS)
            if low < high:  # the ends of the swept range are among the candidates
                inner = np.geomspace(low, high, UTDS - 2)
                grid = np.concatenate([[low / BEYOND], inner, [high * BEYOND]])
            grid[UTDS // 2] = np.sqrt(low * high)
            others = [name for name in ("batch_size", "learning_rate", "model_size") if name in task]
            middle = {name: float(np.exp(np.log(task[name].astype(float)).mean())) for name in others}
            rows.append(pd.DataFrame({"env_id": env_id, "utd": grid, **middle}))
        return cls(model, pd.concat(rows, ignore_index=True))

    def at(self, draws: Draws, swept: pd.DataFrame) -> pd.DataFrame:
        """Return every quantity under each draw, in logs.

        The recommended setting is the one of least expected cost under all draws but the last, so that the last row may
        hold a true value that the others did not see. It lies within the swept ranges, at the medians of the optimal
        batch size and learning rate.

            cost = env steps (1 + UTD B / middle) / chance to reach

        Args:
            draws: parameters by name, draw axis first.
            swept: the configurations of the sweep, which bound the recommended setting.
        """
        points = self.model.points(self.settings)
        batch, rate, steps, reach = (np.asarray(part)[:, :, -1] for part in _optimum(self.model, dict(draws), points))
        chosen = self.settings.assign(
            batch_size=np.exp(np.median(batch[:-1], axis=0)), learning_rate=np.exp(np.median(rate[:-1], axis=0))
        )
        for one in swept_ranges(swept, chosen):
            if one.axis != "utd":
                chosen[one.axis] = np.clip(one.value, one.low, one.high)
        outside = outside_range(swept, chosen)
        own = run_lengths(self.model, dict(draws), chosen)
        log_utd, log_size = (np.log(chosen[name].to_numpy(float)) for name in ("utd", "batch_size"))
        columns: dict[str, Any] = {}
        for env_id, numbers in self.settings.groupby("env_id").indices.items():
            rows = np.asarray(numbers)
            middle, ends = rows[UTDS // 2], rows[[0, -1]]
            reference = log_utd[middle] + np.log(self.settings["batch_size"].iloc[middle])
            least = (steps + np.log1p(np.exp(log_utd + batch - reference)) - np.log(reach))[:, rows]
            cost = own.location[:, :, -1] + np.log1p(np.exp(log_utd + log_size - reference))
            cost = (cost - np.log(own.p_reach[:, :, -1]))[:, rows]
            expected = np.exp(cost[:-1] - cost[:-1].min()).mean(axis=0)
            best = np.where(outside[rows], np.inf, expected).argmin()
            columns |= {
                f"{RATE}, {env_id}": rate[:, middle],
                f"{BATCH}, {env_id}": batch[:, middle],
                f"{UTD}, {env_id}": log_utd[rows][least.argmin(axis=1)],
                f"{COST}, {env_id}": cost[:, best],
                f"{EXTRA}, {env_id}": np.maximum(cost[:, best] - least.min(axis=1), 0.0),
            }
            for end in ends:
                at = three_digits(self.settings["utd"].iloc[end])
                columns[f"env steps at the optimum, UTD {at}, {env_id}"] = steps[:, end]
        return pd.DataFrame(columns)


@partial(jax.jit, static_argnums=0)
def _optimum(model: Model, draws: dict[str, Array], points: Points) -> Any:
    """Apply `model.optimum` under every draw."""
    return jax.vmap(model.optimum, in_axes=(0, None))(draws, points)
