"""Score predicted quantiles of env steps on runs that the fit has not seen.

All scores are in natural-log env steps. They need the prediction table alone, so every method is scored alike.

A run length is observed as the evaluation that first shows the run at the threshold (`env_steps_upper`). Where the
predictions are of the crossing itself (`evaluation_interval` 0), it is observed as the interval (`env_steps_lower`,
`env_steps_upper`], and a quantile inside this interval costs nothing. A run that never reaches the threshold is
right-censored at its last evaluation (`env_steps_lower`). The run length of a run that diverged below the threshold is
infinite. A run that is above the threshold before training carries no information and is left out. An infinite run
length or quantile counts as 20 times the longest observed run length.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import log_ndtr, ndtri

from bayescale.arguments import counted
from bayescale.data.configurations import CONFIG_COLUMNS, SIZED
from bayescale.data.crossings import require_crossing_columns
from bayescale.data.observations import evaluation_intervals, observations
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.tasks import SUITE_AND_ALGORITHM
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import (
    EVALUATION_COLUMNS,
    INTERVAL,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    before_rounding,
    of_crossing,
)

NEVER = 20.0  # ratio of an infinite quantile to the longest observed run length
LONE_SPREAD = 1.0  # log env steps; spread of the tails where all quantiles of a prediction are equal
STACKING_STEPS = 2000  # iterations of expectation-maximisation
PREDICTION_COLUMNS = (
    *(replace(column, may_be_missing=True) if column.name == INTERVAL else column for column in CONFIG_COLUMNS),
    Column("threshold", "real"),
    *(Column(name, "real", above=0, may_be_infinite=True) for name in QUANTILE_COLUMNS),
)


class Scores(NamedTuple):
    """Mean scores over observations; lower is better for wis, male and width90, higher for log_score.

    Attributes:
        observations: pairs of a run and a threshold, without those reached before training.
        censored: share of observations that are right-censored or failed.
        coverage90: share of observations inside [q05, q95]; see `interval_hits`.
        wis: weighted interval score, twice the mean pinball loss over the seven quantiles; it estimates the CRPS. For
            right-censored runs see `pinball_loss`. For predictions of the crossing itself, the loss is that of the
            point of the observed interval nearest to the quantile.
        male: mean absolute log error of medians, |log q50 - median log run length|, averaged over cells. A cell is
            a configuration and a threshold. Cells whose median is right-censored are left out; NaN if all are. For
            predictions of the crossing itself, a run length is the middle of its interval in logs; cells whose median
            has no lower end are left out too.
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


def score(predictions: pd.DataFrame, *, crossings: pd.DataFrame) -> Scores:
    """Return the mean scores of a prediction table on the crossings of held-out runs.

    Args:
        predictions: one row per configuration and threshold with q05 ... q95, as `Posterior.predict` returns it.
            Predict the evaluations that the held-out runs have; if they are irregular, predict the crossing itself.
        crossings: one row per run and threshold, as `time_to_threshold` returns it.

    Raises:
        InputError: there is no observation, an observation has no prediction or two, or quantiles cross.
    """
    return summarise(score_each(predictions, crossings=crossings))


