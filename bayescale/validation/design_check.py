"""A sweep tried on paper before it is paid for: what the priors say of its runs, and what its runs would tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
import pandas as pd

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
from bayescale.models.parameters import LOG_ENV_STEPS_AT_CENTRE, with_replacements
from bayescale.models.priors import fixed, normal
from bayescale.posterior import predictive
from bayescale.posterior.prediction_table import predictions_by_threshold
from bayescale.validation.calibration import contraction, credible_coverage, replicate
from bayescale.validation.simulate import DESIGN_COLUMNS

BEYOND = 2.0  # the median run is followed at this factor beyond the design's UTDs too
GUESS = 0.2  # of the horizon: the env steps to the lowest threshold, if nobody says
GUESS_SPREAD = 0.5  # log env steps by which that guess may be off, for all tasks and again for each


@dataclass(frozen=True)
class DesignCheck:
    """What a design would tell.

    Attributes:
        table: one row per quantity, a parameter of the law or log env steps of the median run: `prior_sd`,
            `posterior_sd` (root mean square over data sets), their `ratio` (near 0: the design tells it; near 1: its
            interval is the prior's), `coverage90` (share of data sets whose 90% credible interval holds the truth),
            its `standard_error` were it right.
        reached: mean share of times that were observed between the first evaluation and the last.
        datasets: simulated.
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
    """What the priors alone say of new runs, one row per configuration and threshold.

    Columns: those of `configs`, `threshold`, q05 ... q95 (env steps of a new run), `p_reach`, `magnitudes` (orders of
    magnitude from q05 to q95), `earlier` (the chance that a run gets there before the first evaluation), `later` (after
    the last, or never). Where `earlier` or `later` is large, the priors expect runs that the sweep would not see.

    Args:
        configs: columns env_id, utd, batch_size, learning_rate; further columns are kept.
        thresholds: increasing returns; the priors know only their order and spacing.
        every: env steps of the first evaluation.
        horizon: env steps of the last.
        priors: replacements by name for `bayescale.models.PRIORS`.
        draws: from the prior.
        seed: of the draws.

    Raises:
        InputError: a configuration, count or length that cannot be used, an unknown prior.
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
    times = predictive.run_lengths(model, parameters, configs)
    with np.errstate(divide="ignore"):
        before, within = (times.reached_by(np.log(end)).mean(axis=0) for end in (every, horizon))
    table = predictions_by_threshold(
        configs, np.asarray(model.thresholds), quantiles=predicted.quantiles, p_reach=predicted.p_reach
    )
    return table.assign(
        magnitudes=np.log10(table["q95"] / table["q05"]),
        earlier=before.ravel(),
        later=1 - within.ravel(),
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
    """Would this grid tell the law? Fits to data simulated from the priors at a design, against what was simulated.

    Beside the law's parameters the median run is followed at half the lowest and twice the highest UTD, at the middle
    of the design's other axes. With one threshold the likelihood is exact; with several it is
    composite and `coverage90` says by how much intervals miss.

    Args:
        design: columns env_id, utd, batch_size, learning_rate, [model_size], [seeds: runs of each, 1 if absent].
        every: env steps between evaluations.
        horizon: env steps of every run.
        rng: source of randomness.
        thresholds: increasing returns, as many as will be fitted; one is quick and tells most.
        env_steps: your guess of the median run's env steps to the lowest threshold, which is taken to be right within a
            factor of e or so; None: a fifth of the horizon.
        priors: replacements by name for `bayescale.models.PRIORS`; those of `log_env_steps_at_centre` replace the guess.
        datasets: simulated; 40 know a coverage of 90% to 5%.
        correlation: of a run's deviations at two thresholds, in [0, 1].
        draws: kept of each fit.
        warmup: iterations of adaptation of each fit.

    Raises:
        InputError: a design, count or number that cannot be used, an unknown prior.
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
    followed = _population_elements(model)
    made = replicate(
        model,
        design=configs,
        every=every,
        horizon=horizon,
        rng=rng,
        datasets=datasets,
        parameters=list(followed),
        at=at,
        correlation=correlation,
        draws=draws,
        warmup=warmup,
    )
    held = credible_coverage(made, levels=(0.9,))[0.9]
    names = followed | {
        f"log_env_steps[{i},{k}]": f"log env steps, {row.env_id}, UTD {row.utd:g}" + (f", J {level:g}" if k else "")
        for i, row in enumerate(at.itertuples())
        for k, level in enumerate(model.thresholds)
    }
    table = contraction(made).assign(coverage90=held, standard_error=np.sqrt(0.9 * 0.1 / datasets))
    return DesignCheck(table.rename(index=names).rename_axis("quantity"), float(made.reached.mean()), datasets)


def _population_elements(model: JointModel) -> dict[str, str]:
    """Return the law's parameters by element: the population's value at the middle threshold of each.

    Noise and failure are left out: a design is made to identify the law.
    """
    declared = model.declared
    apart = (declared.log_env_steps_at_centre, declared.log_noise, declared.skewness, declared.configuration_effect)
    left_out = {*apart, declared.failure, declared.failure_penalty, declared.failure_rise}
    left_out |= {axis.noise_slope for axis in declared.axes} | {one.strength for one in declared.interactions}
    number = {"task": len(model.env_ids), "threshold": len(model.thresholds) // 2}
    elements = {}
    for parameter in declared.parameters():
        if parameter not in left_out:
            index = ",".join(str(number[dimension]) for dimension in parameter.dimensions())
            elements[parameter.name + (f"[{index}]" if index else "")] = parameter.name
    return elements


def _model(configs: pd.DataFrame, thresholds: Sequence[float], priors: dict[str, Prior]) -> JointModel:
    """The model of runs at these configurations."""
    levels = increasing_thresholds(thresholds)
    crossings = configs.merge(pd.Series(levels, name="threshold"), how="cross")
    return JointModel.for_crossings(crossings, with_replacements(priors))


def _extremes(configs: pd.DataFrame) -> pd.DataFrame:
    """By task: half its lowest and twice its highest UTD, at the middle of its other settings."""
    rows, columns = [], setting_columns(configs)
    for env_id, own in configs.groupby("env_id"):
        middle = [np.exp(np.log(own[axis].astype(float)).mean()) for axis in columns[2:]]
        ends = own["utd"].min() / BEYOND, own["utd"].max() * BEYOND
        rows += [(env_id, utd, *middle) for utd in ends]
    return pd.DataFrame(rows, columns=columns)
