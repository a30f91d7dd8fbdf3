"""What to run next: the candidate runs whose results are worth most to the next decision, for what they cost.

The decision is that of `allocate`: the setting a of least expected cost c for a return. With y the results of some
runs, their expected value of sample information (Raiffa & Schlaifer, 1961) is

    EVSI = min_a E[c(a)] - E_y min_a E[c(a) | y]  >= 0,  in the unit of the prices, for one use of the decision.

Nothing is refitted: y is simulated from each posterior draw, and weights p(y | draw') over the draws give E[. | y].
The least of many noisy means is too low, which makes noise look valuable. So one half of the draws chooses a, with and
without y, and the other half says what the choice costs: in expectation an uninformative run is worth at most nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import ndtr

from bayescale.arguments import counted, require_count, require_positive
from bayescale.data.curves import SETTING_COLUMNS
from bayescale.data.tables import Column, Table, check_columns
from bayescale.decisions.allocation import DEFAULT_PRICES
from bayescale.decisions.candidates import flops_per_step, swept_settings, with_model_sizes
from bayescale.decisions.utility import Prices, require_prices
from bayescale.errors import Infeasible, InputError
from bayescale.posterior.extrapolation import between_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import runs

DESIGN_DRAWS = 600  # time and memory grow with its square
ROUNDING = 1e-9  # by which a sum of costs may miss the budget that it was meant to fill
LIKELY = 0.5  # the chance to reach a return from which on it is worth planning for
CANDIDATE_COLUMNS = (*SETTING_COLUMNS, Column("env_steps", "integer", above=0, optional=True))


@dataclass(frozen=True)
class CandidateRuns:
    """One run at each candidate under each draw: log env steps per threshold, the length of the run and its cost."""

    location: Float[np.ndarray, "draw candidate threshold"]
    scale: Float[np.ndarray, "draw candidate threshold"]
    p_reach: Float[np.ndarray, "draw candidate threshold"]
    log_length: Float[np.ndarray, " candidate"]
    cost: Float[np.ndarray, " candidate"]


def next_experiments(
    posterior: Posterior,
    candidates: pd.DataFrame,
    budget: float,
    n: int = 8,
    env_id: str | None = None,
    threshold: float | None = None,
    prices: Prices = DEFAULT_PRICES,
    model_size: int | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """The runs to buy, in the order to buy them: rows of `candidates` with `score`, `cost` and `rank`.

    Chosen one after the other, each for the most value per cost given what the ones before it will show, until there
    are `n` or the budget holds no other. A candidate may be chosen again: another seed. A run shows its times to all
    thresholds up to its length; its seed's luck is common to them, so that together they weigh as one observation.
    Luck is independent between runs, also between those of one configuration, and taken as normal.

    Args:
        posterior: a fit.
        candidates: columns env_id, utd, batch_size, learning_rate; optional model_size and env_steps, the length of the
            run (default: until the highest threshold, or the longest time in the fit). Further columns are kept.
        budget: for all runs together, in the unit of the prices, > 0.
        n: most runs.
        env_id: the task to decide about; default: those of the candidates, their values added.
        threshold: the return to decide about, from the lowest to the highest of `posterior.thresholds`, as no return
            beyond has a finite expected cost; default for each task: the highest threshold that the best setting
            reaches with a chance of at least one half.
        prices: of a flop and an env step.
        model_size: critic parameters; default those of the task's fitted runs, to be chosen from where they vary (of
            candidates without the column: the middle size).
        seed: of the simulated results.
        report: called with a line before each choice.

    Returns:
        One row per run. `score`: expected value per cost, >= 0; 0.02 says that the run pays for itself once the
        decision has been used 50 times. `cost`: expected, in the unit of the prices. `rank`: 1, 2, ...

    Raises:
        InputError: a column, a row or an argument that cannot be used.
        Infeasible: the budget does not hold the cheapest candidate.
    """
    table = check_columns(Table(candidates, "candidates"), CANDIDATE_COLUMNS).reset_index(drop=True)
    checked = posterior.named(table)
    require_positive("budget", budget)
    require_prices(prices)
    require_count("n", n)
    require_count("seed", seed, 0)
    tasks = [env_id] if env_id is not None else list(checked["env_id"].unique())
    fresh = sorted({*tasks, *checked["env_id"]} - set(posterior.tasks))
    if len(fresh) > 1:
        raise InputError(f"one task at a time can be without runs; got {', '.join(fresh)}. Plan for each by itself.")
    sized = with_model_sizes(posterior, checked, model_size)
    draws = posterior.flat_draws(DESIGN_DRAWS)
    offer = _candidate_runs(posterior, draws, sized, prices)
    if offer.cost.min() > budget:
        raise Infeasible(
            f"the budget {budget:g} does not hold any candidate; the cheapest, row {offer.cost.argmin() + 1}, "
            f"costs {offer.cost.min():.3g}."
        )
    wanted = None if threshold is None else _within(posterior, threshold)
    decisions = [_extra_costs(posterior, draws, task, wanted, prices, model_size) for task in tasks]
    chosen, scores = _greedy(offer, decisions, budget, n, np.random.default_rng(seed), report)
    return (
        table.iloc[chosen]
        .reset_index(drop=True)
        .assign(score=scores, cost=offer.cost[chosen], rank=np.arange(1, len(chosen) + 1))
    )


def expected_loss(
    log_likelihood: Float[np.ndarray, "draw draw"], losses: Sequence[Float[np.ndarray, "draw _"]]
) -> float:
    """The expected loss of deciding after the data, summed over decisions; each choice is judged by other draws.

    Args:
        log_likelihood: log p(y_i | draw j) at [i, j], where y_i was simulated from draw i; all 0: no data.
        losses: for each decision, the loss of every action under every draw.
    """
    even = np.arange(len(log_likelihood)) % 2 == 0
    total = 0.0
    for chooses in (even, ~even):
        proposal, judgement = (_weights(log_likelihood, half) for half in (chooses, ~chooses))
        for loss in losses:
            action = (proposal @ loss[chooses]).argmin(axis=1)
            total += float((judgement * loss[~chooses][:, action].T).sum(axis=1).mean()) / 2
    return total


def _weights(log_likelihood: Float[np.ndarray, "draw draw"], half: Bool[np.ndarray, " draw"]) -> np.ndarray:
    """The posterior weights of half of the draws given each draw's data; a draw does not learn from its own."""
    logs = np.where(np.eye(len(half), dtype=bool), -np.inf, log_likelihood)[:, half]
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _greedy(
    offer: CandidateRuns,
    decisions: Sequence[Float[np.ndarray, "draw _"]],
    budget: float,
    n: int,
    rng: np.random.Generator,
    report: Callable[[str], None] | None,
) -> tuple[list[int], list[float]]:
    """Numbers of the chosen candidates and their scores; where no other is worth anything, the cheapest."""
    chosen: list[int] = []
    scores: list[float] = []
    draws = len(offer.location)
    known = np.zeros((draws, draws))
    loss = expected_loss(known, decisions)
    while len(chosen) < n:
        affordable = [j for j in range(len(offer.cost)) if offer.cost[[*chosen, j]].sum() <= budget * (1 + ROUNDING)]
        if not affordable:
            break
        if report is not None:
            within = counted(len(affordable), "candidate")
            report(f"run {len(chosen) + 1} of at most {n}: {within} within the budget's rest")
        luck, chance = rng.standard_normal(draws), rng.random(draws)  # common to the candidates: fairer comparisons
        best = (0.0, -np.inf, 0, known, loss)
        for j in affordable:
            with_run = known + _log_likelihood(offer, j, luck, chance)
            loss_with_run = expected_loss(with_run, decisions)
            score = max(loss - loss_with_run, 0.0) / offer.cost[j]
            if (score, -offer.cost[j]) > best[:2]:
                best = (score, -offer.cost[j], j, with_run, loss_with_run)
        score, _, j, known, loss = best
        chosen.append(j)
        scores.append(score)
    return chosen, scores