def score_each(
    predictions: pd.DataFrame, *, crossings: pd.DataFrame, fitted: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the observations with the scores of each: `inside`, `wis`, `log_score` and `width90`.

    The column `q50` is added too, at most `NEVER` times the longest observed run length, and `log_observed`, the log
    run length that `male` compares it with; infinite where it has no lower or no upper end.

    Args:
        predictions: see `score`.
        crossings: see `score`.
        fitted: crossings of the fitted runs. Predictions that do not say of which evaluations they are then count as of
            the crossing itself where the fitted runs evaluate at irregular steps, as those of `Posterior.predict`. So
            all methods are scored alike.

    Raises: see `score`.
    """
    require_crossing_columns(crossings)
    predictions = check_columns(Table(predictions, "predictions"), PREDICTION_COLUMNS)
    crossings = crossings[~observations(crossings).before_training]
    if crossings.empty:
        raise InputError("every run reaches every threshold before training, which scores nothing; raise them.")
    on = [name for name in (*SUITE_AND_ALGORITHM, *SIZED, "threshold") if name in predictions and name in crossings]
    if fitted is not None and not any(name in predictions for name in EVALUATION_COLUMNS):
        interval = evaluation_intervals(fitted, predictions["env_id"])
        predictions = predictions.assign(**{INTERVAL: np.where(interval > 0, np.nan, 0.0)})
    evaluated = [name for name in EVALUATION_COLUMNS if name in predictions]
    thresholds = np.unique(crossings["threshold"].to_numpy(float))
    table = _matchable(predictions[[*on, *QUANTILE_COLUMNS, *evaluated]], thresholds)
    if table.duplicated(on).any():
        raise InputError("predictions hold a configuration and threshold twice; keep each once.")
    kept = [name for name in crossings if name not in (*QUANTILE_COLUMNS, *EVALUATION_COLUMNS)]
    seen = _matchable(crossings[kept], thresholds).merge(table, on=on, how="left", validate="many_to_one")
    missing = int(seen["q50"].isna().sum())
    if missing:
        raise InputError(
            f"predictions lack {missing} of {counted(len(seen), 'observation')}; predict every configuration scored."
        )
    bounds, crossing = observations(seen), of_crossing(seen)
    censored = bounds.right_censored
    observed = np.maximum(np.where(censored, bounds.log_lower, bounds.log_upper), 0.0)
    env_steps = seen[QUANTILE_COLUMNS].to_numpy(float)
    never = NEVER * np.exp(observed.max(initial=0.0, where=~bounds.failed))
    observed = np.minimum(observed, np.log(never))
    quantiles = np.log(np.minimum(env_steps, never))
    if (np.diff(quantiles, axis=1) < -1e-9).any():
        raise InputError("predictions have quantiles that cross; sort each row's q05 to q95.")
    earliest = np.where(crossing, np.clip(bounds.log_lower, 0.0, observed), observed)
    nearest = np.clip(quantiles, earliest[:, None], observed[:, None])
    losses = pinball_loss(quantiles, observed=nearest, censored=censored[:, None], levels=QUANTILE_LEVELS)
    middle = (bounds.log_lower + bounds.log_upper) / 2
    return seen.assign(
        q50=np.exp(quantiles[:, QUANTILE_LEVELS == 0.5][:, 0]),
        log_observed=np.where(crossing, middle, bounds.log_upper.clip(min=0.0)),
        inside=interval_hits(seen, low=seen["q05"], high=seen["q95"], at_crossing=crossing),
        wis=2.0 * losses.mean(axis=1),
        log_score=log_density(
            np.log(np.minimum(before_rounding(env_steps, seen), never)),
            np.minimum(bounds.log_lower, np.log(never)),
            bounds.log_upper,
        ),
        width90=quantiles[:, -1] - quantiles[:, 0],
    )


def interval_hits(
    crossings: pd.DataFrame,
    *,
    low: pd.Series,
    high: pd.Series,
    at_crossing: Bool[np.ndarray, " observation"] | None = None,
) -> Bool[np.ndarray, " observation"]:
    """Return True where an observed run length lies inside its interval [low, high], ends included.

    A right-censored run length is inside unless `high` lies before the run's last evaluation, that of a failed run if
    `high` is infinite. A run that is above the threshold before training is inside every interval.

    Args:
        crossings: one row per run and threshold, as `time_to_threshold` returns it.
        low: env steps at the lower end of each row's interval.
        high: env steps at its upper end; inf for no upper end.
        at_crossing: True where the interval is one of the crossing itself. The crossing lies between two evaluations,
            and counts as inside if the interval holds a step between them. None: False.
    """
    evaluation, censored = crossings["env_steps_upper"], crossings["censored"]
    observed = observations(crossings)
    earliest = evaluation.where(~censored | observed.failed, crossings["env_steps_lower"])
    if at_crossing is not None:
        after_lower = np.nextafter(crossings["env_steps_lower"].to_numpy(float), np.inf)
        earliest = earliest.mask(at_crossing & observed.reached_in_training, after_lower)
    latest = evaluation.mask(observed.before_training, np.inf)
    return ((low <= latest) & (high >= earliest.clip(lower=1.0))).to_numpy(bool)


def pinball_loss(
    quantiles: Float[np.ndarray, "..."],
    *,
    observed: Float[np.ndarray, "..."],
    censored: Bool[np.ndarray, "..."],
    levels: float | Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    """Return the pinball loss of predicted quantiles, (y - q) (level - [y < q]).

    For a right-censored run length only the certain part of the loss counts: the loss is 0 where the quantile is later
    than the last evaluation. All arguments broadcast together.

    Args:
        quantiles: q, predicted quantiles.
        observed: y, observed run lengths in the unit of the quantiles; the last evaluation if right-censored.
        censored: True where y is right-censored.
        levels: quantile levels, in (0, 1).
    """
    excess = observed - quantiles
    late = np.where(censored, 0.0, (np.asarray(levels) - 1.0) * excess)
    return np.where(excess >= 0, levels * excess, late)


def summarise(seen: pd.DataFrame) -> Scores:
    """Return the mean scores of a table that `score_each` made, or of several such tables joined."""
    on = [name for name in (*SUITE_AND_ALGORITHM, *SIZED, "threshold") if name in seen]
    cells = seen.groupby(on).agg(log_observed=("log_observed", "median"), q50=("q50", "first"))
    cells = cells[np.isfinite(cells["log_observed"])]
    error = np.abs(np.log(cells["q50"]) - cells["log_observed"])
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
    log_lower: Float[np.ndarray, " observation"],
    log_upper: Float[np.ndarray, " observation"],
) -> Float[np.ndarray, " observation"]:
    """Return the log predictive density of log env steps, averaged over (log lower, log upper].

    The predictive distribution's normal score is piecewise linear in log env steps through the quantiles. The outer
    pieces extend to infinity. For a lognormal distribution this is exact. A run first seen at its first evaluation
    (lower <= 1) scores log F(upper). A right-censored run (upper = inf) scores log(1 - F(lower)).

    Args:
        quantiles: log env steps at `QUANTILE_LEVELS`, finite, not decreasing.
        log_lower: log env steps of the last evaluation below the threshold; -inf if there is none.
        log_upper: log env steps of the first evaluation at the threshold; inf if there is none.
    """
    start, end = np.maximum(log_lower, 0.0), np.maximum(log_upper, 0.0)
    below, above = _normal_scores(quantiles, start), _normal_scores(quantiles, end)
    left, right = log_lower <= 0, np.isinf(log_upper)
    width = np.where(left | right, 1.0, end - start)
    flip = below + above > 0  # a difference of probabilities loses no digits in the smaller of the two tails
    low, high = np.where(flip, -above, below), np.where(flip, -below, above)
    gap = np.where(left | right, -1.0, np.minimum(log_ndtr(low) - log_ndtr(high), -1e-300))
    bounded = log_ndtr(high) + np.log(-np.expm1(gap)) - np.log(width)
    return np.asarray(np.where(right, log_ndtr(-below), np.where(left, log_ndtr(above), bounded)))


def stacking_weights(log_scores: Float[np.ndarray, "observation method"]) -> Float[np.ndarray, " method"]:
    """Return the weights w of a mixture of methods under which held-out observations are most likely.

    They sum to 1 and maximise the sum over observations of log sum_m w_m exp(log_scores[:, m]). This function of w is
    concave; expectation-maximisation climbs it. Source: Yao et al., "Using Stacking to Average Bayesian Predictive
    Distributions", Bayesian Analysis 2018.
    """
    likelihood = np.exp(log_scores - log_scores.max(axis=1, keepdims=True))
    weights = np.full(log_scores.shape[1], 1.0 / log_scores.shape[1])
    for _ in range(STACKING_STEPS):
        shares = weights * likelihood
        weights = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def _normal_scores(
    quantiles: Float[np.ndarray, "observation level"], at: Float[np.ndarray, " observation"]
) -> Float[np.ndarray, " observation"]:
    """Return the normal score of the predictive distribution at log env steps `at`.

    Equal quantiles count as one, at the lowest of their levels.
    """
    levels = ndtri(QUANTILE_LEVELS)
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


def _matchable(table: pd.DataFrame, thresholds: Float[np.ndarray, " threshold"]) -> pd.DataFrame:
    """Round settings to five digits and replace thresholds by the nearest of `thresholds` that agrees to five digits.

    Numbers that went through a file must still match, although thresholds may lie closer together than five digits.
    """
    rounded = {name: [float(f"{value:.5g}") for value in table[name]] for name in ("utd", "learning_rate")}
    given = table["threshold"].to_numpy(float)
    nearest = thresholds[abs(given[:, None] - thresholds).argmin(axis=1)]
    return table.assign(**rounded, threshold=np.where(np.isclose(given, nearest, rtol=1e-5, atol=0), nearest, given))
