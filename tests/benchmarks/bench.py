"""Compare the speed of the package with its peers on the same work, in turn; see `make bench`.

Each benchmark prints one JSON object on a line. BENCH_PEERS is the Python of the environment in which the peers of the
runners are installed, by default the one in .venv-bench.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import bench_fits
import numpy as np
import pandas as pd
from bench_sides import PEERS_PYTHON, Side, ask, result, side
from scipy.optimize import isotonic_regression

import bayescale as bs
from bayescale.runners import make_plan, run_sweep

REPEATS = 3
CORES = 2  # processes per side, each with one thread
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
RUN = ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]
THRESHOLDS = np.linspace(100.0, 900.0, 10)

Bench = Callable[[str], dict[str, object]]  # takes the name of the benchmark and returns its line


def main() -> None:
    """Print one JSON line per benchmark, for all benchmarks or those that --only names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=chosen, default=list(BENCHES), metavar="NAME[,NAME...]")
    for name in parser.parse_args().only:
        print(json.dumps(BENCHES[name](name)), flush=True)


def chosen(text: str) -> list[str]:
    """Return the names in a list separated by commas.

    Raises:
        argparse.ArgumentTypeError: there is no benchmark of one of these names.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in BENCHES]
    if unknown or not names:
        got = f"'{unknown[0]}'" if unknown else "no name"
        raise argparse.ArgumentTypeError(
            f"benchmarks are {', '.join(BENCHES)}; got {got}. Name one or several of them."
        )
    return names


def crossings(name: str, runs: int = 400, evaluations: int = 1000) -> dict[str, object]:
    """Compare rows per second, from a table to the env steps at each threshold, with a loop over runs around scipy."""
    rng = np.random.default_rng(0)
    env_steps = 1000 * np.arange(1, evaluations + 1)
    pace = rng.uniform(0.1, 1.0, (runs, 1)) * env_steps[-1]
    returns = 1000 * (1 - np.exp(-env_steps / pace)) + 20 * rng.standard_normal((runs, evaluations))
    curves = pd.DataFrame(
        {
            "algorithm": "SAC",
            "env_id": "simulated",
            "utd": np.repeat(2.0 ** (np.arange(runs) % 4), evaluations),
            "batch_size": 256,
            "learning_rate": 3e-4,
            "seed": np.repeat(np.arange(runs), evaluations),
            "env_steps": np.tile(env_steps, runs),
            "episode_return": returns.ravel(),
        }
    )
    ours = bs.time_to_threshold(curves, thresholds=THRESHOLDS)["env_steps_upper"].to_numpy()
    np.testing.assert_array_equal(np.sort(ours), np.sort(_scipy_run_by_run(curves)))
    seconds, peer_seconds = _in_turn(
        lambda: bs.time_to_threshold(curves, thresholds=THRESHOLDS), lambda: _scipy_run_by_run(curves)
    )
    return result(name, len(curves) / seconds, len(curves) / peer_seconds, "rows/s", "scipy run by run")


def _scipy_run_by_run(curves: pd.DataFrame) -> np.ndarray:
    upper = []
    for _, run in curves.groupby(RUN):
        smooth = isotonic_regression(run["episode_return"].to_numpy()).x
        reached = np.searchsorted(smooth, THRESHOLDS)
        upper.append(np.append(run["env_steps"].to_numpy(float), np.inf)[reached])
    return np.concatenate(upper)


def fit(measure: Callable[[], tuple[float, float]], unit: str, peer: str) -> Bench:
    """Return the benchmark of one measurement; a fit takes so long that one is enough."""
    return lambda name: result(name, *measure(), unit, peer)


def runner(ours: str, peer: str, width: int, peer_name: str | None = None) -> Bench:
    """Return the benchmark of agent updates per second of one side of bench_training.py and a peer's."""
    python = sys.executable if peer.startswith("plain-torch") else PEERS_PYTHON

    def bench(name: str) -> dict[str, object]:
        with _side(sys.executable, ours, width) as our_side:
            try:
                with _side(python, peer, width) as peer_side:
                    rates = _rates_in_turn(our_side, peer_side)
            except (OSError, RuntimeError) as error:
                return {"bench": name, "peer": peer, "error": f"the peer does not run: {error}"}
        return result(name, *rates, "agent-updates/s", peer_name or peer)

    return bench


