"""Simulated curves, crossings and tables that follow the laws of the comparators."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bayescale.comparators import LAWS

TASKS = {"A": 1.0, "B": 2.0, "C": 3.0}
THRESHOLDS = np.array([200.0, 400.0, 800.0])
ALPHA, FLOOR, SLOPE_B, SLOPE_R = 0.8, 0.4, 0.5, 0.25


def data_law(utd: np.ndarray) -> np.ndarray:
    """Return the env steps to return 1000 at difficulty 1 and the best batch size and learning rate, in thousands."""
    return np.asarray(100 * (FLOOR + (1 - FLOOR) * utd**-ALPHA))


def made_curves(noise: float = 0.0, seeds: int = 3, longest: float = 1e9) -> pd.DataFrame:
    """Make curves that rise linearly to return 1000; B* = 256 utd^-0.5, eta* = 1e-3 utd^-0.25 lie on the grid."""
    rng = np.random.default_rng(1)
    runs = []
    for env_id, difficulty in TASKS.items():
        for utd in (1.0, 2.0, 4.0, 8.0):
            for step_b in (-1, 0, 1):
                for step_r in (-1, 0, 1):
                    for seed in range(seeds):
                        steps = difficulty * data_law(np.array(utd)) * 1e3 * np.exp(noise * rng.standard_normal())
                        steps *= 1 + 0.3 * (step_b**2 + step_r**2)
                        at = np.arange(0, min(1.2 * steps, longest), 500.0)
                        config = {
                            "algorithm": "SAC", "env_id": env_id, "utd": utd, "seed": seed, "model_size": 1000,
                            "batch_size": round(256 * utd**-SLOPE_B * 2.0**step_b),
                            "learning_rate": 1e-3 * utd**-SLOPE_R * 2.0**step_r,
                        }  # fmt: skip
                        curve = {"env_steps": at.astype(int), "episode_return": 1000 * at / steps}
                        runs.append(pd.DataFrame(config | curve))
    return pd.concat(runs, ignore_index=True)


def made_crossings(noise: float = 0.0) -> pd.DataFrame:
    """Make crossings by D = 2e4 + 5e4 utd^-0.9 + 3e4 (N/1e6)^-0.6 and B* = 600/(utd^0.4 (1 + (N/1e6)^-0.5))."""
    rng = np.random.default_rng(2)
    rows = []
    for utd in (1.0, 2.0, 4.0, 8.0, 16.0):
        for size in (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000):
            best = 600 / (utd**0.4 * (1 + (size / 1e6) ** -0.5))
            for factor in (0.5, 1.0, 2.0):
                steps = (2e4 + 5e4 * utd**-0.9 + 3e4 * (size / 1e6) ** -0.6) * (1 + 0.2 * np.log2(factor) ** 2)
                config = {"algorithm": "BRO", "env_id": "A", "utd": utd, "batch_size": round(best * factor)}
                for seed in range(3):
                    upper = steps * np.exp(noise * rng.standard_normal())
                    run = {"learning_rate": 3e-4, "model_size": size, "seed": seed, "threshold": 700.0}
                    rows.append(config | run | {"env_steps_lower": upper - 1, "env_steps_upper": upper})
    return pd.DataFrame(rows).assign(censored=False)


def table_of(law: str, spread: float) -> tuple[pd.DataFrame, Callable[[pd.DataFrame], np.ndarray]]:
    """Simulate a table of a law; return the table and the function of its true outputs."""
    rng = np.random.default_rng(3)
    x = np.geomspace(1e2, 1e6, 40)
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8)))
    c, s = (v.ravel() for v in np.meshgrid(np.geomspace(1e12, 1e17, 15), np.arange(3.0, 10.0)))
    made: dict[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], np.ndarray]]] = {
        "power": (pd.DataFrame({"x": x}), lambda t: 7.0 * t["x"].to_numpy() ** -0.35),
        "chinchilla": (
            pd.DataFrame({"parameters": n, "tokens": d}),
            lambda t: 1.69 + 406.4 * t["parameters"].to_numpy() ** -0.34 + 410.7 * t["tokens"].to_numpy() ** -0.28,
        ),
        "sigmoid": (
            pd.DataFrame({"compute": x}),
            lambda t: 0.2 + (0.65 - 0.2) / (1 + (5e3 / t["compute"].to_numpy()) ** 1.4),
        ),
        "problem_size": (
            pd.DataFrame({"compute": c, "size": s}),
            lambda t: np.minimum(
                -3000.0 - 400.0 * t["size"].to_numpy() + 200.0 * np.log(t["compute"].to_numpy()),
                100.0 - 50.0 * t["size"].to_numpy(),
            ),
        ),
    }
    table, truth = made[law]
    noise = spread * rng.standard_normal(len(table))
    y = truth(table) * np.exp(noise) if LAWS[law].log_output else truth(table) + noise * np.ptp(truth(table))
    return table.assign(**{LAWS[law].output: y}), truth
