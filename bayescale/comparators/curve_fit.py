"""Any law of `formulas` fitted to a table by least squares from many starts, with a bootstrap over its rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtri
from scipy.stats import linregress

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

STARTS = 24
FLAT = 1e-6  # fall of a law over its data that is none
CHANCE = 1e-4  # of residuals that seem to rise with an input
LONGEST = 2.0  # step of a parameter in logs: a factor of 7
START_SPREAD = 1.0  # of positive parameters in logs, of others in spreads of the output


@dataclass(frozen=True)
class LawFit:
    """A fitted law.

    Attributes:
        law: its formula.
        reference: geometric mean of each input; coefficients and midpoints are relative to it.
        parameters: one row per draw; row 0 is the fit, the others its bootstraps.
        noise: residual spread, of the log output where the law says so.
        rows: observations fitted.
    """

    law: Law
    reference: dict[str, float]
    parameters: pd.DataFrame
    noise: float
    rows: int

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with q05 ... q95 of a new observation and law_q05 law_q50 law_q95 of the law alone.

        Raises:
            InputError: an input is missing or not > 0.
        """
        at = _inputs(self.law, table)
        draws = {name: self.parameters[name].to_numpy()[:, None] for name in self.law.parameters}
        inward, outward = (np.log, np.exp) if self.law.log_output else (np.asarray, np.asarray)
        noise = self.noise * ndtri(NOISE_LEVELS)
        new, alone = np.empty((len(table), len(QUANTILE_LEVELS))), np.empty((len(table), len(LAW_QUANTILE_LEVELS)))
        for first in range(0, len(table), CHUNK):
            rows = slice(first, first + CHUNK)
            law = self.law.formula({name: at[name][None, rows] / self.reference[name] for name in at}, draws)
            runs = (inward(law)[:, None] + noise[:, None]).reshape(-1, law.shape[1])
            new[rows] = outward(np.quantile(runs, QUANTILE_LEVELS, axis=0)).T
            alone[rows] = np.quantile(law, LAW_QUANTILE_LEVELS, axis=0).T
        out = table.copy()
        out[QUANTILE_COLUMNS] = new
        out[LAW_QUANTILE_COLUMNS] = alone
        return out


