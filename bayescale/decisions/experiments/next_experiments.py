"""Choose the next runs: the candidates whose results are worth the most to the next decision, per cost.

The decision is the one of `allocate`: the setting of least expected cost for a return, where failed runs count as
paid for and repeated. The worth of a run is its
expected value of sample information, EVSI; see `bayescale.decisions.experiments.sample_information`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtr

from bayescale.arguments import counted, require_count, require_positive
from bayescale.data.curves import SETTING_COLUMNS
from bayescale.data.tables import Column, Table, check_columns
from bayescale.decisions.candidates import (
    Within,
    flops_per_step,
    require_candidates,
    setting_grid,
    with_model_sizes,
)
from bayescale.decisions.experiments.sample_information import CandidateRuns, expected_loss, log_likelihood
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, expected_cost, require_prices
from bayescale.errors import Infeasible, InputError
from bayescale.posterior.extrapolation import between_thresholds
from bayescale.posterior.outcomes import near_failed_settings
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import run_lengths

EVSI_DRAWS = 600  # time and memory grow with the square of the number of draws
ROUNDING = 1e-9  # relative excess over the budget that counts as rounding error of the summed costs
LIKELY = 0.5  # least probability to reach a return that is worth deciding about
CANDIDATE_COLUMNS = (*SETTING_COLUMNS, Column("env_steps", "integer", above=0, optional=True))


def next_experiments(
    posterior: Posterior,
    candidates: pd.DataFrame,
    *,
    budget: float,
    n: int = 8,
    env_id: str | None = None,
    threshold: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    within: Within | None = None,
    model_size: int | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
    new_task: bool = False,
    cut_short: bool = False,
) -> pd.DataFrame:
    """Choose runs one after the other, each for the greatest EVSI per cost given the runs chosen before it.

    The choice ends after `n` runs or when the rest of the budget holds no candidate. A candidate may be chosen several
    times, with another seed each time. A run of length L shows its env steps to every threshold that it reaches within
    L. Its seed noise is common to all thresholds, so they count together as one observation. Seed noise is treated as
    normal and independent between runs, also between runs of one configuration.

    Args:
        posterior: a fit.
        candidates: columns env_id, utd, batch_size, learning_rate; optional model_size and env_steps, the length of the
            run (default: the run ends at the highest threshold, at the latest after the longest run length in the
            fit). Further columns are kept.
        budget: for all runs together, in the unit of the prices, > 0.
        n: the greatest number of runs.
        env_id: the task to decide about; default: all tasks of the candidates, with their values added.
        threshold: the return to decide about, between the lowest and the highest of `posterior.thresholds`: above
            the highest, no return has a finite expected cost. Default: for each task, the highest threshold that the
            best setting reaches with probability 0.5 or more.
        prices: of a training flop and of an env step.
        within: lowest and highest value by axis that the decision may choose, in place of the swept range:
            {"utd": (0.5, 16)}. A run beyond the sweep is worth something only if the decision may choose there.
        model_size: critic parameters; default: that of the task's fitted runs. Where it varies, the decision chooses
            it, and candidates without the column get the middle size.
        seed: of the simulated results.
        report: called with one line of progress before each choice.
        new_task: True allows one task without runs, predicted as one sampled from the population of tasks.
        cut_short: True: runs that ended early below a return were only cut short, so the decision may choose
            their settings.

    Returns:
        One row per chosen run, with the columns of `candidates` and `score`, `cost`, `rank`. `score`: EVSI per cost,
        >= 0, higher is better; 0.02 means that the run pays for itself once the decision has been used 50 times.
        `cost`: expected, in the unit of the prices. `rank`: 1, 2, ... in the order of the choice.

    Raises:
        InputError: a column, a row or an argument cannot be used, or a task has no fitted runs and `new_task` is False.
        Infeasible: the budget does not hold the cheapest candidate, or all swept settings of a task failed.
    """
    table = check_columns(Table(candidates, "candidates"), CANDIDATE_COLUMNS).reset_index(drop=True)
    checked = posterior.named(table)
    require_positive("budget", budget)
    require_prices(prices)
    require_count("n", n)
    require_count("seed", seed, 0)
    tasks = [env_id] if env_id is not None else list(checked["env_id"].unique())
    posterior.require_tasks([*tasks, *checked["env_id"]], new_task=new_task)
    posterior.warn_of_nothing_reached(tasks)
    new_tasks = sorted({*tasks, *checked["env_id"]} - set(posterior.tasks))
    if len(new_tasks) > 1:
        raise InputError(
            f"one task at a time can be without runs; got {', '.join(new_tasks)}. Plan for each by itself."
        )
    sized = with_model_sizes(posterior, checked, model_size)
    draws = posterior.flat_draws(EVSI_DRAWS, [*tasks, *checked["env_id"]])
    offer = _candidate_runs(posterior, draws, sized, prices)
    if offer.cost.min() > budget:
        raise Infeasible(
            f"the budget {budget:g} does not hold any candidate; the cheapest, row {offer.cost.argmin() + 1}, "
            f"costs {offer.cost.min():.3g}."
        )
    wanted = None if threshold is None else _within_fitted(posterior, threshold)
    losses = []
    for task in tasks:
        settings = setting_grid(posterior, env_id=task, within=within, model_size=model_size)
        losses.append(_extra_costs(posterior, draws, settings, wanted, prices, cut_short))
    chosen, scores = _greedy(offer, losses, budget, n, np.random.default_rng(seed), report)
    return (
        table.iloc[chosen]
        .reset_index(drop=True)
        .assign(score=scores, cost=offer.cost[chosen], rank=np.arange(1, len(chosen) + 1))
    )


def purchase_list(plan: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of `next_experiments` as a purchase list: one row per configuration, with a number of seeds.

    Runs without worth (score 0) are left out. Runs of equal task, setting and length are one row, even if their numbers
    differ by rounding.

    Args:
        plan: the table of `next_experiments`.

    Returns:
        The columns of `plan`, with the values of the row's first run, then `seeds`, the number of runs to buy with
        different seeds, and `total_cost` of these runs. `score` is the value of these runs together over their total
        cost; `cost` is the cost of one run; `rank` is 1, 2, ... in the order of the first runs.
    """
    worth = plan[plan["score"] > 0]
    named = [column.name for column in CANDIDATE_COLUMNS if column.name in worth]
    keys = [worth[name] if name == "env_id" else worth[name].map("{:.9g}".format) for name in named]
    by_configuration = worth.assign(seeds=1, total_cost=worth["cost"], score=worth["score"] * worth["cost"])
    summed = dict.fromkeys(("score", "seeds", "total_cost"), "sum")
    rows = by_configuration.groupby([key.to_numpy() for key in keys], sort=False).agg(
        {str(name): summed.get(str(name), "first") for name in by_configuration}
    )
    rows = rows.reset_index(drop=True)
    return rows.assign(score=rows["score"] / rows["total_cost"], rank=np.arange(1, len(rows) + 1))


