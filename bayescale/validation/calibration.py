"""Whether intervals hold what they promise: on simulated data with a known truth, and on runs that a fit has not seen.

`replicate` draws parameters from a model's priors, simulates a design's crossings from them and fits the model to each
data set. Its answer serves three questions: are the fits exact (`rank_test`, simulation-based calibration: Talts et
al., arXiv:1804.06788), how often do credible intervals hold the truth (`credible_coverage`), and would this design
tell a parameter at all (`contraction`). `pit` and `coverage` hold predictive intervals against observed crossings.
The model is an argument: this module knows none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from numpyro.infer import Predictive

from bayescale.arguments import number, require_count
from bayescale.data.configurations import CONFIG_COLUMNS, setting_columns
from bayescale.data.crossings import require_crossing_columns
from bayescale.data.observations import observations
from bayescale.data.tables import Table, check_columns
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.log_density import Model
from bayescale.inference.sampling import sample_each
from bayescale.posterior.posterior import PREDICTION_DRAWS, Posterior
from bayescale.posterior.predictive import runs
from bayescale.run_length_distribution import RunTimes
from bayescale.validation.simulate import DESIGN_COLUMNS, crossings_of, simulate_runs

PRIOR_DRAWS = 2000  # for the prior's spread; its sd is then known to 2%


class SimulableModel(Model, Protocol):
    """What a model must offer beyond fitting to be checked on its own simulations; see `JointModel`."""

    @property
    def env_ids(self) -> tuple[str, ...]: ...
    @property
    def thresholds(self) -> tuple[float, ...]: ...
    def observe_each(self, tables: Sequence[pd.DataFrame]) -> Sequence[Any]: ...
    def points(self, configs: pd.DataFrame) -> Any: ...
    def runs(self, sites: dict[str, Array], points: Any) -> Any: ...
    def shared_variance(self, sites: dict[str, Array]) -> Array: ...


@dataclass(frozen=True)
class Replications:
    """Fits to simulated data sets whose parameters are known.

    Attributes:
        true: one row per data set, one column per quantity: a parameter such as `log_alpha` or `level_z[0]`, or
            `log_env_steps[i,k]`, log env steps of the median run at configuration i and threshold k.
        draws: of the posterior of each quantity.
        prior_sd: of each quantity.
        diverged: share of each data set's draws that diverged.
        reached: share of each data set's times that were observed, neither left- nor right-censored.
    """

    true: pd.DataFrame
    draws: Float[np.ndarray, "dataset draw quantity"]
    prior_sd: pd.Series
    diverged: Float[np.ndarray, " dataset"]
    reached: Float[np.ndarray, " dataset"]


@compiled_code_kept()
@float64()
def replicate(
    model: SimulableModel,
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
    """Fits to data sets simulated from the model's own priors at a design, all of them, whatever they hold.

    A data set without a single crossing is one that a user can meet, and stays in: its posterior is near the prior.
    Where the default priors spread times over orders of magnitude that `every` and `horizon` cannot resolve, give the
    model narrower `priors`; the checks hold for any.

    Args:
        model: made for this design, such as `JointModel.for_crossings(design.assign(threshold=800.0))`.
        design: configurations and their seeds; see `simulate_runs`.
        every: env steps between evaluations.
        horizon: env steps of every run.
        rng: source of randomness.
        datasets: how many.
        parameters: names of sites to follow; None: all.
        at: configurations whose median run's log env steps to follow; None: none.
        correlation: of a run's deviations at two thresholds, in [0, 1]. A composite likelihood, as the joint model's
            for several thresholds, is exact for none: see `rank_test`. Where thresholds lie within a run's spread of
            each other and correlate weakly, the running maximum of `simulate_runs` delays the upper ones besides.
        draws: kept of each fit.
        warmup: iterations of adaptation of each fit.

    Raises:
        InputError: a task that the model does not have, a count below 1, a design that cannot be used.
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
    prior = _quantities(model, _prior(model, key_prior, PRIOR_DRAWS), parameters, at)
    sites = _prior(model, key_true, datasets)
    times = runs(model, sites, design)
    shared = np.asarray(model.shared_variance(sites))
    tables = []
    for i in range(datasets):
        truth = simulate_runs(
            design,
            thresholds=model.thresholds,
            location=times.location[i],
            scale=times.scale[i],
            rng=rng,
            p_reach=times.p_reach[i],
            correlation=correlation,
            shared=float(shared[i]),
            skew=times.skew[i],
        )
        tables.append(crossings_of(truth, every=every, horizon=horizon))
    fits = sample_each(model, model.observe_each(tables), int(rng.integers(2**31)), draws, warmup)
    merged = {name: values.reshape(-1, *values.shape[2:]) for name, values in fits.sites.items()}
    posterior = _quantities(model, merged, parameters, at).to_numpy().reshape(datasets, draws, -1)
    reached = np.array([observations(t).interval_censored.mean() for t in tables])
    true = _quantities(model, sites, parameters, at)
    return Replications(true, posterior, prior.std(), fits.diverging.mean(axis=1), reached)


