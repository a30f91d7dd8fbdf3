"""Posterior draws by NUTS in float64, and whether they can be trusted.

The sampler runs in coordinates whitened by the curvature at the posterior mode, where trajectories are short. The
model is an argument: this module knows none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pandas as pd
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import initialize_model
from scipy.optimize import minimize

from bayescale.arviz_versions import arviz
from bayescale.errors import InputError

MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100  # bulk and tail; 400 with four chains (Vehtari et al., Bayesian Analysis 2021)
MAX_DIVERGING = 0.001  # share of draws

jax.config.update("jax_enable_x64", True)  # float32 gave ten times the divergences


@runtime_checkable
class Model(Protocol):
    """What a model must offer to be fitted."""

    def observe(self, crossings: pd.DataFrame) -> Any:
        """The observations as the likelihood reads them."""

    def sites(self) -> None:
        """Declares the NumPyro sample sites."""

    def log_likelihood(self, sites: dict[str, Array], observations: Any) -> Float[Array, ""]:
        """The log likelihood under one draw of the sites."""


class Status(Enum):
    """What became of the sampling; the value is the message for the user."""

    CONVERGED = "converged: R-hat at most 1.01, effective draws at least 100 a chain, divergences at most 0.1%"
    DIVERGED = "not converged: more than 0.1% of the draws diverged; use more thresholds' worth of data or fewer axes"
    NOT_MIXED = "not converged: the chains disagree; raise warmup and draws"
    TOO_FEW = "not converged: too few effective draws; raise draws"


@dataclass(frozen=True)
class Draws:
    """Draws of every site (chain axis first, then draw), sampler statistics and their status."""

    sites: dict[str, Float[np.ndarray, "chain draw ..."]]
    statistics: dict[str, np.ndarray]
    diagnostics: pd.DataFrame
    status: Status


class EachDraws(NamedTuple):
    """Draws of every site for each of several tables, and which of them diverged."""

    sites: dict[str, Float[np.ndarray, "table draw ..."]]
    diverging: Bool[np.ndarray, "table draw"]


def sample(
    model: Model,
    crossings: pd.DataFrame,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 500,
    progress: bool = False,
) -> Draws:
    """Posterior draws of the model's sites given the crossings.

    Args:
        model: the model to fit.
        crossings: one row per run and threshold.
        seed: of the whole computation; equal seeds give equal draws on one machine.
        chains: chains, run side by side.
        draws: kept per chain.
        warmup: iterations of adaptation per chain, not kept.
        progress: show a progress bar on standard error.

    Raises:
        InputError: a count below 1.
    """
    for name, value in (("chains", chains), ("draws", draws), ("warmup", warmup)):
        if value < 1:
            raise InputError(f"{name} must be at least 1; got {value}. Raise it.")
    parallel = _devices(chains) >= chains > 1
    observations = model.observe(crossings)
    key_start, key_chains, key_run = jax.random.split(jax.random.PRNGKey(seed), 3)
    density = _density(model, observations, key_start)
    potential: Callable[[Array], Array] = partial(density.potential, observations)
    slope, curvature = jax.jit(jax.value_and_grad(potential)), jax.jit(jax.hessian(potential))
    mode, whiten = _laplace(slope, curvature, _starts(density))
    mcmc = MCMC(
        _kernel(potential, mode, whiten),
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="parallel" if parallel else "sequential",
        progress_bar=progress,
    )
    spread = jax.random.normal(key_chains, (chains, len(mode)))
    extra = ("num_steps", "diverging", "potential_energy", "accept_prob")
    mcmc.run(key_run, init_params=spread if chains > 1 else spread[0], extra_fields=extra)
    flat = mode + mcmc.get_samples(group_by_chain=True) @ whiten.T
    constrain = jax.jit(jax.vmap(jax.vmap(lambda z: density.constrain(observations, z))))
    sites = {name: np.asarray(value) for name, value in constrain(flat).items()}
    statistics = {k: np.asarray(v) for k, v in mcmc.get_extra_fields(group_by_chain=True).items()}
    table = diagnose(sites)
    return Draws(sites, statistics, table, _status(table, statistics["diverging"], chains))


def sample_each(
    model: Model, observations: Sequence[Any], seed: int = 0, draws: int = 500, warmup: int = 300
) -> EachDraws:
    """Posterior draws of the model's sites given each of several observations by itself, one chain each.

    The sampler is that of `sample`, compiled once and run over all observations side by side: many small fits cost
    about as much as one. There are no chains to compare, so no status.

    Args:
        model: the model to fit.
        observations: what `model.observe` makes of each table, pytrees of equal structure and shapes.
        seed: of the whole computation.
        draws: kept for each.
        warmup: iterations of adaptation for each, not kept.
    """
    key_start, key_run = jax.random.split(jax.random.PRNGKey(seed))
    density = _density(model, observations[0], key_start)
    slope = jax.jit(jax.value_and_grad(density.potential, argnums=1))
    curvature = jax.jit(jax.hessian(density.potential, argnums=1))

    modes, roots, starts = [], [], _starts(density)
    for data in map(jax.device_put, observations):
        mode, whiten = _laplace(partial(slope, data), partial(curvature, data), starts)
        modes.append(mode)
        roots.append(whiten)
        starts = (np.asarray(mode),)  # the next is near in one design; a poor mode costs steps, not correctness
    structure = jax.tree.structure(observations[0])

    def one(leaves: list[Array], mode: Array, whiten: Array, key: Array) -> tuple[dict[str, Array], Array]:
        data = jax.tree.unflatten(structure, leaves)
        kernel = _kernel(partial(density.potential, data), mode, whiten)
        key_first, key_chain = jax.random.split(key)
        first = kernel.init(key_chain, warmup, jax.random.normal(key_first, mode.shape), (), {})

        def step(state: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            state = kernel.sample(state, (), {})
            return state, (state.z, state.diverging)

        _, (flat, diverging) = jax.lax.scan(step, first, length=warmup + draws)
        constrain: Callable[[Array], dict[str, Array]] = jax.vmap(lambda z: density.constrain(data, mode + whiten @ z))
        return constrain(flat[warmup:]), diverging[warmup:]

    leaves = [np.stack(leaf) for leaf in zip(*map(jax.tree.leaves, observations), strict=True)]
    keys = jax.random.split(key_run, len(observations))
    sites, diverging = jax.jit(jax.vmap(one))(leaves, jnp.stack(modes), jnp.stack(roots), keys)
    return EachDraws({name: np.asarray(value) for name, value in sites.items()}, np.asarray(diverging))


def diagnose(sites: dict[str, Float[np.ndarray, "chain draw ..."]]) -> pd.DataFrame:
    """Mean, sd, r_hat, ess_bulk and ess_tail of every scalar parameter, by name, such as `level[0]`."""
    az = arviz()

    rows = {}
    for name, values in sites.items():
        for index in np.ndindex(values.shape[2:]):
            one = values[(slice(None), slice(None), *index)]
            label = name + (f"[{','.join(map(str, index))}]" if index else "")
            rhat = float(az.rhat(one)) if len(one) > 1 else float(az.rhat(one.reshape(2, -1)))
            rows[label] = (
                one.mean(), one.std(), rhat, float(az.ess(one, method="bulk")), float(az.ess(one, method="tail"))
            )  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "sd", "r_hat", "ess_bulk", "ess_tail"])


def unconverged(table: pd.DataFrame, chains: int) -> tuple[str, ...]:
    """Names of the parameters whose R-hat or effective draws miss the limits, worst first."""
    ess = table[["ess_bulk", "ess_tail"]].min(axis=1)
    bad = table[(table["r_hat"] > MAX_R_HAT) | (ess < MIN_ESS_PER_CHAIN * chains)]
    return tuple(bad.sort_values("r_hat", ascending=False).index)


def _status(table: pd.DataFrame, diverging: np.ndarray, chains: int) -> Status:
    if diverging.mean() > MAX_DIVERGING:
        return Status.DIVERGED
    if (table["r_hat"] > MAX_R_HAT).any():
        return Status.NOT_MIXED
    return Status.TOO_FEW if unconverged(table, chains) else Status.CONVERGED


def _devices(chains: int) -> int:
    """CPU devices for parallel chains; they can be asked for only before JAX starts."""
    numpyro.set_host_device_count(chains)
    return jax.local_device_count()


class _Density(NamedTuple):
    """A model's posterior density over unconstrained vectors, as functions of the observations and the vector."""

    potential: Callable[[Any, Array], Array]
    constrain: Callable[[Any, Array], dict[str, Array]]
    start: Array


