"""Check intervals against a known truth in simulated data, and against runs that a fit has not seen.

`replicate` draws parameters from a model's priors, simulates a design's crossings from them and fits the model to each
data set. Its result answers three questions:

- `rank_test`: are the fits exact? (simulation-based calibration: Talts et al., arXiv:1804.06788)
- `credible_coverage`: how often do credible intervals contain the true value?
- `contraction`: does the design identify a parameter?

`pit` and `coverage` compare predictive intervals with observed crossings. The model is an argument.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import number, require_count
from bayescale.data.configurations import CONFIG_COLUMNS, setting_columns
from bayescale.data.crossings import require_crossing_columns
from bayescale.data.observations import observations
from bayescale.data.tables import Table, check_columns
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.model import Model, prior_draws
from bayescale.inference.sampling import sample_each
from bayescale.posterior.posterior import PREDICTION_DRAWS, Posterior
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution
from bayescale.validation.simulate import DESIGN_COLUMNS, crossings_of, simulate_runs

PRIOR_DRAWS = 2000  # draws that estimate a prior sd, to 2%


@dataclass(frozen=True)
class Replications:
    """Fits to simulated data sets whose true parameters are known.

    A quantity is an element of a parameter, such as `log_noise[0,1]` (elements are numbered by task and threshold), or
    `log_env_steps[i,k]`, the log env steps of the median run at configuration i and threshold k.

    Attributes:
        true: true values, one row per data set and one column per quantity.
        draws: posterior draws of each quantity.
        prior_sd: prior standard deviation of each quantity.
        diverged: share of divergent draws in each data set's fit.
        reached: share of interval-censored run lengths in each data set; the others are left- or right-censored.
    """

    true: pd.DataFrame
    draws: Float[np.ndarray, "dataset draw quantity"]
    prior_sd: pd.Series
    diverged: Float[np.ndarray, " dataset"]
    reached: Float[np.ndarray, " dataset"]


@compiled_code_kept()
@float64()
def replicate(
    model: Model,
    *,
    design: pd.DataFrame,
    every: int,
    horizon: float,
    rng: np.random.Generator,
    datasets: int = 100,
    parameters: Sequence[str] | None = None,
    at: pd.DataFrame | None = None,
    correlation: float = 0.0,
    draws: int = 400,
    warmup: int = 300,
) -> Replications:
    """Simulate data sets from the model's priors at a design, and fit the model to each.

    All data sets are kept. A data set without crossings has a posterior close to the prior. The default priors may
    spread run lengths over more orders of magnitude than `every` and `horizon` can resolve; then give the model
    narrower `priors`. The checks are valid for any priors.

    Args:
        model: a model made for this design, such as `JointModel.for_crossings(design.assign(threshold=800.0))`.
        design: configurations and their numbers of seeds; see `simulate_runs`.
        every: env steps between evaluations.
        horizon: env steps of every run.
        rng: source of randomness.
        datasets: number of data sets.
        parameters: what to follow; None: everything. A name such as `log_sharpness` is the population mean, where one
            number describes the population, else every element; `log_noise[0,1]` is one element.
        at: configurations at which to follow the log env steps of the median run; None: nowhere.
        correlation: correlation of a run's deviations between thresholds, in [0, 1]. The joint model's likelihood of
            several thresholds is composite and exact for no correlation; see `rank_test`. If thresholds lie close
            together and correlate weakly, the running maximum of `simulate_runs` also delays the higher ones.
        draws: draws kept of each fit.
        warmup: iterations of adaptation of each fit.

    Raises:
        InputError: the model lacks a task, a count is below 1, or the design is not valid.
    """
    for name, value in (("datasets", datasets), ("draws", draws), ("warmup", warmup)):
        require_count(name, value)
    wanted = (("design", design, DESIGN_COLUMNS), ("at", design if at is None else at, CONFIG_COLUMNS))
    for name, frame, columns in wanted:
        check_columns(Table(frame, name), columns)
        unknown = set(frame["env_id"]) - set(model.env_ids)
        if unknown:
            raise InputError(f"{name} has the task {min(unknown)}, which the model has not; make the model for it.")
    key_prior, key_true = jax.random.split(jax.random.PRNGKey(int(rng.integers(2**31))))
    prior = _quantities(model, prior_draws(model, key_prior, PRIOR_DRAWS), parameters, at)
    true_draws = prior_draws(model, key_true, datasets)
    simulated = _simulated(model, true_draws, design, correlation, rng)
    tables = [crossings_of(table, every=every, horizon=horizon) for table in simulated]
    fits = sample_each(model, model.observe_each(tables), seed=int(rng.integers(2**31)), draws=draws, warmup=warmup)
    merged = {name: values.reshape(-1, *values.shape[2:]) for name, values in fits.parameters.items()}
    posterior = _quantities(model, merged, parameters, at).to_numpy().reshape(datasets, draws, -1)
    return Replications(
        true=_quantities(model, true_draws, parameters, at),
        draws=posterior,
        prior_sd=prior.std(),
        diverged=fits.diverging.mean(axis=1),
        reached=np.array([observations(table).interval_censored.mean() for table in tables]),
    )


def credible_coverage(replications: Replications, *, levels: Sequence[float] = (0.5, 0.8, 0.9)) -> pd.DataFrame:
    """Return how often central credible intervals contain the true value.

    Args:
        replications: the result of `replicate`.
        levels: probabilities of the intervals, in (0, 1).

    Returns:
        Shares of data sets, one row per quantity and one column per level.

    Raises:
        InputError: there are no levels, or one lies outside (0, 1).
    """
    _check_levels(levels)
    tails = np.array([[(1 - level) / 2, (1 + level) / 2] for level in levels])
    ends = np.quantile(replications.draws, tails, axis=1)  # level, end, dataset, quantity
    true = replications.true.to_numpy()
    shares = ((true >= ends[:, 0]) & (true <= ends[:, 1])).mean(axis=1)
    return pd.DataFrame(shares.T, replications.true.columns, list(levels))


def contraction(replications: Replications) -> pd.DataFrame:
    """Return how much a design narrows the prior of each quantity.

    Args:
        replications: the result of `replicate`.

    Returns:
        One row per quantity with columns prior_sd, posterior_sd (root mean square over data sets) and ratio, the
        posterior_sd over the prior_sd. A ratio near 0 means that the design identifies the quantity. A ratio near 1
        means that its credible interval is that of the prior.
    """
    spread = np.sqrt(replications.draws.var(axis=1).mean(axis=0))
    table = pd.DataFrame({"prior_sd": replications.prior_sd, "posterior_sd": spread}, replications.true.columns)
    return table.assign(ratio=table["posterior_sd"] / table["prior_sd"])


def pit(posterior: Posterior, *, crossings: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """Return the probability integral transform of each observed run length, the predictive CDF there.

    The values are uniform on (0, 1) if the predictions are right. For an interval-censored run length, the value is
    drawn uniformly between the predictive CDF at the two bounds. The upper bound of a right-censored run length has
    probability 1, which includes the probability that a run never reaches the threshold. A run that is above the
    threshold before training carries no information: its value is uniform between 0 and 1.

    Args:
        posterior: a fit that has not seen these crossings.
        crossings: crossings at fitted thresholds, as `time_to_threshold` returns them.
        rng: source of the uniform draws.

    Returns:
        One value per row of `crossings`.

    Raises:
        InputError: a threshold was not fitted.
    """
    require_crossing_columns(crossings)
    numbers = {value: posterior.threshold_number(value) for value in crossings["threshold"].unique()}
    threshold = crossings["threshold"].map(numbers).to_numpy(int)
    crossings = posterior.named(crossings)
    configs = crossings[setting_columns(crossings)].drop_duplicates()
    predicted = run_lengths(posterior.model, posterior.flat_draws(PREDICTION_DRAWS, configs["env_id"]), configs)
    config = pd.MultiIndex.from_frame(configs).get_indexer(pd.MultiIndex.from_frame(crossings[list(configs)]))
    run_length = RunLengthDistribution(*(part[:, config, threshold] for part in predicted))
    observed = observations(crossings)
    low = run_length.reached_by(observed.log_lower).mean(axis=0)
    high = np.where(np.isinf(observed.log_upper), 1.0, run_length.reached_by(observed.log_upper).mean(axis=0))
    return pd.Series(low + (high - low) * rng.random(len(crossings)), crossings.index, name="pit")


def coverage(
    posterior: Posterior,
    *,
    crossings: pd.DataFrame,
    rng: np.random.Generator,
    levels: Sequence[float] = (0.5, 0.8, 0.9),
) -> pd.DataFrame:
    """Return the share of new runs inside their central predictive intervals.

    A run counts as inside if its `pit` value does, so that censored run lengths count by their probability. The
    standard error treats all runs and thresholds of a configuration as one observation.

    Args:
        posterior: a fit that has not seen these crossings.
        crossings: crossings at fitted thresholds, as `time_to_threshold` returns them.
        rng: source of the random numbers of `pit`.
        levels: probabilities of the intervals, in (0, 1).

    Returns:
        One row per level with columns coverage and standard_error.

    Raises:
        InputError: a threshold was not fitted, there are no levels, or one lies outside (0, 1).
    """
    _check_levels(levels)
    crossings = posterior.named(crossings)
    distance = abs(pit(posterior, crossings=crossings, rng=rng) - 0.5)
    rows = []
    for level in levels:
        inside = (distance <= level / 2).astype(float)
        excess = (inside - inside.mean()).groupby([crossings[name] for name in setting_columns(crossings)]).sum()
        rows.append((level, inside.mean(), excess.std() * np.sqrt(len(excess)) / len(inside)))
    return pd.DataFrame(rows, columns=["level", "coverage", "standard_error"]).set_index("level")


def _check_levels(levels: object) -> None:
    """Raise InputError unless `levels` are one or more probabilities."""
    probabilities = [number(level) for level in levels] if isinstance(levels, Iterable) else []
    if not probabilities or not all(0 < probability < 1 for probability in probabilities):
        raise InputError(f"levels must be one or more probabilities in (0, 1); got {levels!r}. Correct them.")


def _simulated(
    model: Model, draws: Mapping[str, Any], design: pd.DataFrame, correlation: float, rng: np.random.Generator
) -> Iterator[pd.DataFrame]:
    """Simulate the runs of a design once under each draw of the parameters."""
    run_length = run_lengths(model, draws, design)
    shared = np.asarray(model.shared_variance(draws))
    for i in range(len(shared)):
        yield simulate_runs(
            design,
            thresholds=model.thresholds,
            location=run_length.location[i],
            scale=run_length.scale[i],
            rng=rng,
            p_reach=run_length.p_reach[i],
            correlation=correlation,
            shared=float(shared[i]),
            skew=run_length.skewness[i],
        )


def _quantities(
    model: Model, draws: Mapping[str, Any], parameters: Sequence[str] | None, at: pd.DataFrame | None
) -> pd.DataFrame:
    """Return one row per draw and one column per followed number: elements of parameters, then log env steps."""
    columns = {}
    for name, values in draws.items():
        for index in np.ndindex(np.shape(values)[1:]):
            label = name + (f"[{','.join(map(str, index))}]" if index else "")
            columns[label] = np.asarray(values)[(slice(None), *index)]
    columns |= model.population(draws)
    if parameters is not None:
        unknown = [name for name in parameters if name not in draws and name not in columns]
        if unknown:
            raise InputError(f"parameters has '{unknown[0]}'; the model's are {', '.join(draws)}.")
        single = {*parameters} & {*columns}
        whole = {*parameters} - single
        columns = {k: v for k, v in columns.items() if k in single or k.partition("[")[0] in whole}
    if at is not None:
        location = run_lengths(model, draws, at).location
        for index in np.ndindex(location.shape[1:]):
            columns[f"log_env_steps[{index[0]},{index[1]}]"] = location[(slice(None), *index)]
    return pd.DataFrame(columns)
