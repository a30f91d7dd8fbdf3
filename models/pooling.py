"""Declare how a parameter varies over tasks and thresholds: shared, by task, or by task and threshold.

A declaration holds everything about one parameter: its name, unit, meaning and priors. It samples the parameter in a
NumPyro model and draws the parameter of a new task from the population.

The values of a parameter that varies by task have one row per task and a last row with the population mean, which
`JointModel.add_task` replaces by the value of a new task. Departures of tasks from the population mean are non-centred:
standard normal numbers, scaled by a stated spread.

x is the threshold scaled to [-1, 1]: a drift is a change per half range of the thresholds. A fit of one threshold has
x = (0,), and samples neither drifts nor random walks.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescale.models.priors import Prior, normal

Scaled = Float[np.ndarray, " threshold"]
AnyDeclaration = TypeVar("AnyDeclaration", bound="Declaration")


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The name of a parameter, in the equations and in saved draws, its unit and its meaning."""

    name: str
    unit: str
    meaning: str

    def priors(self) -> dict[str, Prior]:
        """Return the parameter's priors: `prior` by the parameter's name, any other field as `name.field`."""
        held = {field.name: getattr(self, field.name) for field in fields_of(self)}
        return {
            self.name if field == "prior" else f"{self.name}.{field}": value
            for field, value in held.items()
            if isinstance(value, Prior)
        }

    def with_priors(self: AnyDeclaration, priors: Mapping[str, Prior]) -> AnyDeclaration:
        """Return the declaration with its priors replaced by those of the same name."""
        fields: dict[str, Any] = {name.partition(".")[2] or "prior": priors[name] for name in self.priors()}
        return replace(self, **fields)

    def spreads(self) -> tuple[str, ...]:
        """Return the names of the priors that state how much tasks differ."""
        return tuple(name for name, prior in self.priors().items() if prior.family == "fixed")


@dataclass(frozen=True, kw_only=True)
class Shared(Declaration):
    """A parameter that all tasks share.

    Attributes:
        prior: prior of the value at x = 0.
        drift: prior of its slope in x; None: the value is the same at all thresholds, a scalar.
    """

    prior: Prior
    drift: Prior | None = None

    def dimensions(self) -> tuple[str, ...]:
        """Return the names of the value's dimensions."""
        return () if self.drift is None else ("threshold",)

    def sample(self, _: int, x: Scaled, mean: Array | None = None) -> Float[Array, "*threshold"]:
        """Declare the sample sites and return the value, whatever the number of tasks.

        Args:
            x: scaled thresholds.
            mean: the value at x = 0 where other coordinates sample it; None: sample it here.
        """
        with _scope(self.name):
            if mean is None:
                mean = _sample("prior", self.prior.distribution())
            if self.drift is None:
                return mean
            return mean + _drift(self.drift, x) * x


@dataclass(frozen=True, kw_only=True)
class ByTask(Declaration):
    """A parameter whose tasks depart from a population mean.

        value[e] = mean + spread z[e]  +  (drift + drift_spread u[e]) x  +  walk W[e](x),   z, u standard normal

    with W a random walk that starts at the lowest threshold. Parts that are None are absent.

    Attributes:
        prior: prior of the population mean at x = 0.
        spread: standard deviation of the tasks around the population's line, before the random walk adds to it.
        drift: prior of the population's slope in x; None: the value is the same at all thresholds.
        drift_spread: standard deviation of the tasks' slopes around the population's.
        walk: standard deviation of a task's random walk per square root of a unit of x.
    """

    prior: Prior
    spread: Prior
    drift: Prior | None = None
    drift_spread: Prior | None = None
    walk: Prior | None = None

    def dimensions(self) -> tuple[str, ...]:
        """Return the names of the value's dimensions."""
        return ("task",) if self.drift is None else ("task", "threshold")

    def sample_mean(self) -> Float[Array, ""]:
        """Declare the population mean at x = 0."""
        with _scope(self.name):
            return _sample("prior", self.prior.distribution())

    def sample_offsets(self, tasks: int) -> Float[Array, " task"]:
        """Declare z, the tasks' departures in units of their spread."""
        with _scope(self.name):
            return _standard_normal("offsets", (tasks,))

    def sample(
        self, tasks: int, x: Scaled, mean: Array | None = None, offsets: Array | None = None
    ) -> Float[Array, "task_and_population *threshold"]:
        """Declare the sample sites and return the values of the tasks, then of the population mean.

        Args:
            tasks: number of tasks.
            x: scaled thresholds.
            mean: the population mean at x = 0 where other coordinates sample it; None: sample it here.
            offsets: z, likewise.
        """
        mean = self.sample_mean() if mean is None else mean
        offsets = self.sample_offsets(tasks) if offsets is None else offsets
        if self.drift is None:
            return jnp.append(mean + self.spread.location * offsets, mean)
        with _scope(self.name):
            line = mean + _drift(self.drift, x) * x
            along = _standard_normal("departures", (tasks, self._steps(x))) if self._steps(x) else None
        return jnp.vstack([line + self._departures(offsets, along, x), line])

    def _steps(self, x: Scaled) -> int:
        """Return how many standard normal numbers say how a task's departure changes along the thresholds."""
        if self.drift_spread is None or len(x) == 1:
            return 0
        return 1 if self.walk is None else len(x)

    def _departures(
        self, offsets: Float[Array, " task"], along: Float[Array, "task threshold"] | None, x: Scaled
    ) -> Float[Array, "task threshold"]:
        """Return the departures for standard normal `offsets` and, in `along`, slopes (first column) and steps."""
        departures = self.spread.location * offsets[:, None]
        if along is None or self.drift_spread is None:
            return jnp.broadcast_to(departures, (len(offsets), len(x)))
        departures = departures + self.drift_spread.location * along[:, :1] * x
        if self.walk is not None:
            steps = self.walk.location * np.sqrt(np.diff(x)) * along[:, 1:]
            departures += jnp.pad(jnp.cumsum(steps, axis=1), ((0, 0), (1, 0)))
        return departures

    def new_task(self, mean: Float[Array, "*threshold"], x: Scaled, key: Array) -> Float[Array, "*threshold"]:
        """Return the value of a new task, drawn around the population mean."""
        key_offset, key_along = jax.random.split(key)
        offset = jax.random.normal(key_offset, (1,))
        if self.drift is None:
            return mean + self.spread.location * offset[0]
        along = jax.random.normal(key_along, (1, self._steps(x))) if self._steps(x) else None
        return mean + self._departures(offset, along, x)[0]


