"""Say what a sweep can and cannot tell: before the fit from its crossings, after it from prior and posterior.

An axis with one value says nothing about other values. Two values show a slope, and an optimum only together with the
prior. Where the data do not determine a part of the law, the prior does; these sentences say which part.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.arguments import counted, three_digits
from bayescale.data.observations import observations
from bayescale.inference.convergence import Status
from bayescale.inference.model import Model
from bayescale.posterior.outcomes import AXIS_WORDS, runs_of

PRIOR_DECIDES = 0.8  # posterior sd over prior sd, from which on the prior decides
FEW_EVALUATIONS = 5  # evaluations of a run
RUNS_PER_AXIS = 8
MOST_LISTED = 4
WORST_LISTED = 3  # parameters that an error names
# Parts of the law that each axis identifies, by its number of values: one, and two.
UNTOLD = {
    "utd": ("how env steps fall with UTD", "the exponent of env steps in UTD"),
    "batch_size": ("the optimal batch size", "the optimal batch size"),
    "learning_rate": ("the optimal learning rate", "the optimal learning rate"),
    "model_size": ("", "the exponent of env steps in model size"),
}
# Parameters of the law in plain words, in the order in which a sentence names them.
LAW_WORDS = {
    "log_batch_optimum": "the optimal batch size",
    "log_rate_optimum": "the optimal learning rate",
    "batch_utd_exponent": "how the optimal batch size shifts with UTD",
    "rate_utd_exponent": "how the optimal learning rate shifts with UTD",
    "log_batch_curvature": "the cost of missing the optimal batch size",
    "log_rate_curvature": "the cost of missing the optimal learning rate",
    "interaction": "how batch size and learning rate interact",
    "utd_share": "the share of env steps that more updates save",
    "log_sharpness": "the sharpness with which env steps level off in UTD",
    "size_share": "the share of env steps that a larger critic saves",
    "log_gamma": "the exponent of env steps in model size",
    "batch_size_room": "how far the optimal batch size grows with model size",
    "batch_size_exponent": "how fast the optimal batch size grows with model size",
    "rate_size_exponent": "how the optimal learning rate shifts with model size",
}


def what_the_sweep_tells(crossings: pd.DataFrame) -> str:
    """Return the size of a sweep in words, and what it cannot tell.

    Args:
        crossings: one row per run and threshold; `env_id` names the task.
    """
    runs = runs_of(crossings)
    axes = [axis for axis in AXIS_WORDS if axis in runs]
    values = {axis: np.unique(runs[axis].to_numpy(float)) for axis in axes}
    settings = len(runs[["env_id", *axes]].drop_duplicates())
    shown = {axis: v for axis, v in values.items() if len(v) > 1 or axis != "model_size"}
    swept = [f"{counted(len(v), AXIS_WORDS[axis])} ({_span(v)})" for axis, v in shown.items()]
    tells = (
        f"the sweep: {counted(len(runs), 'run')} of {counted(settings, 'setting')} on "
        f"{counted(crossings['env_id'].nunique(), 'task')}; {', '.join(swept)}; {_evaluations(crossings, runs)}; "
        f"{_reached(crossings)}"
    )
    untold = {
        UNTOLD[axis][number]: f"{AXIS_WORDS[axis]} has {words}"
        for axis, v in values.items()
        for number, words in ((0, "one value"), (1, "two values"))
        if len(v) == number + 1 and UNTOLD[axis][number]
    }
    if not untold:
        return f"{tells}."
    decided = "; ".join(f"{part} ({reason})" for part, reason in untold.items())
    return f"{tells}. The prior decides {decided}."


def what_the_prior_decides(model: Model, draws: Mapping[str, np.ndarray]) -> str:
    """Return a sentence that names the parts of the law whose posterior is about as wide as their prior.

    Args:
        model: the fitted model.
        draws: draws by parameter name, chain axis first, then draw axis.
    """
    named = []
    dimensions = model.dimensions()
    for name, words in LAW_WORDS.items():
        if name in draws and (prior_sd := _prior_sd(model.priors, name, dimensions[name])) > 0:
            ratio = _middle(draws[name], dimensions[name]).std(axis=0) / prior_sd
            undecided = np.flatnonzero(np.atleast_1d(ratio) >= PRIOR_DECIDES)
            tasks = model.env_ids if "task" in dimensions[name] else ("",)
            of = "" if len(undecided) == len(tasks) else f" ({', '.join(tasks[i] for i in undecided[:MOST_LISTED])})"
            if len(undecided):
                named.append(f"{words}{of}")
    if not named:
        return "the runs determine every part of the law: each posterior is narrower than its prior."
    return f"the prior, not the runs, determines {'; '.join(named)}."


def not_converged(
    model: Model, crossings: pd.DataFrame, draws: Mapping[str, np.ndarray], status: Status, worst: pd.DataFrame
) -> str:
    """Return what is wrong with draws that have not converged, the likely cause in this table, and what to change.

    Args:
        model: the fitted model.
        crossings: the fitted crossings.
        draws: draws by parameter name, chain axis first, then draw axis.
        status: the verdict on the draws.
        worst: the rows of the table of diagnostics that miss the limits, worst first.
    """
    chains, length = next(iter(draws.values())).shape[:2]
    parameters = "; ".join(
        f"{in_words(model, str(row.Index))} (R-hat {row.r_hat:.3f}, {row.ess_bulk:,.0f} effective draws)"
        for row in worst.head(WORST_LISTED).itertuples()
    )
    cause, remedy = likely_cause(crossings)
    return (
        f"{status.value.partition(';')[0]}, after {length:,} draws of each of {counted(chains, 'chain')}."
        f"{f' The worst parameters: {parameters}.' if parameters else ''} Likely cause: {cause}. Remedy: {remedy}."
    )


def likely_cause(crossings: pd.DataFrame) -> tuple[str, str]:
    """Return the likely cause, in this table, of chains that do not converge, and what to change."""
    runs = runs_of(crossings)
    thresholds = np.unique(crossings["threshold"])
    axes = [axis for axis in AXIS_WORDS if axis in runs and runs[axis].nunique() > 1]
    reached = _thresholds_reached(crossings)
    poor = reached[reached <= 1]
    observed = observations(crossings)
    if len(thresholds) > 1 and len(poor):
        which = f"{len(poor)} of {counted(len(reached), 'task')} ({', '.join(map(str, poor.index[:MOST_LISTED]))})"
        return f"{which} reached only the lowest threshold or none", "lower the thresholds, or give longer runs"
    if observed.right_censored.mean() > 0.6:
        share = f"{observed.right_censored.mean():.0%} of the crossings lie after the end of their run"
        return share, "lower the thresholds, or give longer runs"
    if observed.left_censored.mean() > 0.3:
        share = f"{observed.left_censored.mean():.0%} of the crossings lie before the first evaluation"
        return share, "raise the thresholds, or evaluate more often"
    for axis in axes:
        if runs[axis].nunique() == 2:
            return f"{AXIS_WORDS[axis]} has two values", f"add a value of {AXIS_WORDS[axis]}, or keep one value of it"
    if len(runs) < RUNS_PER_AXIS * max(len(axes), 1):
        few = f"there are {counted(len(runs), 'run')} for {counted(len(axes), 'varying hyperparameter')}"
        return few, "add seeds, or fit fewer thresholds"
    return "no gap of the table stands out", "raise warmup (--warmup) and draws (--draws)"


def in_words(model: Model, label: str) -> str:
    """Return the meaning of a parameter, with its task and threshold.

    Args:
        model: the fitted model.
        label: the parameter's label in a table of diagnostics, such as `log_noise[0,1]`.
    """
    name, _, numbers = label.rstrip("]").partition("[")
    meaning = model.descriptions()[name][1] if name in model.descriptions() else name
    labels = {"task": [*model.env_ids, "all tasks"], "threshold": [three_digits(one) for one in model.thresholds]}
    dimensions = model.dimensions().get(name, ())
    at = [
        labels[dimension][int(number)]
        for dimension, number in zip(dimensions, filter(None, numbers.split(",")), strict=False)
        if dimension in labels
    ]
    return f"{meaning}, {' at '.join(at)}" if at else meaning


def _prior_sd(priors: Mapping[str, Any], name: str, dimensions: tuple[str, ...]) -> float:
    """Return the prior sd of a task's parameter, or of a shared one, halfway between the thresholds."""
    prior, spread = priors[name], priors.get(f"{name}.spread")
    variance = prior.sd**2
    if "task" in dimensions and spread is not None:
        variance += spread.location**2
    return float(np.sqrt(variance))


