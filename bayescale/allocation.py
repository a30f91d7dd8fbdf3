"""What to run: the setting of least expected cost for a return, or the highest return within a budget.

Costs are those of the median run at the setting, under every posterior draw; seed noise enters `p_success`. A setting
is one (UTD, batch size, learning rate) for all draws: the Bayes action, not each draw's own optimum.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.errors import InputError
from bayescale.frontier import critic_parameters, optima
from bayescale.laws import flops
from bayescale.posterior import Posterior
from bayescale.predictive import runs
from bayescale.run_times import RunTimes
from bayescale.utility import Prices, Risk, parse_risk

ALLOCATION_DRAWS = 400
DEFAULT_PRICES = Prices()


@dataclass(frozen=True)
class Allocation:
    """The chosen setting and what it costs.

    `env_steps`, `flops` and `budget` (the cost, in the unit of the prices) are of the median run over draws. `regret`
    is this setting's cost over the least cost under the same draw, minus 1: a mean of ratios. `p_success` is the
    chance that one new run reaches the threshold; within the budget where one was given.
    """

    env_id: str
    threshold: float
    utd: float
    batch_size: int
    learning_rate: float
    model_size: int
    feasible: bool
    p_success: float
    env_steps: dict[str, float]
    flops: dict[str, float]
    budget: dict[str, float]
    regret: dict[str, float]

    def to_json(self) -> str:
        """The allocation as a JSON object."""
        return json.dumps(asdict(self), indent=2)


@dataclass(frozen=True)
class BudgetPath:
    """The budget-optimal UTD of each draw and threshold, at B* and eta*, and the one UTD of least expected cost."""

    env_id: str
    thresholds: Float[np.ndarray, " threshold"]
    utd: Float[np.ndarray, "draw threshold"]
    budget: Float[np.ndarray, "draw threshold"]
    utd_chosen: Float[np.ndarray, " threshold"]

    def table(self) -> pd.DataFrame:
        """One row per threshold: quantiles over draws of the optimal UTD and of its budget, and the UTD to choose."""
        table = pd.DataFrame({"threshold": self.thresholds})
        for name in ("utd", "budget"):
            for level in (5, 50, 95):
                table[f"{name}_q{level:02d}"] = np.quantile(getattr(self, name), level / 100, axis=0)
        return table.assign(utd_chosen=self.utd_chosen)


class _Outcomes(NamedTuple):
    """A new run at each candidate setting, by draw."""

    env_id: str
    thresholds: Float[np.ndarray, " threshold"]
    settings: pd.DataFrame
    times: RunTimes  # draw, setting, threshold


def budget_path(
    posterior: Posterior, env_id: str, prices: Prices = DEFAULT_PRICES, model_size: int | None = None
) -> BudgetPath:
    """The path of budget-optimal UTDs over the fitted thresholds, within the swept range of UTD."""
    size, grid = critic_parameters(posterior, model_size), _swept_utds(posterior)
    batch, _, steps, _ = optima(posterior, env_id, grid)
    cost = prices.cost(np.asarray(flops(size, batch, grid[:, None], steps)), steps)
    return BudgetPath(
        env_id=env_id,
        thresholds=posterior.thresholds,
        utd=grid[cost.argmin(axis=1)],
        budget=cost.min(axis=1),
        utd_chosen=grid[cost.mean(axis=0).argmin(axis=0)],
    )


def allocate(
    posterior: Posterior,
    env_id: str,
    budget: float | None = None,
    threshold: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    risk: str = "mean",
    model_size: int | None = None,
) -> Allocation:
    """The setting to run, among those inside the swept ranges.

    With a threshold: the setting of least risk of cost for it; a budget too makes it infeasible beyond that risk.
    With a budget alone: the highest fitted threshold whose least risk is within the budget.

    Args:
        posterior: a fit.
        env_id: task.
        budget: in the unit of the prices, > 0.
        threshold: one of `posterior.thresholds`.
        prices: of a flop and an env step.
        risk: mean, cvar:LEVEL (upper tail of cost) or prob:LEVEL (cost stays within with that probability).
        model_size: critic parameters; default those of the fitted runs.

    Returns:
        The allocation; `feasible` is False where even the lowest threshold exceeds the budget, and the choice shown
        is then the cheapest.

    Raises:
        InputError: neither budget nor threshold, or a value out of range.
    """
    if budget is None and threshold is None:
        raise InputError("allocate needs a budget or a threshold; give at least one.")
    if budget is not None and not 0 < budget < np.inf:
        raise InputError(f"budget must be finite and > 0; got {budget}. Correct it.")
    measure, size = parse_risk(risk), critic_parameters(posterior, model_size)
    wanted = [posterior.threshold_number(threshold)] if threshold is not None else range(len(posterior.thresholds))
    return _choose(_outcomes(posterior, env_id), wanted, prices, measure, size, budget)


def allocations(
    posterior: Posterior,
    env_id: str,
    thresholds: Iterable[float],
    prices: Prices = DEFAULT_PRICES,
    model_size: int | None = None,
) -> dict[float, Allocation]:
    """By threshold, the setting of least expected cost for it: `allocate` for each, in the time of one.

    Raises:
        InputError: a threshold that was not fitted, or no model size.
    """
    measure, size = parse_risk("mean"), critic_parameters(posterior, model_size)
    outcomes = _outcomes(posterior, env_id)
    return {J: _choose(outcomes, [posterior.threshold_number(J)], prices, measure, size) for J in thresholds}


def _outcomes(posterior: Posterior, env_id: str) -> _Outcomes:
    settings = swept_settings(posterior, env_id)
    times = runs(posterior.model, posterior.flat_draws(ALLOCATION_DRAWS), settings)
    return _Outcomes(env_id, posterior.thresholds, settings, times)


def _choose(
    outcomes: _Outcomes,
    wanted: Sequence[int],
    prices: Prices,
    measure: Risk,
    size: int,
    budget: float | None = None,
) -> Allocation:
    """The choice for the last of the wanted thresholds that the budget affords, or for the first if it affords none."""
    settings, location = outcomes.settings, outcomes.times.location
    best = None
    for k in wanted:
        env_steps = np.exp(location[:, :, k])
        per_step = np.asarray(flops(size, settings["batch_size"].to_numpy(float), settings["utd"].to_numpy(), 1.0))
        cost = prices.cost(per_step * env_steps, env_steps)
        risks = measure(cost)
        choice = int(risks.argmin())
        affordable = budget is None or bool(risks[choice] <= budget)
        if best is not None and not affordable:
            break
        best = (k, choice, affordable, env_steps[:, choice], per_step[choice], cost)
        if not affordable:
            break
    assert best is not None  # there is at least one threshold
    k, choice, affordable, env_steps, flops_per_step, cost = best
    setting, mine = settings.iloc[choice], cost[:, choice]
    # Where no budget bounds the run, only failing for good does.
    longest = np.inf if budget is None else np.log(budget * env_steps / mine)
    chosen = RunTimes(*(part[:, choice, k] for part in outcomes.times))
    return Allocation(
        env_id=outcomes.env_id,
        threshold=float(outcomes.thresholds[k]),
        utd=float(setting["utd"]),
        batch_size=int(setting["batch_size"]),
        learning_rate=float(setting["learning_rate"]),
        model_size=size,
        feasible=affordable,
        p_success=float(chosen.reached_by(longest).mean()),
        env_steps=_summary(env_steps),
        flops=_summary(flops_per_step * env_steps),
        budget=_summary(mine),
        regret=_summary(mine / cost.min(axis=1) - 1),
    )


def _swept_utds(posterior: Posterior) -> Float[np.ndarray, " utd"]:
    swept = posterior.crossings["utd"]
    return np.unique(np.geomspace(swept.min(), swept.max(), 33))


def swept_settings(posterior: Posterior, env_id: str) -> pd.DataFrame:
    """Candidate settings: a grid in logs over the ranges that were swept, batch sizes in whole samples."""
    own = posterior.crossings[posterior.crossings["env_id"] == env_id]
    rows = own if len(own) else posterior.crossings
    axes = [
        np.unique(np.geomspace(rows[axis].min(), rows[axis].max(), count))
        for axis, count in (("utd", 17), ("batch_size", 9), ("learning_rate", 9))
    ]
    axes[1] = np.unique(axes[1].round())
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    table = pd.DataFrame(grid, columns=["utd", "batch_size", "learning_rate"])
    return table.assign(env_id=env_id, batch_size=table["batch_size"].astype(int))


def _summary(values: Float[np.ndarray, " draw"]) -> dict[str, float]:
    q05, q50, q95 = np.quantile(values, [0.05, 0.5, 0.95])
    return {"mean": float(values.mean()), "q05": float(q05), "q50": float(q50), "q95": float(q95)}
