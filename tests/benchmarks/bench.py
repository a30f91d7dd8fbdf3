"""Speed of the package beside its peers on the same work in turn: one JSON object per line (see `make bench`).

Peers of the runners live in an environment of their own, whose Python is BENCH_PEERS, by default in .venv-bench.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import bench_fits
import numpy as np
import pandas as pd
from bench_sides import PEERS_PYTHON, Side, ask, result, side
from scipy.optimize import isotonic_regression

import bayescale as bs
from bayescale.runners import make_plan, run_sweep

REPEATS = 5
CORES = 2  # processes of each side, one thread each
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
RUN = ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]
THRESHOLDS = np.linspace(100.0, 900.0, 10)


def main() -> None:
    """Prints the line of every benchmark."""
    print(json.dumps(crossings(runs=400, evaluations=1000)), flush=True)
    for line in fits():
        print(json.dumps(line), flush=True)
    for width in (64, 256):
        for line in training(width):
            print(json.dumps(line), flush=True)
    print(json.dumps(bro(width=256)), flush=True)
    print(json.dumps(pql(width=64)), flush=True)
    print(json.dumps(sweep_scaling()), flush=True)


def crossings(runs: int, evaluations: int) -> dict[str, object]:
    """Rows per second from a table to the env steps at each threshold, beside a loop over runs around scipy."""
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
    return result("crossings", len(curves) / seconds, len(curves) / peer_seconds, "rows/s", "scipy run by run")


def _scipy_run_by_run(curves: pd.DataFrame) -> np.ndarray:
    upper = []
    for _, run in curves.groupby(RUN):
        smooth = isotonic_regression(run["episode_return"].to_numpy()).x
        reached = np.searchsorted(smooth, THRESHOLDS)
        upper.append(np.append(run["env_steps"].to_numpy(float), np.inf)[reached])
    return np.concatenate(upper)


def fits() -> Iterator[dict[str, object]]:
    """Each measured once: a fit takes long enough to be its own median. For fit-seeds lower is better."""
    yield result("fit-gym", *bench_fits.fit_gym(), "effective draws/s", "numpyro, one term a run, trees of 256 steps")
    yield result("fit-seeds", *bench_fits.fit_seeds(), "s", "an eighth of the seeds")
    yield result("fit-pipeline", *bench_fits.fit_pipeline(), "fits/s", "published pipeline")
    yield result("predict", *bench_fits.predict(), "configurations/s", "scipy, quantile by quantile")


def training(width: int) -> Iterator[dict[str, object]]:
    """Agent updates per second of SAC beside each peer; at width 256 also flops per second beside the limit."""
    name = f"runner-sac-h{width}"
    benches = {"stable-baselines3": name, "sbx": f"{name}-sbx", "rejax": f"{name}-rejax"}
    with ExitStack() as stack:
        ours = stack.enter_context(_side(sys.executable, "bayescale", width))
        for peer, bench in benches.items():
            try:
                theirs = stack.enter_context(_side(PEERS_PYTHON, peer, width))
            except (OSError, RuntimeError) as error:
                yield {"bench": bench, "peer": peer, "error": f"the peer does not run: {error}"}
                continue
            yield result(bench, *_rates_in_turn(ours, theirs), "agent-updates/s", peer)
        if width == 256:
            limit = stack.enter_context(_side(sys.executable, "products", width))
            rate, flops_per_second = _rates_in_turn(ours, limit)
            achieved = rate * flops_per_update(width)
            yield result("runner-limit-h256", achieved, flops_per_second, "flop/s", "products of 512 x 512")


def bro(width: int) -> dict[str, object]:
    """Agent updates per second of BRO beside one agent written plainly with torch.nn and autograd (bench_bro.py).

    Pendulum, batch size 128, 100 quantiles, the optimistic actor; environment and replay buffer included.
    """
    with (
        _side(sys.executable, "bayescale-bro", width) as ours,
        _side(sys.executable, "plain-torch-bro", width) as plain,
    ):
        return result("runner-bro", *_rates_in_turn(ours, plain), "agent-updates/s", "plain torch, one agent")


def pql(width: int) -> dict[str, object]:
    """Critic updates per second of PQL beside one agent written plainly with torch.nn and autograd (bench_pql.py).

    64 environments of Pendulum, batch size 512, two hidden layers, returns over 3 steps, 8 critic updates per step of
    them all and an actor update after every other; environments and replay buffer included.
    """
    with (
        _side(sys.executable, "bayescale-pql", width) as ours,
        _side(sys.executable, "plain-torch-pql", width) as plain,
    ):
        return result("runner-pql", *_rates_in_turn(ours, plain), "agent-updates/s", "plain torch, one agent")


def flops_per_update(width: int, batch_size: int = 256) -> float:
    """Flops of the matrix products of one update on Pendulum, two hidden layers: all that SAC must multiply."""
    actor_first, actor = 3 * width, 3 * width + width**2 + 2 * width
    critics_first, critics = 2 * 4 * width, 2 * (4 * width + width**2 + width)
    actor_passes = 2 * actor + actor + (actor - actor_first)  # forward in s and s', both gradients in s
    critic_passes = 3 * critics + critics + 2 * (critics - critics_first)  # targets, critics twice; their gradients
    return 2.0 * batch_size * (actor_passes + critic_passes + 2 * width)  # last: the gradient by the action


def _side(python: str, name: str, width: int) -> AbstractContextManager[Side]:
    return side(python, name, width, ONE_THREAD, CORES)


def _rate(processes: Side) -> float:
    """Work per second of all processes together."""
    done = ask(processes)
    return done.amount / done.seconds


def _rates_in_turn(ours: Side, theirs: Side) -> tuple[float, float]:
    rates = [(_rate(ours), _rate(theirs)) for _ in range(REPEATS)]
    return statistics.median(rate for rate, _ in rates), statistics.median(rate for _, rate in rates)


def sweep_scaling() -> dict[str, object]:
    """Agent updates per second of a sweep by two workers, beside the same sweep by one."""
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
    return result("sweep-scaling", updates / seconds, updates / one_worker_seconds, "agent-updates/s", "one worker")


def _in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for times, work in zip(seconds, (ours, theirs), strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == "__main__":
    main()
