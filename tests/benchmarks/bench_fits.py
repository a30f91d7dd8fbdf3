"""Measure fits and predictions on a simulated sweep as large as the published one: four tasks, 144 configurations.

The times include compilation, as a user sees it; compiled code of an earlier process is not used.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pandas as pd
from numpyro.infer import MCMC, NUTS
from scipy.optimize import brentq

import bayescale as bs
from bayescale.comparators.published import fit_published
from bayescale.inference.convergence import diagnose
from bayescale.inference.log_density import density_of
from bayescale.posterior.posterior import PREDICTION_DRAWS
from bayescale.posterior.prediction_table import QUANTILE_LEVELS
from bayescale.posterior.predictive import run_lengths
from bayescale.run_length_distribution import RunLengthDistribution

THRESHOLDS = tuple(1000 - np.geomspace(700, 200, 10))
CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]
LAW = bs.KnownLaw(env_steps=tuple(np.geomspace(8e4, 4e5, 10)), utd_ref=2.8, min_share=0.5, batch_size_curvature=0.12)


def simulated(seeds: int, tasks: int = 4, threshold_count: int = 10) -> pd.DataFrame:
    """Simulate the true run lengths of a sweep over tasks, UTDs, batch sizes and learning rates."""
    grid = itertools.product(
        [f"Task-v{i}" for i in range(tasks)],
        [1.0, 2.0, 4.0, 8.0],
        [128, 256, 512],
        [1e-4, 3e-4, 1e-3],
        [seeds],
        ["SAC"],
    )
    design = pd.DataFrame(grid, columns=[*CONFIG, "seeds", "algorithm"])
    location = LAW.location(design)[:, :threshold_count]
    return bs.simulate_runs(
        design,
        thresholds=THRESHOLDS[:threshold_count],
        location=location,
        scale=0.25,
        rng=np.random.default_rng(0),
        correlation=0.7,
    )


def observed(seeds: int, tasks: int = 4, threshold_count: int = 10) -> pd.DataFrame:
    """Return the crossings of that sweep with an evaluation every 1,000 env steps up to 1,000,000."""
    return bs.crossings_of(simulated(seeds, tasks, threshold_count), every=1000, horizon=1e6)


def effective(sites: dict[str, np.ndarray]) -> float:
    """Return the smallest bulk effective number of draws over all parameters."""
    return float(diagnose(sites)["ess_bulk"].min())


def fit_gym(
    seeds: int = 8, tasks: int = 4, threshold_count: int = 10, iterations: int = 100, depth: int = 7
) -> tuple[float, float]:
    """Return the effective draws per second of a fit, and of NumPyro on the same model with one term per run.

    The peer's work is bounded to about a minute: two chains side by side, each with `iterations` warm-up and as many
    kept iterations, in trees of at most 2 ** `depth` steps. With NumPyro's own limit of 2 ** 10 steps and 1,000
    iterations its chains had not ended after 21 minutes.
    """
    crossings = observed(seeds, tasks, threshold_count)
    start = time.perf_counter()
    posterior = bs.fit(crossings, require_convergence=False)
    rate = effective(posterior.draws) / (time.perf_counter() - start)

    apart = crossings.assign(learning_rate=crossings["learning_rate"] * (1 + 1e-9 * crossings["seed"]))
    start = time.perf_counter()
    density, cells = density_of(posterior.model), posterior.model.observe(apart)
    assert len(cells.task) == len(crossings) // threshold_count
    potential = jax.jit(density.potential)
    potential(cells, np.zeros(density.dimension))  # NumPyro traces on one thread at a time

    def chain(key: jax.Array) -> np.ndarray:
        key_first, key_run = jax.random.split(key)
        mcmc = MCMC(
            NUTS(potential_fn=lambda z: potential(cells, z), max_tree_depth=depth),
            num_warmup=iterations,
            num_samples=iterations,
            progress_bar=False,
        )
        mcmc.run(key_run, init_params=jax.random.uniform(key_first, (density.dimension,), minval=-0.5, maxval=0.5))
        return np.asarray(mcmc.get_samples())

    with ThreadPoolExecutor(2) as pool:
        draws = np.stack(list(pool.map(chain, jax.random.split(jax.random.PRNGKey(0)))))
    return rate, effective({"z": draws}) / (time.perf_counter() - start)


def fit_seeds(tasks: int = 4, threshold_count: int = 10) -> tuple[float, float]:
    """Return the seconds of a fit to eight seeds per configuration and of a fit to one."""
    seconds = []
    for seeds in (8, 1):
        crossings = observed(seeds, tasks, threshold_count)
        jax.clear_caches()
        start = time.perf_counter()
        bs.fit(crossings, require_convergence=False)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def fit_pipeline(seeds: int = 8, tasks: int = 4, threshold_count: int = 10) -> tuple[float, float]:
    """Return fits per second from curves to a posterior, and of the published pipeline to its point estimates."""
    rng = np.random.default_rng(1)
    curves = bs.curves_of(
        simulated(seeds, tasks, threshold_count), every=1000, horizon=1e6, first_return=0.0, noise=20.0, rng=rng
    )
    start = time.perf_counter()
    bs.fit(bs.time_to_threshold(curves, thresholds=THRESHOLDS[:threshold_count]), require_convergence=False)
    middle = time.perf_counter()
    fit_published(curves, thresholds=THRESHOLDS[:threshold_count])
    return 1 / (middle - start), 1 / (time.perf_counter() - middle)


def predict(configurations: int = 1_000_000, peer_configurations: int = 50) -> tuple[float, float]:
    """Return predicted configurations per second, and the rate of a root search for every single quantile."""
    crossings = observed(2, tasks=1, threshold_count=1)
    posterior = bs.fit(crossings, chains=2, draws=300, warmup=200, require_convergence=False)
    rng = np.random.default_rng(0)
    configs = pd.DataFrame({"env_id": "Task-v0", "utd": np.exp(rng.uniform(0, 2, configurations))})
    configs = configs.assign(batch_size=rng.integers(64, 1024, configurations), learning_rate=3e-4)
    configs["evaluation_interval"] = 1  # quantiles are those of evaluations: here as good as not rounded
    start = time.perf_counter()
    predicted = posterior.predict(configs)
    middle = time.perf_counter()
    slow = _one_by_one(posterior, configs.head(peer_configurations))
    end = time.perf_counter()
    np.testing.assert_allclose(
        predicted.iloc[:peer_configurations][["q05", "q50", "q95"]], slow[:, [0, 3, 6]], rtol=0.01
    )
    return configurations / (middle - start), peer_configurations / (end - middle)


def _one_by_one(posterior: bs.Posterior, configs: pd.DataFrame) -> np.ndarray:
    rows = []
    for at in range(len(configs)):
        times = run_lengths(posterior.model, posterior.flat_draws(PREDICTION_DRAWS), configs.iloc[at : at + 1])
        here = RunLengthDistribution(*(part[:, 0, 0] for part in times))
        quantiles = [brentq(lambda x, q=q: here.reached_by(x).mean() - q, -50.0, 100.0) for q in QUANTILE_LEVELS]  # noqa: B023
        rows.append(np.exp(quantiles))
    return np.array(rows)
