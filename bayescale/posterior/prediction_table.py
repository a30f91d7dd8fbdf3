"""The prediction table: the rows and columns that every method's predictions of new runs share.

A row is one configuration and threshold. It has the columns of the configuration, then

    threshold               the return
    q05 ... q95             quantiles of a new run's env steps (one seed); inf where runs never reach the threshold
    law_q05 ... law_q95     quantiles of the median run's env steps: parameter uncertainty alone
    p_reach                 probability that a new run reaches the threshold
    extrapolated            True where the configuration or the threshold lies outside the fitted data
    extrapolation           on which axes and how far it lies outside; empty inside

A run shows a return at an evaluation, so a quantile of a new run is the first evaluation at or after the quantile of
the crossing itself. One of these columns of the configuration says when the new run is evaluated:

    evaluation_interval     every multiple of it; 0: quantiles are of the crossing itself, not of an evaluation
    evaluation_steps        these env steps, a list in JSON: [1000, 2500, 10000]
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from bayescale.arguments import number, require_positive
from bayescale.errors import InputError

QUANTILE_LEVELS = np.array([0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95])
QUANTILE_COLUMNS = [f"q{round(100 * level):02d}" for level in QUANTILE_LEVELS]
LAW_QUANTILE_LEVELS = np.array([0.05, 0.50, 0.95])
LAW_QUANTILE_COLUMNS = [f"law_q{round(100 * level):02d}" for level in LAW_QUANTILE_LEVELS]
CROSSING = "crossing"
INTERVAL, STEPS = EVALUATION_COLUMNS = ("evaluation_interval", "evaluation_steps")
SHOWN = 5  # env steps of a list that an error message shows
ROUNDING = 1e-9  # relative distance at which an env step that went through a file still counts as the listed one

Evaluations = float | str | Sequence[Any] | Num[np.ndarray, "..."]  # an interval, "crossing" or a list of env steps


def predictions_by_threshold(
    configs: pd.DataFrame,
    thresholds: Float[np.ndarray, " threshold"],
    *,
    quantiles: Float[np.ndarray, "config threshold quantile"],
    law_quantiles: Float[np.ndarray, "config threshold law_quantile"] | None = None,
    p_reach: Float[np.ndarray, "config threshold"],
    extrapolated: Bool[np.ndarray, "config threshold"] | None = None,
    extrapolation: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the prediction table, one row per configuration and threshold, thresholds varying fastest.

    Args:
        configs: one row per configuration; all columns are kept.
        thresholds: increasing returns.
        quantiles: env steps of a new run at `QUANTILE_LEVELS`.
        law_quantiles: env steps of the median run at `LAW_QUANTILE_LEVELS`. None: no such columns.
        p_reach: probabilities in [0, 1].
        extrapolated: None: no such column, or as `extrapolation` says.
        extrapolation: texts of shape (config, threshold), empty inside the fitted data. None: no such column.
    """
    table = configs.loc[configs.index.repeat(len(thresholds))].reset_index(drop=True)
    table["threshold"] = np.tile(thresholds, len(configs))
    table[QUANTILE_COLUMNS] = quantiles.reshape(-1, len(QUANTILE_LEVELS))
    if law_quantiles is not None:
        table[LAW_QUANTILE_COLUMNS] = law_quantiles.reshape(-1, len(LAW_QUANTILE_LEVELS))
    table["p_reach"] = p_reach.ravel()
    if extrapolated is not None:
        table["extrapolated"] = extrapolated.ravel()
    if extrapolation is not None:
        table["extrapolated"] = extrapolation.ravel() != ""
        table["extrapolation"] = extrapolation.ravel()
    return table


def with_evaluations(
    configs: pd.DataFrame, evaluations: Evaluations | None, *, default: Float[np.ndarray, " config"]
) -> pd.DataFrame:
    """Return the configurations with the column `evaluation_interval` or `evaluation_steps`.

    The head of the module describes both.

    Args:
        configs: one row per configuration. Without `evaluations`, its own column of evaluations counts.
        evaluations: the interval, the increasing env steps, or "crossing"; None: `default`.
        default: evaluation interval of each configuration; 0: the crossing itself.

    Raises:
        InputError: `evaluations` is unusable, or both it and the configurations say when a run is evaluated.
    """
    own = [name for name in EVALUATION_COLUMNS if name in configs]
    if evaluations is None:
        return configs if own else configs.assign(**{INTERVAL: default})
    if own:
        raise InputError(f"evaluations is given, and configs have a column '{own[0]}'. Drop one of them.")
    if isinstance(evaluations, str):
        if evaluations != CROSSING:
            raise InputError(
                f"evaluations must be an interval, a list of env steps or '{CROSSING}'; got '{evaluations}'. Give one."
            )
        return configs.assign(**{INTERVAL: 0.0})
    if np.ndim(evaluations) == 0:
        require_positive("evaluations", evaluations)
        return configs.assign(**{INTERVAL: number(evaluations)})
    steps = _increasing_steps(evaluations).tolist()
    return configs.assign(**{STEPS: json.dumps([int(step) if step.is_integer() else step for step in steps])})


