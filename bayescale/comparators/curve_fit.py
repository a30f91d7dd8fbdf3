"""Fit any law of `formulas` to a table by least squares from many starts, with bootstraps over its rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtri
from scipy.stats import gmean, linregress

from bayescale.arguments import counted
from bayescale.comparators.formulas import LAWS, Law, Values
from bayescale.comparators.least_squares import minimise
from bayescale.comparators.predictions import CHUNK, NOISE_LEVELS, check_resampling
from bayescale.errors import InputError
from bayescale.posterior.prediction_table import (
    LAW_QUANTILE_COLUMNS,
    LAW_QUANTILE_LEVELS,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
)

STARTS = 24  # starts of each search
FLAT = 1e-6  # a law that varies less over its data counts as constant
FALSE_ALARM = 1e-4  # probability that residuals seem to rise with an input by accident
LONGEST = 2.0  # largest step of the log of a parameter: a factor of 7
START_SPREAD = (
    1.0  # standard deviation of random starts, in logs for positive parameters, else in sds of the fitted data
)


@dataclass(frozen=True)
class LawFit:
    """A fitted law.

    Attributes:
        law: the law.
        reference: geometric mean of each input; coefficients and midpoints are relative to it.
        parameters: one row per draw; row 0 is the fit, the others are its bootstraps.
        noise: standard deviation of the residuals, in logs if the law fits the log output.
        rows: number of fitted observations.
    """

    law: Law
    reference: dict[str, float]
    parameters: pd.DataFrame
    noise: float
    rows: int

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Predict new observations.

        Args:
            table: one row per observation with the law's inputs; further columns are kept.

        Returns:
            The table with the quantiles q05 ... q95 of a new observation, and law_q05 law_q50 law_q95 of the law alone.

        Raises:
            InputError: an input is missing or not > 0.
        """
        at = _inputs(self.law, table)
        draws = {name: self.parameters[name].to_numpy()[:, None] for name in self.law.parameters}
        transform, inverse = (np.log, np.exp) if self.law.log_output else (np.asarray, np.asarray)
        noise = self.noise * ndtri(NOISE_LEVELS)
        quantiles = np.empty((len(table), len(QUANTILE_LEVELS)))
        law_quantiles = np.empty((len(table), len(LAW_QUANTILE_LEVELS)))
        for first in range(0, len(table), CHUNK):
            rows = slice(first, first + CHUNK)
            law = self.law.formula({name: at[name][None, rows] / self.reference[name] for name in at}, draws)
            outputs = (transform(law)[:, None] + noise[:, None]).reshape(-1, law.shape[1])
            quantiles[rows] = inverse(np.quantile(outputs, QUANTILE_LEVELS, axis=0)).T
            law_quantiles[rows] = np.quantile(law, LAW_QUANTILE_LEVELS, axis=0).T
        predicted = table.copy()
        predicted[QUANTILE_COLUMNS] = quantiles
        predicted[LAW_QUANTILE_COLUMNS] = law_quantiles
        return predicted


def fit_law(law: Law | str, *, table: pd.DataFrame, seed: int = 0, bootstraps: int = 200) -> LawFit:
    """Fit a law to a table by least squares, with bootstraps over its rows.

    Args:
        law: a law, or the name of one in `LAWS`.
        table: one row per observation with the law's inputs and output.
        seed: seed of the starts and the bootstraps, >= 0.
        bootstraps: number of resamples of the rows, >= 1, each fitted from the best parameters.

    Raises:
        InputError: the law is unknown, a column is missing, a value is out of range, there are fewer rows than
            parameters, the output rises with an input although the law falls, or `seed` or `bootstraps` is out of
            range.
    """
    check_resampling(seed, bootstraps)
    if isinstance(law, str):
        if law not in LAWS:
            raise InputError(f"law must be one of {', '.join(LAWS)} or a Law; got '{law}'. Choose one.")
        law = LAWS[law]
    at, y = _inputs(law, table), _column(table, law.output)
    if not np.isfinite(y).all() or (law.log_output and (y <= 0).any()):
        raise InputError(f"{law.output} must be finite{' and > 0' if law.log_output else ''}; correct these rows.")
    if len(y) < len(law.parameters):
        raise InputError(
            f"the law has {counted(len(law.parameters), 'parameter')}; got {counted(len(y), 'row')}. Give more rows."
        )
    reference = {name: float(gmean(values)) for name, values in at.items()}
    scaled = {name: values / reference[name] for name, values in at.items()}
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=bootstraps).astype(float)
    fitted, loss = search(law, scaled, outputs=y[None], weights=np.ones((1, len(y))), rng=rng)
    _check_falls(law, scaled, y, constrained(law, fitted))
    start = np.tile(fitted, (bootstraps, 1))
    resampled, _ = search(law, scaled, outputs=np.tile(y, (bootstraps, 1)), weights=weights, rng=rng, start=start)
    return LawFit(
        law=law,
        reference=reference,
        parameters=pd.DataFrame(constrained(law, np.vstack([fitted, resampled]))),
        noise=float(np.sqrt(loss[0] / max(len(y) - len(law.parameters), 1))),
        rows=len(y),
    )


