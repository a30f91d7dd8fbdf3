"""The budget-optimal UTD and model size as a function of the return, for the best batch size and learning rate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import counted, three_digits
from bayescale.decisions.candidates import require_candidates, swept_sizes, swept_utds
from bayescale.decisions.law_optima import optima
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, expected_cost, require_prices
from bayescale.laws import flops
from bayescale.posterior.outcomes import near_failed_settings
from bayescale.posterior.posterior import Posterior
from bayescale.summaries import Summarised, Summary, with_interval


@dataclass(frozen=True, repr=False)
class BudgetPath(Summarised):
    """The budget-optimal UTD and model size at each fitted threshold, at the best batch size and learning rate.

    Attributes:
        env_id: task.
        thresholds: the fitted thresholds.
        utd, model_size: each draw's optimum, the pair of least cost.
        budget: the cost at this optimum, in the unit of the prices.
        utd_chosen, model_size_chosen: the one pair of least expected cost over all draws.
    """

    env_id: str
    thresholds: Float[np.ndarray, " threshold"]
    utd: Float[np.ndarray, "draw threshold"]
    model_size: Float[np.ndarray, "draw threshold"]
    budget: Float[np.ndarray, "draw threshold"]
    utd_chosen: Float[np.ndarray, " threshold"]
    model_size_chosen: Float[np.ndarray, " threshold"]

    def summary(self) -> Summary:
        """Return the best UTD and the cost at the lowest, a middle and the highest threshold, and what to do next."""
        table = self.table()
        shown = table.iloc[sorted({0, len(table) // 2, len(table) - 1})]
        said = {}
        for _, row in shown.iterrows():
            utd, cost = ({q: row[f"{name}_{q}"] for q in ("q05", "q50", "q95")} for name in ("utd", "budget"))
            chosen = f"run UTD {three_digits(row['utd_chosen'])}"
            best = f"each draw's best is {with_interval(utd, 'updates per env step')}"
            said[f"return {three_digits(row['threshold'])}"] = f"{chosen}; {best}; cost {with_interval(cost, 'units')}"
        title = f"Budget-optimal UTD of {self.env_id} at {counted(len(table), 'threshold')}"
        return Summary(title, {**said, "next": "path.table(); bs.plots.budget_path(path.table(), posterior.crossings)"})

    def table(self) -> pd.DataFrame:
        """Return one row per threshold: 5%, 50% and 95% quantiles over draws, and the chosen pair."""
        table = pd.DataFrame({"threshold": self.thresholds})
        for name in ("utd", "model_size", "budget"):
            for percent in (5, 50, 95):
                table[f"{name}_q{percent:02d}"] = np.quantile(getattr(self, name), percent / 100, axis=0)
        return table.assign(utd_chosen=self.utd_chosen, model_size_chosen=self.model_size_chosen)


def budget_path(
    posterior: Posterior,
    *,
    env_id: str,
    prices: Prices = DEFAULT_PRICES,
    model_size: int | None = None,
    new_task: bool = False,
    cut_short: bool = False,
) -> BudgetPath:
    """Return the budget-optimal UTDs and model sizes over the fitted thresholds, within the swept ranges.

    The cost that they minimise is (prices.flop * 10 N B* sigma + prices.env_step) D / p_reach, where the division pays
    for failed runs and their repetition. A UTD and model size whose setting at the median B* and eta* lies nearest to a
    swept setting that failed at the return is left out, as in `allocate`.

    Args:
        posterior: a fit.
        env_id: task.
        prices: of a training flop and of an env step.
        model_size: N, critic parameters; default: that of the fitted runs, or chosen where it varies.
        new_task: True allows a task without runs, predicted as one sampled from the population of tasks.
        cut_short: True: runs that ended early below a return were only cut short.

    Raises:
        InputError: `prices` is not a `Prices`, the model size is neither given nor in the data, or the task has no
            fitted runs and `new_task` is False.
        Infeasible: all swept settings of the task failed.
    """
    require_prices(prices)
    posterior.require_tasks([env_id], new_task=new_task)
    posterior.warn_of_nothing_reached([env_id])
    utds, sizes = swept_utds(posterior, env_id), swept_sizes(posterior, env_id, model_size)
    utd, size = np.tile(utds, len(sizes)), np.repeat(sizes, len(utds))
    by_size = (optima(posterior, env_id, utds, n) for n in sizes)
    batch, rate, steps, p_reach = (np.concatenate(parts, axis=1) for parts in zip(*by_size, strict=True))
    step_cost = prices.cost(np.asarray(flops(size[:, None], batch, utd[:, None], 1.0)), np.ones_like(batch))
    cost = expected_cost(steps, step_cost=step_cost, p_reach=p_reach)
    settings = pd.DataFrame({"env_id": env_id, "utd": utd, "model_size": size})
    for k, threshold in enumerate(posterior.thresholds):
        at_optimum = {
            "batch_size": np.median(batch[:, :, k], axis=0),
            "learning_rate": np.median(rate[:, :, k], axis=0),
        }
        failed = near_failed_settings(
            posterior.crossings, settings.assign(**at_optimum), np.array([threshold]), cut_short=cut_short
        )[:, 0]
        require_candidates(env_id, float(threshold), ~failed)
        cost[:, failed, k] = np.inf
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
