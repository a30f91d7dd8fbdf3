"""Draw from a model's posterior by HMC, in full or by a fast method, and say whether the draws can be trusted.

The chains move in coordinates in which the posterior is close to a standard normal distribution; see
`bayescale.inference.laplace`. Trajectories are short there. The model is an argument: this module imports no model.

In these coordinates all directions have about the same period, so trajectories of half a period suffice. NUTS often
doubles them once or twice more: on the published Gym sweep (273 parameters) it took 31 gradients a draw where HMC took
22, and gave 0.4 times as many effective draws per gradient. It remains as a method of its own.

The fast method takes a few hundred draws per chain, learns no scales, and has to meet looser limits. Importance
sampling from the Laplace approximation was tried instead: on the published Gym sweep its log weights have a standard
deviation of 18 and a Pareto k of 1.7, where 0.7 is the limit; separate scales on both sides of the mode do not help
(Pareto k 2.1). Chains need no weights, and their disagreement shows.
"""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float
from numpyro.infer.util import ParamInfo

from bayescale.float64 import float64
from bayescale.inference.arviz_compat import arviz
from bayescale.inference.chains import Chain, Tuning, compile_chain, on_cpu, run_chains, sampler_of, standardised
from bayescale.inference.checkpoints import Checkpoint, Interrupted, Record
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.convergence import Status, diagnose, status_of
from bayescale.inference.draws import ROUNDS as ROUNDS
from bayescale.inference.draws import WARMUP as WARMUP
from bayescale.inference.draws import Draws as Draws
from bayescale.inference.draws import SamplerOptions as SamplerOptions
from bayescale.inference.laplace import Laplace, laplace
from bayescale.inference.log_density import Density, density_of
from bayescale.inference.model import Model
from bayescale.inference.sampling_time import expected_time, sampling_progress, seconds_per_gradient

SMALL_STEPS = 0.99  # target acceptance of the second attempt, after too many draws diverged
TRAJECTORY = 3.0  # mean length of HMC's; 3 gave more effective draws/s than 1.6, 2.2, 2.5 and 4
FAST_DRAWS = 250  # draws per chain and round of the fast method
FAST_ROUNDS = 3  # most of its rounds; one was too few for some seeds on the published Gym sweep, two were enough
FAST = Tuning(warmup=50, trajectory=TRAJECTORY, learn_scales=False)


class DrawsByTable(NamedTuple):
    """Draws from the posteriors of several tables.

    Attributes:
        parameters: draws of every parameter by name.
        diverging: True for draws that diverged.
    """

    parameters: dict[str, Float[np.ndarray, "table draw ..."]]
    diverging: Bool[np.ndarray, "table draw"]


def sample(
    model: Model,
    crossings: pd.DataFrame,
    options: SamplerOptions,
    *,
    progress: bool = False,
    tell: Callable[[str], None] | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
) -> Draws:
    """Draw from the posterior of a model's parameters given crossings.

    Args:
        model: the model to fit.
        crossings: one row per run and threshold.
        options: seed, number of chains and draws, method.
        progress: show progress on standard error.
        tell: called with a sentence about how long the sampling will take, before it begins.
        checkpoint: file that keeps what the chains have done if Ctrl-C comes, and that is removed at the end.
        resume: go on from the checkpoint; the draws are those of a fit without a break.

    Raises:
        InputError: an unknown method, a count that is too low, or a checkpoint that is missing or of another fit.
    """
    options.check()
    with on_cpu(), compiled_code_kept(), float64():
        begun = checkpoint.read() if resume and checkpoint is not None else None
        result = _sample(model, crossings, options, progress, tell or (lambda _: None), checkpoint, begun)
    if checkpoint is not None:
        checkpoint.remove()
    return result