def limit(name: str, width: int = 256) -> dict[str, object]:
    """Compare flops per second of SAC with the limit of this machine."""
    with _side(sys.executable, "bayescale", width) as ours, _side(sys.executable, "products", width) as products:
        rate, flops_per_second = _rates_in_turn(ours, products)
    return result(name, rate * flops_per_update(width), flops_per_second, "flop/s", "products of 512 x 512")


def flops_per_update(width: int, batch_size: int = 256) -> float:
    """Return the flops of the matrix products that one SAC update on Pendulum with two hidden layers must do."""
    actor_first, actor = 3 * width, 3 * width + width**2 + 2 * width
    critics_first, critics = 2 * 4 * width, 2 * (4 * width + width**2 + width)
    actor_passes = 2 * actor + actor + (actor - actor_first)  # forward in s and s', both gradients in s
    critic_passes = 3 * critics + critics + 2 * (critics - critics_first)  # targets, critics twice, gradients
    return 2.0 * batch_size * (actor_passes + critic_passes + 2 * width)  # the last term is the gradient by the action


def _side(python: str, name: str, width: int) -> AbstractContextManager[Side]:
    return side(python, name, width, ONE_THREAD, CORES)


def _rate(processes: Side) -> float:
    """Return the work per second of all processes together."""
    done = ask(processes)
    return done.amount / done.seconds


def _rates_in_turn(ours: Side, theirs: Side) -> tuple[float, float]:
    rates = [(_rate(ours), _rate(theirs)) for _ in range(REPEATS)]
    return statistics.median(rate for rate, _ in rates), statistics.median(rate for _, rate in rates)


def sweep_scaling(name: str) -> dict[str, object]:
    """Compare agent updates per second of a sweep with two workers and with one."""
    content: dict[str, Any] = {
        "env_id": "Pendulum-v1",
        "utd": [1],
        "batch_size": [256],
        "learning_rate": [3e-4, 1e-3, 3e-3],
        "seed": list(range(8)),
        "env_steps": 1_300,
        "hidden_width": 64,
        "warmup_steps": 300,
        "evaluation_episodes": 1,
    }
    plan = make_plan(content)

    def sweep(workers: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_sweep(plan, Path(folder) / "out", workers=workers)

    updates = sum(run.gradient_updates for run in plan.runs)
    seconds, one_worker_seconds = _in_turn(lambda: sweep(2), lambda: sweep(1))
    return result(name, updates / seconds, updates / one_worker_seconds, "agent-updates/s", "one worker")


def _in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for times, work in zip(seconds, (ours, theirs), strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


BENCHES: dict[str, Bench] = {
    "crossings": crossings,
    "fit-gym": fit(bench_fits.fit_gym, "effective draws/s", "numpyro, one term per run, short trees"),
    "fit-seeds": fit(bench_fits.fit_seeds, "s", "an eighth of the seeds"),  # lower is better
    "fit-pipeline": fit(bench_fits.fit_pipeline, "fits/s", "published pipeline"),
    "predict": fit(bench_fits.predict, "configurations/s", "scipy, quantile by quantile"),
    "runner-sac-h64": runner("bayescale", "stable-baselines3", 64),
    "runner-sac-h64-sbx": runner("bayescale", "sbx", 64),
    "runner-sac-h64-rejax": runner("bayescale", "rejax", 64),
    "runner-sac-h256": runner("bayescale", "stable-baselines3", 256),
    "runner-sac-h256-sbx": runner("bayescale", "sbx", 256),
    "runner-sac-h256-rejax": runner("bayescale", "rejax", 256),
    "runner-limit-h256": limit,
    "runner-bro": runner("bayescale-bro", "plain-torch-bro", 256, "plain torch, one agent"),
    "runner-pql": runner("bayescale-pql", "plain-torch-pql", 64, "plain torch, one agent"),
    "sweep-scaling": sweep_scaling,
}


if __name__ == "__main__":
    main()
