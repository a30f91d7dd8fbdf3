"""Choose the setting to run: the one of least expected cost for a return, or the highest return within a budget.

A setting is one UTD, batch size and learning rate, and one model size where that varies. The choice is the Bayes
action: one setting for all posterior draws, not each draw's optimum. The cost under a draw is the cost of the median
run over the probability that a run reaches the return: a failed run is paid for and repeated. Seed noise enters
`p_success`; it enters the choice only under the risk measure run:LEVEL.
"""

from collections.abc import Iterable

import numpy as np

from bayescale.arguments import require_positive
from bayescale.decisions.candidates import (
    Within,
    crossings_of_task,
    flops_per_step,
    ranges,
    require_candidates,
    utd_candidates,
)
from bayescale.decisions.cheapest_settings import ALLOCATION_DRAWS as ALLOCATION_DRAWS
from bayescale.decisions.cheapest_settings import Choices, Question, coarse_choices, refined
from bayescale.decisions.records import Allocation, Basis, basis_of, mean_and_quantiles
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, parse_risk, require_prices
from bayescale.errors import Infeasible, InputError
from bayescale.posterior.ceilings import Ceiling
from bayescale.posterior.outcomes import nothing_reached
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.swept_ranges import above_thresholds, joined, outside_sweep

AXES = {"utd": "UTD", "batch_size": "batch size", "learning_rate": "learning rate", "model_size": "critic parameters"}
EDGE = 1e-6  # relative distance to the end of a range within which a value lies at that end


def allocate(
    posterior: Posterior,
    *,
    env_id: str,
    budget: float | None = None,
    threshold: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    risk: str = "mean",
    model_size: int | None = None,
    ceiling: Ceiling | None = None,
    new_task: bool = False,
    cut_short: bool = False,
    within: Within | None = None,
) -> Allocation:
    """Choose the setting to run among candidates inside the swept ranges.

    The candidates are the UTDs of `candidates.utd_candidates`, and at each the batch size, learning rate and model size
    of least risk, searched in steps of a few percent. The choice is the cheapest row of `frontier` at these UTDs.

    Settings whose nearest swept setting failed at the return are no candidates, see `bayescale.posterior.outcomes`;
    `left_out` names the failed settings. The probability
    `p_success` is the model's, which pools tasks; `runs` and `runs_reached` count the task's own runs beside it. A task
    of which no run reached the lowest fitted threshold gets no choice, because its own data hold no run length.

    Given a threshold, choose the setting that minimises the risk of the cost; a budget below that risk makes the choice
    infeasible. Given a budget alone, choose the highest fitted threshold whose least risk is within the budget.

        cost = (prices.flop * flops + prices.env_step * env_steps) / p_reach

    Here flops and env_steps are those of the median run, and the division pays for failed runs and their repetition.
    Lower is better, so risk reads the upper tail of the cost.

    Args:
        posterior: a fit.
        env_id: task.
        budget: in the unit of the prices, > 0.
        threshold: the return to reach, at least the lowest of `posterior.thresholds`. Above the highest, the law of
            `bayescale.posterior.extrapolation` holds; some draws then never reach it, so their cost is inf and the
            mean is too: use prob:LEVEL there.
        prices: of a training flop and of an env step.
        risk: mean, cvar:LEVEL or prob:LEVEL of this cost, or run:LEVEL, the budget within which one new run
            reaches the threshold with probability LEVEL; see `bayescale.decisions.utility`.
        model_size: critic parameters; default: that of the fitted runs, or chosen where it varies.
        ceiling: the highest return that a task allows, in units of the thresholds; see `bayescale.posterior.ceilings`.
        new_task: True allows a task without runs; the choice is then for a task sampled from the population of tasks.
        cut_short: True: runs that ended early below the return were only cut short, so their settings are candidates
            too. Settings all of whose runs have the status diverged stay out.
        within: lowest and highest value by axis, in place of the swept range: {"utd": (0.5, 16)}. A choice beyond the
            sweep says so in `extrapolation`.

    Returns:
        The allocation. If it is not `feasible`, it shows the cheapest choice for the lowest threshold in question; if
        no budget suffices at any setting, it shows the setting with the highest probability to reach the threshold.

    Raises:
        InputError: neither a budget nor a threshold is given, an argument is out of range, or the task has no fitted
            runs and `new_task` is False.
        Infeasible: no run of the task reached the lowest fitted threshold, or all swept settings failed.
    """
    if budget is None and threshold is None:
        raise InputError("allocate needs a budget or a threshold; give at least one.")
    if budget is not None:
        require_positive("budget", budget)
    require_prices(prices)
    measure = parse_risk(risk)
    wanted = None if threshold is None else posterior.as_fitted(threshold)
    _require_answer(posterior, env_id, new_task)
    question = Question(
        posterior=posterior,
        env_id=env_id,
        wanted=wanted,
        prices=prices,
        measure=measure,
        ranges=ranges(posterior, env_id, within=within, model_size=model_size),
        ceiling=ceiling,
        cut_short=cut_short,
    )
    coarse = coarse_choices(question, utd_candidates(posterior, env_id, *question.ranges["utd"]))
    k = 0 if wanted is not None or budget is None else _affordable(coarse, budget)
    best = _best(question, coarse, k)
    if budget is not None and wanted is None:  # the search may find that a higher return is affordable after all
        while k + 1 < len(question.thresholds) and (higher := _best(question, coarse, k + 1)).risk[0] <= budget:
            best, k = higher, k + 1
    (outside,) = outside_sweep(posterior.crossings, best.settings)
    return _allocation(question, best, outside, basis_of(posterior, prices, risk), budget)


