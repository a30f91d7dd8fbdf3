"""Do credible intervals cover the truth as often as they claim, and does a grid of UTDs identify the exponent alpha?

Data: simulated from the priors of the joint model. The priors are narrowed so that runs reach the thresholds neither
before the first evaluation nor long after the last.

Run time: three minutes of one core with --smoke; not measured without.

Expected result: with one threshold, uniform ranks and intervals with their nominal coverage. With five thresholds, the
likelihood is a composite likelihood, and the printed figures say by how much its intervals miss. Last comes the ratio
of the posterior to the prior standard deviation of alpha for three grids of UTD.
"""

import argparse
import itertools
from dataclasses import dataclass
from math import log

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.models import PRIORS, JointModel, Prior


@dataclass(frozen=True)
class Config:
    """Simulated sweeps, length of the chains and grids of UTD."""

    datasets: int = 200
    draws: int = 400
    thresholds: tuple[float, ...] = (300.0, 400.0, 500.0, 600.0, 700.0)
    correlations: tuple[float, ...] = (0.0, 0.5, 1.0)
    seeds: int = 3
    every: int = 2000
    horizon: float = 1e6
    false_alarm: float = 0.01
    utds: tuple[tuple[float, ...], ...] = ((1, 2, 4, 8), (0.25, 1, 4, 16), (0.25, 0.5, 1, 2, 4, 8, 16))


# Parameters whose ranks and intervals are checked; row 1 of log_noise is the population of tasks.
FOLLOWED = ("log_sharpness", "utd_share", "log_batch_optimum", "batch_utd_exponent", "log_noise[1,0]")
NARROW = {
    **PRIORS,
    "log_env_steps_at_centre": Prior("normal", log(1e5), 0.5),  # log env steps
    "log_env_steps_at_centre.spread": Prior("fixed", 0.1, 0.0),  # log env steps, between tasks
    "failure.spread": Prior("fixed", 0.7, 0.0),  # logit, between tasks
    "utd_failure_slope": Prior("normal", 0.3, 0.5),  # logit per log UTD
    "batch_failure_slope": Prior("normal", 0.0, 0.5),  # logit per log samples
}


def grid(utds: tuple[float, ...], seeds: int) -> pd.DataFrame:
    """Return a design of every UTD with three batch sizes."""
    rows = itertools.product(["Simulated-v0"], utds, [64, 256, 1024], [5e-4])
    return pd.DataFrame(rows, columns=["env_id", "utd", "batch_size", "learning_rate"]).assign(seeds=seeds)


def replications(
    config: Config, utds: tuple[float, ...], thresholds: tuple[float, ...], correlation: float = 0.0
) -> bs.Replications:
    """Fit simulated sweeps of one grid; follow predictions at UTD 1 and at twice the grid's highest UTD."""
    design = grid(utds, config.seeds)
    model = JointModel.for_crossings(design.merge(pd.Series(thresholds, name="threshold"), how="cross"), NARROW)
    at = design.iloc[[0, 0]].drop(columns="seeds").assign(utd=[1.0, 2 * max(utds)], batch_size=256)
    rng = np.random.default_rng(0)
    return bs.replicate(
        model,
        design=design,
        every=config.every,
        horizon=config.horizon,
        rng=rng,
        datasets=config.datasets,
        parameters=FOLLOWED,
        at=at,
        correlation=correlation,
        draws=config.draws,
    )


def main(config: Config) -> None:
    """Print the table for one threshold, the tables for several thresholds, and the table of the grids."""
    one = replications(config, config.utds[0], config.thresholds[:1])
    test = bs.rank_test(one, rng=np.random.default_rng(1), false_alarm=config.false_alarm)
    verdict = "uniform" if test.uniform else "not uniform"
    print(f"One threshold: ranks are {verdict} at a false-alarm rate of {config.false_alarm:g}.")
    print(bs.credible_coverage(one).assign(p_value=test.p_values).round(3).to_string())
    for correlation in config.correlations:
        several = replications(config, config.utds[0], config.thresholds, correlation)
        held = bs.credible_coverage(several)
        law = held[held.index.str.startswith("log_env_steps")]
        print(f"{len(config.thresholds)} thresholds correlated by {correlation:g} within a run:")
        print(pd.concat([held.loc[["log_sharpness"]], law.mean().rename("law").to_frame().T]).round(3).to_string())
    ratios = {
        " ".join(map(str, utds)): bs.contraction(replications(config, utds, config.thresholds[:1]))["ratio"]
        for utds in config.utds
    }
    print("Posterior sd over prior sd by grid of UTD:")
    print(pd.DataFrame(ratios).round(2).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few data sets, one correlation, one grid")
    smoke = parser.parse_args().smoke
    main(Config(datasets=8, draws=100, correlations=(0.5,), utds=((1, 2, 4, 8),)) if smoke else Config())
