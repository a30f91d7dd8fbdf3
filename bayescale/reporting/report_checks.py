"""Compute what the report says about trust: agreement with the data, the checks of the law, exponents, convergence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.stats import rankdata

from bayescale.data.configurations import setting_columns
from bayescale.data.tables import Column, as_table, check_columns
from bayescale.errors import InputError
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.prediction_table import INTERVAL, of_crossing
from bayescale.validation.predictive_checks import OVERALL, posterior_predictive_checks
from bayescale.validation.scores import interval_hits

FALSE_ALARM = 0.01  # probability that any task is flagged although all follow the law
RANK_BINS = 20  # bins of a rank plot
EXPONENTS = {
    "log_sharpness": "log p: how sharply the data needed levels off with UTD",
    "batch_utd_exponent": "how fast the best batch size falls with UTD",
    "rate_utd_exponent": "how fast the best learning rate falls with UTD",
}
HELD_OUT_COLUMNS = (
    Column("method", "text"),
    Column("leave_out", "text"),
    *(Column(name, "real", may_be_missing=True) for name in ("observations", "coverage90", "wis", "male")),
)


def predictive_check(posterior: Posterior) -> pd.DataFrame:
    """Return the crossings with `inside50` and `inside90`: True if its own central interval holds the crossing."""
    crossings = posterior.crossings
    keys = setting_columns(crossings)
    predicted = posterior.predict(crossings[keys].drop_duplicates().reset_index(drop=True))
    kept = predicted[[*keys, "threshold", INTERVAL, "q05", "q25", "q75", "q95"]]
    both = crossings.merge(kept, on=[*keys, "threshold"], suffixes=("_of_run", ""))
    at_crossing = of_crossing(both)
    return both.assign(
        reached=~both["censored"],
        inside50=interval_hits(both, low=both["q25"], high=both["q75"], at_crossing=at_crossing),
        inside90=interval_hits(both, low=both["q05"], high=both["q95"], at_crossing=at_crossing),
    )


def law_checks(posterior: Posterior, tasks: Sequence[str]) -> pd.DataFrame:
    """Return the posterior predictive checks of these tasks and of all tasks together."""
    checks = posterior_predictive_checks(posterior, rng=np.random.default_rng(0), false_alarm=FALSE_ALARM)
    return checks[checks["env_id"].isin([*tasks, OVERALL])]


def last_env_steps(crossings: pd.DataFrame) -> pd.Series:
    """Return, by task, the latest env step at which a crossing was observed or censored."""
    last = crossings["env_steps_upper"].where(~crossings["censored"], crossings["env_steps_lower"])
    return last.groupby(crossings["env_id"]).max()


def exponents(draws: dict[str, np.ndarray], priors: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a table of the population's exponents midway between the thresholds; `left` is posterior sd over prior sd.

    The population's exponents are linear in the threshold, and the last row of the task axis is the population.
    """
    rows = []
    for name in (name for name in EXPONENTS if name in draws):
        population = draws[name] if draws[name].ndim == 3 else draws[name][:, :, -1]  # chain, draw, threshold
        midway = (population[..., 0] + population[..., -1]) / 2
        rows.append((name, EXPONENTS[name], midway.mean(), midway.std(ddof=1), priors[name]["scale"]))
    table = pd.DataFrame(rows, columns=["name", "meaning", "mean", "sd", "prior_sd"]).set_index("name")
    return table.assign(left=table["sd"] / table["prior_sd"])


def convergence_fields(posterior: Posterior, diagnostics: pd.DataFrame) -> dict[str, Any]:
    """Return R-hat and effective sample size of every parameter, their limits, and ranks of the worst parameters."""
    ess = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1)
    max_r_hat, per_chain = posterior.status.limits
    worst = dict.fromkeys((str(diagnostics["r_hat"].idxmax()), str(ess.idxmin())))
    return {
        "convergence": {
            "names": [str(name) for name in diagnostics.index],
            "r_hat": diagnostics["r_hat"].round(5).tolist(),
            "ess": ess.round(1).tolist(),
            "max_r_hat": max_r_hat,
            "min_ess": per_chain * len(next(iter(posterior.draws.values()))),
        },
        "ranks": [{"name": name, "counts": rank_counts(posterior, name).tolist()} for name in worst],
    }


def rank_counts(posterior: Posterior, name: str) -> Int[np.ndarray, "chain bin"]:
    """Count how many draws of each chain fall into each twentieth of the ranks over all chains."""
    site, _, index = name.removesuffix("]").partition("[")
    position: Any = (..., *(int(i) for i in index.split(","))) if index else ...
    draws = posterior.draws[site][position]
    ranks = rankdata(draws).reshape(draws.shape) - 0.5
    return np.stack([np.histogram(chain, RANK_BINS, (0, draws.size))[0] for chain in ranks])


def held_out_scores(held_out: object) -> pd.DataFrame:
    """Return the scores of `compare`, the rows of methods that could be fitted.

    Args:
        held_out: a result of `compare`, or the file that the command `compare` wrote; or several of them; or None.

    Raises:
        InputError: a table has no held-out scores.
    """
    given = held_out if isinstance(held_out, list | tuple) else [] if held_out is None else [held_out]
    tables = [check_columns(as_table("held_out", each, HELD_OUT_COLUMNS), HELD_OUT_COLUMNS) for each in given]
    if not tables:
        return pd.DataFrame(columns=[column.name for column in HELD_OUT_COLUMNS])
    table = pd.concat(tables, ignore_index=True)
    if table["coverage90"].isna().all():
        raise InputError("held_out holds no scores; give the tables that `compare` returns or writes.")
    return table.dropna(subset=["coverage90"])
