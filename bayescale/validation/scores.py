"""How well predicted quantiles of env steps to thresholds met runs that the fit has not seen.

All scores are in natural-log env steps and need the prediction table alone, so that every method is scored alike.
The observed time of a run is the evaluation that first shows it at the threshold (`env_steps_upper`); a run that never
gets there is right-censored at its last one. A run that is there before training says nothing and is left out. A
quantile of inf counts as 20 times the longest observation.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import log_ndtr, ndtri

from bayescale.arguments import counted
from bayescale.data.configurations import CONFIG_COLUMNS, SIZED
from bayescale.data.crossings import require_crossing_columns
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.tasks import KINDS
from bayescale.errors import InputError
from bayescale.posterior.posterior import LEVELS, QUANTILES

NEVER = 20.0  # times the longest observation
LONE_SPREAD = 1.0  # log env steps; the tails of a prediction whose quantiles are all one number
STACKING_STEPS = 2000
PREDICTION_COLUMNS = (
    *CONFIG_COLUMNS,
    Column("threshold", "real"),
    *(Column(name, "real", above=0, may_be_infinite=True) for name in QUANTILES),
)


class Scores(NamedTuple):
    """Summary over observations; lower is better for wis, male and width90, higher for log_score.

    Attributes:
        observations: runs times thresholds, less those reached before training.
        censored: share of them that never reached the threshold.
        coverage90: share inside [q05, q95]; a censored run is inside unless q95 lies before its last evaluation.
        wis: weighted interval score, twice the mean pinball loss over the seven quantiles, an estimate of the CRPS; of
            a censored run only the loss that is certain counts, that of quantiles before its last evaluation.
        male: mean over cells (configuration and threshold) of |log q50 - median log observed time|; cells whose
            median is censored are left out, NaN if all are.
        log_score: mean log density of log env steps; see `log_density`.
        width90: mean log(q95 / q05), the sharpness.
    """

    observations: int
    censored: float
    coverage90: float
    wis: float
    male: float
    log_score: float
    width90: float


def score(predictions: pd.DataFrame, crossings: pd.DataFrame) -> Scores:
    """The scores of a prediction table on the crossings of held-out runs.

    Args:
        predictions: one row per configuration and threshold with q05 ... q95, as `Posterior.predict` makes it.
        crossings: one row per run and threshold, as `time_to_threshold` makes it.

    Raises:
        InputError: no observation, one without a prediction, two predictions for one, or quantiles that cross.
    """
    return summarise(score_each(predictions, crossings))


def score_each(predictions: pd.DataFrame, crossings: pd.DataFrame) -> pd.DataFrame:
    """The observations with the scores of each: `inside`, `wis`, `log_score`, `width90`, and q50 clipped where inf.

    Raises:
        InputError: as `score`.
    """
    require_crossing_columns(crossings)
    predictions = check_columns(Table(predictions, "predictions"), PREDICTION_COLUMNS)
    crossings = crossings[crossings["env_steps_upper"] > 0]
    if crossings.empty:
        raise InputError("every run reaches every threshold before training, which scores nothing; raise them.")
    on = [name for name in (*KINDS, *SIZED, "threshold") if name in predictions and name in crossings]
    rounded_up = [name for name in ("evaluation_interval",) if name in predictions]
    levels = np.unique(crossings["threshold"].to_numpy(float))
    table = _matchable(predictions[[*on, *QUANTILES, *rounded_up]], levels)
    if table.duplicated(on).any():
        raise InputError("predictions hold a configuration and threshold twice; keep each once.")
    kept = [name for name in crossings if name not in (*QUANTILES, *rounded_up)]
    seen = _matchable(crossings[kept], levels).merge(table, on=on, how="left", validate="many_to_one")
    missing = int(seen["q50"].isna().sum())
    if missing:
        raise InputError(
            f"predictions lack {missing} of {counted(len(seen), 'observation')}; predict every configuration scored."
        )
    censored = seen["censored"].to_numpy(bool)
    lower, upper = (seen[f"env_steps_{end}"].to_numpy(float) for end in ("lower", "upper"))
    observed = np.log(np.maximum(np.where(censored, lower, upper), 1.0))
    steps = seen[list(QUANTILES)].to_numpy(float)
    never = NEVER * np.exp(observed.max())
    quantiles = np.log(np.minimum(steps, never))
    if (np.diff(quantiles, axis=1) < -1e-9).any():
        raise InputError("predictions have quantiles that cross; sort each row's q05 to q95.")
    between = _between_evaluations(steps, seen["evaluation_interval"]) if rounded_up else steps
    return seen.assign(
        q50=np.exp(quantiles[:, LEVELS == 0.5][:, 0]),
        inside=(observed <= quantiles[:, -1]) & (censored | (observed >= quantiles[:, 0])),
        wis=_weighted_interval_score(quantiles, observed, censored),
        log_score=log_density(np.log(np.minimum(between, never)), lower, upper),
        width90=quantiles[:, -1] - quantiles[:, 0],
    )


def summarise(seen: pd.DataFrame) -> Scores:
    """The summary of what `score_each` returns, or of several of them together."""
    on = [name for name in (*KINDS, *SIZED, "threshold") if name in seen]
    steps = np.log(seen["env_steps_upper"].clip(lower=1.0))
    cells = seen.assign(log_steps=steps).groupby(on).agg(log_steps=("log_steps", "median"), q50=("q50", "first"))
    cells = cells[np.isfinite(cells["log_steps"])]
    error = np.abs(np.log(cells["q50"]) - cells["log_steps"])
    return Scores(
        observations=len(seen),
        censored=float(seen["censored"].mean()),
        coverage90=float(seen["inside"].mean()),
        wis=float(seen["wis"].mean()),
        male=float(error.mean()) if len(error) else np.nan,
        log_score=float(seen["log_score"].mean()),
        width90=float(seen["width90"].mean()),
    )


def log_density(
    quantiles: Float[np.ndarray, "observation level"],
    lower: Float[np.ndarray, " observation"],
    upper: Float[np.ndarray, " observation"],
) -> Float[np.ndarray, " observation"]:
    """log of the predictive density of log env steps, averaged over (log lower, log upper].

    The predictive distribution is the one whose normal score is piecewise linear in log env steps through the
    quantiles, its outer pieces going on for ever: exact for a lognormal. A run first seen at its first evaluation
    (lower = 0) scores log F(upper); one that never gets there (upper = inf) log(1 - F(lower)).

    Args:
        quantiles: log env steps at `LEVELS`, finite, not decreasing.
        lower: env steps that did not suffice.
        upper: env steps that did; inf if none.
    """
    below = _normal_scores(quantiles, np.log(np.maximum(lower, 1.0)))
    above = _normal_scores(quantiles, np.log(np.maximum(upper, 1.0)))
    left, right = lower <= 1.0, np.isinf(upper)
    width = np.where(left | right, 1.0, np.log(np.maximum(upper, 1.0)) - np.log(np.maximum(lower, 1.0)))
    flip = below + above > 0  # differences of the smaller tail lose no digits
    low, high = np.where(flip, -above, below), np.where(flip, -below, above)
    gap = np.where(left | right, -1.0, np.minimum(log_ndtr(low) - log_ndtr(high), -1e-300))
    inside = log_ndtr(high) + np.log(-np.expm1(gap)) - np.log(width)
    return np.asarray(np.where(right, log_ndtr(-below), np.where(left, log_ndtr(above), inside)))


def stacking_weights(log_scores: Float[np.ndarray, "observation method"]) -> Float[np.ndarray, " method"]:
    """Weights of a mixture of methods, summing to 1, under which held-out observations are most likely.

    They maximise the sum over observations of log sum_m w_m exp(log_scores[:, m]), which has one maximum (Yao et al.,
    "Using Stacking to Average Bayesian Predictive Distributions", Bayesian Analysis 2018), by expectation-maximisation.
    """
    likelihood = np.exp(log_scores - log_scores.max(axis=1, keepdims=True))
    weights = np.full(log_scores.shape[1], 1.0 / log_scores.shape[1])
    for _ in range(STACKING_STEPS):
        shares = weights * likelihood
        weights = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def _between_evaluations(
    steps: Float[np.ndarray, "observation level"], every: pd.Series
) -> Float[np.ndarray, "observation level"]:
    """Quantiles that were rounded up to an evaluation, spread evenly over the interval before it; those of inf stay."""
    same = steps[:, :, None] == steps[:, None, :]
    together, lower = same.sum(axis=2), np.tril(same, -1).sum(axis=2)
    between = steps - every.to_numpy(float)[:, None] * (together - lower - 0.5) / together
    return np.asarray(np.maximum(between, 1.0))


def _normal_scores(
    quantiles: Float[np.ndarray, "observation level"], at: Float[np.ndarray, " observation"]
) -> Float[np.ndarray, " observation"]:
    """Normal score of the predictive distribution at log env steps `at`; equal quantiles count as the lowest level."""
    levels = ndtri(LEVELS)
    scores = np.empty(len(at))
    for i, (row, value) in enumerate(zip(quantiles, at, strict=True)):
        knots, first = np.unique(row, return_index=True)
        if len(knots) == 1:
            scores[i] = levels[first[0]] + (value - knots[0]) / LONE_SPREAD
            continue
        piece = int(np.clip(np.searchsorted(knots, value) - 1, 0, len(knots) - 2))
        z = levels[first[piece : piece + 2]]
        share = (value - knots[piece]) / (knots[piece + 1] - knots[piece])
        scores[i] = z[0] + share * (z[1] - z[0])
    return scores


def _weighted_interval_score(
    quantiles: Float[np.ndarray, "observation level"],
    observed: Float[np.ndarray, " observation"],
    censored: Bool[np.ndarray, " observation"],
) -> Float[np.ndarray, " observation"]:
    excess = observed[:, None] - quantiles
    late = np.where(censored[:, None], 0.0, (LEVELS - 1.0) * excess)
    loss: Float[np.ndarray, " observation"] = 2.0 * np.where(excess >= 0, LEVELS * excess, late).mean(axis=1)
    return loss


def _matchable(table: pd.DataFrame, levels: Float[np.ndarray, " threshold"]) -> pd.DataFrame:
    """The table with settings to five digits and thresholds at the nearest of the levels that equals them to five.

    Numbers that went through a file must still match; levels may be closer together than that.
    """
    rounded = {name: [float(f"{value:.5g}") for value in table[name]] for name in ("utd", "learning_rate")}
    given = table["threshold"].to_numpy(float)
    nearest = levels[abs(given[:, None] - levels).argmin(axis=1)]
    return table.assign(**rounded, threshold=np.where(np.isclose(given, nearest, rtol=1e-5, atol=0), nearest, given))
