"""Gather what the live part of the report computes with: draws of run lengths at candidate settings, and the runs.

The page holds no law of the model. For each task it holds candidate settings and, for each posterior draw, setting and
fitted threshold, the run-length distribution of `bayescale.run_length_distribution`. The page applies prices and risk.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import counted, three_digits
from bayescale.data.curves import run_columns
from bayescale.decisions.candidates import flops_per_step
from bayescale.decisions.records import Allocation
from bayescale.decisions.utility import Prices
from bayescale.posterior.outcomes import near_failed_settings, run_counts
from bayescale.posterior.posterior import Posterior
from bayescale.reporting.live.candidates import AXES, LEAST_CHANCE, candidate_settings, lengths_at
from bayescale.reporting.live.packed_draws import Arrays, Packed, pack

TOLERANCE = 0.01  # aimed error of log env steps at the worst setting and draw: 1% of env steps
CHANCE_TOLERANCE = 0.004  # aimed error of log p_reach
SHAPE_TOLERANCE = 0.02  # aimed error of log scale and of skewness
NUMBERS = 5_500_000  # numbers in the components of one quantity, over all tasks; bounds the page's size
CURVE_POINTS = 60_000  # points of learning curves in the page
CURVE_LENGTHS = (8, 60)  # fewest and most points of one curve


@dataclass(frozen=True)
class LiveTask:
    """One task's part of the live page.

    Attributes:
        env_id: task.
        settings: one row per candidate setting, the columns of `AXES`.
        thresholds: the fitted thresholds.
        failed: True where the nearest swept setting failed, so that the setting is no candidate for the threshold.
        location, log_p_reach, log_scale, skewness: the run-length distribution, draws by (threshold, setting).
    """

    env_id: str
    settings: pd.DataFrame
    thresholds: Float[np.ndarray, " threshold"]
    failed: Bool[np.ndarray, "setting threshold"]
    location: Packed
    log_p_reach: Packed
    log_scale: Packed
    skewness: Packed


def live_task(
    posterior: Posterior,
    env_id: str,
    *,
    choices: Iterable[Allocation],
    prices: Prices,
    model_size: int | None,
    share: float,
) -> LiveTask:
    """Return the draws of one task at its candidate settings.

    Args:
        posterior: a fit.
        env_id: task.
        choices: the settings that `allocate` chose; they are candidates too.
        prices: the prices that the page starts with.
        model_size: critic parameters; None as in `allocate`.
        share: the task's share of the page, in (0, 1].
    """
    chosen = pd.DataFrame([{"env_id": env_id} | {axis: getattr(each, axis) for axis in AXES} for each in choices])
    settings = candidate_settings(posterior, env_id, prices=prices, model_size=model_size)
    settings = pd.concat([settings, chosen.astype(settings.dtypes.to_dict())])
    settings = settings.drop_duplicates().reset_index(drop=True)
    distribution = lengths_at(posterior, settings)
    most = max(8, int(share * NUMBERS / (len(settings) * len(posterior.thresholds))))

    def packed(values: Float[np.ndarray, "draw setting threshold"], tolerance: float) -> Packed:
        columns = np.moveaxis(np.asarray(values, float), 2, 1).reshape(len(values), -1)
        return pack(columns, tolerance=tolerance, most=most)

    return LiveTask(
        env_id=env_id,
        settings=settings[list(AXES)],
        thresholds=posterior.thresholds,
        failed=near_failed_settings(posterior.crossings, settings, posterior.thresholds),
        location=packed(distribution.location, TOLERANCE),
        log_p_reach=packed(np.log(np.maximum(distribution.p_reach, LEAST_CHANCE)), CHANCE_TOLERANCE),
        log_scale=packed(np.log(distribution.scale), SHAPE_TOLERANCE),
        skewness=packed(distribution.skewness, SHAPE_TOLERANCE),
    )


def task_fields(
    posterior: Posterior,
    env_id: str,
    arrays: Arrays,
    *,
    choices: Iterable[Allocation],
    prices: Prices,
    curves: pd.DataFrame | None,
    model_size: int | None,
    share: float,
) -> dict[str, Any]:
    """Add one task's numbers to the page's arrays and return what the page needs to find and name them.

    Args:
        posterior: a fit.
        env_id: task.
        arrays: the page's arrays.
        choices, prices: as for `live_task`.
        curves: learning curves in the units of the thresholds, or None.
        model_size: critic parameters; None as in `allocate`.
        share: the task's share of the page, in (0, 1].
    """
    rows = posterior.of_task(env_id)
    task = live_task(posterior, env_id, choices=choices, prices=prices, model_size=model_size, share=share)
    return {
        "thresholds": task.thresholds.tolist(),
        "counts": [one._asdict() for one in run_counts(posterior.crossings, env_id, task.thresholds)],
        "swept": {axis: [float(rows[axis].min()), float(rows[axis].max())] for axis in AXES if axis in rows},
        "observed": run_fields(rows, curves, arrays, share=share),
        "settings": {name: task.settings[name].tolist() for name in AXES},
        "step_flops": flops_per_step(task.settings).tolist(),
        "failed": [np.flatnonzero(column).tolist() for column in task.failed.T],
        "draws": len(task.location.scores),
        "error": max(task.location.largest_error, task.log_p_reach.largest_error),
        **{
            name: arrays.add_packed(getattr(task, name))
            for name in ("location", "log_p_reach", "log_scale", "skewness")
        },
    }


def run_fields(rows: pd.DataFrame, curves: pd.DataFrame | None, arrays: Arrays, *, share: float) -> dict[str, Any]:
    """Add a task's runs to the page's arrays and return where the page finds them.

    Args:
        rows: the task's crossings.
        curves: learning curves in the units of the thresholds; None: the page draws the crossings alone.
        arrays: the page's arrays.
        share: the task's share of the page, in (0, 1].
    """
    keys = run_columns(rows)
    run = rows.groupby(keys, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    runs = rows.drop_duplicates(keys)
    thresholds = np.unique(rows["threshold"])
    seen = np.zeros((len(runs), len(thresholds)))
    seen[run, np.searchsorted(thresholds, rows["threshold"])] = np.where(
        rows["censored"], -rows["env_steps_lower"], rows["env_steps_upper"]
    )
    fields: dict[str, Any] = {
        "settings": {name: runs[name].tolist() for name in AXES if name in runs},
        # Env steps of the first evaluation at each threshold; minus the last env steps where the run ended below it.
        "seen": arrays.add(seen),
    }
    own = pd.DataFrame() if curves is None else curves.merge(runs[keys].assign(run=np.arange(len(runs))), on=keys)
    if own.empty:
        return fields
    points = int(np.clip(share * CURVE_POINTS / len(runs), *CURVE_LENGTHS))
    thinned = {cast(int, number): _thinned(curve, points) for number, curve in own.groupby("run")}
    return fields | {
        "curves": {
            "lengths": [len(thinned[number]) if number in thinned else 0 for number in range(len(runs))],
            "points": arrays.add(np.concatenate([each.to_numpy(float) for each in thinned.values()])),
        }
    }


def _thinned(run: pd.DataFrame, points: int) -> pd.DataFrame:
    """Return a curve's env steps and returns, averaged over stretches of equally many evaluations."""
    run = run.sort_values("env_steps")[["env_steps", "episode_return"]]
    stretch = np.arange(len(run)) * min(points, len(run)) // len(run)
    return run.groupby(stretch).mean()


def facts(rows: pd.DataFrame) -> str:
    """Return a sentence on a task's fitted runs: how many, and what they sweep."""
    runs = rows.drop_duplicates(run_columns(rows))
    names = {
        "utd": "UTD",
        "batch_size": "batch size",
        "learning_rate": "learning rate",
        "model_size": "critic parameters",
    }
    swept = (
        f"{words} {three_digits(runs[name].min())} to {three_digits(runs[name].max())}"
        for name, words in names.items()
        if name in runs and runs[name].nunique() > 1
    )
    return f"Fitted to {counted(len(runs), 'run')}; {', '.join(swept) or 'one setting'}."