def _greedy(
    offer: CandidateRuns,
    losses: Sequence[Float[np.ndarray, "draw _"]],
    budget: float,
    n: int,
    rng: np.random.Generator,
    report: Callable[[str], None] | None,
) -> tuple[list[int], list[float]]:
    """Return the row numbers of the chosen candidates and their scores; of equal scores the cheapest is chosen."""
    chosen: list[int] = []
    scores: list[float] = []
    draws = len(offer.location)
    known = np.zeros((draws, draws))  # log likelihood of the runs chosen so far
    loss = expected_loss(known, losses)
    while len(chosen) < n:
        affordable = [j for j in range(len(offer.cost)) if offer.cost[[*chosen, j]].sum() <= budget * (1 + ROUNDING)]
        if not affordable:
            break
        if report is not None:
            count = counted(len(affordable), "candidate")
            report(f"run {len(chosen) + 1} of at most {n}: {count} within the rest of the budget")
        # All candidates share the random numbers, so comparisons between them are less noisy.
        seed_noise, uniform = rng.standard_normal(draws), rng.random(draws)
        best = (0.0, -np.inf, 0, known, loss)
        for j in affordable:
            with_run = known + log_likelihood(offer, j, seed_noise, uniform)
            loss_with_run = expected_loss(with_run, losses)
            score = max(loss - loss_with_run, 0.0) / offer.cost[j]
            if (score, -offer.cost[j]) > best[:2]:
                best = (score, -offer.cost[j], j, with_run, loss_with_run)
        score, _, j, known, loss = best
        chosen.append(j)
        scores.append(score)
    return chosen, scores