def _density(model: Model, observations: Any, key: Array) -> _Density:
    def density(observations: Any) -> None:
        with numpyro.handlers.trace() as trace:
            model.sites()
        values = {name: site["value"] for name, site in trace.items()}
        numpyro.factor("log_likelihood", model.log_likelihood(values, observations))

    info = initialize_model(
        key,
        density,
        init_strategy=numpyro.infer.init_to_uniform(radius=0.5),
        dynamic_args=True,
        model_args=(observations,),
        validate_grad=False,
    )
    start, unravel = ravel_pytree(info.param_info.z)

    def constrain(observations: Any, z: Array) -> dict[str, Array]:
        values = info.postprocess_fn(observations)(unravel(z))
        return {name: value for name, value in values.items() if name != "log_likelihood"}

    return _Density(lambda observations, z: info.potential_fn(observations)(unravel(z)), constrain, start)


def _kernel(potential: Callable[[Array], Array], mode: Array, whiten: Array) -> NUTS:
    """NUTS over whitened vectors, which start near 0 and have about unit scale."""
    return NUTS(potential_fn=lambda z: potential(mode + whiten @ z), target_accept_prob=0.95, max_tree_depth=9)


def _starts(density: _Density) -> tuple[np.ndarray, ...]:
    """Where to search for the mode from: a line search can stall far from it."""
    start = np.asarray(density.start)
    return start, np.zeros_like(start), -start


def _laplace(
    value_and_grad: Callable[[Any], tuple[Array, Array]], hessian: Callable[[Any], Array], starts: Sequence[np.ndarray]
) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
    """The posterior mode, the best found from the starts, and a square root of the inverse curvature there."""

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_grad(z)
        return float(value), np.asarray(gradient)

    options = {"maxiter": 3000, "maxfun": 20000, "maxcor": 50, "ftol": 1e-12}
    ends = [minimize(objective, first, jac=True, method="L-BFGS-B", options=options) for first in starts]
    found = min(ends, key=lambda end: float(end.fun))
    curvature = np.asarray(hessian(found.x))
    values, vectors = np.linalg.eigh(curvature)
    # Every prior is proper, of curvature about 1 in the unconstrained space; flatter directions come from kinks.
    return jnp.asarray(found.x), jnp.asarray(vectors / np.sqrt(np.maximum(values, 0.5)))
