"""Do fits of small sweeps converge, and are their intervals right?

Data: simulated sweeps of random designs: 8 to 64 runs on one to three tasks, 3 to 100 evaluations a run, one to four
values of UTD, batch size and learning rate, sometimes runs that diverge, and often a threshold that no run reaches.

Run time: about a minute of one core for each sweep; with --smoke one sweep.

Expected result: fits converge, and the 90% intervals hold 0.87 to 0.95 of fresh runs, at swept settings and at settings
between them.
"""

import argparse
import itertools
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bayescale as bs

SETTINGS = ["env_id", "utd", "batch_size", "learning_rate"]
VALUES: dict[str, list[float]] = {
    "utd": [0.5, 1.0, 2.0, 4.0, 8.0],
    "batch_size": [32, 64, 128, 256, 512],
    "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3],
}


@dataclass(frozen=True)
class Config:
    """Number of random designs, the seed of the first, and the most draws per chain."""

    designs: int = 200
    first: int = 0
    draws: int = 1000
    most_draws: int = 4000


@dataclass(frozen=True)
class Truth:
    """A design and the law, noise and failures of its runs.

    Attributes:
        design: one row per swept setting, with the number of seeds.
        unswept: settings between the swept ones.
        law: the law of each task.
        noise: spread of log env steps between runs.
        failing: log distance of the edge of stability beyond UTD 2 and rate 1e-3; 0: no run diverges.
        every: env steps between evaluations.
        horizon: env steps of each run.
        thresholds: returns.
    """

    design: pd.DataFrame
    unswept: pd.DataFrame
    laws: dict[str, bs.KnownLaw]
    noise: float
    failing: float
    every: int
    horizon: float
    thresholds: tuple[float, ...]


def between(values: list[float]) -> list[float]:
    """Return the geometric means of neighbours, or the value if there is one."""
    return [float(np.sqrt(a * b)) for a, b in itertools.pairwise(values)] or values


def random_truth(rng: np.random.Generator) -> Truth:
    """Return a random small design and its truth."""
    while True:
        tasks = [f"Task{i}-v0" for i in range(rng.integers(1, 4))]
        axes = {}
        for name, values in VALUES.items():
            number = rng.integers(1, 5)
            start = rng.integers(0, len(values) - number + 1)
            axes[name] = values[start : start + number]
        design = pd.DataFrame(itertools.product(tasks, *axes.values()), columns=SETTINGS)
        seeds = int(rng.integers(1, 5))
        if 8 <= len(design) * seeds <= 64:
            break
    count = int(rng.integers(1, 5))
    thresholds = tuple(np.linspace(200.0, 800.0, count)) if count > 1 else (500.0,)
    lowest = np.exp(rng.normal(np.log(5e4), 0.5))
    env_steps = tuple(lowest * np.exp(np.cumsum([0.0, *rng.uniform(0.1, 0.6, count - 1)])))
    laws = {
        task: bs.KnownLaw(
            env_steps=tuple(np.array(env_steps) * np.exp(rng.normal(0.0, 0.4))),
            utd_ref=2.0,
            min_share=rng.uniform(0.2, 0.7),
            batch_size=np.exp(rng.normal(np.log(128), 0.5)),
            batch_size_curvature=rng.uniform(0.02, 0.2),
            learning_rate=np.exp(rng.normal(np.log(6e-4), 0.5)),
            learning_rate_curvature=rng.uniform(0.05, 0.3),
        )
        for task in tasks
    }
    horizon = env_steps[-1] * rng.choice([0.8, 1.5, 3.0, 6.0])
    evaluations = int(np.exp(rng.uniform(np.log(3), np.log(100))))
    unswept = pd.DataFrame(
        itertools.product(tasks, *(between(list(map(float, values))) for values in axes.values())), columns=SETTINGS
    )
    unswept["batch_size"] = unswept["batch_size"].round().astype(int)
    failing = float(rng.choice([0.0, 0.0, rng.uniform(0.5, 2.0)]))
    every = max(int(horizon / evaluations), 1)
    return Truth(
        design.assign(seeds=seeds), unswept, laws, rng.uniform(0.08, 0.35), failing, every, float(horizon), thresholds
    )


