"""Recommend the next stage of runs: for every task, UTD and model size the cheapest setting and how long to run it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from bayescale.arguments import require_share
from bayescale.data.curves import SECONDS, run_columns
from bayescale.data.tables import require_frame
from bayescale.data.tasks import several_names
from bayescale.decisions.candidates import Within, crossings_of_task
from bayescale.decisions.cheapest_settings import ALLOCATION_DRAWS
from bayescale.decisions.frontier import frontier
from bayescale.decisions.utility import DEFAULT_PRICES, Prices
from bayescale.errors import InputError
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.outcomes import run_counts
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predictive import quantiles, run_lengths

SUCCESS = 0.95  # share of the runs that ever reach the return and do so within the recommended run length
OFTEN = 0.5  # share of a task's runs that must have reached the default return
INTERVAL = ("q05", "q50", "q95")
BEST = [f"{name}_{q}" for name in ("batch_size", "learning_rate") for q in INTERVAL]  # the law's optima


def recommend(
    posterior: Posterior,
    *,
    env_ids: Sequence[str] | None = None,
    threshold: float | None = None,
    utd: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    prices: Prices = DEFAULT_PRICES,
    risk: str = "mean",
    success: float = SUCCESS,
    within: Within | None = None,
    model_size: int | None = None,
    ceiling: Ceiling | None = None,
    cut_short: bool = False,
    curves: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the cheapest setting and its run length for every task, UTD and model size.

    Args:
        posterior: a fit.
        env_ids: the tasks, in this order; default: all fitted tasks.
        threshold: the return to reach; default: for each task the highest fitted threshold that at least half of its
            runs reached, or the lowest.
        utd: UTDs, > 0; default: those of the task's fitted runs.
        prices: of a training flop and of an env step.
        risk: the risk measure, as for `allocate`.
        success: share in (0, 1) of the runs that ever reach the return and do so within the recommended run length.
        within: lowest and highest value by axis, in place of the swept range, as for `frontier`.
        model_size: critic parameters; default: the sizes of the task's fitted runs.
        ceiling: the highest return that a task allows; see `bayescale.posterior.ceilings`.
        cut_short: True: runs that ended early below the return were only cut short, as for `allocate`.
        curves: learning curves with the column `seconds`, wall-clock seconds since the start of the run; None: no
            seconds are predicted.

    Returns:
        One row per task, UTD and model size: the setting; `batch_size_q05` ... `learning_rate_q95`, quantiles of the
        batch size and learning rate that need the fewest env steps; `run_length`, the env steps to run, a multiple of
        the fit's evaluation interval; `p_reach`, the chance that a run ever reaches the return; `env_steps_q05` ...
        `flops_q95`, data and compute of the median run, and `seconds_q05` ... where the curves hold them; `risk`, the
        cost; `excess`, the risk over the least of the task's rows inside the sweep, minus 1; `recommended`, True for
        that row; `extrapolated` and `extrapolation`.

    Raises:
        InputError: an argument is unusable, or a task has no fitted runs.
        Infeasible: all swept settings of a task failed.
    """
    require_share("success", success)
    tasks = posterior.tasks if env_ids is None else several_names("env_ids", env_ids)
    posterior.require_tasks(tasks)
    rows = []
    for env_id in tasks:
        wanted = _default_threshold(posterior, env_id) if threshold is None else threshold
        asked = {"env_id": env_id, "threshold": wanted, "utd": _utds(posterior, env_id, utd), "prices": prices}
        options: dict[str, Any] = {**asked, "risk": risk, "within": within, "ceiling": ceiling, "cut_short": cut_short}
        by_size = []
        for size in _sizes(posterior, env_id, model_size):
            chosen = frontier(posterior, **options, model_size=size).table()
            law = frontier(posterior, **options, model_size=size, settings="law").table()
            chosen = chosen.assign(batch_size=chosen["batch_size_q50"], learning_rate=chosen["learning_rate_q50"])
            by_size.append(chosen.assign(**law[BEST]))
        table = _with_excess(pd.concat(by_size, ignore_index=True))
        rows.append(table.assign(env_id=env_id, threshold=posterior.as_fitted(wanted)))
    table = pd.concat(rows, ignore_index=True).astype({"batch_size": int, "model_size": int})
    table = _with_run_lengths(posterior, table, success, ceiling)
    if curves is not None:
        table = _with_seconds(table, posterior.named(require_frame("curves", curves)))
    seconds = [f"seconds_{q}" for q in INTERVAL if curves is not None]
    first = ["env_id", "threshold", "utd", "model_size", "batch_size", "learning_rate", "run_length", "p_reach"]
    data = [f"{name}_{q}" for name in ("env_steps", "flops") for q in INTERVAL]
    last = ["risk", "excess", "recommended", "evaluation_interval", "failed", "extrapolated", "extrapolation"]
    return table[[*first, *data, *seconds, *BEST, *last]]


