"""Check a planned sweep before it is run.

`prior_predictive` shows the run lengths that the priors expect. `check_design` says whether the sweep would place the
optimum, how wide its recommendation would be, and which change of the plan helps.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import counted, require_count
from bayescale.data.configurations import checked_configs
from bayescale.data.observations import observations
from bayescale.data.tables import Column, Table, check_columns
from bayescale.data.tasks import naming_columns, with_task_names
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.chains import on_cpu
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import prior_draws
from bayescale.models import JointModel, Prior
from bayescale.models.parameters import LOG_ENV_STEPS_AT_CENTRE
from bayescale.models.priors import fixed, normal
from bayescale.posterior import predictive
from bayescale.posterior.prediction_table import predictions_by_threshold
from bayescale.validation.design_verdict import changes_table, verdict
from bayescale.validation.expected_posterior import EXTRA, Followed, approximation_of
from bayescale.validation.plan_variants import simulated, summarised, variants
from bayescale.validation.simulate import DESIGN_COLUMNS

PLAN_COLUMNS = (
    *DESIGN_COLUMNS,
    *(Column(name, "real", above=0, optional=True) for name in ("every", "horizon")),
)
GUESS = 0.2  # default guess of the env steps to the lowest threshold, as a share of the longest horizon
GUESS_SPREAD = 0.5  # log env steps; prior sd of the guess over all tasks, and again of each task
DATASETS_OF_CHANGES = 3  # data sets of each change; they share their truths with the first data sets of the plan
MOST_THRESHOLDS = 3
TAILS = (0.05, 0.95)  # quantile levels of a 90% interval


@dataclass(frozen=True)
class DesignCheck:
    """The answers to three questions about a plan, and the numbers behind them.

    Attributes:
        verdict: three sentences: can the plan place the optimum, how wide will the recommendation be, and which is the
            cheapest change that helps.
        table: one row per quantity, all in logs. Columns: prior_sd; posterior_sd (median over data sets, at most the
            prior_sd); ratio, the posterior_sd over the prior_sd (near 0: the plan identifies the quantity; near 1: it
            does not); coverage90, the share of data sets whose 90% credible interval contains the true value;
            standard_error of coverage90 if intervals are right.
        changes: one row per change of the plan. Columns: change; runs and work (env steps plus gradient updates), both
            as multiples of the plan's; gain, the share by which the change narrows the four intervals of the verdict;
            helps; and the sd of the four quantities.
        reached: mean share of interval-censored run lengths; the others are left- or right-censored.
        datasets: number of simulated data sets.
        runs: runs of the plan.
        summary: the size of what was simulated, in words.
    """

    verdict: tuple[str, str, str]
    table: pd.DataFrame
    changes: pd.DataFrame
    reached: float
    datasets: int
    runs: int
    summary: str


class _Job(NamedTuple):
    """One data set of one variant, by their numbers."""

    variant: int
    dataset: int


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


@on_cpu()
@compiled_code_kept()
@float64()
def check_design(
    design: pd.DataFrame,
    *,
    rng: np.random.Generator,
    every: float | None = None,
    horizon: float | None = None,
    thresholds: Sequence[float] = (1.0,),
    env_steps: float | None = None,
    priors: dict[str, Prior] | None = None,
    datasets: int = 10,
    draws: int = 200,
    on_progress: Callable[[float], None] | None = None,
) -> DesignCheck:
    """Simulate data sets of a plan from the priors, and compare what they would tell with the true values.

    Each posterior is approximated by the normal distribution at its mode, see `expected_posterior`. Large plans are
    summarised, see `plan_variants`. A cost counts env steps and gradient updates, at prices at which both cost the same
    in the middle of the plan, and failed runs are repeated.

    Args:
        design: columns env_id, utd, batch_size, learning_rate, [model_size], [seeds: number of runs, 1 if absent],
            [every] and [horizon], which hold a row's own values of the arguments of these names.
        rng: source of randomness.
        every: env steps between evaluations.
        horizon: env steps of the runs.
        thresholds: increasing returns; of more than three, the first, the middle and the last are simulated.
        env_steps: guess of the median run's env steps to the lowest threshold, within a factor of about e; None: a
            fifth of the longest horizon.
        priors: replacements by name for `bayescale.models.PRIORS`; priors of `log_env_steps_at_centre` replace the
            guess.
        datasets: number of simulated data sets of the plan.
        draws: draws of each approximate posterior.
        on_progress: called with the share of the work that is done.

    Raises:
        InputError: the design, a count or a number is not valid, or a prior is unknown.
    """
    for name, count in (("datasets", datasets), ("draws", draws)):
        require_count(name, count)
    whole = _with_lengths(design, every, horizon)
    guess = GUESS * float(whole["horizon"].max()) if env_steps is None else env_steps
    if not 0 < guess < np.inf:
        raise InputError(f"env_steps must be finite and > 0; got {guess:g}. Correct it.")
    centre = replace(
        LOG_ENV_STEPS_AT_CENTRE, prior=normal(float(np.log(guess)), GUESS_SPREAD), spread=fixed(GUESS_SPREAD)
    ).priors()
    returns = increasing_thresholds(thresholds)
    kept = np.linspace(0, len(returns) - 1, min(len(returns), MOST_THRESHOLDS)).round().astype(int)
    small = summarised(whole)
    configs, compared = variants(small, whole)
    model = _model(configs.drop(columns="seeds"), np.asarray(returns)[kept].tolist(), centre | (priors or {}))
    followed = Followed.of(model, small)
    key_prior, key_draws = jax.random.split(jax.random.PRNGKey(int(rng.integers(2**31))))
    sampled = prior_draws(model, key_prior, draws + 1 + datasets)
    prior = followed.at({name: values[: draws + 1] for name, values in sampled.items()}, small)
    prior_sd = prior.iloc[:-1].std()
    truths = {name: values[draws + 1 :] for name, values in sampled.items()}
    tables = simulated(model, truths, configs, compared, rng)
    jobs = [_Job(0, d) for d in range(datasets)]
    jobs += [_Job(v, d) for v in range(1, len(compared)) for d in range(min(datasets, DATASETS_OF_CHANGES))]
    crossings = [tables(*job) for job in jobs]
    approximate = approximation_of(model, draws=draws, key=key_draws)
    modes: list[Float[np.ndarray, " dim"] | None] = [None] * datasets

    def judged(job: _Job, observed: Any) -> pd.DataFrame:
        with on_cpu(), float64():
            found = approximate(observed, modes[job.dataset])
            own = {name: [*values, truths[name][job.dataset]] for name, values in found.parameters.items()}
            swept = configs[compared[job.variant].seeds > 0]
            quantities = followed.at({name: np.asarray(values) for name, values in own.items()}, swept)
        modes[job.dataset] = found.mode if job.variant == 0 else modes[job.dataset]
        draws_of, true = quantities.iloc[:-1], quantities.iloc[-1]
        low, high = (draws_of.quantile(level) for level in TAILS)
        sd = np.minimum(draws_of.std(), prior_sd)  # data never widen an interval on average; the approximation may
        spread = {"sd": sd, "mean": draws_of.mean(), "inside": (low <= true) & (true <= high)}
        return pd.DataFrame(spread).rename_axis("quantity").assign(**job._asdict())

    observed = model.observe_each(crossings)
    results: list[pd.DataFrame] = []
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        # The first one compiles, and the changes of a data set start where the plan's search ended.
        for batch in (slice(0, 1), slice(1, datasets), slice(datasets, None)):
            for result in pool.map(judged, jobs[batch], observed[batch]):
                results.append(result)
                if on_progress is not None:
                    on_progress(len(results) / len(jobs))

    every_one = pd.concat(results)
    plan = every_one[every_one["variant"] == 0].groupby("quantity", sort=False)
    table = pd.DataFrame({"prior_sd": prior_sd, "posterior_sd": plan["sd"].median()})
    table = table.assign(ratio=table["posterior_sd"] / table["prior_sd"], coverage90=plan["inside"].mean())
    is_extra = [str(name).startswith(EXTRA) for name in table.index]
    changes = changes_table(compared, every_one)
    runs = int(whole["seeds"].sum())
    return DesignCheck(
        verdict=verdict(table, changes, extra=float(plan["mean"].median()[is_extra].mean()), runs=runs),
        table=table[np.logical_not(is_extra)]
        .assign(standard_error=np.sqrt(0.9 * 0.1 / datasets))
        .rename_axis("quantity"),
        changes=changes,
        reached=float(np.mean([_interval_censored(one) for one in crossings[:datasets]])),
        datasets=datasets,
        runs=runs,
        summary=_summary(whole, small),
    )


def _interval_censored(crossings: pd.DataFrame) -> float:
    """Return the share of interval-censored run lengths among the configurations that the plan has."""
    planned = crossings[~(crossings["censored"] & (crossings["env_steps_lower"] == 0))]
    return float(observations(planned).interval_censored.mean())


def _summary(whole: pd.DataFrame, small: pd.DataFrame) -> str:
    """Return how large the plan and its simulated summary are."""
    sizes = [
        f"{counted(int(table['seeds'].sum()), 'run')}, {counted(len(table), 'configuration')}, "
        f"{counted(table['env_id'].nunique(), 'task')}"
        for table in (whole, small)
    ]
    return sizes[0] + (f"; simulated as {sizes[1]}" if len(small) < len(whole) else "")


def _with_lengths(design: pd.DataFrame, every: float | None, horizon: float | None) -> pd.DataFrame:
    """Return the checked design with the columns seeds, every and horizon; an argument replaces its column."""
    table = check_columns(Table(design, "design"), PLAN_COLUMNS).reset_index(drop=True)
    table = with_task_names(table, naming_columns(table))
    table = table.assign(seeds=table.get("seeds", 1))
    for name, value in (("every", every), ("horizon", horizon)):
        if value is not None:
            table[name] = float(value)
        elif name not in table:
            raise InputError(f"the design has no column {name}; add it, or give {name}=.")
    between, end = table["every"].to_numpy(float), table["horizon"].to_numpy(float)
    wrong = np.flatnonzero(~((between > 0) & (between <= end) & np.isfinite(end)))
    if len(wrong):
        raise InputError(
            f"every must be > 0 and at most the horizon, which must be finite; got {between[wrong[0]]:g} and "
            f"{end[wrong[0]]:g}. Correct them."
        )
    return table


def _model(configs: pd.DataFrame, thresholds: Sequence[float], priors: dict[str, Prior]) -> JointModel:
    """Return the model of `bayescale.models.joint` for these configurations and thresholds."""
    crossings = configs.merge(pd.Series(increasing_thresholds(thresholds), name="threshold"), how="cross")
    return JointModel.for_crossings(crossings, priors)