def simulated(truth: Truth, design: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the true run lengths of runs of a design."""
    location = np.concatenate(
        [truth.laws[str(task)].location(own) for task, own in design.groupby("env_id", sort=False)]
    )
    chance = np.ones(len(design))
    if truth.failing:
        logs = np.log(design["utd"] / 2.0) + np.log(design["learning_rate"] / 1e-3)
        chance = 1 / (1 + np.exp(2.0 * (logs.to_numpy() - truth.failing)))
    return bs.simulate_runs(
        design.assign(algorithm="SAC"),
        thresholds=truth.thresholds,
        location=location,
        scale=truth.noise,
        rng=rng,
        p_reach=chance[:, None],
        correlation=0.8,
    )


def inside(posterior: bs.Posterior, truth: Truth, design: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Return for each fresh run whether its time to each threshold lies in the 90% interval."""
    fresh = simulated(truth, design.assign(seeds=1), rng)
    predicted = posterior.predict(design[SETTINGS])
    both = fresh.merge(predicted, on=[*SETTINGS, "threshold"], validate="one_to_one")
    seen = np.ceil(both["true_env_steps"] / truth.every) * truth.every
    return np.asarray((seen >= both["q05"]) & (seen <= both["q95"]))


def fitted(seed: int, config: Config) -> dict[str, object]:
    """Return what came of the fit of one random design."""
    rng = np.random.default_rng(seed)
    truth = random_truth(rng)
    crossings = bs.crossings_of(
        simulated(truth, truth.design, rng), every=truth.every, horizon=truth.horizon, diverged=bool(truth.failing)
    )
    row: dict[str, object] = {
        "seed": seed,
        "runs": int(truth.design["seeds"].sum()),
        "tasks": len(truth.laws),
        "evaluations": int(truth.horizon / truth.every),
        "diverged": int((crossings["status"] == "diverged").sum() / len(truth.thresholds)) if truth.failing else 0,
        "reached": round(float((~crossings["censored"]).mean()), 2),
    }
    start = time.perf_counter()
    try:
        posterior = bs.fit(
            crossings,
            seed=seed,
            draws=config.draws,
            most_draws=config.most_draws,
            require_convergence=False,
        )
    except bs.InputError as error:
        return {**row, "status": f"refused: {error}"}
    row |= {"status": posterior.status.name, "seconds": round(time.perf_counter() - start)}
    for name, design in (("swept", truth.design), ("unswept", truth.unswept)):
        hits = inside(posterior, truth, design.drop(columns="seeds", errors="ignore"), rng)
        row |= {f"{name}_inside": int(hits.sum()), f"{name}_of": len(hits)}
    return row


def main() -> None:
    """Fit one simulated sweep after the other, print what came of each, then the totals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one design and short chains")
    parser.add_argument("--designs", type=int, default=Config.designs)
    parser.add_argument("--first", type=int, default=Config.first, help="seed of the first design")
    given = parser.parse_args()
    config = Config(1, given.first, 100, 100) if given.smoke else Config(given.designs, given.first)
    warnings.simplefilter("ignore")
    rows = []
    for seed in range(config.first, config.first + config.designs):
        rows.append(fitted(seed, config))
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    table = pd.DataFrame(rows)
    print(table["status"].str.partition(":")[0].value_counts().to_string())
    for name in ("swept", "unswept"):
        print(
            f"{name}: {table[f'{name}_inside'].sum() / table[f'{name}_of'].sum():.3f} of fresh runs in the 90% interval"
        )
    print(f"seconds of a fit, median: {table['seconds'].median():.0f}")


if __name__ == "__main__":
    main()
