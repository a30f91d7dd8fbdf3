"""Split one budget over several tasks so that the returns reached on them add up to the most.

Each task gets one fitted threshold and the setting of least expected cost for it, as `allocate` chooses it. The chosen
thresholds J_e maximise the sum of J_e subject to sum of E[cost_e(J_e)] <= budget. This is a multiple-choice knapsack,
solved exactly. A sum of returns makes sense if all tasks share one scale, as normalised returns do.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import Bounds, LinearConstraint, milp

from bayescale.arguments import counted, percent, require_positive, three_digits
from bayescale.data.tasks import several_names
from bayescale.decisions.allocation import allocations
from bayescale.decisions.candidates import flops_per_step
from bayescale.decisions.cheapest_settings import ALLOCATION_DRAWS
from bayescale.decisions.records import Allocation, mean_and_quantiles
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, expected_cost
from bayescale.errors import InputError
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import run_lengths
from bayescale.summaries import Summarised, Summary, with_interval

# Value of the whole budget in units of the smallest step between thresholds: of equal sums, the cheapest is chosen.
THRIFT = 1e-3
MOST_TASKS = 6  # tasks that a summary lists


@dataclass(frozen=True, repr=False)
class Portfolio(Summarised):
    """A choice for each task, and the joint cost.

    Attributes:
        choices: one allocation per task.
        feasible: True if the expected cost is within the budget. If False, each task's choice is its
            cheapest, and these choices together cost more than the budget.
        budget: expected cost of the choices together, in the unit of the prices, failed runs and their repetition
            included: mean, q05, q50 and q95 over draws.
        p_within: probability, over draws, that this cost is within the given budget.
    """

    choices: tuple[Allocation, ...]
    feasible: bool
    budget: dict[str, float]
    p_within: float

    def summary(self) -> Summary:
        """Return the choice for each task, what all of them cost, and how sure that is."""
        said = {
            choice.env_id: f"return {three_digits(choice.threshold)} at {choice.setting}"
            for choice in self.choices[:MOST_TASKS]
        }
        if len(self.choices) > MOST_TASKS:
            said["and"] = f"{counted(len(self.choices) - MOST_TASKS, 'further task')}"
        title = f"Portfolio of {counted(len(self.choices), 'task')}"
        return Summary(
            title if self.feasible else f"{title}: NOT FEASIBLE within the budget",
            {
                **said,
                "cost": f"{with_interval(self.budget, 'units')} together",
                "how sure": f"the median runs stay within the budget with probability {percent(self.p_within)}",
                "next": "portfolio.choices holds one allocation per task; portfolio.to_json() for scripts",
            },
        )

    def to_json(self) -> str:
        """Return the portfolio as a JSON object."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def portfolio(
    posterior: Posterior,
    *,
    budget: float,
    env_ids: Sequence[str] | None = None,
    prices: Prices = DEFAULT_PRICES,
    model_size: int | None = None,
    new_task: bool = False,
    cut_short: bool = False,
) -> Portfolio:
    """Choose a threshold and a setting for each task so that the sum of thresholds is greatest within the budget.

    Args:
        posterior: a fit.
        budget: for one run of each task together, in the unit of the prices, > 0; for n seeds per task give an
            n-th of it.
        env_ids: the tasks, in this order; default: all fitted tasks.
        prices: of a training flop and of an env step.
        model_size: critic parameters; default: that of each task's fitted runs, or chosen where it varies.
        new_task: True allows tasks without runs, predicted as sampled from the population of tasks.
        cut_short: True: runs that ended early below a return were only cut short, so their settings count too.

    Raises:
        InputError: the budget is out of range, `env_ids` is empty or names a task twice, a task has no fitted runs and
            `new_task` is False, or the model size is neither given nor in the data.
        Infeasible: no run of one of the tasks reached the lowest fitted threshold, or all its swept settings failed.
    """
    require_positive("budget", budget)
    tasks = posterior.tasks if env_ids is None else several_names("env_ids", env_ids)
    if not tasks or len(set(tasks)) < len(tasks):
        raise InputError(
            f"env_ids must be one or more tasks, each once; got {', '.join(tasks) or 'none'}. Correct them."
        )
    thresholds = posterior.thresholds
    posterior.require_tasks(tasks, new_task=new_task)
    by_task = (
        allocations(
            posterior,
            env_id=task,
            thresholds=thresholds,
            prices=prices,
            model_size=model_size,
            new_task=new_task,
            cut_short=cut_short,
        )
        for task in tasks
    )
    choices = [[*each.values()] for each in by_task]
    cost = np.array([[choice.budget["mean"] for choice in by_threshold] for by_threshold in choices])
    feasible = bool(cost.min(axis=1).sum() <= budget)
    chosen = _greatest_sum(thresholds, cost / budget) if feasible else cost.argmin(axis=1)
    taken = tuple(by_threshold[k] for by_threshold, k in zip(choices, chosen, strict=True))
    total = _costs(posterior, taken, chosen, prices).sum(axis=1)
    return Portfolio(taken, feasible, mean_and_quantiles(total), float((total <= budget).mean()))


def _greatest_sum(
    thresholds: Float[np.ndarray, " threshold"], cost: Float[np.ndarray, "task threshold"]
) -> Int[np.ndarray, " task"]:
    """Return the index of each task's threshold: the greatest sum of thresholds whose costs sum to at most 1.

    Args:
        thresholds: increasing.
        cost: in units of the budget; the tasks' least costs sum to at most 1.
    """
    tasks, count = cost.shape
    step = np.diff(thresholds).min() if count > 1 else 1.0
    one_each = LinearConstraint(np.kron(np.eye(tasks), np.ones(count)), 1, 1)
    together = LinearConstraint(cost.reshape(1, -1), ub=1)
    gain = np.tile((thresholds - thresholds[0]) / step, tasks) - THRIFT * cost.ravel()
    solved = milp(
        -gain,
        integrality=np.ones(gain.size),
        bounds=Bounds(0, 1),
        constraints=[one_each, together],
        options={"mip_rel_gap": 0.0},
    )
    return np.asarray(solved.x.reshape(tasks, count).argmax(axis=1))


def _costs(
    posterior: Posterior, choices: Sequence[Allocation], chosen: np.ndarray, prices: Prices
) -> Float[np.ndarray, "draw task"]:
    """Return the expected cost of each choice under each draw, in the unit of the prices."""
    names = ("env_id", "utd", "batch_size", "learning_rate", "model_size")
    settings = pd.DataFrame([{name: getattr(choice, name) for name in names} for choice in choices])
    distribution = run_lengths(posterior.model, posterior.flat_draws(ALLOCATION_DRAWS, settings["env_id"]), settings)
    location, p_reach = (
        part[:, np.arange(len(choices)), chosen] for part in (distribution.location, distribution.p_reach)
    )
    step_cost = prices.cost(flops_per_step(settings), np.ones(len(settings)))
    return expected_cost(np.exp(location), step_cost=step_cost, p_reach=p_reach)
