"""One budget over several tasks: which return to reach on each of them, and how, so that the returns add up to most.

Each task gets one of the fitted thresholds, at the setting of least expected cost for it, as `allocate` chooses it. The
thresholds are those of the greatest sum whose expected costs together are within the budget: a knapsack of which every
task fills one place, solved exactly. Returns add up if they are on one scale, as normalised ones are.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import Bounds, LinearConstraint, milp

from bayescale.arguments import require_positive
from bayescale.data.tasks import several_names
from bayescale.decisions.allocation import ALLOCATION_DRAWS, DEFAULT_PRICES, Allocation, allocations, summary
from bayescale.decisions.candidates import flops_per_step
from bayescale.decisions.utility import Prices
from bayescale.errors import InputError
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import runs

THRIFT = 1e-3  # of the smallest step between thresholds is the whole budget worth: of equal sums the cheapest is taken


@dataclass(frozen=True)
class Portfolio:
    """A choice for each task, and what all of them cost.

    `budget` is the cost of the median runs together, one per task, over draws; `p_within` the chance that it is within
    the budget that was given. Not `feasible`: even the lowest threshold of all tasks costs more, and is what is shown.
    """

    choices: tuple[Allocation, ...]
    feasible: bool
    budget: dict[str, float]
    p_within: float

    def to_json(self) -> str:
        """The portfolio as a JSON object."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def portfolio(
    posterior: Posterior,
    budget: float,
    env_ids: Sequence[str] | None = None,
    prices: Prices = DEFAULT_PRICES,
    model_size: int | None = None,
) -> Portfolio:
    """The choices of the greatest sum of thresholds whose expected costs are together within the budget.

    Args:
        posterior: a fit.
        budget: for one run per task, in the unit of the prices, > 0; for n seeds of each give the n-th part.
        env_ids: the tasks, in this order; None: all that were fitted. One without runs is predicted from the others.
        prices: of a flop and an env step.
        model_size: critic parameters; default those of each task's fitted runs, to be chosen from where they vary.

    Raises:
        InputError: a budget out of range, no tasks, one named twice, or no model size.
    """
    require_positive("budget", budget)
    tasks = posterior.tasks if env_ids is None else several_names("env_ids", env_ids)
    if not tasks or len(set(tasks)) < len(tasks):
        raise InputError(
            f"env_ids must be one or more tasks, each once; got {', '.join(tasks) or 'none'}. Correct them."
        )
    thresholds = posterior.thresholds
    choices = [[*allocations(posterior, task, thresholds, prices, model_size).values()] for task in tasks]
    cost = np.array([[choice.budget["mean"] for choice in of_task] for of_task in choices])
    feasible = bool(cost.min(axis=1).sum() <= budget)
    chosen = _greatest(thresholds, cost / budget) if feasible else cost.argmin(axis=1)
    taken = tuple(of_task[k] for of_task, k in zip(choices, chosen, strict=True))
    total = _costs(posterior, taken, chosen, prices).sum(axis=1)
    return Portfolio(taken, feasible, summary(total), float((total <= budget).mean()))


def _greatest(thresholds: Float[np.ndarray, " threshold"], cost: Float[np.ndarray, "task threshold"]) -> np.ndarray:
    """By task, the number of its threshold: those of the greatest sum whose costs sum to at most 1, which some do."""
    tasks, levels = cost.shape
    step = np.diff(thresholds).min() if levels > 1 else 1.0
    one_each = LinearConstraint(np.kron(np.eye(tasks), np.ones(levels)), 1, 1)
    together = LinearConstraint(cost.reshape(1, -1), ub=1)
    gain = np.tile((thresholds - thresholds[0]) / step, tasks) - THRIFT * cost.ravel()
    solved = milp(
        -gain,
        integrality=np.ones(gain.size),
        bounds=Bounds(0, 1),
        constraints=[one_each, together],
        options={"mip_rel_gap": 0.0},
    )
    return np.asarray(solved.x.reshape(tasks, levels).argmax(axis=1))


def _costs(
    posterior: Posterior, choices: Sequence[Allocation], chosen: np.ndarray, prices: Prices
) -> Float[np.ndarray, "draw task"]:
    """The cost of each choice's median run."""
    names = ("env_id", "utd", "batch_size", "learning_rate", "model_size")
    settings = pd.DataFrame([{name: getattr(choice, name) for name in names} for choice in choices])
    location = runs(posterior.model, posterior.flat_draws(ALLOCATION_DRAWS), settings).location
    steps = np.exp(location[:, np.arange(len(choices)), chosen])
    return np.asarray(prices.cost(flops_per_step(settings) * steps, steps))
