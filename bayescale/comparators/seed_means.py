"""Env steps at which the mean over a configuration's seeds first reaches each threshold, with bootstraps over seeds.

The first index at which the isotonic regression of y is at least J is the first minimiser of the cumulative sums of
y - J, so no regression has to be computed.
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
    """First passages by configuration; C configurations.

    Attributes:
        configs: one row per configuration.
        means: env steps of the mean over seeds, inf if never; draw 0 has each seed once, the others are bootstraps.
        runs: env steps of each run by itself, inf if never.
        config_of_run: row of `configs`.
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
    """First passages of a validated learning-curve table.

    Runs of a configuration are averaged at the evaluations of any of them, linearly interpolated, over the env steps
    that all of them have.

    Args:
        curves: as `validate_curves` returns it.
        thresholds: increasing, in units of the normalised return if a scale is given.
        return_scale: the returns that count as 0 and 1000 per task.
        rng: of the bootstraps.
        bootstraps: resamples of the seeds of each configuration.
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
    alone = np.empty((len(runs), len(thresholds)))
    for number, env_id in enumerate(configs["env_id"]):
        levels = raw_thresholds(thresholds, str(env_id), return_scale)
        members = np.flatnonzero(config_of_run == number)
        pieces = [slice(starts[i], ends[i]) for i in members]
        for i, piece in zip(members, pieces, strict=True):
            alone[i] = first_passages(returns[None, piece], env_steps[piece], levels)[0]
        steps, aligned = _aligned([env_steps[p] for p in pieces], [returns[p] for p in pieces])
        count = len(members)
        draws = rng.multinomial(count, np.full(count, 1 / count), size=bootstraps)
        weights = np.vstack([np.ones(count), draws]) / count
        means[:, number] = first_passages(weights @ aligned, steps, levels)
    return SeedMeans(configs, means, alone, config_of_run)


def first_passages(
    returns: Float[np.ndarray, "curve evaluation"],
    env_steps: Float[np.ndarray, " evaluation"],
    levels: Float[np.ndarray, " threshold"],
) -> Float[np.ndarray, "curve threshold"]:
    """Env steps of the first evaluation at which each curve's isotonic regression reaches each level; inf if none."""
    steps = np.append(env_steps, np.inf)
    sums = np.zeros((len(returns), returns.shape[1] + 1))
    passages = np.empty((len(returns), len(levels)))
    for k, level in enumerate(levels):
        np.cumsum(returns - level, axis=1, out=sums[:, 1:])
        passages[:, k] = steps[sums.argmin(axis=1)]
    return passages


def _aligned(
    env_steps: list[Float[np.ndarray, "..."]], returns: list[Float[np.ndarray, "..."]]
) -> tuple[Float[np.ndarray, " evaluation"], Float[np.ndarray, "run evaluation"]]:
    if all(np.array_equal(steps, env_steps[0]) for steps in env_steps):
        return env_steps[0], np.stack(returns)
    steps = np.unique(np.concatenate(env_steps))
    common = steps[steps <= min(own[-1] for own in env_steps)]
    return common, np.stack([np.interp(common, own, values) for own, values in zip(env_steps, returns, strict=True)])
