"""Find the env steps at which the mean return over a configuration's seeds first reaches each threshold.

The isotonic regression of returns y first reaches J where the cumulative sum of y - J has its first minimum. This gives
the crossings of all bootstraps at once; scipy.optimize.isotonic_regression would take one curve at a time.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bayescale.data.curves import RUN_COLUMNS, run_starts
from bayescale.data.return_scale import raw_thresholds

SETTING = [name for name in RUN_COLUMNS if name != "seed"]


@dataclass(frozen=True)
class SeedMeans:
    """Run lengths of the mean returns of configurations, and of their single runs.

    Attributes:
        configs: one row per configuration.
        means: run lengths of the mean over seeds; inf if it never reaches the threshold. Draw 0 has each seed once, the
            others are bootstraps over seeds.
        runs: run lengths of the single runs; inf likewise.
        config_of_run: row of `configs` that each run belongs to.
    """

    configs: pd.DataFrame
    means: Float[np.ndarray, "draw config threshold"]
    runs: Float[np.ndarray, "run threshold"]
    config_of_run: Int[np.ndarray, " run"]


def seed_means(
    curves: pd.DataFrame,
    thresholds: Float[np.ndarray, " threshold"],
    return_scale: dict[str, tuple[float, float]] | None,
    rng: np.random.Generator,
    bootstraps: int,
) -> SeedMeans:
    """Return the run lengths of a learning-curve table.

    The returns of a configuration's runs are averaged at the evaluations of all its runs, with linear interpolation,
    up to the end of the shortest run.

    Args:
        curves: a table that `validate_curves` returned.
        thresholds: increasing returns, normalised if a scale is given.
        return_scale: the returns that count as 0 and 1000, by task; None: thresholds are in units of the return.
        rng: source of the bootstraps.
        bootstraps: number of resamples of the seeds of each configuration.
    """
    setting = [name for name in SETTING if name in curves]
    starts = run_starts(curves)
    ends = np.append(starts[1:], len(curves))
    runs = curves[setting].take(starts).reset_index(drop=True)
    config_of_run = runs.groupby(setting, sort=False).ngroup().to_numpy()
    configs = runs.drop_duplicates().reset_index(drop=True)
    env_steps = curves["env_steps"].to_numpy(np.float64)
    returns = curves["episode_return"].to_numpy(np.float64)
    means = np.empty((bootstraps + 1, len(configs), len(thresholds)))
    single = np.empty((len(runs), len(thresholds)))
    for number, env_id in enumerate(configs["env_id"]):
        raw = raw_thresholds(thresholds, str(env_id), return_scale)
        members = np.flatnonzero(config_of_run == number)
        pieces = [slice(starts[i], ends[i]) for i in members]
        for i, piece in zip(members, pieces, strict=True):
            single[i] = first_passages(returns[None, piece], env_steps[piece], raw)[0]
        steps, aligned = _aligned([env_steps[p] for p in pieces], [returns[p] for p in pieces])
        count = len(members)
        draws = rng.multinomial(count, np.full(count, 1 / count), size=bootstraps)
        weights = np.vstack([np.ones(count), draws]) / count
        means[:, number] = first_passages(weights @ aligned, steps, raw)
    return SeedMeans(configs, means, single, config_of_run)


def first_passages(
    returns: Float[np.ndarray, "curve evaluation"],
    env_steps: Float[np.ndarray, " evaluation"],
    thresholds: Float[np.ndarray, " threshold"],
) -> Float[np.ndarray, "curve threshold"]:
    """Return the env steps at which each curve's isotonic regression first reaches each threshold; inf if never."""
    steps = np.append(env_steps, np.inf)
    sums = np.zeros((len(returns), returns.shape[1] + 1))
    passages = np.empty((len(returns), len(thresholds)))
    for k, threshold in enumerate(thresholds):
        np.cumsum(returns - threshold, axis=1, out=sums[:, 1:])
        passages[:, k] = steps[sums.argmin(axis=1)]
    return passages


def _aligned(
    env_steps: list[Float[np.ndarray, "..."]], returns: list[Float[np.ndarray, "..."]]
) -> tuple[Float[np.ndarray, " evaluation"], Float[np.ndarray, "run evaluation"]]:
    """Return common evaluations of several runs, up to the end of the shortest, and the returns interpolated there."""
    if all(np.array_equal(steps, env_steps[0]) for steps in env_steps):
        return env_steps[0], np.stack(returns)
    every = np.unique(np.concatenate(env_steps))
    common = every[every <= min(steps[-1] for steps in env_steps)]
    return common, np.stack([np.interp(common, *curve) for curve in zip(env_steps, returns, strict=True)])
