"""Choose the setting to run: the one of least expected cost for a return, or the highest return within a budget.

A setting is one UTD, batch size and learning rate, and one model size where that varies. The choice is the Bayes
action: one setting for all posterior draws, not each draw's optimum. Costs are the costs of the median run under each
draw. Seed noise enters `p_success`; it enters the choice only under the risk measure run:LEVEL.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import require_positive
from bayescale.decisions.candidates import crossings_of_task, flops_per_step, require_candidates, swept_settings
from bayescale.decisions.records import Allocation, Basis, basis_of, mean_and_quantiles
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, Risk, parse_risk, require_prices
from bayescale.errors import Infeasible, InputError
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.outcomes import failed_settings, near_failed_settings, nothing_reached, run_counts
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import quantiles, run_lengths
from bayescale.posterior.swept_ranges import above_thresholds, joined, outside_sweep
from bayescale.run_length_distribution import RunLengthDistribution

ALLOCATION_DRAWS = 400
AXES = {"utd": "UTD", "batch_size": "batch size", "learning_rate": "learning rate", "model_size": "critic parameters"}
EDGE = 1e-6  # relative distance to the end of a range within which a value lies at that end


class _Outcomes(NamedTuple):
    """The run lengths of a new run at each candidate setting.

    Attributes:
        posterior: the fit.
        env_id: task.
        thresholds: increasing returns.
        settings: one row per candidate setting.
        run_lengths: axes draw, setting, threshold.
        failed: True where the nearest swept setting failed, so that the setting is no candidate for the threshold.
        cut_short: True: runs that ended early were only cut short.
        basis: what the choices rest on.
        one_run_env_steps: env steps within which one new run reaches the threshold with the probability that the risk
            measure asks for; None if the risk measure is one of the median run.
    """

    posterior: Posterior
    env_id: str
    thresholds: Float[np.ndarray, " threshold"]
    settings: pd.DataFrame
    run_lengths: RunLengthDistribution
    failed: Bool[np.ndarray, "setting threshold"]
    cut_short: bool
    basis: Basis
    one_run_env_steps: Float[np.ndarray, "setting threshold"] | None


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
) -> Allocation:
    """Choose the setting to run among candidates inside the swept ranges.

    Settings whose nearest swept setting failed at the return are no candidates, see `bayescale.posterior.outcomes`;
    `left_out` names the failed settings. The probability
    `p_success` is the model's, which pools tasks; `runs` and `runs_reached` count the task's own runs beside it. A task
    of which no run reached the lowest fitted threshold gets no choice, because its own data hold no run length.

    Given a threshold, choose the setting that minimises the risk of the cost; a budget below that risk makes the choice
    infeasible. Given a budget alone, choose the highest fitted threshold whose least risk is within the budget.

        cost = prices.flop * flops + prices.env_step * env_steps;   lower is better, so risk reads its upper tail

    Args:
        posterior: a fit.
        env_id: task.
        budget: in the unit of the prices, > 0.
        threshold: the return to reach, at least the lowest of `posterior.thresholds`. Above the highest, the law of
            `bayescale.posterior.extrapolation` holds; some draws then never reach it, so their cost is inf and the
            mean is too: use prob:LEVEL there.
        prices: of a training flop and of an env step.
        risk: mean, cvar:LEVEL or prob:LEVEL of the median run's cost, or run:LEVEL, the budget within which one new run
            reaches the threshold with probability LEVEL; see `bayescale.decisions.utility`.
        model_size: critic parameters; default: that of the fitted runs, or chosen where it varies.
        ceiling: the highest return that a task allows, in units of the thresholds; see `bayescale.posterior.ceilings`.
        new_task: True allows a task without runs; the choice is then for a task sampled from the population of tasks.
        cut_short: True: runs that ended early below the return were only cut short, so their settings are candidates
            too. Settings all of whose runs have the status diverged stay out.

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
    wanted = None if threshold is None else np.array([posterior.as_fitted(threshold)])
    _require_answer(posterior, env_id, new_task)
    settings = swept_settings(posterior, env_id=env_id, model_size=model_size)
    basis = basis_of(posterior, prices, risk)
    outcomes = _outcomes(posterior, settings, basis, wanted=wanted, ceiling=ceiling, cut_short=cut_short)
    return _choose(outcomes, range(len(outcomes.thresholds)), prices, measure, budget)


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
    measure = parse_risk("mean")
    _require_answer(posterior, env_id, new_task)
    settings = swept_settings(posterior, env_id=env_id, model_size=model_size)
    outcomes = _outcomes(posterior, settings, basis_of(posterior, prices, "mean"), cut_short=cut_short)
    return {
        threshold: _choose(outcomes, [posterior.threshold_number(threshold)], prices, measure)
        for threshold in thresholds
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


def _outcomes(
    posterior: Posterior,
    settings: pd.DataFrame,
    basis: Basis,
    *,
    wanted: Float[np.ndarray, " threshold"] | None = None,
    ceiling: Ceiling | None = None,
    cut_short: bool,
) -> _Outcomes:
    """Predict all candidate settings at the wanted returns, or at the fitted thresholds if `wanted` is None."""
    thresholds, measure = posterior.thresholds, parse_risk(basis.risk_measure)
    distribution = run_lengths(posterior.model, posterior.flat_draws(ALLOCATION_DRAWS), settings)
    if wanted is not None:
        best = ceilings(ceiling, settings["env_id"], posterior.crossings)
        distribution = at_thresholds(distribution, thresholds, wanted, best)
        thresholds = wanted
    one_run = quantiles(distribution, np.array([measure.level]))[..., 0] if measure.one_run else None
    env_id = str(settings["env_id"].iloc[0])
    failed = near_failed_settings(posterior.crossings, settings, thresholds, cut_short=cut_short)
    return _Outcomes(posterior, env_id, thresholds, settings, distribution, failed, cut_short, basis, one_run)


def _choose(
    outcomes: _Outcomes,
    thresholds: Sequence[int],
    prices: Prices,
    measure: Risk,
    budget: float | None = None,
) -> Allocation:
    """Choose for the highest of the thresholds that the budget affords, or for the lowest if it affords none.

    Args:
        outcomes: predictions of the candidate settings.
        thresholds: increasing indices into `outcomes.thresholds`.
        prices: of a training flop and of an env step.
        measure: the risk measure to minimise.
        budget: in the unit of the prices; None: unlimited, so the last threshold for which a finite budget suffices.
    """
    settings, p_reach = outcomes.settings, outcomes.run_lengths.p_reach
    step_flops = flops_per_step(settings)
    step_cost = prices.cost(step_flops, np.ones(len(step_flops)))
    best = None
    for k in thresholds:
        env_steps = np.where(p_reach[:, :, k] > 0, np.exp(outcomes.run_lengths.location[:, :, k]), np.inf)
        kept = ~outcomes.failed[:, k]
        if best is None:
            require_candidates(outcomes.env_id, float(outcomes.thresholds[k]), kept)
        cost = np.where(kept, step_cost * env_steps, np.inf)
        one_run = outcomes.one_run_env_steps
        risks = measure(cost) if one_run is None else np.where(kept, step_cost * one_run[:, k], np.inf)
        possible = np.isfinite(risks).any()
        choice = int(risks.argmin() if possible else np.where(kept, p_reach[:, :, k].mean(axis=0), -1.0).argmax())
        affordable = bool(possible and (budget is None or risks[choice] <= budget))
        if best is not None and not affordable:
            break
        best = (k, choice, affordable, float(risks[choice]), env_steps[:, choice], cost)
        if not affordable:
            break
    assert best is not None  # there is at least one threshold
    k, choice, affordable, risk, env_steps, cost = best
    setting, chosen_cost, least_cost = settings.iloc[choice], cost[:, choice], cost.min(axis=1)
    # Without a budget, the run may last forever and only a run that never learns fails.
    log_limit = np.inf if budget is None else float(np.log(budget / step_cost[choice]))
    chosen = RunLengthDistribution(*(part[:, choice, k] for part in outcomes.run_lengths))
    ratio = np.divide(chosen_cost, least_cost, out=np.ones_like(chosen_cost), where=np.isfinite(least_cost))
    threshold, fitted = float(outcomes.thresholds[k]), outcomes.posterior.thresholds
    outside = outside_sweep(outcomes.posterior.crossings, settings.iloc[[choice]])[0]
    counts = run_counts(outcomes.posterior.crossings, outcomes.env_id, threshold)
    return Allocation(
        env_id=outcomes.env_id,
        threshold=threshold,
        utd=float(setting["utd"]),
        batch_size=int(setting["batch_size"]),
        learning_rate=float(setting["learning_rate"]),
        model_size=int(setting["model_size"]),
        feasible=affordable,
        risk=risk,
        p_success=float(chosen.reached_by(log_limit).mean()),
        env_steps=mean_and_quantiles(env_steps),
        flops=mean_and_quantiles(step_flops[choice] * env_steps),
        budget=mean_and_quantiles(chosen_cost),
        regret=mean_and_quantiles(ratio - 1),
        runs=counts.runs,
        runs_reached=counts.reached,
        extrapolation=joined(outside, above_thresholds(fitted, threshold)),
        left_out=failed_settings(
            outcomes.posterior.crossings, outcomes.env_id, threshold, cut_short=outcomes.cut_short
        ),
        basis=outcomes.basis,
    )
