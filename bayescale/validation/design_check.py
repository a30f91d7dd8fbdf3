"""Check a planned sweep before it is run.

`prior_predictive` shows the run lengths that the priors expect. `check_design` shows which parameters of the law the
sweep would identify.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
import pandas as pd
from scipy.stats import gmean

from bayescale.arguments import require_count
from bayescale.data.configurations import checked_configs, setting_columns
from bayescale.data.tables import Table, check_columns
from bayescale.data.tasks import naming_columns, with_task_names
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import prior_draws
from bayescale.models import JointModel, Prior
from bayescale.models.parameters import LOG_ENV_STEPS_AT_CENTRE
from bayescale.models.priors import fixed, normal
from bayescale.posterior import predictive
from bayescale.posterior.prediction_table import predictions_by_threshold
from bayescale.validation.calibration import contraction, credible_coverage, replicate
from bayescale.validation.simulate import DESIGN_COLUMNS

BEYOND = 2.0  # factor beyond the lowest and the highest UTD at which the median run is followed
GUESS = 0.2  # default guess of the env steps to the lowest threshold, as a share of the horizon
GUESS_SPREAD = 0.5  # log env steps; prior sd of the guess over all tasks, and again of each task


@dataclass(frozen=True)
class DesignCheck:
    """The quantities that a design would identify.

    Attributes:
        table: one row per quantity, which is a parameter of the law or the log env steps of the median run. Columns:
            prior_sd; posterior_sd (root mean square over data sets); ratio, the posterior_sd over the prior_sd (near 0:
            the design identifies the quantity; near 1: it does not); coverage90, the share of data sets whose 90%
            credible interval contains the true value; standard_error of coverage90 if intervals are right.
        reached: mean share of interval-censored run lengths; the others are left- or right-censored.
        datasets: number of simulated data sets.
    """

    table: pd.DataFrame
    reached: float
    datasets: int


@compiled_code_kept()
@float64()
def prior_predictive(
    configs: pd.DataFrame,
    *,
    thresholds: Sequence[float] = (1.0,),
    every: float = 1.0,
    horizon: float = np.inf,
    priors: dict[str, Prior] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict new runs from the priors alone.

    If `earlier` or `later` is large, the priors expect run lengths that the sweep cannot observe.

    Args:
        configs: columns env_id, utd, batch_size, learning_rate; further columns are kept.
        thresholds: increasing returns; the priors use only their order and spacing.
        every: env steps of the first evaluation, > 0.
        horizon: env steps of the last evaluation.
        priors: replacements by name for `bayescale.models.PRIORS`.
        draws: number of draws from the prior.
        seed: seed of the draws.

    Returns:
        One row per configuration and threshold: the columns of `configs`, threshold, q05 ... q95 (env steps of a new
        run), p_reach (probability to reach the threshold), magnitudes (orders of magnitude from q05 to q95), earlier
        (probability of a run length before the first evaluation) and later (after the last evaluation, or never).

    Raises:
        InputError: a configuration, count or length is not valid, or a prior is unknown.
    """
    require_count("draws", draws)
    if not 0 < every <= horizon or np.isinf(every):
        raise InputError(
            f"every must be finite, > 0 and at most the horizon; got {every:g} and {horizon:g}. Correct them."
        )
    configs = checked_configs(configs).reset_index(drop=True)
    configs = with_task_names(configs, naming_columns(configs))
    model = _model(configs, thresholds, priors or {})
    parameters = prior_draws(model, jax.random.PRNGKey(seed), draws)
    predicted = predictive.predict(model, parameters, configs)
    run_length = predictive.run_lengths(model, parameters, configs)
    by_first, by_last = (run_length.reached_by(np.log(end)).mean(axis=0) for end in (every, horizon))
    table = predictions_by_threshold(
        configs, np.asarray(model.thresholds), quantiles=predicted.quantiles, p_reach=predicted.p_reach
    )
    return table.assign(
        magnitudes=np.log10(table["q95"] / table["q05"]),
        earlier=by_first.ravel(),
        later=1 - by_last.ravel(),
    )