def credible_coverage(replications: Replications, *, levels: Sequence[float] = (0.5, 0.8, 0.9)) -> pd.DataFrame:
    """The share of data sets whose central credible interval holds the true value: by quantity, a column per level.

    Raises:
        InputError: no levels, or one outside (0, 1).
    """
    _check_levels(levels)
    tails = np.array([[(1 - level) / 2, (1 + level) / 2] for level in levels])
    ends = np.quantile(replications.draws, tails, axis=1)  # level, end, dataset, quantity
    true = replications.true.to_numpy()
    held = ((true >= ends[:, 0]) & (true <= ends[:, 1])).mean(axis=1)
    return pd.DataFrame(held.T, replications.true.columns, list(levels))


def contraction(replications: Replications) -> pd.DataFrame:
    """By quantity: prior_sd, posterior_sd (root mean square over data sets) and their ratio.

    Near 1: the design says nothing about the quantity, and its interval is the prior's. Near 0: the design tells it.
    """
    spread = np.sqrt(replications.draws.var(axis=1).mean(axis=0))
    table = pd.DataFrame({"prior_sd": replications.prior_sd, "posterior_sd": spread}, replications.true.columns)
    return table.assign(ratio=table["posterior_sd"] / table["prior_sd"])


def pit(posterior: Posterior, *, crossings: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """The predictive probability of an earlier time than the one observed; uniform on (0, 1) for right predictions.

    Of a time known to lie in an interval it is drawn uniformly between the probabilities of its ends. A right-censored
    run's interval ends at 1: it has all of what is later, and the chance never to get there. That of a run which is
    there before training goes from 0 to 1: it says nothing.

    Args:
        posterior: of a fit that has not seen these crossings.
        crossings: as `time_to_threshold` makes them, at thresholds that were fitted.
        rng: source of the draws.

    Raises:
        InputError: a threshold that was not fitted.
    """
    require_crossing_columns(crossings)
    number = {level: posterior.threshold_number(level) for level in crossings["threshold"].unique()}
    threshold = crossings["threshold"].map(number).to_numpy(int)
    crossings = posterior.named(crossings)
    configs = crossings[setting_columns(crossings)].drop_duplicates()
    predicted = runs(posterior.model, posterior.flat_draws(PREDICTION_DRAWS), configs)
    config = pd.MultiIndex.from_frame(configs).get_indexer(pd.MultiIndex.from_frame(crossings[list(configs)]))
    times = RunTimes(*(part[:, config, threshold] for part in predicted))

    observed = observations(crossings)
    low = times.reached_by(observed.log_lower).mean(axis=0)
    high = np.where(np.isinf(observed.log_upper), 1.0, times.reached_by(observed.log_upper).mean(axis=0))
    return pd.Series(low + (high - low) * rng.random(len(crossings)), crossings.index, name="pit")


def coverage(
    posterior: Posterior,
    *,
    crossings: pd.DataFrame,
    rng: np.random.Generator,
    levels: Sequence[float] = (0.5, 0.8, 0.9),
) -> pd.DataFrame:
    """By level: `coverage`, the share of new runs inside their central predictive interval, and `standard_error`.

    The share is read off `pit`, so that censored runs and coarse evaluations count by their probability. The standard
    error takes the runs and thresholds of a configuration as one observation.

    Args:
        posterior: of a fit that has not seen these crossings.
        crossings: as `time_to_threshold` makes them, at thresholds that were fitted.
        rng: source of `pit`.
        levels: nominal probabilities.

    Raises:
        InputError: a threshold that was not fitted, no levels, or one outside (0, 1).
    """
    _check_levels(levels)
    crossings = posterior.named(crossings)
    distance = abs(pit(posterior, crossings=crossings, rng=rng) - 0.5)
    rows = []
    for level in levels:
        inside = (distance <= level / 2).astype(float)
        excess = (inside - inside.mean()).groupby([crossings[name] for name in setting_columns(crossings)]).sum()
        count = len(excess)
        error = np.sqrt((excess**2).sum() * count / (count - 1)) / len(inside) if count > 1 else np.nan
        rows.append((level, inside.mean(), error))
    return pd.DataFrame(rows, columns=["level", "coverage", "standard_error"]).set_index("level")


def _check_levels(levels: object) -> None:
    shares = [number(level) for level in levels] if isinstance(levels, Iterable) else []
    if not shares or not all(0 < share < 1 for share in shares):
        raise InputError(f"levels must be one or more probabilities in (0, 1); got {levels!r}. Correct them.")


def _prior(model: Model, key: Array, draws: int) -> dict[str, Array]:
    sites: dict[str, Array] = Predictive(model.sites, num_samples=draws)(key)
    return sites


def _quantities(
    model: SimulableModel, sites: dict[str, Any], parameters: Sequence[str] | None, at: pd.DataFrame | None
) -> pd.DataFrame:
    """One row per draw, one column per quantity."""
    columns = {}
    for name in sites if parameters is None else parameters:
        if name not in sites:
            raise InputError(f"parameters has '{name}'; the model's are {', '.join(sites)}.")
        values = np.asarray(sites[name])
        for index in np.ndindex(values.shape[1:]):
            label = name + (f"[{','.join(map(str, index))}]" if index else "")
            columns[label] = values[(slice(None), *index)]
    if at is not None:
        location = runs(model, sites, at).location
        for index in np.ndindex(location.shape[1:]):
            columns[f"log_env_steps[{index[0]},{index[1]}]"] = location[(slice(None), *index)]
    return pd.DataFrame(columns)