def _log_likelihood(
    offer: CandidateRuns, j: int, luck: Float[np.ndarray, " draw"], chance: Float[np.ndarray, " draw"]
) -> Float[np.ndarray, "draw draw"]:
    """log p(y_i | draw j') at [i, j'] for a run at candidate j: its mean over thresholds, which share the luck.

    A threshold that the run does not reach shows only that: the mixture of failing for good and of being later. Every
    other term is a quadratic in log env steps, so that all pairs of draws are one matrix product.
    """
    middle = offer.location[:, j].mean(axis=0)
    location, scale, p_reach = offer.location[:, j] - middle, offer.scale[:, j], offer.p_reach[:, j]
    end = offer.log_length[j] - middle
    times = location + scale * luck[:, None]
    seen = (chance[:, None] < p_reach) & (times <= end)
    tiny = np.finfo(float).tiny
    late = np.log(np.maximum(1 - p_reach + p_reach * ndtr((location - end) / scale), tiny))
    constant = np.log(np.maximum(p_reach, tiny)) - np.log(scale) - 0.5 * (location / scale) ** 2
    results = np.concatenate([np.where(seen, -0.5 * times**2, 0), np.where(seen, times, 0), seen, ~seen], axis=1)
    terms = np.concatenate([scale**-2.0, location / scale**2, constant, late], axis=1)
    return np.asarray(results @ terms.T / location.shape[1])


def _candidate_runs(
    posterior: Posterior, draws: dict[str, np.ndarray], candidates: pd.DataFrame, prices: Prices
) -> CandidateRuns:
    """The runs, and what they cost: for a stated length all of it, else until the highest threshold or the longest."""
    location, scale, _, p_reach = runs(posterior.model, draws, candidates)
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
    """The longest time that the fit knows of, in env steps."""
    times = posterior.crossings[["env_steps_lower", "env_steps_upper"]].to_numpy(float)
    return float(times[np.isfinite(times)].max())


def _within(posterior: Posterior, threshold: float) -> float:
    """The return to decide about, which must lie within the fitted thresholds."""
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
    env_id: str,
    wanted: float | None,
    prices: Prices,
    model_size: int | None,
) -> Float[np.ndarray, "draw setting"]:
    """What each setting costs more than today's choice does; those that no draw finds cheaper are left out.

    Differences, because the level of cost is the same with and without data and would only add noise.
    """
    settings = swept_settings(posterior, env_id, model_size)
    location, _, _, p_reach = runs(posterior.model, draws, settings)
    if wanted is not None:
        location = between_thresholds(location, posterior.thresholds, np.array([wanted]))
    env_steps = np.exp(location)
    per_step = flops_per_step(settings)
    cost = prices.cost(per_step[:, None] * env_steps, env_steps)
    choice = cost.mean(axis=0).argmin(axis=0)
    k = 0
    if wanted is None:
        likely = p_reach.mean(axis=0)[choice, np.arange(len(choice))] >= LIKELY
        k = int(np.flatnonzero(likely).max(initial=0))
    extra = cost[:, :, k] - cost[:, choice[k], k][:, None]
    kept = (extra < 0).any(axis=0)
    kept[choice[k]] = True
    return np.ascontiguousarray(extra[:, kept])