def next_evaluations(
    env_steps: Float[np.ndarray, "config ..."], configs: pd.DataFrame
) -> Float[np.ndarray, "config ..."]:
    """Return the first evaluation at or after these env steps; inf after the last evaluation.

    Args:
        env_steps: when a new run crosses a threshold, first axis as the rows of `configs`.
        configs: the configurations with their column of evaluations.
    """
    rounded = env_steps.copy()
    if INTERVAL in configs:
        interval = configs[INTERVAL].to_numpy(float)
        rows = interval > 0
        every = interval[rows].reshape(-1, *[1] * (env_steps.ndim - 1))
        rounded[rows] = np.ceil(env_steps[rows] / every) * every
    for steps, listed in _schedules(configs):
        rounded[listed] = np.append(steps, np.inf)[np.searchsorted(steps, env_steps[listed])]
    return rounded


def of_crossing(table: pd.DataFrame) -> Bool[np.ndarray, " row"]:
    """Return True where the quantiles of a row are of the crossing itself, not of an evaluation."""
    listed = table[STEPS].notna().to_numpy(bool) if STEPS in table else np.zeros(len(table), bool)
    return ~listed & (table[INTERVAL].to_numpy(float) == 0 if INTERVAL in table else False)


def before_rounding(
    quantiles: Float[np.ndarray, "row quantile"], table: pd.DataFrame
) -> Float[np.ndarray, "row quantile"]:
    """Spread quantiles that were rounded up to one evaluation evenly over the env steps since the evaluation before it.

    Quantiles that were not rounded are returned unchanged, infinite ones stay infinite.

    Args:
        quantiles: env steps that `next_evaluations` returned.
        table: the rows of these quantiles. A row was not rounded if its columns of evaluations are missing or NaN.
    """
    if not any(name in table for name in EVALUATION_COLUMNS):
        return quantiles
    gaps = np.zeros_like(quantiles)
    if INTERVAL in table:
        gaps += np.nan_to_num(table[INTERVAL].to_numpy(float))[:, None]
    for steps, rows in _schedules(table):
        at = np.searchsorted(steps * (1 + ROUNDING), quantiles[rows])
        gaps[rows] = np.append(np.diff(steps, prepend=0.0), 0.0)[at]
    same = quantiles[:, :, None] == quantiles[:, None, :]
    together, lower = same.sum(axis=2), np.tril(same, -1).sum(axis=2)
    between = quantiles - gaps * (together - lower - 0.5) / together
    return np.asarray(np.maximum(between, 1.0))


def _schedules(table: pd.DataFrame) -> list[tuple[Float[np.ndarray, " step"], np.ndarray]]:
    """Return each list of the column `evaluation_steps` with the positions of its rows."""
    found = []
    for text, rows in table.groupby(STEPS).indices.items() if STEPS in table else ():
        try:
            steps = json.loads(str(text))
        except json.JSONDecodeError:
            steps = text
        found.append((_increasing_steps(steps, STEPS), np.asarray(rows)))
    return found


def _increasing_steps(steps: Any, name: str = "evaluations") -> Float[np.ndarray, " step"]:
    """Return the env steps of evaluations, without env step 0, as an array.

    Raises:
        InputError: they are not a list of finite numbers >= 0 that increase, or none is above 0.
    """
    try:
        if any(isinstance(step, str) for step in np.ravel(np.asarray(steps, object))):
            raise TypeError  # numpy would read the text "300" as a number
        array = np.asarray(steps, np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim != 1:
        raise InputError(f"{name} must be a list of env steps; got {steps!r}. Give one such as [1000, 2500, 10000].")
    came = f"[{', '.join(f'{step:g}' for step in array[:SHOWN])}{', ...' if array.size > SHOWN else ''}]"
    if not (np.isfinite(array) & (array >= 0)).all():
        raise InputError(f"{name} must be finite and >= 0; got {came}. Remove or correct the other env steps.")
    if (np.diff(array) <= 0).any():
        raise InputError(f"{name} must increase; got {came}. Sort the env steps and keep each once.")
    if not (array > 0).any():
        raise InputError(f"{name} must hold an env step above 0; got {came}. Give the env steps of evaluations.")
    return array[array > 0]