def search(
    law: Law,
    at: Values,
    *,
    outputs: Float[np.ndarray, "problem row"],
    weights: Float[np.ndarray, "problem row"],
    rng: np.random.Generator,
    start: Float[np.ndarray, "problem parameter"] | None = None,
) -> tuple[Float[np.ndarray, "problem parameter"], Float[np.ndarray, " problem"]]:
    """Return the unconstrained parameters that fit each problem best, and the weighted sums of squares.

    Args:
        law: the law.
        at: inputs over their references, one value per row.
        outputs: outputs that each problem fits.
        weights: weights of the squares; 0 leaves a row out.
        rng: source of the starts.
        start: start of each problem; None: `STARTS` starts for each, near the data of the first problem.
    """
    transform = np.log if law.log_output else np.asarray
    known = weights > 0
    starts = STARTS if start is None else 1
    first = np.tile(_starts(law, at, outputs[0][known[0]], rng), (len(outputs), 1)) if start is None else start
    observed = np.repeat(transform(np.where(known, outputs, 1.0)), starts, axis=0)
    root_weight = np.sqrt(np.repeat(weights, starts, axis=0))

    def residual(theta: Float[np.ndarray, "many parameter"]) -> Float[np.ndarray, "many row"]:
        with np.errstate(all="ignore"):  # a start far from the data may overflow; its loss is then inf
            p = {name: values[:, None] for name, values in constrained(law, theta).items()}
            return np.where(root_weight > 0, root_weight * (transform(law.formula(at, p)) - observed), 0.0)

    longest = np.array([LONGEST if name in law.positive else np.inf for name in law.parameters])
    theta, loss = minimise(residual, first, longest)
    best = loss.reshape(-1, starts).argmin(axis=1) + starts * np.arange(len(outputs))
    return theta[best], loss[best]


def _starts(
    law: Law, at: Values, y: Float[np.ndarray, " row"], rng: np.random.Generator
) -> Float[np.ndarray, "start parameter"]:
    """Return unconstrained parameters near the data: the law's own start, and others scattered around it."""
    centre = law.start(at, y)
    base = np.array([np.log(centre[n]) if n in law.positive else centre[n] for n in law.parameters])
    spreads = START_SPREAD * np.array([1.0 if n in law.positive else float(np.std(y)) for n in law.parameters])
    return base + spreads * np.vstack([np.zeros(len(base)), rng.standard_normal((STARTS - 1, len(base)))])


def _check_falls(law: Law, at: Values, y: Float[np.ndarray, " row"], p: Values) -> None:
    """Raise InputError if the output rises with an input although the law falls; the best fit is then constant.

    One of several inputs may have no effect. It is refused if the residuals rise with it by more than the law falls.
    """
    transform = np.log if law.log_output else np.asarray
    fitted = transform(law.formula(at, p))
    for x in law.inputs:
        if f"exponent_{x}" not in p or np.ptp(at[x]) == 0:
            continue
        fall = np.ptp(transform(law.formula({name: at[x] if name == x else np.ones(len(y)) for name in law.inputs}, p)))
        trend = linregress(np.log(at[x]), transform(y) - fitted, alternative="greater")
        rise = trend.slope * np.ptp(np.log(at[x])) if trend.pvalue < FALSE_ALARM else 0.0
        if rise > max(fall, FLAT) or np.ptp(fitted) < FLAT:
            raise InputError(f"the law needs {law.output} to fall as {x} rises; give 1/{x} as {x} if it rises.")


def constrained(law: Law, theta: Float[np.ndarray, "problem parameter"]) -> dict[str, Float[np.ndarray, " problem"]]:
    """Return parameters by name from the unconstrained ones of `search`."""
    clipped = np.clip(theta, -700.0, 700.0)
    return {
        name: np.exp(clipped[:, i]) if name in law.positive else theta[:, i] for i, name in enumerate(law.parameters)
    }


def _inputs(law: Law, table: pd.DataFrame) -> dict[str, Float[np.ndarray, " row"]]:
    """Return the law's inputs by name, or raise InputError unless all are finite and > 0."""
    at = {name: _column(table, name) for name in law.inputs}
    for name, values in at.items():
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"{name} must be finite and > 0; correct or remove the other rows.")
    return at


def _column(table: pd.DataFrame, name: str) -> Float[np.ndarray, " row"]:
    """Return a column as numbers, NaN where it holds none; raise InputError if the table lacks it."""
    if name not in table:
        raise InputError(f"the table has no column '{name}'; its columns are {', '.join(map(str, table))}. Add it.")
    return np.asarray(pd.to_numeric(table[name], errors="coerce"), np.float64)