def _sample(
    model: Model,
    crossings: pd.DataFrame,
    options: SamplerOptions,
    progress: bool,
    tell: Callable[[str], None],
    checkpoint: Checkpoint | None,
    begun: Interrupted | None,
) -> Draws:
    key_start, key_fast, key_run = jax.random.split(jax.random.PRNGKey(options.seed), 3)
    density, observed = density_of(model), jax.device_put(model.observe(crossings))
    value_and_grad = partial(density.value_and_grad, observed)
    constrain = jax.jit(jax.vmap(jax.vmap(density.constrain)))
    chains = options.chains

    def draw(
        stage: str, chain: Chain, key: Array, per_round: int, rounds: int, aim: Status = Status.CONVERGED
    ) -> Draws:
        """Run the chains for one round after the other, until they reach the aim or the rounds are used up."""
        record = begun.record(chain.structure) if begun is not None and begun.stage == stage else Record()
        try:
            with sampling_progress(progress) as (on_progress, expect):
                expect(chains * (chain.tuning.warmup + per_round))
                on_progress(record.iterations)
                all_rounds = run_chains(
                    chain, value_and_grad, approximation, key, chains, per_round, on_progress, record
                )
                for vectors, statistics in islice(all_rounds, rounds):
                    parameters = {name: np.asarray(values) for name, values in constrain(vectors).items()}
                    diagnostics = diagnose(parameters)
                    status = status_of(diagnostics, statistics["diverging"], aim)
                    if status not in (Status.NOT_MIXED, Status.TOO_FEW):
                        break
                    expect(chains * per_round)
        except KeyboardInterrupt:
            if checkpoint is not None and record.iterations:
                with suppress(OSError):  # A full disk means that there is no checkpoint.
                    checkpoint.write(stage, approximation, record)
            raise
        return Draws(parameters, statistics, diagnostics, status)

    full_method = "nuts" if options.method == "nuts" else "hmc"
    full = Tuning(options.warmup, None if full_method == "nuts" else TRAJECTORY)
    tunings = {"fast": FAST, "full": full, "small steps": full._replace(target_acceptance=SMALL_STEPS)}
    stage = begun.stage if begun is not None else "fast" if options.method == "fast" else "full"
    with ThreadPoolExecutor(1) as pool:  # compiles the chain while this thread searches for the mode
        chain = compile_chain(density, observed, tunings[stage], pool)
        approximation = begun.approximation if begun else laplace(value_and_grad, _starts(density, key_start))
        pool.submit(arviz)  # diagnose would wait a second for the import
        first, most = (FAST_DRAWS, FAST_ROUNDS) if stage == "fast" else (options.draws, options.rounds)
        gradient = seconds_per_gradient(value_and_grad, approximation.mode)
        iterations = tunings[stage].warmup + first
        method = "fast" if stage == "fast" else full_method
        tell(expected_time(gradient, method, chains=chains, iterations=iterations, rounds=most))
        if stage == "fast":
            short = draw(stage, chain, key_fast, FAST_DRAWS, FAST_ROUNDS, Status.APPROXIMATE)
            if short.status is Status.APPROXIMATE:
                return replace(short, method="fast")
            warnings.warn("the fast chains disagree: sampling in full.", stacklevel=5)
            stage = "full"
            chain = compile_chain(density, observed, tunings[stage], pool)
        result = draw(stage, chain, key_run, options.draws, options.rounds)
        if stage == "full" and result.status is Status.DIVERGED and options.may_start_again:
            warnings.warn("too many draws diverged: sampling anew in shorter steps.", stacklevel=5)
            stage = "small steps"
            chain = compile_chain(density, observed, tunings[stage], pool)
            result = draw(stage, chain, key_run, options.draws, options.rounds)
        return replace(result, method=full_method)


@on_cpu()
@compiled_code_kept()
@float64()
def sample_each(
    model: Model, observations: Sequence[Any], *, seed: int = 0, draws: int = 500, warmup: int = WARMUP
) -> DrawsByTable:
    """Draw from the posterior of a model's parameters given each of several tables, with one HMC chain per table.

    The sampler is compiled once and runs for all tables side by side, so many small fits cost about as much as one.
    One chain per table shows no disagreement between chains, so there is no status.

    Args:
        model: the model to fit.
        observations: the result of `model.observe` for each table, in equal shapes.
        seed: seed of all random numbers.
        draws: draws kept per table.
        warmup: iterations of adaptation per table, not kept.
    """
    key_start, key_run = jax.random.split(jax.random.PRNGKey(seed))
    density = density_of(model)
    tuning = Tuning(warmup, TRAJECTORY)

    found: list[Laplace] = []
    for data in map(jax.device_put, observations):
        # Tables of one design have modes near each other; a poor mode costs steps, not correctness.
        starts = [found[-1].mode] if found else _starts(density, key_start)
        found.append(laplace(partial(density.value_and_grad, data), starts))
    structure = jax.tree.structure(observations[0])

    def draw(leaves: list[Array], mode: Array, root: Array, key: Array) -> tuple[dict[str, Array], Array]:
        data = jax.tree.unflatten(structure, leaves)
        sampler = sampler_of(density, data, mode, root, tuning)
        key_first, key_chain = jax.random.split(key)
        y = jax.random.normal(key_first, mode.shape)
        first = sampler.start(ParamInfo(y, *standardised(density, data, mode, root)(y)), key_chain)

        def step(state: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            state = sampler.step(state)
            return state, (state.z, state.diverging)

        _, (points, diverging) = jax.lax.scan(step, first, length=warmup + draws)
        constrain: Callable[[Array], dict[str, Array]] = jax.vmap(lambda y: density.constrain(mode + root @ y))
        return constrain(points[warmup:]), diverging[warmup:]

    leaves = [np.stack(leaf) for leaf in zip(*map(jax.tree.leaves, observations), strict=True)]
    modes, roots = (np.stack(parts) for parts in ([one.mode for one in found], [one.root for one in found]))
    keys = jax.random.split(key_run, len(observations))
    parameters, diverging = jax.jit(jax.vmap(draw))(leaves, modes, roots, keys)
    return DrawsByTable({name: np.asarray(values) for name, values in parameters.items()}, np.asarray(diverging))


def _starts(density: Density, key: Array) -> list[np.ndarray]:
    """Return three vectors from which to search for the mode, because a posterior may have several modes."""
    start = np.asarray(jax.random.uniform(key, (density.dimension,), minval=-0.5, maxval=0.5))
    return [start, np.zeros_like(start), -start]