def _middle(values: np.ndarray, dimensions: tuple[str, ...]) -> np.ndarray:
    """Return draws halfway between the lowest and the highest threshold, one column per task."""
    merged = values.reshape(-1, *values.shape[2:])
    if "threshold" in dimensions:
        merged = (merged[..., 0] + merged[..., -1]) / 2
    return merged[:, :-1] if "task" in dimensions else merged


def _span(values: np.ndarray) -> str:
    ends = three_digits(values[0])
    return ends if len(values) == 1 else f"{ends} to {three_digits(values[-1])}"


def _evaluations(crossings: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return about how many evaluations a run has, from the distance between the two around a crossing."""
    seen = observations(crossings).interval_censored
    if not seen.any():
        return "no crossing lies between two evaluations"
    width = (crossings["env_steps_upper"] - crossings["env_steps_lower"])[seen].median()
    number = max(round(float(runs["last_env_steps"].median() / width)), 1)
    few = " (few)" if number < FEW_EVALUATIONS else ""
    return f"about {counted(number, 'evaluation')} a run{few}"


def _thresholds_reached(crossings: pd.DataFrame) -> pd.Series:
    """Return the number of thresholds that some run of each task reached, by task."""
    by_task = crossings[~crossings["censored"].astype(bool)].groupby("env_id")["threshold"].nunique()
    return by_task.reindex(crossings["env_id"].unique(), fill_value=0)


def _reached(crossings: pd.DataFrame) -> str:
    """Return how many thresholds the runs of each task reached, and how many runs reached the highest one."""
    total = crossings["threshold"].nunique()
    reached = _thresholds_reached(crossings)
    if (reached == total).all():
        missed = crossings.loc[crossings["threshold"] == crossings["threshold"].max(), "censored"].astype(bool)
        by = f"{int((~missed).sum()):,} of {counted(len(missed), 'run')}"
        if total == 1:
            return f"every task reached the threshold, {by}"
        return f"every task reached all {total} thresholds, the highest in {by}"
    listed = [f"{count} on {env_id}" for env_id, count in reached.items()]
    more = f" and {len(listed) - MOST_LISTED} more tasks" if len(listed) > MOST_LISTED else ""
    return f"of {counted(total, 'threshold')} reached: {', '.join(listed[:MOST_LISTED])}{more}"
