"""Speed of the package beside its peers on the same work in turn: one JSON object per line (see `make bench`)."""

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

import bayescale as bs

REPEATS = 5
RUN = ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]
THRESHOLDS = np.linspace(100.0, 900.0, 10)


def main() -> None:
    """Prints the line of every benchmark."""
    print(json.dumps(crossings(runs=400, evaluations=1000)), flush=True)


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
    ours = bs.time_to_threshold(curves, THRESHOLDS)["env_steps_upper"].to_numpy()
    np.testing.assert_array_equal(np.sort(ours), np.sort(_scipy_run_by_run(curves)))
    seconds, peer_seconds = _in_turn(
        lambda: bs.time_to_threshold(curves, THRESHOLDS), lambda: _scipy_run_by_run(curves)
    )
    return _line("crossings", len(curves) / seconds, "scipy run by run", len(curves) / peer_seconds, "rows/s")


def _scipy_run_by_run(curves: pd.DataFrame) -> np.ndarray:
    upper = []
    for _, run in curves.groupby(RUN):
        smooth = isotonic_regression(run["episode_return"].to_numpy()).x
        reached = np.searchsorted(smooth, THRESHOLDS)
        upper.append(np.append(run["env_steps"].to_numpy(float), np.inf)[reached])
    return np.concatenate(upper)


def _in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for times, work in zip(seconds, (ours, theirs), strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _line(bench: str, ours: float, peer: str, theirs: float, unit: str) -> dict[str, object]:
    values = {"bench": bench, "ours": float(f"{ours:.4g}"), "peer": peer, "theirs": float(f"{theirs:.4g}")}
    return {**values, "unit": unit, "ratio": float(f"{ours / theirs:.3g}")}


if __name__ == "__main__":
    main()
