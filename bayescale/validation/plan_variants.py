"""List the variants of a planned sweep that a design check compares: the plan itself, and the plan with one change.

A large plan is summarised first: of many tasks a few are kept, and neighbouring values of an axis become one. Seeds of
merged configurations add up, so the summary holds about as much information as the plan.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bayescale.arguments import three_digits
from bayescale.data.configurations import setting_columns
from bayescale.inference.model import Model
from bayescale.posterior import predictive
from bayescale.validation.simulate import simulate_runs

MOST_TASKS = 3
MOST_LEVELS = 5  # values of an axis
MOST_CONFIGS = 100
MOST_SEEDS = 12  # runs of a configuration; the configuration effect hides what more of them would show
FEWEST_RATIO, MOST_RATIO = 1.5, 4.0  # bounds of the step from the end of an axis to a further value
LONE_RATIO = {"learning_rate": 3.0, "batch_size": 2.0, "utd": 2.0}  # step where an axis has one value
CORRELATION = 0.7  # correlation of a run's deviations between thresholds
AXES = {"learning_rate": "learning rate", "batch_size": "batch size", "utd": "UTD"}


class Variant(NamedTuple):
    """The plan, or the plan with one change, over the configurations of all variants.

    Attributes:
        change: the change in words; empty for the plan.
        seeds: runs of each configuration; 0 where the variant lacks it.
        every: env steps between evaluations.
        horizon: env steps of the runs.
        runs: runs of the whole plan with this change.
        work: env steps plus gradient updates of the whole plan with this change.
    """

    change: str
    seeds: Int[np.ndarray, " config"]
    every: Float[np.ndarray, " config"]
    horizon: Float[np.ndarray, " config"]
    runs: float
    work: float


def summarised(design: pd.DataFrame) -> pd.DataFrame:
    """Return a design of at most `MOST_TASKS` tasks and about `MOST_CONFIGS` configurations.

    Args:
        design: columns env_id, utd, batch_size, learning_rate, [model_size], seeds, every and horizon.
    """
    tasks = design["env_id"].unique()
    kept = tasks[np.linspace(0, len(tasks) - 1, min(len(tasks), MOST_TASKS)).round().astype(int)]
    design = design[design["env_id"].isin(kept)]
    keys = setting_columns(design)
    for levels in range(MOST_LEVELS, 1, -1):
        merged = design.assign(**{axis: _nearest(design[axis], levels) for axis in keys[1:]})
        sums = {"seeds": "sum", "every": "median", "horizon": "median"}
        table = merged.groupby(keys, as_index=False).agg(sums)
        if len(table) <= MOST_CONFIGS:
            break
    return table


def variants(design: pd.DataFrame, whole: pd.DataFrame) -> tuple[pd.DataFrame, list[Variant]]:
    """Return the configurations of all variants, and the variants, the plan first.

    Args:
        design: the summarised plan.
        whole: the plan, whose runs and work the variants count.
    """
    added = list(_further_values(design))
    configs = pd.concat([design, *(rows for _, rows in added)], ignore_index=True)
    planned = np.arange(len(configs)) < len(design)
    counts = configs["seeds"].to_numpy(int)
    every, horizon = (configs[name].to_numpy(float) for name in ("every", "horizon"))
    scale = whole["seeds"].sum() / design["seeds"].sum()
    work_per_env_step = 1 + configs["utd"].to_numpy(float)

    def variant(change: str, seeds: Int[np.ndarray, " config"], longer: float = 1.0, finer: float = 1.0) -> Variant:
        work = float((seeds * horizon * longer * work_per_env_step).sum() * scale)
        capped = np.where(seeds > counts, 2, 1) * np.minimum(counts, MOST_SEEDS) * (seeds > 0)
        return Variant(change, capped, every / finer, horizon * longer, float(seeds.sum() * scale), work)

    plan = np.where(planned, counts, 0)
    made = [
        variant("", plan),
        variant("twice as many seeds", 2 * plan),
        variant("runs twice as long", plan, longer=2.0),
        variant("half the evaluation interval", plan, finer=2.0),
    ]
    first = len(design)
    for change, rows in added:
        own = np.zeros(len(configs), bool)
        own[first : first + len(rows)] = True
        first += len(rows)
        made.append(variant(change, np.where(planned | own, counts, 0)))
    return configs.drop(columns=["every", "horizon"]), made


def simulated(
    model: Model,
    truths: Mapping[str, Any],
    configs: pd.DataFrame,
    compared: list[Variant],
    rng: np.random.Generator,
) -> Callable[[int, int], pd.DataFrame]:
    """Simulate the runs of all variants once under each truth; return the crossings by variant and truth.

    A configuration that a variant lacks keeps one run that ends at once, which tells nothing: the crossings of all
    variants then have the same configurations.

    Args:
        model: the model.
        truths: true parameters by name, truth axis first.
        configs: the configurations of all variants.
        compared: the variants.
        rng: source of randomness.
    """
    seeds = np.maximum.reduce([np.maximum(variant.seeds, 1) for variant in compared])
    run_length = predictive.run_lengths(model, truths, configs)
    shared = np.asarray(model.shared_variance(truths))
    true = [
        simulate_runs(
            configs.assign(seeds=seeds),
            thresholds=model.thresholds,
            location=run_length.location[i],
            scale=run_length.scale[i],
            rng=rng,
            p_reach=run_length.p_reach[i],
            correlation=CORRELATION,
            shared=float(shared[i]),
            skew=run_length.skewness[i],
        )
        for i in range(len(shared))
    ]
    config = np.repeat(np.repeat(np.arange(len(configs)), seeds), len(model.thresholds))

    def recorded(variant: int, truth: int) -> pd.DataFrame:
        plan, runs = compared[variant], true[truth]
        every, absent = plan.every[config], plan.seeds[config] == 0
        last = np.floor(plan.horizon[config] / every) * every
        upper = np.maximum(np.ceil(runs["true_env_steps"].to_numpy() / every), 1.0) * every
        censored = (upper > last) | absent
        table = runs.drop(columns="true_env_steps").assign(
            env_steps_lower=np.where(absent, 0.0, np.where(censored, last, upper - every)),
            env_steps_upper=np.where(censored, np.inf, upper),
            censored=censored,
        )
        kept: pd.DataFrame = table[table["seed"].to_numpy() < np.maximum(plan.seeds, 1)[config]]
        return kept

    return recorded


def _nearest(values: pd.Series, levels: int) -> Float[np.ndarray, " row"]:
    """Return each value replaced by the nearest, in logs, of at most `levels` of them, the ends included."""
    distinct = np.unique(values.to_numpy(float))
    kept = distinct[np.linspace(0, len(distinct) - 1, min(len(distinct), levels)).round().astype(int)]
    distance = abs(np.log(values.to_numpy(float))[:, None] - np.log(kept))
    return np.asarray(kept[distance.argmin(axis=1)])


def _further_values(design: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each change that adds one value at an end of an axis, in words, and the rows that it adds."""
    for axis, words in AXES.items():
        distinct = np.unique(design[axis].to_numpy(float))
        for side, end in (("above", -1), ("below", 0)):
            inner = distinct[-2 if end else 1] if len(distinct) > 1 else distinct[end]
            ratio = abs(np.log(distinct[end] / inner)) if len(distinct) > 1 else np.log(LONE_RATIO[axis])
            factor = float(np.clip(np.exp(ratio), FEWEST_RATIO, MOST_RATIO)) ** (1 if end else -1)
            extreme = design.groupby("env_id")[axis].transform("max" if end else "min")
            rows = design[design[axis] == extreme]
            further = [float(f"{value * factor:.2g}") for value in rows[axis]]
            if axis == "batch_size":
                further = [float(max(round(value * factor), 1)) for value in rows[axis]]
            rows = rows.assign(**{axis: further})
            if (rows[axis].to_numpy() == extreme[rows.index].to_numpy()).any():
                continue  # no whole number lies below a batch size of 1
            at = " and ".join(three_digits(value) for value in np.unique(rows[axis])[:MOST_TASKS])
            yield f"one more {words} {side} the others, {at}", rows
