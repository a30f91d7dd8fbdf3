"""What to run: the setting of least expected cost for a return, or the highest return within a budget.

Costs are those of the median run at the setting, under every posterior draw; the luck of a seed enters `p_success`, and
the choice too where the risk is that of one run. A setting is one (UTD, batch size, learning rate, and model size where
it varies) for all draws: the Bayes action, not each draw's own optimum.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import require_positive
from bayescale.decisions.candidates import flops_per_step, crossings_of_task, swept_settings, swept_sizes, swept_utds
from bayescale.decisions.frontier import optima, quantile
from bayescale.decisions.utility import Prices, Risk, parse_risk, require_prices
from bayescale.errors import InputError
from bayescale.laws import flops
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import quantiles, runs
from bayescale.run_length_distribution import RunLengthDistribution

ALLOCATION_DRAWS = 400
DEFAULT_PRICES = Prices()
AXES = {"utd": "UTD", "batch_size": "batch size", "learning_rate": "learning rate", "model_size": "critic parameters"}
EDGE = 1e-6  # share by which a value may miss the end of its range that it lies at


@dataclass(frozen=True)
class Allocation:
    """The chosen setting and what it costs.

    `env_steps`, `flops` and `budget` (the cost, in the unit of the prices) are of the median run over draws. `regret`
    is this setting's cost over the least cost under the same draw, minus 1: a mean of ratios. `risk` is what the choice
    minimises, one number for all draws; inf where no budget holds it. Draws under which the median run never gets
    there, as may be beyond the fitted thresholds, cost inf; JSON has null for inf. `p_success` is the chance that one
    new run reaches the threshold; within the budget where one was given.
    """

    env_id: str
    threshold: float
    utd: float
    batch_size: int
    learning_rate: float
    model_size: int
    feasible: bool
    risk: float
    p_success: float
    env_steps: dict[str, float]
    flops: dict[str, float]
    budget: dict[str, float]
    regret: dict[str, float]

    def to_json(self) -> str:
        """The allocation as a JSON object."""

        def finite(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: finite(part) for name, part in value.items()}
            return None if value == np.inf else value

        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False)


@dataclass(frozen=True)
class BudgetPath:
    """The budget-optimal UTD and model size of each draw and threshold, at B* and eta*, and their budget.

    `utd_chosen` and `model_size_chosen` are the one pair of least expected cost.
    """

    env_id: str
    thresholds: Float[np.ndarray, " threshold"]
    utd: Float[np.ndarray, "draw threshold"]
    model_size: Float[np.ndarray, "draw threshold"]
    budget: Float[np.ndarray, "draw threshold"]
    utd_chosen: Float[np.ndarray, " threshold"]
    model_size_chosen: Float[np.ndarray, " threshold"]

    def table(self) -> pd.DataFrame:
        """One row per threshold: quantiles over draws of the optimum and of its budget, and what to choose."""
        table = pd.DataFrame({"threshold": self.thresholds})
        for name in ("utd", "model_size", "budget"):
            for level in (5, 50, 95):
                table[f"{name}_q{level:02d}"] = np.quantile(getattr(self, name), level / 100, axis=0)
        return table.assign(utd_chosen=self.utd_chosen, model_size_chosen=self.model_size_chosen)


class _Outcomes(NamedTuple):
    """A new run at each candidate setting, by draw."""

    env_id: str
    thresholds: Float[np.ndarray, " threshold"]
    settings: pd.DataFrame
    times: RunLengthDistribution  # draw, setting, threshold
    late: Float[np.ndarray, "setting threshold"] | None  # env steps that hold one run, for a risk of that


def budget_path(
    posterior: Posterior, env_id: str, prices: Prices = DEFAULT_PRICES, model_size: int | None = None
) -> BudgetPath:
    """The path of budget-optimal UTDs and model sizes over the fitted thresholds, within the swept ranges."""
    require_prices(prices)
    utds, sizes = swept_utds(posterior, env_id), swept_sizes(posterior, env_id, model_size)
    utd, size = np.tile(utds, len(sizes)), np.repeat(sizes, len(utds))
    of_each = (optima(posterior, env_id, utds, n) for n in sizes)
    batch, _, steps, _ = (np.concatenate(parts, axis=1) for parts in zip(*of_each, strict=True))
    cost = prices.cost(np.asarray(flops(size[:, None], batch, utd[:, None], steps)), steps)
    best, chosen = cost.argmin(axis=1), cost.mean(axis=0).argmin(axis=0)
    return BudgetPath(
        env_id=env_id,
        thresholds=posterior.thresholds,
        utd=utd[best],
        model_size=size[best],
        budget=cost.min(axis=1),
        utd_chosen=utd[chosen],
        model_size_chosen=size[chosen],
    )


def allocate(
    posterior: Posterior,
    env_id: str,
    budget: float | None = None,
    threshold: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    risk: str = "mean",
    model_size: int | None = None,
    ceiling: Ceiling | None = None,
) -> Allocation:
    """The setting to run, among those inside the swept ranges.

    With a threshold: the setting of least risk of cost for it; a budget too makes it infeasible beyond that risk.
    With a budget alone: the highest fitted threshold whose least risk is within the budget.

    Args:
        posterior: a fit.
        env_id: task.
        budget: in the unit of the prices, > 0.
        threshold: the return, from the lowest of `posterior.thresholds` on; beyond the highest, the law of
            `bayescale.posterior.extrapolation` takes over, by which some draws never get there: prob:LEVEL bears that.
        prices: of a flop and an env step.
        risk: of the median run's cost mean, cvar:LEVEL (upper tail) or prob:LEVEL (the cost stays within with that
            probability); or run:LEVEL: one new run, whatever its seed, gets there within with that probability.
        model_size: critic parameters; default those of the fitted runs, to be chosen from where they vary.
        ceiling: the best return there is, in units of the thresholds, see `bayescale.posterior.ceilings`.

    Returns:
        The allocation; `feasible` is False where even the lowest threshold exceeds the budget, and the choice shown
        is then the cheapest; or where so many runs never get there that no cost is enough, and it is the likeliest.

    Raises:
        InputError: neither budget nor threshold, or a value out of range.
    """
    if budget is None and threshold is None:
        raise InputError("allocate needs a budget or a threshold; give at least one.")
    if budget is not None:
        require_positive("budget", budget)
    require_prices(prices)
    measure = parse_risk(risk)
    wanted = None if threshold is None else np.array([posterior.as_fitted(threshold)])
    outcomes = _outcomes(posterior, env_id, model_size, measure, wanted, ceiling)
    return _choose(outcomes, range(len(outcomes.thresholds)), prices, measure, budget)


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
    require_prices(prices)
    measure = parse_risk("mean")
    outcomes = _outcomes(posterior, env_id, model_size, measure)
    return {J: _choose(outcomes, [posterior.threshold_number(J)], prices, measure) for J in thresholds}


def at_edge(posterior: Posterior, choice: Allocation) -> tuple[str, ...]:
    """The axes, named in words, on which the choice lies at an end of a swept range that has two."""
    rows = crossings_of_task(posterior, choice.env_id)
    ends = {name: (rows[name].min(), rows[name].max()) for name in AXES if name in rows}
    return tuple(
        AXES[name]
        for name, (low, high) in ends.items()
        if low < high and not low * (1 + EDGE) < getattr(choice, name) < high * (1 - EDGE)
    )


def _outcomes(
    posterior: Posterior,
    env_id: str,
    model_size: int | None,
    measure: Risk,
    wanted: Float[np.ndarray, " threshold"] | None = None,
    ceiling: Ceiling | None = None,
) -> _Outcomes:
    """At the fitted thresholds, or at the returns wanted."""
    settings, draws = swept_settings(posterior, env_id, model_size), posterior.flat_draws(ALLOCATION_DRAWS)
    fitted, times = posterior.thresholds, runs(posterior.model, draws, settings)
    if wanted is not None:
        best = ceilings(ceiling, settings["env_id"], posterior.crossings)
        times = at_thresholds(times, fitted, wanted, best)
    late = quantiles(times, np.array([measure.level]))[..., 0] if measure.one_run else None
    return _Outcomes(env_id, fitted if wanted is None else wanted, settings, times, late)


def _choose(
    outcomes: _Outcomes,
    wanted: Sequence[int],
    prices: Prices,
    measure: Risk,
    budget: float | None = None,
) -> Allocation:
    """The choice for the last of the wanted thresholds that the budget affords, or for the first if it affords none."""
    settings, location, per_step = outcomes.settings, outcomes.times.location, flops_per_step(outcomes.settings)
    price = prices.cost(per_step, np.ones(len(per_step)))  # of an env step
    best = None
    for k in wanted:
        env_steps = np.where(outcomes.times.p_reach[:, :, k] > 0, np.exp(location[:, :, k]), np.inf)
        cost = price * env_steps
        risks = measure(cost) if outcomes.late is None else price * outcomes.late[:, k]
        possible = np.isfinite(risks).any()
        choice = int(risks.argmin() if possible else outcomes.times.p_reach[:, :, k].mean(axis=0).argmax())
        affordable = bool(possible and (budget is None or risks[choice] <= budget))
        if best is not None and not affordable:
            break
        best = (k, choice, affordable, float(risks[choice]), env_steps[:, choice], cost)
        if not affordable:
            break
    assert best is not None  # there is at least one threshold
    k, choice, affordable, risk, env_steps, cost = best
    setting, mine, least = settings.iloc[choice], cost[:, choice], cost.min(axis=1)
    # Where no budget bounds the run, only failing for good does.
    longest = np.inf if budget is None else float(np.log(budget / price[choice]))
    chosen = RunLengthDistribution(*(part[:, choice, k] for part in outcomes.times))
    return Allocation(
        env_id=outcomes.env_id,
        threshold=float(outcomes.thresholds[k]),
        utd=float(setting["utd"]),
        batch_size=int(setting["batch_size"]),
        learning_rate=float(setting["learning_rate"]),
        model_size=int(setting["model_size"]),
        feasible=affordable,
        risk=risk,
        p_success=float(chosen.reached_by(longest).mean()),
        env_steps=summary(env_steps),
        flops=summary(per_step[choice] * env_steps),
        budget=summary(mine),
        regret=summary(np.divide(mine, least, out=np.ones_like(mine), where=np.isfinite(least)) - 1),
    )


def summary(values: Float[np.ndarray, " draw"]) -> dict[str, float]:
    """Mean and quantiles over draws."""
    at_levels = {f"q{level:02d}": float(quantile(values, level / 100)) for level in (5, 50, 95)}
    return {"mean": float(values.mean()), **at_levels}
