"""Simulate learning curves whose optimum is known, and crossings that are quick to fit."""

import numpy as np
import pandas as pd

import bayescale as bs


def simulated_curves() -> pd.DataFrame:
    """Simulate 2 tasks x 3 UTD x 3 batch sizes x 3 learning rates x 2 seeds; the optimum is B = 256, eta = 3e-4."""
    rng = np.random.default_rng(20)
    rows = []
    env_steps = np.arange(2_000, 202_000, 4_000)
    for env_id, scale in (("Ant-v4", 2.0e4), ("Hopper-v4", 1.2e4)):
        for utd in (1.0, 2.0, 8.0):
            for batch_size in (128, 256, 512):
                for learning_rate in (1e-4, 3e-4, 9e-4):
                    for seed in range(2):
                        distance = np.log(batch_size / 256) ** 2 / 4 + np.log(learning_rate / 3e-4) ** 2 / 8
                        pace = scale * (1 + utd**-0.7) * np.exp(distance + 0.1 * rng.standard_normal())
                        returns = 1000 * (1 - np.exp(-env_steps / pace)) + 5 * rng.standard_normal(env_steps.size)
                        rows.append(
                            pd.DataFrame(
                                {
                                    "algorithm": "SAC",
                                    "env_id": env_id,
                                    "utd": utd,
                                    "batch_size": batch_size,
                                    "learning_rate": learning_rate,
                                    "model_size": 150_000,
                                    "seed": seed,
                                    "env_steps": env_steps,
                                    "episode_return": returns,
                                }
                            )
                        )
    return pd.concat(rows, ignore_index=True)


def simulated_crossings() -> pd.DataFrame:
    """Simulate one task, three UTDs, one threshold and six seeds, which take seconds to fit."""
    design = pd.DataFrame({"env_id": "Known-v0", "algorithm": "SAC", "utd": [1.0, 2.0, 4.0], "seeds": 6})
    design = design.assign(batch_size=256, learning_rate=3e-4)
    location = np.log([[9e4], [6e4], [4.5e4]])
    runs = bs.simulate_runs(design, thresholds=(500.0,), location=location, scale=0.2, rng=np.random.default_rng(0))
    return bs.crossings_of(runs, every=1000, horizon=4e5)
