"""Posterior draws by NUTS in float64, and whether they can be trusted.

The sampler runs in coordinates whitened by the curvature at the posterior mode, where trajectories are short. The
model is an argument: this module knows none.

The fast method is a few hundred draws of plain HMC in the same coordinates, held to looser limits. There the posterior
is close to a standard normal, where all directions turn at once and NUTS, which cannot tell, often goes on for a second
or fourth turn; trajectories of about half a turn win as many effective draws with half the gradients. (A long warm-up
makes up for that, by scales of its own.) Importance sampling from the normal approximation at the mode was tried in its
place: on the published Gym sweep (273 parameters) its log weights have a standard deviation of 18 and a Pareto k of 1.7
where 0.7 is the limit; per-axis scales on both sides of the mode do not help (k 2.1). Chains need no weights and their
disagreement shows.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float

from bayescale.arguments import require_count
from bayescale.errors import InputError
from bayescale.float64 import float64
from bayescale.inference.arviz_compat import arviz
from bayescale.inference.chains import Advanced, Chain, Tuning, compile_chain, kernel, on_cpu, run_chains
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.laplace import Laplace, laplace
from bayescale.inference.log_density import Density, density_of
from bayescale.inference.model import Model

WARMUP = 500  # iterations of adaptation; with 300 fits of six sweeps converged too, one with half the effective draws
ROUNDS = 4  # at most, of `draws` each: fits of a task with four runs beside full ones took one to three
CAREFUL = 0.99  # mean acceptance of chains whose draws diverged at the usual one
LEAST_DRAWS = 8  # for R-hat and effective draws, which take four of each half of a chain
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100  # bulk and tail; 400 with four chains (Vehtari et al., Bayesian Analysis 2021)
TAILS = (0.05, 0.95)  # ArviZ 1.x asks for them, earlier ones take these
MAX_DIVERGING = 0.001  # share of draws
FAST_R_HAT = 1.05
FAST_ESS_PER_CHAIN = 25  # a 5% quantile is then known to about a fifth of a standard deviation, at worst
FAST_DRAWS = 250  # per chain
FAST = Tuning(warmup=50, trajectory=3.0)  # of 1.6, 2.2, 2.5, 3 and 4 that of the most effective draws a second
METHODS = ("nuts", "fast")


class Status(Enum):
    """What became of the sampling; the value is the message for the user."""

    CONVERGED = "converged: R-hat at most 1.01, effective draws at least 100 a chain, divergences at most 0.1%"
    APPROXIMATE = "approximate, by short chains: R-hat at most 1.05, effective draws at least 25 a chain"
    DIVERGED = "not converged: more than 0.1% of the draws diverged; raise warmup, or give more runs"
    NOT_MIXED = "not converged: the chains disagree; raise warmup and draws"
    TOO_FEW = "not converged: too few effective draws; raise draws"

    @property
    def usable(self) -> bool:
        """Whether the draws may be used without further ado."""
        return self in (Status.CONVERGED, Status.APPROXIMATE)

    @property
    def limits(self) -> tuple[float, int]:
        """The largest R-hat and the fewest effective draws of a chain that the draws are held to."""
        return (FAST_R_HAT, FAST_ESS_PER_CHAIN) if self is Status.APPROXIMATE else (MAX_R_HAT, MIN_ESS_PER_CHAIN)


@dataclass(frozen=True)
class Draws:
    """Draws of every site (chain axis first, then draw), sampler statistics, their status and the method used."""

    parameters: dict[str, Float[np.ndarray, "chain draw ..."]]
    statistics: dict[str, np.ndarray]
    diagnostics: pd.DataFrame
    status: Status
    method: str = "nuts"


class EachDraws(NamedTuple):
    """Draws of every site for each of several tables, and which of them diverged."""

    parameters: dict[str, Float[np.ndarray, "table draw ..."]]
    diverging: Bool[np.ndarray, "table draw"]


@on_cpu()
@compiled_code_kept()
@float64()
def sample(
    model: Model,
    crossings: pd.DataFrame,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = WARMUP,
    progress: bool = False,
    method: str = "nuts",
    most_draws: int | None = None,
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
        method: "nuts", or "fast": short chains of `FAST_DRAWS` each, and if they disagree a warning, then "nuts".
        most_draws: None takes the draws as they come. Of a larger number than `draws` as many more are taken, again and
            again, while the chains disagree or too few draws are effective, and if too many diverge all are drawn anew
            in shorter steps, with a warning.

    Raises:
        InputError: too low a count, an unknown method.
    """
    most_draws = draws if most_draws is None else most_draws
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}; got '{method}'.")
    for name, value, least in (
        ("chains", chains, 1),
        ("draws", draws, LEAST_DRAWS),
        ("most_draws", most_draws, draws),
        ("warmup", warmup, 1),
        ("seed", seed, 0),
    ):
        require_count(name, value, least)
    key_start, key_fast, key_run = jax.random.split(jax.random.PRNGKey(seed), 3)
    density, observations = density_of(model), jax.device_put(model.observe(crossings))
    slope = partial(jax.jit(jax.value_and_grad(density.potential, argnums=1)), observations)
    constrain = jax.jit(jax.vmap(jax.vmap(density.constrain)))

    def drawn(chain: Chain, key: Array, kept: int, rounds: int = 1) -> Draws:
        with _progress(progress) as (advanced, expect):
            expect(chains * (chain.tuning.warmup + kept))
            for flat, statistics in islice(run_chains(chain, slope, at_mode, key, chains, kept, advanced), rounds):
                parameters = {name: np.asarray(value) for name, value in constrain(flat).items()}
                table = diagnose(parameters)
                status = _status(table, statistics["diverging"], chains)
                if status not in (Status.NOT_MIXED, Status.TOO_FEW):
                    break
                expect(chains * kept)
        return Draws(parameters, statistics, table, status)

    usual, careful = Tuning(warmup), Tuning(warmup, accepted=CAREFUL)
    with ThreadPoolExecutor(1) as pool:  # compiles while the mode is searched for
        chain = compile_chain(density, observations, FAST if method == "fast" else usual, pool)
        at_mode = laplace(slope, _starts(density, key_start))
        pool.submit(arviz)  # takes a second to import, for which diagnose would wait
        if method == "fast":
            short = drawn(chain, key_fast, FAST_DRAWS)
            if _approximate(short, chains):
                return replace(short, status=Status.APPROXIMATE, method="fast")
            warnings.warn("the fast chains disagree: sampling in full.", stacklevel=6)
            chain = compile_chain(density, observations, usual, pool)
        result = drawn(chain, key_run, draws, most_draws // draws)
        if result.status is Status.DIVERGED and most_draws > draws:
            warnings.warn("too many draws diverged: sampling anew in shorter steps.", stacklevel=6)
            result = drawn(compile_chain(density, observations, careful, pool), key_run, draws, most_draws // draws)
        return result


@on_cpu()
@compiled_code_kept()
@float64()
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
    density = density_of(model)
    slope = jax.jit(jax.value_and_grad(density.potential, argnums=1))

    found: list[Laplace] = []
    for data in map(jax.device_put, observations):
        # The next is near in one design; a poor mode costs steps, not correctness.
        starts = [found[-1].mode] if found else _starts(density, key_start)
        found.append(laplace(partial(slope, data), starts))
    structure = jax.tree.structure(observations[0])

    def one(leaves: list[Array], mode: Array, whiten: Array, key: Array) -> tuple[dict[str, Array], Array]:
        data = jax.tree.unflatten(structure, leaves)
        nuts = kernel(partial(density.potential, data), mode, whiten, Tuning(warmup))
        key_first, key_chain = jax.random.split(key)
        first = nuts.init(key_chain, warmup, jax.random.normal(key_first, mode.shape), (), {})

        def step(state: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            state = nuts.sample(state, (), {})
            return state, (state.z, state.diverging)

        _, (flat, diverging) = jax.lax.scan(step, first, length=warmup + draws)
        constrain: Callable[[Array], dict[str, Array]] = jax.vmap(lambda z: density.constrain(mode + whiten @ z))
        return constrain(flat[warmup:]), diverging[warmup:]

    leaves = [np.stack(leaf) for leaf in zip(*map(jax.tree.leaves, observations), strict=True)]
    modes, roots = (np.stack(parts) for parts in ([one.mode for one in found], [one.whiten for one in found]))
    keys = jax.random.split(key_run, len(observations))
    parameters, diverging = jax.jit(jax.vmap(one))(leaves, modes, roots, keys)
    return EachDraws({name: np.asarray(value) for name, value in parameters.items()}, np.asarray(diverging))


def diagnose(parameters: dict[str, Float[np.ndarray, "chain draw ..."]]) -> pd.DataFrame:
    """Mean, sd, r_hat, ess_bulk and ess_tail of every scalar parameter, by name, such as `level[0]`."""
    az = arviz()
    rows = {}
    for name, values in parameters.items():
        for index in np.ndindex(values.shape[2:]):
            one = values[(slice(None), slice(None), *index)]
            label = name + (f"[{','.join(map(str, index))}]" if index else "")
            apart = one if len(one) > 1 else one[:, : one.size // 2 * 2].reshape(2, -1)
            bulk, tail = az.ess(one, method="bulk"), az.ess(one, method="tail", prob=TAILS)
            with np.errstate(invalid="ignore", divide="ignore"):  # chains that never moved: not a number
                r_hat = float(az.rhat(apart))
            rows[label] = one.mean(), one.std(), r_hat, float(bulk), float(tail)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "sd", "r_hat", "ess_bulk", "ess_tail"])


def unconverged(table: pd.DataFrame, chains: int) -> tuple[str, ...]:
    """Names of the parameters whose R-hat or effective draws miss the limits or are not numbers, worst first."""
    ess = table[["ess_bulk", "ess_tail"]].min(axis=1)
    bad = table[~((table["r_hat"] <= MAX_R_HAT) & (ess >= MIN_ESS_PER_CHAIN * chains))]
    return tuple(bad.sort_values("r_hat", ascending=False, na_position="first").index)


def _status(table: pd.DataFrame, diverging: np.ndarray, chains: int) -> Status:
    if diverging.mean() > MAX_DIVERGING:
        return Status.DIVERGED
    if not (table["r_hat"] <= MAX_R_HAT).all():
        return Status.NOT_MIXED
    return Status.TOO_FEW if unconverged(table, chains) else Status.CONVERGED


def _approximate(short: Draws, chains: int) -> bool:
    table = short.diagnostics
    enough = (table[["ess_bulk", "ess_tail"]] >= FAST_ESS_PER_CHAIN * chains).all(axis=None)
    agree = (table["r_hat"] <= FAST_R_HAT).all()
    return bool(enough and agree and short.statistics["diverging"].mean() <= MAX_DIVERGING)


def _starts(density: Density, key: Array) -> list[np.ndarray]:
    """Where to search for the mode from: three places, as there may be lesser modes."""
    start = np.asarray(jax.random.uniform(key, (density.dimension,), minval=-0.5, maxval=0.5))
    return [start, np.zeros_like(start), -start]


@contextmanager
def _progress(shown: bool) -> Iterator[tuple[Advanced, Advanced]]:
    """A bar on standard error, if shown: what moves it on by a number of iterations, and what expects more of them."""
    if not shown:
        yield (lambda _: None), (lambda _: None)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sampling", total=0)
        yield (
            lambda done: bar.advance(task, done),
            lambda more: bar.update(task, total=(bar.tasks[0].total or 0) + more),
        )
