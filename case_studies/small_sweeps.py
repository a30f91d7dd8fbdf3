"""Do fits of small sweeps converge, and are their predictions calibrated at swept and at other settings?

Data: simulated sweeps of random designs: 8 to 64 runs, 1 to 3 tasks, 3 to 100 evaluations a run, axes with one value,
runs that diverge, thresholds that no run of a task reaches. Each design is swept several times under different laws.

Run time: about two seconds of one core for each sweep, after half a minute to compile each design.

Expected result: for each design, the share of sweeps whose chains converge by the limits of `bayescale.fit` before it
draws more or takes smaller steps, the coverage of 90% intervals of new runs, and seconds; then the same over all.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.inference.convergence import MAX_DIVERGENT, diagnose
from failures import SETTINGS, Truth, assess, simulated, truths

AXES = {
    "utd": (0.5, 1.0, 2.0, 4.0, 8.0),
    "batch_size": (64, 128, 256, 512),
    "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
}


@dataclass(frozen=True)
class Config:
    """Random designs, sweeps of each, and chains of each sweep."""

    designs: int = 20
    sweeps: int = 10
    chains: int = 2
    draws: int = 1000
    warmup: int = 500
    most_runs: int = 64


def random_design(
    rng: np.random.Generator, most_runs: int
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[float, ...], int]:
    """Return random settings with their seeds, settings to predict, thresholds, and the number of evaluations."""
    while True:
        tasks = int(rng.integers(1, 4))
        values = {
            name: np.sort(rng.choice(each, int(rng.integers(1, len(each))), replace=False))
            for name, each in AXES.items()
        }
        names = [f"Simulated-v{i}" for i in range(tasks)]
        swept = pd.MultiIndex.from_product([names, *values.values()], names=SETTINGS).to_frame(index=False)
        seeds = int(rng.integers(1, 4))
        if 8 <= len(swept) * seeds <= most_runs and any(len(each) > 1 for each in values.values()):
            break
    others = pd.DataFrame(
        {"env_id": rng.choice(names, 20)}
        | {name: rng.uniform(np.log(each[0]), np.log(each[-1]), 20) for name, each in AXES.items()}
    )
    others[list(AXES)] = np.exp(others[list(AXES)])
    for name, each in values.items():
        if len(each) == 1:  # an axis that the sweep does not vary is not predicted elsewhere
            others[name] = each[0]
    others["batch_size"] = others["batch_size"].round().astype(int)
    at = pd.concat([swept.assign(where="swept"), others.assign(where="not swept")], ignore_index=True)
    thresholds = tuple(300.0 + 200.0 * np.arange(int(rng.integers(1, 4))))
    return swept.assign(seeds=seeds), at, thresholds, int(np.exp(rng.uniform(np.log(3), np.log(100))))


def sweeps_of(
    config: Config, design: tuple[pd.DataFrame, pd.DataFrame, tuple[float, ...], int], rng: np.random.Generator
) -> tuple[list[pd.DataFrame], list[Truth]]:
    """Return crossings of several sweeps of a design, and the laws at the settings to predict."""
    swept, at, thresholds, evaluations = design
    every = pd.concat([swept, at], ignore_index=True)
    tables, laws = [], []
    while len(tables) < config.sweeps:
        law = truths(every, thresholds, rng)
        here = Truth(law.location[: len(swept)], law.scale, law.p_fail[: len(swept)])
        # The horizon is the time of a median run at a random setting and threshold: slower runs are cut short.
        horizon = float(np.exp(rng.choice(here.location.ravel()) + 0.5))
        steps = max(int(horizon / evaluations), 1)
        runs = simulated(swept, here, thresholds, rng)
        table = bs.crossings_of(runs, every=steps, horizon=horizon, diverged=True)
        if (~table["censored"]).any():  # a sweep in which no run reaches any threshold is refused
            tables.append(table)
            laws.append(Truth(law.location[len(swept) :], law.scale, law.p_fail[len(swept) :]))
    return tables, laws


def main(config: Config) -> None:
    """Print a row for each design, then the means over all sweeps."""
    rng = np.random.default_rng(0)
    rows, held = [], []
    for _ in range(config.designs):
        design = random_design(rng, config.most_runs)
        swept, at, thresholds, evaluations = design
        tables, laws = sweeps_of(config, design, rng)
        started = time.perf_counter()
        options = {"draws": config.draws, "warmup": config.warmup, "chains": config.chains}
        found, numbers, diverged = assess(tables, laws, at, rng=rng, **options)
        seconds = (time.perf_counter() - started) / len(tables)
        worst = [diagnose({"x": each}) for each in numbers]
        r_hat = np.array([each["r_hat"].max() for each in worst])
        few = np.array([each[["ess_bulk", "ess_tail"]].min(axis=None) for each in worst])
        mixed = (r_hat <= 1.01) & (few >= 100 * config.chains)
        found = found.assign(where=np.tile(at["where"], len(found) // len(at)))
        held.append(found)
        coverage = found.groupby("where")["inside"].mean()
        rows.append(
            {
                "runs": int(swept["seeds"].sum()),
                "tasks": swept["env_id"].nunique(),
                "axes": " ".join(str(swept[name].nunique()) for name in SETTINGS[1:]),
                "thresholds": len(thresholds),
                "evaluations": evaluations,
                "diverged": np.mean([(table["status"] == "diverged").mean() for table in tables]),
                "sweeps": len(tables),
                "few_divergences": int((diverged <= MAX_DIVERGENT).sum()),
                "converged": int(((diverged <= MAX_DIVERGENT) & mixed).sum()),
                "worst_r_hat": r_hat.max(),
                "swept": coverage["swept"],
                "not_swept": coverage["not swept"],
                "seconds": seconds,
            }
        )
        print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=len(rows) == 1), flush=True)
    table, every = pd.DataFrame(rows), pd.concat(held, ignore_index=True)
    coverage = every.groupby("where")["inside"].mean()
    few, converged, sweeps = (int(table[name].sum()) for name in ("few_divergences", "converged", "sweeps"))
    print(
        f"\n{sweeps} sweeps: {few} with at most {MAX_DIVERGENT:.1%} of divergent draws, {converged} converged at once; "
        f"{coverage['swept']:.1%} of new runs at swept and {coverage['not swept']:.1%} at other settings inside 90% "
        f"intervals; {table['seconds'].mean():.1f} s a sweep"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one design, two sweeps, few draws")
    parser.add_argument("--designs", type=int, default=Config.designs)
    given = parser.parse_args()
    small = Config(designs=1, sweeps=2, draws=50, warmup=50, most_runs=16)
    main(small if given.smoke else Config(designs=given.designs))
