"""The Protocol that every model implements, and draws from a model's prior."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, ArrayLike, Float

from bayescale.float64 import float64
from bayescale.run_length_distribution import RunLengthDistribution

Parameters = Mapping[str, Array]  # values by parameter name, under one draw unless said
Observed = Any  # a pytree of arrays that only the model looks into: the observations as its likelihood reads them
Points = Any  # a pytree of arrays that only the model looks into: configurations


@runtime_checkable
class Model(Protocol):
    """A model of env steps to thresholds; `bayescale.models.JointModel` is one."""

    @property
    def name(self) -> str:
        """Name of the model in saved fits."""

    @property
    def env_ids(self) -> tuple[str, ...]:
        """Names of the fitted tasks."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Fitted thresholds, increasing."""

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the axes that vary within a task."""

    @property
    def priors(self) -> Mapping[str, Any]:
        """Prior distributions by name, as dataclasses."""

    def fields(self) -> dict[str, Any]:
        """Return what a saved fit needs to make the model again, as JSON takes it."""

    def dimensions(self) -> Mapping[str, tuple[str, ...]]:
        """Return every parameter's dimensions; "task" has a last row for the population mean."""

    def descriptions(self) -> Mapping[str, tuple[str, str]]:
        """Return the unit and the meaning of every parameter."""

    def population(self, draws: Mapping[str, ArrayLike]) -> Mapping[str, Float[np.ndarray, "*draw"]]:
        """Return the population mean of parameters by name, where one number describes the population."""

    def sample_parameters(self) -> dict[str, Array]:
        """Declare the NumPyro sample sites and return every parameter by name."""

    def observe(self, crossings: pd.DataFrame) -> Observed:
        """Return the observations as the likelihood reads them."""

    def observe_each(self, tables: Sequence[pd.DataFrame]) -> Sequence[Observed]:
        """Return the observations of several tables in equal shapes."""

    def log_likelihood(self, p: Parameters, observed: Observed) -> Float[Array, ""]:
        """Return the log likelihood of the observations."""

    def with_ceilings(self, draws: Mapping[str, ArrayLike], crossings: pd.DataFrame) -> dict[str, ArrayLike]:
        """Return draws with the chance that a task's runs can reach each threshold at all."""

    def points(self, configs: pd.DataFrame) -> Points:
        """Return configurations as the functions below read them."""

    def run_lengths(self, p: Parameters, at: Points) -> RunLengthDistribution:
        """Return the distribution of a new run's length at each point."""

    def run_lengths_at_optimum(self, p: Parameters, at: Points) -> RunLengthDistribution:
        """Return the same at the optimum of the highest threshold in place of the points' own tuned settings."""

    def optimum(self, p: Parameters, at: Points) -> tuple[Array, Array, Array, Array]:
        """Return log B*, log eta*, log env steps of the median run there and its chance to reach each threshold."""

    def shared_variance(self, p: Mapping[str, ArrayLike]) -> Float[Array, "*draw"]:
        """Return the share of a new run's variance that the seeds of a configuration have in common."""

    def add_task(self, draws: Mapping[str, ArrayLike], key: Array) -> dict[str, Array]:
        """Return draws whose population rows are replaced by a task without runs; other entries stay."""


@float64()
def prior_draws(model: Model, key: Array, count: int) -> dict[str, Float[np.ndarray, "draw ..."]]:
    """Return draws of a model's parameters from their priors, by name.

    Args:
        model: the model.
        key: source of randomness.
        count: number of draws.
    """
    from numpyro.handlers import seed  # a saved fit is read without NumPyro

    draw = jax.vmap(lambda own: seed(model.sample_parameters, own)())
    return {name: np.asarray(values) for name, values in jax.jit(draw)(jax.random.split(key, count)).items()}
