"""The joint model of env steps to thresholds: the response surface of `Surface`, luck around it, and failure.

Predictions take the running maximum over thresholds, so that thresholds cannot cross, far from the data neither. Around
the median lie the misfit of a configuration, shared by its seeds, and the luck of a seed, together as in `RunTimes`:
their spread and skew vary by task and threshold, and the log spread along task-wise lines in the logs of all axes.
A run fails for good with a chance that grows with the threshold and with the penalty. The thresholds of a run are
correlated: their terms enter as a composite likelihood, each by its marginal, at the weight of `Cells.weight` (exactly
1 with one threshold).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Float

from bayescale.models.priors import PRIORS, Prior
from bayescale.models.sufficient_statistics import AXES, Cells, collapse, padded
from bayescale.models.surface import CENTRED, RULES, Points, Sites, Surface, swept_utds, task_centres, varying_axes
from bayescale.run_length_distribution import RunTimes, normal_score

EXPONENTS = {"min_share": "log_alpha", "size_share": "log_gamma"}
# Of the tasks' pulls, see `JointModel._optimum_sites`: chosen by effective draws and divergences of several sweeps.
PULL = 0.7  # power of the curvature: between distances (0) and slopes (1), which diverge where it is flat
LEAN = 0.7  # share of the correlation in them: at 1 they cannot be told apart where it is near 1


class Optimum(NamedTuple):
    """Optimal hyperparameters and the median run there, in logs; draw axis first."""

    log_batch_size: Float[Array, "*draw utd threshold"]
    log_learning_rate: Float[Array, "*draw utd threshold"]
    log_env_steps: Float[Array, "*draw utd threshold"]
    p_reach: Float[Array, "*draw utd threshold"]


@dataclass(frozen=True)
class JointModel(Surface):
    """The model for given tasks, thresholds and varying axes."""

    name = "joint"

    @classmethod
    def for_crossings(cls, crossings: pd.DataFrame, priors: dict[str, Prior] | None = None) -> "JointModel":
        """The model whose axes are those that vary in a crossings table; tasks are told apart by `env_id`."""
        centres = task_centres(crossings)
        utd_ref = float(np.exp(np.log(crossings["utd"].unique().astype(float)).mean()))
        return cls(
            env_ids=tuple(centres),
            thresholds=tuple(float(v) for v in np.unique(crossings["threshold"])),
            varying=varying_axes(crossings),
            utd_ref=utd_ref,
            centres=tuple(centres.values()),
            swept=swept_utds(crossings, utd_ref),
            priors=dict(PRIORS) if priors is None else priors,
        )

    def observe(self, crossings: pd.DataFrame) -> Cells:
        """The sufficient statistics that `log_likelihood` reads."""
        return collapse(crossings, self.env_ids)

    def observe_each(self, tables: Sequence[pd.DataFrame]) -> list[Cells]:
        """The sufficient statistics of several tables of the same runs, in equal shapes."""
        cells = [self.observe(table) for table in tables]
        most = max(len(one.log_bound) for one in cells)
        return [padded(one, most) for one in cells]

    def sites(self) -> None:
        """Declares the parameters (NumPyro sample sites)."""
        tasks, levels = len(self.env_ids), len(self.thresholds)

        sites: Sites = {}

        def draw(name: str, prior: str | None = None, shape: tuple[int, ...] = ()) -> Any:
            distribution = self.priors[prior or name].distribution().expand(shape).to_event(len(shape))
            sites[name] = numpyro.sample(name, distribution)
            return sites[name]

        def standard(name: str, *shape: int) -> Any:
            sites[name] = numpyro.sample(name, dist.Normal(0.0, 1.0).expand(shape).to_event(len(shape)))
            return sites[name]

        draw("level_mean")
        standard("level_z", tasks)
        for name in ("log_noise", "skew"):
            draw(f"{name}_mean", shape=(levels,))
            standard(f"{name}_z", tasks, levels)
        draw("misfit")
        for name in ("failure", "failure_penalty", "failure_rise"):
            draw(name)
        standard("failure_z", tasks)
        shares = [name for axis, name in (("utd", "min_share"), ("model_size", "size_share")) if axis in self.varying]
        tuned = [axis for axis in RULES if axis in self.varying]
        if levels > 1:
            draw("gap_mean", shape=(levels - 1,))
            standard("gap_z", tasks, levels - 1)
            for name in (*shares, *tuned):
                draw(f"{name}_drift")
                standard(f"{name}_drift_z", tasks)
                standard(f"{name}_walk_z", tasks, levels - 1)
        if "size_share" in shares:
            standard("log_gamma_z", tasks)
        for name in shares:
            exponent = EXPONENTS[name]
            draw(name)
            standard(f"{name}_z", tasks)
            logit = self._by_task(sites, name, name)
            self._exponent_site(exponent, jax.nn.sigmoid(-logit if name == "min_share" else logit))
            if levels > 1:
                draw(f"{exponent}_drift")
        for axis in AXES:
            if axis in self.varying:
                draw(f"{axis}_noise")
                standard(f"{axis}_noise_z", tasks)
        means, bends = [], []
        for axis in tuned:
            means.append(draw(f"{axis}_mean"))
            curvature = draw(f"{axis}_curvature") - self.priors[f"{axis}_curvature"].location
            bends.append(curvature + self._fixed("curvature_sd") * standard(f"{axis}_curvature_z", tasks))
            if levels > 1:
                draw(f"{axis}_curvature_drift", "curvature_drift")
            if "utd" in self.varying:
                draw(f"{axis}_slope")
                standard(f"{axis}_slope_z", tasks)
                if levels > 1:
                    draw(f"{axis}_slope_drift")
        if "model_size" in self.varying and "batch_size" in self.varying:
            draw("batch_size_room"), draw("batch_size_gamma")
        if "model_size" in self.varying and "learning_rate" in self.varying:
            draw("learning_rate_size")
        correlation = jnp.tanh(draw("interaction")) if len(tuned) == 2 else jnp.zeros(())
        if tuned:
            self._optimum_sites(tuned, jnp.stack(means), jnp.stack(bends, axis=1), correlation)

    def _exponent_site(self, name: str, share: Float[Array, "task threshold"]) -> None:
        """Declares the log exponent by which a share of the data shrinks.

        It is sampled as the mean log elasticity at the reference, share * exponent, which runs tell well; how much of
        that is the exponent shows in the bend alone.
        """
        prior = self.priors[name]
        if prior.family != "normal":
            numpyro.sample(name, prior.distribution())
            return
        log_share = jnp.log(share).mean()
        elasticity = numpyro.sample(f"{name}_elasticity", dist.Normal(prior.location + log_share, prior.scale))
        numpyro.deterministic(name, elasticity - log_share)

    def _optimum_sites(
        self,
        tuned: Sequence[str],
        means: Float[Array, " axis"],
        bends: Float[Array, "task axis"],
        correlation: Float[Array, ""],
    ) -> None:
        """Declares the tasks' departures from the mean optimum, independent standard normal.

        They are sampled as pulls: the slopes of the penalty at the centre of the task's data, over a power of the
        curvature. Where the optimum lies beyond the data, these tell the slope along each axis but not how far away,
        how curved and how correlated it ends.
        """
        spreads = np.array([self._fixed(f"{axis}_sd") for axis in tuned])
        if (spreads == 0).any():
            for axis in tuned:
                numpyro.sample(f"{axis}_z", dist.Normal(0.0, 1.0).expand(bends.shape[:1]).to_event(1))
            return
        centres = self._centres()[:-1, np.array([CENTRED.index(axis) for axis in tuned])]
        at_centre = (centres - means) / spreads
        # In standard units the penalty is z' K z / 2 with K_ij = correlation_ij sqrt(K_ii K_jj). A pull is row i of K z
        # over the prior's K_ii and the (1 - PULL)th power of what K_ii is in its units.
        typical = np.exp([self.priors[f"{axis}_curvature"].location for axis in tuned]) * spreads**2
        roots = jnp.exp(bends / 2) * np.sqrt(typical)
        correlations = jnp.eye(len(tuned)) + LEAN * correlation * (1 - np.eye(len(tuned)))
        slopes = correlations * roots[:, :, None] * roots[:, None, :]
        slopes *= jnp.exp((PULL - 1) * bends)[:, :, None] / typical[:, None]
        mean = -(slopes @ at_centre[:, :, None])[:, :, 0]
        spread = slopes @ jnp.swapaxes(slopes, 1, 2)
        pull = numpyro.sample("optimum_pull", dist.MultivariateNormal(mean, spread).to_event(1))
        z = at_centre + jnp.linalg.solve(slopes, pull[:, :, None])[:, :, 0]
        for i, axis in enumerate(tuned):
            numpyro.deterministic(f"{axis}_z", z[:, i])

    def log_likelihood(self, sites: Sites, cells: Cells) -> Float[Array, ""]:
        """The weighted log likelihood of the cells.

        A configuration's misfit is shared by its seeds and integrated out; a censored run is predicted from the
        configuration's other runs, which is exact for one and treats several as independent given the rest.
        """
        points = Points(
            jnp.asarray(cells.task),
            jnp.asarray(cells.log_utd - np.log(self.utd_ref)),
            jnp.asarray(cells.log_batch_size),
            jnp.asarray(cells.log_learning_rate),
            jnp.asarray(cells.log_model_size) - self._centres()[cells.task, 2],
        )
        median, extra = self._surface(sites, points)
        skew = self._skew(sites, points)
        noise = jnp.exp(self._log_noise(sites, points))
        spread = noise * jnp.sqrt(1 + sites["misfit"] ** 2)
        location = median + skew * spread  # of the mean
        noise2 = noise**2 * (1 + 2 * skew**2)
        misfit2 = sites["misfit"] ** 2 * noise2
        seed2 = noise2 + cells.grid_variance
        n, error = cells.count, jnp.where(cells.count > 0, cells.mean - location, 0.0)
        shrunk = n * misfit2 / (seed2 + n * misfit2)
        logs = n * jnp.log(seed2) + jnp.log1p(n * misfit2 / seed2)
        known = -0.5 * (logs + (cells.squares + n * error**2 * (1 - shrunk)) / seed2)
        lean = skew / jnp.sqrt(1 + sites["misfit"] ** 2)  # among the seeds of a configuration, whose spread is smaller
        known -= 0.5 * cells.lean_precision * (cells.lean - lean) ** 2
        fails = self._failure(sites, points, extra)
        known += n * jax.nn.log_sigmoid(-fails)

        at = cells.censored_config, cells.censored_threshold
        scale = (noise * jnp.sqrt(1 + sites["misfit"] ** 2 * seed2 / (seed2 + n * misfit2)))[at]
        later = (cells.log_bound - (location + shrunk * error)[at]) / scale + skew[at]
        tail = log_ndtr(-cells.censored_side * normal_score(later, skew[at]))
        reached = jax.nn.log_sigmoid(-fails[at]) + tail
        censored = jnp.where(cells.censored_side > 0, jnp.logaddexp(jax.nn.log_sigmoid(fails[at]), reached), reached)
        total: Array = cells.weight * (known.sum() + censored.sum())
        return total

    def runs(self, sites: Sites, points: Points) -> RunTimes:
        """A new run at each point under one draw."""
        location, extra = self._surface(sites, points)
        scale = jnp.exp(self._log_noise(sites, points)) * jnp.sqrt(1 + sites["misfit"] ** 2)
        p_reach = jax.nn.sigmoid(-self._failure(sites, points, extra))
        skew = self._skew(sites, points)
        return RunTimes(jax.lax.cummax(location, axis=1), scale, skew, jax.lax.cummin(p_reach, axis=1))

    def runs_at_best(self, sites: Sites, points: Points) -> RunTimes:
        """As `runs`, at B* and eta* of the highest threshold in place of the points' own."""
        batch, rate = (self._rule(sites, axis, points)[:, -1] for axis in RULES)
        return self.runs(sites, points._replace(log_batch_size=batch, log_learning_rate=rate))

    def shared_variance(self, sites: Sites) -> Float[Array, "*draw"]:
        """The share of a new run's variance that the seeds of a configuration have in common."""
        variance = jnp.asarray(sites["misfit"]) ** 2
        return variance / (1 + variance)

    def optimum(self, sites: Sites, points: Points) -> Optimum:
        """B*, eta* of each threshold at the points' task, UTD and model size under one draw, and the median run there.

        The batch sizes and learning rates of the points are not read.
        """
        best = {axis: self._rule(sites, axis, points) for axis in RULES}
        at_best = self._law(sites, points)
        fails = self._failure(sites, points, jnp.zeros_like(at_best))
        p_reach = jax.lax.cummin(jax.nn.sigmoid(-fails), axis=1)
        return Optimum(best["batch_size"], best["learning_rate"], jax.lax.cummax(at_best, axis=1), p_reach)

    def with_new_task(self, draws: Mapping[str, ArrayLike], key: Array) -> Sites:
        """Draws with one more task, whose parameters come from the population of each draw."""
        out = {name: jnp.asarray(values) for name, values in draws.items()}
        for name, values in list(out.items()):
            key, fresh = jax.random.split(key)
            if name.endswith("_z"):
                shape = (len(values), 1, *values.shape[2:])
                out[name] = jnp.concatenate([values, jax.random.normal(fresh, shape)], axis=1)
        return out

    def _log_noise(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """Log of the seed spread: by task and threshold at the centre of the task's data, a plane from there on.

        Beyond the task's swept UTDs it stays as at the last of them: its trend there is no law, and levels off.
        """
        noise = (sites["log_noise_mean"] + self._fixed("log_noise_sd") * sites["log_noise_z"])[points.task]
        centres = self._centres()[points.task]
        distances = {
            "utd": jnp.clip(points.log_utd, *self._swept()[points.task].T),
            "batch_size": points.log_batch_size - centres[:, 0],
            "learning_rate": points.log_learning_rate - centres[:, 1],
            "model_size": points.log_model_size,
        }
        for axis, distance in distances.items():
            if axis in self.varying:
                slope = sites[f"{axis}_noise"] + self._fixed(f"{axis}_noise_sd") * sites[f"{axis}_noise_z"]
                noise += (slope[points.task] * distance)[:, None]
        return noise

    def _skew(self, sites: Sites, points: Points) -> Float[Array, "point threshold"]:
        """How far the mean of a run's log env steps lies above the median, in units of their spread."""
        return (sites["skew_mean"] + self._fixed("skew_sd") * sites["skew_z"])[points.task]

    def _failure(self, sites: Sites, points: Points, extra: Array) -> Float[Array, "point threshold"]:
        """Logit of the chance that a run never reaches the threshold."""
        task = sites["failure"] + self._fixed("failure_sd") * sites["failure_z"]
        return task[points.task][:, None] + sites["failure_penalty"] * extra + sites["failure_rise"] * self._x