def _candidate_runs(
    posterior: Posterior, draws: dict[str, np.ndarray], candidates: pd.DataFrame, prices: Prices
) -> CandidateRuns:
    """Predict the candidate runs and their costs.

    A run of a stated length costs its whole length. Any other run ends at the highest threshold, at the latest after
    the longest run length in the fit; its cost is the expectation over draws and seeds.
    """
    location, scale, _, p_reach = run_lengths(posterior.model, draws, candidates)
    if "env_steps" in candidates:
        steps = length = candidates["env_steps"].to_numpy(float)
    else:
        length = np.full(len(candidates), _longest(posterior))
        last, spread, reach = location[:, :, -1], scale[:, :, -1], p_reach[:, :, -1]
        z = (np.log(length) - last) / spread
        in_time = np.exp(last + spread**2 / 2) * ndtr(z - spread)
        steps = (reach * (in_time + length * ndtr(-z)) + (1 - reach) * length).mean(axis=0)
    cost = prices.cost(flops_per_step(candidates) * steps, steps)
    return CandidateRuns(location, scale, p_reach, np.log(length), cost)


def _longest(posterior: Posterior) -> float:
    """Return the longest run length in the fit, in env steps."""
    env_steps = posterior.crossings[["env_steps_lower", "env_steps_upper"]].to_numpy(float)
    return float(env_steps[np.isfinite(env_steps)].max())


def _within_fitted(posterior: Posterior, threshold: float) -> float:
    """Return the threshold to decide about; raise InputError unless it lies within the fitted thresholds."""
    wanted, fitted = posterior.as_fitted(threshold), posterior.thresholds
    if not fitted[0] <= wanted <= fitted[-1]:
        raise InputError(
            f"threshold must be within the fitted ones, {fitted[0]:g} to {fitted[-1]:g}, as none beyond has a finite "
            f"expected cost; got {threshold:g}. Choose one within, or fit again with it."
        )
    return wanted


def _extra_costs(
    posterior: Posterior,
    draws: dict[str, np.ndarray],
    settings: pd.DataFrame,
    wanted: float | None,
    prices: Prices,
    cut_short: bool,
) -> Float[np.ndarray, "draw setting"]:
    """Return the cost of each setting minus the cost of today's choice, in the unit of the prices.

    Settings that are cheaper under no draw are left out, as no result can make them the choice. Differences carry less
    Monte Carlo noise than costs, whose common part is the same with and without results.

    Args:
        posterior: a fit.
        draws: values by parameter name, draw axis first.
        settings: the candidate settings of the task to decide about.
        wanted: the return to decide about; None: the highest threshold that today's choice reaches with probability
            `LIKELY` or more, the lowest threshold if there is none.
        prices: of a training flop and of an env step.
        cut_short: see `next_experiments`.
    """
    location, _, _, p_reach = run_lengths(posterior.model, draws, settings)
    thresholds = posterior.thresholds if wanted is None else np.array([wanted])
    if wanted is not None:
        location, p_reach = (between_thresholds(part, posterior.thresholds, thresholds) for part in (location, p_reach))
    step_cost = prices.cost(flops_per_step(settings), np.ones(len(settings)))
    cost = expected_cost(np.exp(location), step_cost=step_cost[:, None], p_reach=p_reach)
    failed = near_failed_settings(posterior.crossings, settings, thresholds, cut_short=cut_short)
    cost = np.where(failed, np.inf, cost)
    choice = cost.mean(axis=0).argmin(axis=0)
    k = 0
    if wanted is None:
        likely = ~failed.all(axis=0) & (p_reach.mean(axis=0)[choice, np.arange(len(choice))] >= LIKELY)
        k = int(np.flatnonzero(likely).max(initial=0))
    require_candidates(str(settings["env_id"].iloc[0]), float(thresholds[k]), ~failed[:, k])
    extra = cost[:, :, k] - cost[:, choice[k], k][:, None]
    kept = (extra < 0).any(axis=0)
    kept[choice[k]] = True
    return np.ascontiguousarray(extra[:, kept])