def allocations(
    posterior: Posterior,
    *,
    env_id: str,
    thresholds: Iterable[float],
    prices: Prices = DEFAULT_PRICES,
    model_size: int | None = None,
    new_task: bool = False,
    cut_short: bool = False,
) -> dict[float, Allocation]:
    """Choose the setting of least expected cost for each of several fitted thresholds, in the time of one `allocate`.

    Args:
        posterior: a fit.
        env_id: task.
        thresholds: fitted thresholds.
        prices: of a training flop and of an env step.
        model_size: critic parameters; default: that of the fitted runs, or chosen where it varies.
        new_task, cut_short: as for `allocate`.

    Returns:
        Allocations by threshold, each equal to that of `allocate`.

    Raises:
        InputError: a threshold was not fitted, the model size is neither given nor in the data, or the task has no
            fitted runs and `new_task` is False.
        Infeasible: as for `allocate`.
    """
    require_prices(prices)
    _require_answer(posterior, env_id, new_task)
    question = Question(
        posterior=posterior,
        env_id=env_id,
        wanted=None,
        prices=prices,
        measure=parse_risk("mean"),
        ranges=ranges(posterior, env_id, model_size=model_size),
        cut_short=cut_short,
    )
    numbers = {threshold: posterior.threshold_number(threshold) for threshold in thresholds}
    coarse = coarse_choices(question, utd_candidates(posterior, env_id, *question.ranges["utd"]))
    best = _best(question, coarse, *numbers.values())
    basis = basis_of(posterior, prices, "mean")
    outside = dict(zip(best.threshold, outside_sweep(posterior.crossings, best.settings), strict=True))
    return {
        threshold: _allocation(question, best.take(best.threshold == k), outside[k], basis)
        for threshold, k in numbers.items()
    }


def at_edge(posterior: Posterior, choice: Allocation) -> tuple[str, ...]:
    """Return the names of the axes on which the choice lies at an end of the swept range."""
    rows = crossings_of_task(posterior, choice.env_id)
    ends = {name: (rows[name].min(), rows[name].max()) for name in AXES if name in rows}
    return tuple(
        AXES[name]
        for name, (low, high) in ends.items()
        if low < high and not low * (1 + EDGE) < getattr(choice, name) < high * (1 - EDGE)
    )


def _require_answer(posterior: Posterior, env_id: str, new_task: bool) -> None:
    """Raise an error unless the fit can advise on the task; see `allocate`."""
    posterior.require_tasks([env_id], new_task=new_task)
    for clause in nothing_reached(posterior.crossings, [env_id]).values():
        raise Infeasible(
            f"{clause}: give longer runs, other settings or lower thresholds, or fit with thresholds that its runs "
            "reached."
        )


def _affordable(coarse: Choices, budget: float) -> int:
    """Return the index of the highest return such that the coarse grid affords it and all below; 0 if none."""
    least = np.array([coarse.risk[coarse.threshold == k].min() for k in np.unique(coarse.threshold)])
    return max(int(np.logical_and.accumulate(least <= budget).sum()) - 1, 0)


def _best(question: Question, coarse: Choices, *thresholds: int) -> Choices:
    """Return the best choice for each of these returns, given by index, in increasing order."""
    for k in thresholds:
        left = ~coarse.failed[coarse.threshold == k]
        require_candidates(question.env_id, float(question.thresholds[k]), left)
    found = refined(question, coarse.take(np.isin(coarse.threshold, thresholds)), only_best=True)
    numbers = np.unique(found.threshold)
    return found.take([int(np.where(found.threshold == k, found.merit, np.inf).argmin()) for k in numbers])


def _allocation(
    question: Question, best: Choices, outside: str, basis: Basis, budget: float | None = None
) -> Allocation:
    """Return the record of one choice.

    Args:
        question: the task, the returns and the cost.
        best: one choice.
        outside: on which axes and how far it lies outside the swept range.
        basis: what the choice rests on.
        budget: in the unit of the prices; None: unlimited, so a finite risk is feasible.
    """
    setting, k, risk, posterior = best.settings.iloc[0], best.threshold[0], float(best.risk[0]), question.posterior
    step_flops = float(flops_per_step(best.settings)[0])
    step_cost = question.prices.flop * step_flops + question.prices.env_step
    env_steps, cost, least_cost = best.env_steps[:, 0], best.cost[:, 0], best.least_cost[:, k]
    ratio = np.divide(cost, least_cost, out=np.ones_like(cost), where=np.isfinite(least_cost))
    # Without a budget, the run may last forever and only a run that never learns fails.
    log_limit = np.inf if budget is None else float(np.log(budget / step_cost))
    threshold = float(question.thresholds[k])
    return Allocation(
        env_id=question.env_id,
        threshold=threshold,
        utd=float(setting["utd"]),
        batch_size=int(setting["batch_size"]),
        learning_rate=float(setting["learning_rate"]),
        model_size=int(setting["model_size"]),
        feasible=bool(np.isfinite(risk) and (budget is None or risk <= budget)),
        risk=risk,
        p_success=float(best.run_lengths.reached_by(log_limit).mean()),
        env_steps=mean_and_quantiles(env_steps),
        flops=mean_and_quantiles(step_flops * env_steps),
        budget=mean_and_quantiles(cost),
        regret=mean_and_quantiles(ratio - 1),
        runs=question.counts[k].runs,
        runs_reached=question.counts[k].reached,
        extrapolation=joined(outside, above_thresholds(posterior.thresholds, threshold)),
        left_out=question.left_out[k],
        basis=basis,
    )