def fit_law(law: Law | str, *, table: pd.DataFrame, seed: int = 0, bootstraps: int = 200) -> LawFit:
    """The least-squares fit of a law to a table, with bootstraps over its rows.

    Args:
        law: a law, or the name of one in `LAWS`.
        table: one row per observation with the law's inputs and output.
        seed: of the starts and the bootstraps, at least 0.
        bootstraps: resamples of the rows, at least 1, each fitted from the best parameters.

    Raises:
        InputError: no such law, a missing column, a value out of range, fewer rows than parameters, an output that
            rises with an input where the law must fall, or a seed or number of bootstraps out of range.
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
    reference = {name: float(np.exp(np.log(values).mean())) for name, values in at.items()}
    scaled = {name: values / reference[name] for name, values in at.items()}
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=bootstraps).astype(float)
    found, loss = search(law, scaled, y[None], np.ones((1, len(y))), rng)
    _check_falls(law, scaled, y, constrained(law, found))
    again, _ = search(law, scaled, np.tile(y, (bootstraps, 1)), weights, rng, np.tile(found, (bootstraps, 1)))
    spread = float(np.sqrt(loss[0] / max(len(y) - len(law.parameters), 1)))
    parameters = pd.DataFrame(constrained(law, np.vstack([found, again])))
    return LawFit(law, reference, parameters, spread, len(y))


def search(
    law: Law,
    at: Values,
    outputs: Float[np.ndarray, "problem row"],
    weights: Float[np.ndarray, "problem row"],
    rng: np.random.Generator,
    start: Float[np.ndarray, "problem parameter"] | None = None,
) -> tuple[Float[np.ndarray, "problem parameter"], Float[np.ndarray, " problem"]]:
    """Unconstrained parameters of each problem and the weighted sum of squares; from many starts unless given one.

    Args:
        law: the law.
        at: inputs over their references, one value per row.
        outputs: what each problem fits.
        weights: of the squares; 0 leaves a row out.
        rng: of the starts.
        start: of each problem; None: many, near the data of the first problem, for each.
    """
    inward = np.log if law.log_output else np.asarray
    problems = len(outputs)
    known = weights > 0
    if start is None:
        centre = law.start(at, outputs[0][known[0]])
        base = np.array([np.log(centre[n]) if n in law.positive else centre[n] for n in law.parameters])
        unit = float(np.std(outputs[0][known[0]]))
        spreads = np.array([START_SPREAD if n in law.positive else START_SPREAD * unit for n in law.parameters])
        starts = base + spreads * np.vstack([np.zeros(len(base)), rng.standard_normal((STARTS - 1, len(base)))])
        first = np.tile(starts, (problems, 1))
    else:
        first = start
    repeats = STARTS if start is None else 1
    wanted = np.repeat(inward(np.where(known, outputs, 1.0)), repeats, axis=0)
    root = np.sqrt(np.repeat(weights, repeats, axis=0))

    def residual(theta: Float[np.ndarray, "many parameter"]) -> Float[np.ndarray, "many row"]:
        with np.errstate(all="ignore"):  # a start far from the data may overflow; its loss is then inf
            p = {name: values[:, None] for name, values in constrained(law, theta).items()}
            return np.where(root > 0, root * (inward(law.formula(at, p)) - wanted), 0.0)

    longest = np.array([LONGEST if name in law.positive else np.inf for name in law.parameters])
    found, loss = minimise(residual, first, longest)
    pick = loss.reshape(problems, repeats).argmin(axis=1) + repeats * np.arange(problems)
    return found[pick], loss[pick]


def _check_falls(law: Law, at: Values, y: Float[np.ndarray, " row"], p: Values) -> None:
    """Nothing, if the output falls where the law must; where it rises the best fit is flat.

    One of several inputs may have no effect: it is refused if the residuals rise with it by more than the law falls.
    """
    inward = np.log if law.log_output else np.asarray
    fitted = inward(law.formula(at, p))
    for x in law.inputs:
        if f"exponent_{x}" not in p or np.ptp(at[x]) == 0:
            continue
        fall = np.ptp(inward(law.formula({name: at[x] if name == x else np.ones(len(y)) for name in law.inputs}, p)))
        trend = linregress(np.log(at[x]), inward(y) - fitted, alternative="greater")
        rise = trend.slope * np.ptp(np.log(at[x])) if trend.pvalue < CHANCE else 0.0
        if rise > max(fall, FLAT) or np.ptp(fitted) < FLAT:
            raise InputError(f"the law needs {law.output} to fall as {x} rises; give 1/{x} as {x} if it rises.")


def constrained(law: Law, theta: Float[np.ndarray, "problem parameter"]) -> dict[str, Float[np.ndarray, " problem"]]:
    """Parameters by name from the unconstrained ones of `search`."""
    clipped = np.clip(theta, -700.0, 700.0)
    return {
        name: np.exp(clipped[:, i]) if name in law.positive else theta[:, i] for i, name in enumerate(law.parameters)
    }


def _inputs(law: Law, table: pd.DataFrame) -> dict[str, Float[np.ndarray, " row"]]:
    at = {name: _column(table, name) for name in law.inputs}
    for name, values in at.items():
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"{name} must be finite and > 0; correct or remove the other rows.")
    return at


def _column(table: pd.DataFrame, name: str) -> Float[np.ndarray, " row"]:
    if name not in table:
        raise InputError(f"the table has no column '{name}'; its columns are {', '.join(map(str, table))}. Add it.")
    return np.asarray(pd.to_numeric(table[name], errors="coerce"), np.float64)