@compiled_code_kept()
@float64()
def check_design(
    design: pd.DataFrame,
    *,
    every: int,
    horizon: float,
    rng: np.random.Generator,
    thresholds: Sequence[float] = (1.0,),
    env_steps: float | None = None,
    priors: dict[str, Prior] | None = None,
    datasets: int = 40,
    correlation: float = 0.7,
    draws: int = 400,
    warmup: int = 300,
) -> DesignCheck:
    """Simulate data from the priors at a design, fit them, and compare the posteriors with the true values.

    The law's parameters are followed. So are the log env steps of the median run at half the lowest and twice the
    highest UTD, with the other settings at the middle of the design. With one threshold the likelihood is exact. With
    several thresholds it is composite, and `coverage90` measures the error of the credible intervals.

    Args:
        design: columns env_id, utd, batch_size, learning_rate, [model_size], [seeds: number of runs, 1 if absent].
        every: env steps between evaluations.
        horizon: env steps of every run.
        rng: source of randomness.
        thresholds: increasing returns, as many as will be fitted; one threshold is fast and usually enough.
        env_steps: guess of the median run's env steps to the lowest threshold, within a factor of about e; None: a
            fifth of the horizon.
        priors: replacements by name for `bayescale.models.PRIORS`; priors of `log_env_steps_at_centre` replace the
            guess.
        datasets: number of simulated data sets; with 40, the standard error of a coverage of 90% is 5%.
        correlation: correlation of a run's deviations between thresholds, in [0, 1].
        draws: draws kept of each fit.
        warmup: iterations of adaptation of each fit.

    Raises:
        InputError: the design, a count or a number is not valid, or a prior is unknown.
    """
    guess = GUESS * horizon if env_steps is None else env_steps
    if not 0 < guess < np.inf:
        raise InputError(f"env_steps and horizon must be finite and > 0; got {guess:g}. Correct them.")
    centre = replace(
        LOG_ENV_STEPS_AT_CENTRE, prior=normal(float(np.log(guess)), GUESS_SPREAD), spread=fixed(GUESS_SPREAD)
    ).priors()
    configs = check_columns(Table(design, "design"), DESIGN_COLUMNS).reset_index(drop=True)
    configs = with_task_names(configs, naming_columns(configs))
    model = _model(configs, thresholds, centre | (priors or {}))
    at = _extremes(configs)
    followed = [parameter.name for parameter in model.declared.law_parameters()]
    made = replicate(
        model,
        design=configs,
        every=every,
        horizon=horizon,
        rng=rng,
        datasets=datasets,
        parameters=followed,
        at=at,
        correlation=correlation,
        draws=draws,
        warmup=warmup,
    )
    coverage90 = credible_coverage(made, levels=(0.9,))[0.9]
    names = {
        f"log_env_steps[{i},{k}]": f"log env steps, {row.env_id}, UTD {row.utd:g}" + (f", J {threshold:g}" if k else "")
        for i, row in enumerate(at.itertuples())
        for k, threshold in enumerate(model.thresholds)
    }
    table = contraction(made).assign(coverage90=coverage90, standard_error=np.sqrt(0.9 * 0.1 / datasets))
    return DesignCheck(table.rename(index=names).rename_axis("quantity"), float(made.reached.mean()), datasets)


def _model(configs: pd.DataFrame, thresholds: Sequence[float], priors: dict[str, Prior]) -> JointModel:
    """Return the model of `bayescale.models.joint` for these configurations and thresholds."""
    crossings = configs.merge(pd.Series(increasing_thresholds(thresholds), name="threshold"), how="cross")
    return JointModel.for_crossings(crossings, priors)


def _extremes(configs: pd.DataFrame) -> pd.DataFrame:
    """Return two configurations per task, beyond its lowest and its highest UTD.

    The other settings are the geometric means of the task's configurations.
    """
    rows, columns = [], setting_columns(configs)
    for env_id, task in configs.groupby("env_id"):
        middle = [gmean(task[axis].astype(float)) for axis in columns[2:]]
        ends = task["utd"].min() / BEYOND, task["utd"].max() * BEYOND
        rows += [(env_id, utd, *middle) for utd in ends]
    return pd.DataFrame(rows, columns=columns)