def _default_threshold(posterior: Posterior, env_id: str) -> float:
    """Return the highest fitted threshold that at least half of the task's runs reached, or the lowest."""
    counts = run_counts(posterior.crossings, env_id, posterior.thresholds)
    often = [k for k, count in enumerate(counts) if (count.reached or 0) >= OFTEN * max(count.runs, 1)]
    return float(posterior.thresholds[max(often, default=0)])


def _utds(posterior: Posterior, env_id: str, utd: Any) -> Any:
    return np.unique(crossings_of_task(posterior, env_id)["utd"]) if utd is None else utd


def _sizes(posterior: Posterior, env_id: str, model_size: int | None) -> list[int | None]:
    """Return the model sizes to recommend for; None where the fit holds one."""
    if model_size is not None or "model_size" not in posterior.model.varying:
        return [model_size]
    return [int(size) for size in np.unique(crossings_of_task(posterior, env_id)["model_size"])]


def _with_excess(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one task with `excess` and `recommended`, over all model sizes."""
    inside = table["risk"].where(~table["extrapolated"] | bool(table["extrapolated"].all()), np.inf)
    least = inside.min()
    recommended = (inside == least) & np.isfinite(least) & ~inside.duplicated()
    return table.assign(excess=table["risk"] / least - 1 if np.isfinite(least) else np.nan, recommended=recommended)


def _with_run_lengths(
    posterior: Posterior, table: pd.DataFrame, success: float, ceiling: Ceiling | None
) -> pd.DataFrame:
    """Return the table with `evaluation_interval` and `run_length`."""
    lengths = np.empty(len(table))
    draws = posterior.flat_draws(ALLOCATION_DRAWS, table["env_id"])
    for threshold, here in table.groupby("threshold").indices.items():
        rows = table.iloc[here]
        best = ceilings(ceiling, rows["env_id"], posterior.crossings)
        distribution = run_lengths(posterior.model, draws, rows)
        distribution = at_thresholds(distribution, posterior.thresholds, [float(str(threshold))], best)
        levels = np.minimum(success * distribution.p_reach.mean(axis=0)[:, 0], 1 - 1e-9)
        possible = np.clip(levels, 1e-9, None)
        at_levels = quantiles(distribution, possible)[:, 0]
        lengths[here] = np.where(levels > 0, at_levels[np.arange(len(here)), np.arange(len(here))], np.inf)
    interval = _evaluation_intervals(posterior, table["env_id"])
    length = np.ceil(np.where(table["failed"], np.inf, lengths) / interval) * interval
    return table.assign(evaluation_interval=interval, run_length=length)


def _evaluation_intervals(posterior: Posterior, env_ids: pd.Series) -> Float[np.ndarray, " row"]:
    """Return the median env steps between the evaluations of each task's fitted runs."""
    seen = posterior.crossings[~posterior.crossings["censored"] & (posterior.crossings["env_steps_lower"] > 0)]
    seen = posterior.crossings[~posterior.crossings["censored"]] if seen.empty else seen
    widths = seen["env_steps_upper"] - seen["env_steps_lower"]
    median = widths.groupby(seen["env_id"]).median()
    return env_ids.map(median).fillna(widths.median()).fillna(1.0).clip(lower=1.0).to_numpy(float)


def _with_seconds(table: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the seconds of the median run, from the seconds per env step of the curves' runs.

    Log seconds per env step are linear in log UTD, log batch size and log model size, by least squares per task.

    Raises:
        InputError: the curves have no column of seconds, or none for a task.
    """
    if SECONDS not in curves:
        raise InputError(f"curves have no column '{SECONDS}' (wall-clock seconds since the start of the run). Add it.")
    runs = curves[(curves[SECONDS] > 0) & (curves["env_steps"] > 0)]
    last = runs.loc[runs.groupby(run_columns(runs))["env_steps"].idxmax()]
    per_step = np.full(len(table), np.nan)
    axes = [name for name in ("utd", "batch_size", "model_size") if name in last]
    for env_id, here in table.groupby("env_id").indices.items():
        own = last[last["env_id"] == env_id]
        if own.empty:
            raise InputError(f"curves hold no seconds of a run on {env_id}. Give curves that do, or none.")
        known, asked = (np.log(part[axes].to_numpy(float)) for part in (own, table.iloc[here]))
        ones = np.ones((len(known), 1))
        centre = known.mean(axis=0)
        solution = np.linalg.lstsq(
            np.hstack([ones, known - centre]),
            np.log(own[SECONDS].to_numpy(float) / own["env_steps"].to_numpy(float)),
            rcond=None,
        )[0]
        per_step[here] = np.exp(solution[0] + (asked - centre) @ solution[1:])
    return table.assign(**{f"seconds_{q}": per_step * table[f"env_steps_{q}"] for q in INTERVAL})