@dataclass(frozen=True, kw_only=True)
class ByTaskAndThreshold(Declaration):
    """A parameter that varies freely over tasks and thresholds: value[e, k] = mean[k] + spread z[e, k].

    Attributes:
        prior: prior of the population mean at each threshold, independent between thresholds.
        spread: standard deviation of tasks and thresholds around it.
    """

    prior: Prior
    spread: Prior

    def dimensions(self) -> tuple[str, ...]:
        """Return the names of the value's dimensions."""
        return "task", "threshold"

    def sample(self, tasks: int, x: Scaled) -> Float[Array, "task_and_population threshold"]:
        """Declare the sample sites and return the values of the tasks, then of the population mean."""
        with _scope(self.name):
            mean = _sample("prior", self.prior.distribution().expand(x.shape).to_event(1))
            departures = _standard_normal("departures", (tasks, len(x)))
        return jnp.vstack([mean + self.spread.location * departures, mean])

    def new_task(self, mean: Float[Array, " threshold"], x: Scaled, key: Array) -> Float[Array, " threshold"]:
        """Return the values of a new task, drawn around the population mean."""
        return mean + self.spread.location * jax.random.normal(key, x.shape)


@dataclass(frozen=True, kw_only=True)
class Cumulative(Declaration):
    """A parameter that rises from threshold to threshold, each rise with a population mean and tasks around it.

        value[e, k] = lowest + lowest_spread z[e]  +  sum over j < k of (rise[j] + rise_spread u[e, j]) / (K - 1)

    for K thresholds, so that the rises have the unit of a rise over all thresholds.

    Attributes:
        prior: prior of the population mean at the lowest threshold.
        spread: standard deviation of the tasks around it.
        rise: prior of the population mean of each rise, times K - 1.
        rise_spread: standard deviation of the tasks' rises around it, times K - 1.
    """

    prior: Prior
    spread: Prior
    rise: Prior
    rise_spread: Prior

    def dimensions(self) -> tuple[str, ...]:
        """Return the names of the value's dimensions."""
        return "task", "threshold"

    def sample(self, tasks: int, x: Scaled) -> Float[Array, "task_and_population threshold"]:
        """Declare the sample sites and return the values of the tasks, then of the population mean."""
        with _scope(self.name):
            mean = jnp.reshape(_sample("prior", self.prior.distribution()), 1)
            if len(x) > 1:
                rise = _sample("rise", self.rise.distribution().expand((len(x) - 1,)).to_event(1))
                mean = jnp.append(mean, rise / (len(x) - 1))
            departures = _standard_normal("departures", (tasks, len(x)))
        return jnp.cumsum(jnp.vstack([mean + self._spread(x) * departures, mean]), axis=1)

    def new_task(self, mean: Float[Array, " threshold"], x: Scaled, key: Array) -> Float[Array, " threshold"]:
        """Return the values of a new task, drawn around the population mean."""
        return mean + jnp.cumsum(self._spread(x) * jax.random.normal(key, x.shape))

    def _spread(self, x: Scaled) -> Scaled:
        rises = np.full(len(x) - 1, self.rise_spread.location / max(len(x) - 1, 1))
        return np.append(self.spread.location, rises)


Parameter = Shared | ByTask | ByTaskAndThreshold | Cumulative


def _drift(prior: Prior, x: Scaled) -> Array | float:
    """Declare the slope in x; one threshold has none."""
    return _sample("drift", prior.distribution()) if len(x) > 1 else 0.0


def _standard_normal(name: str, shape: tuple[int, ...]) -> Array:
    return _sample(name, normal(0.0, 1.0).distribution().expand(shape).to_event(len(shape)))


def _sample(name: str, distribution: Any) -> Array:
    """Declare a sample site; NumPyro is imported here, because a saved fit is read without it."""
    import numpyro

    return jnp.asarray(numpyro.sample(name, distribution))


def _scope(prefix: str) -> AbstractContextManager[Any]:
    """Return a context in which names of sample sites have this prefix."""
    from numpyro.handlers import scope

    return cast("AbstractContextManager[Any]", scope(prefix=prefix))
