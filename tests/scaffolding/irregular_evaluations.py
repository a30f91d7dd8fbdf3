"""Crossings of runs that are evaluated at irregular steps, at two intervals, and regularly."""

import numpy as np
import pandas as pd

UNEVEN = np.cumsum([5_000, 3_000, 9_000, 2_000, 7_000, 12_000, 4_000, 6_000, 15_000, 8_000, 20_000, 40_000])
TASKS = ("Uneven-v1", "Two-v1", "Even-v1")
THRESHOLDS = (300.0, 600.0)


def schedules(env_id: str, *, last: int = 130_000) -> list[np.ndarray]:
    """Return the env steps of evaluations of a task's first and second seed."""
    if env_id == "Uneven-v1":
        return [UNEVEN, UNEVEN]
    return [np.arange(every, last, every) for every in ((1_000, 2_500) if env_id == "Two-v1" else (1_000, 1_000))]


def observed_on(schedule: np.ndarray, env_steps: float) -> dict[str, object]:
    """Return the crossing of a run that reaches a threshold at `env_steps` and is evaluated on the schedule."""
    at = int(np.searchsorted(schedule, env_steps))
    ends = np.concatenate([[0.0], schedule, [np.inf]])
    return {"env_steps_lower": ends[at], "env_steps_upper": ends[at + 1], "censored": at == len(schedule)}


def irregular_crossings() -> pd.DataFrame:
    """Return the crossings of two seeds at 2 x 2 x 2 settings of three tasks, one task per kind of schedule."""
    rng = np.random.default_rng(0)
    rows = []
    for env_id in TASKS:
        for utd, batch_size, learning_rate in [(u, b, r) for u in (1.0, 4.0) for b in (128, 256) for r in (1e-4, 3e-4)]:
            for seed, schedule in enumerate(schedules(env_id)):
                first = 3e4 / np.sqrt(utd) * np.exp(0.3 * rng.standard_normal())
                for threshold, env_steps in zip(THRESHOLDS, (first, 1.5 * first), strict=True):
                    run = (env_id, utd, batch_size, learning_rate, seed, threshold)
                    names = ("env_id", "utd", "batch_size", "learning_rate", "seed", "threshold")
                    rows.append(dict(zip(names, run, strict=True)) | observed_on(schedule, env_steps))
    return pd.DataFrame(rows).assign(algorithm="SAC", model_size=150_000)
