"""Held-out scores of every method on a user's own runs, by leaving some out, fitting the rest and predicting them.

All methods see the same runs and are scored alike by `bayescale.validation.scores`. Thresholds chosen by default come from all
runs; nothing else of those held out is seen.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import counted, require_count
from bayescale.comparators import fit_complete_pooling, fit_no_pooling, fit_published, fit_size_law
from bayescale.comparators.pooling import NoPooling
from bayescale.data.configurations import setting_columns
from bayescale.data.crossings import time_to_threshold
from bayescale.data.curves import run_columns, run_starts, validate_curves
from bayescale.data.return_scale import ReturnScale, read_return_scale
from bayescale.data.tasks import as_one_suite_and_algorithm, several_names
from bayescale.errors import BayeScaleError, InputError
from bayescale.inference.sampling import ROUNDS, WARMUP, SamplerOptions
from bayescale.posterior.posterior import Posterior
from bayescale.validation.leave_one_out import RELIABLE, leave_one_out
from bayescale.validation.scores import Scores, score_each, stacking_weights, summarise
from bayescale.workflow import fit

HELD_SEEDS = 4  # of as many seeds of a configuration one is held out, at least one of two


@dataclass(frozen=True)
class Training:
    """What a method may see, and how long to sample."""

    curves: pd.DataFrame
    crossings: pd.DataFrame
    thresholds: Float[np.ndarray, " threshold"]
    return_scale: ReturnScale | None
    options: SamplerOptions

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of `bayescale.fit`; a fit that has not converged by then is scored all the same, and noted."""
        return asdict(self.options) | {"require_convergence": False}


@runtime_checkable
class Forecaster(Protocol):
    """What every method's fit offers."""

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        """Quantiles of env steps per configuration and threshold."""


METHODS: dict[str, Callable[[Training], Forecaster]] = {
    "bayescale": lambda t: fit(t.crossings, **t.sampling),
    "complete-pooling": lambda t: fit_complete_pooling(t.crossings, **t.sampling),
    "no-pooling": lambda t: fit_no_pooling(t.crossings, **t.sampling),
    "published": lambda t: fit_published(
        t.curves, thresholds=t.thresholds, return_scale=t.return_scale, seed=t.options.seed
    ),
    "size-law": lambda t: fit_size_law(t.crossings, seed=t.options.seed),
}
BAYESIAN = ("bayescale", "complete-pooling", "no-pooling")
LEAVE_OUT = ("utd-max", "utd-min", "utd-ends", "task", "seeds")


def compare(
    curves: pd.DataFrame,
    *,
    leave_out: str = "utd-max",
    thresholds: Sequence[Any] | None = None,
    return_scale: ReturnScale | None = None,
    methods: Sequence[str] = tuple(METHODS),
    give_back: int = 0,
    reset_period: float | None = None,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = WARMUP,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """One row per method: held-out scores (see `bayescale.validation.scores.Scores`), stacking weight, LOO, seconds, and a note.

    `loo` is the mean log score of the observations that were fitted, when the configuration of each is left out (see
    `bayescale.validation.leave_one_out`), of Bayesian methods. It is that of the configurations whose weights can be trusted with
    all of them; of how many, the note says if it is not of all.
    `weight` is the method's share in the mixture of the Bayesian methods that makes the held-out runs most likely; the
    mixture's own score needs other runs. A method that cannot be fitted, or cannot predict the runs held out, has NaN
    scores and says why in `note`.

    Args:
        curves: a learning-curve table; of several suites or algorithms each task of each is one task, named as in
            `bayescale.data.tasks`, and none of its methods knows which of them are of one algorithm.
        leave_out: utd-max, utd-min or utd-ends: each task's runs at its largest, smallest, or both UTDs; task: each
            task in turn; seeds: of each configuration with several seeds, the last quarter of them, at least one.
        thresholds: as for `time_to_threshold`.
        return_scale: as for `time_to_threshold`.
        methods: names among `METHODS`.
        give_back: runs of each held-out task that are fitted after all, drawn at random; only with task.
        reset_period: as for `time_to_threshold`; the published pipeline ignores it.
        seed: of every random choice.
        chains: of the Bayesian methods.
        draws: of the Bayesian methods; as many more while the chains have not converged, up to four times as many.
        warmup: of the Bayesian methods.
        report: called with a line before each fit.

    Raises:
        InputError: no such split or method, or nothing left to fit or to hold out.
    """
    _check_choice(leave_out, methods, give_back)
    curves = validate_curves(curves, "curves")
    scale = read_return_scale(return_scale)
    crossings = as_one_suite_and_algorithm(
        time_to_threshold(curves, thresholds=thresholds, return_scale=scale, reset_period=reset_period)
    )
    env_ids, curves = curves["env_id"], as_one_suite_and_algorithm(curves)
    if scale is not None:
        scale = {task: scale[env_id] for task, env_id in dict(zip(curves["env_id"], env_ids, strict=True)).items()}
    levels = np.unique(crossings["threshold"].to_numpy(float))
    runs = crossings.iloc[:: len(levels)].reset_index(drop=True)
    folds = _folds(runs, leave_out, give_back, np.random.default_rng(seed))
    starts = run_starts(curves)
    run_of_row = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(curves))))
    options = SamplerOptions(seed=seed, chains=chains, draws=draws, warmup=warmup, most_draws=ROUNDS * draws)
    rows = []
    log_scores: dict[str, Float[np.ndarray, " observation"]] = {}
    alone: dict[str, pd.DataFrame] = {}
    for method in methods:
        seen: list[pd.DataFrame] = []
        left_out: list[pd.DataFrame] = []
        seconds, notes = 0.0, []
        for number, held in enumerate(folds, start=1):
            if report is not None:
                fitted = f"{counted((~held).sum(), 'run')} fitted, {held.sum():,} held out"
                report(f"{method}, fold {number} of {len(folds)}: {fitted}")
            kept = np.repeat(~held, len(levels))
            unseen = crossings[~kept]
            known = curves[~held[run_of_row]], crossings[kept].reset_index(drop=True)
            training = Training(*known, levels, scale, options)
            began = time.perf_counter()
            try:
                forecaster = METHODS[method](training)
                configs = unseen[setting_columns(unseen)].drop_duplicates()
                seen.append(score_each(forecaster.predict(configs), crossings=unseen))
            except BayeScaleError as error:
                notes.append(str(error))
                break
            seconds += time.perf_counter() - began
            notes += _trouble(forecaster)
            left_out += [leave_one_out(posterior).assign(fold=number) for posterior in _posteriors(forecaster)]
        scores = Scores(0, *[np.nan] * 6)
        if len(seen) == len(folds):
            together = pd.concat(seen)
            scores = summarise(together)
            if method in BAYESIAN:
                log_scores[method] = together["log_score"].to_numpy()
                alone[method] = pd.concat(left_out)
        note = "; ".join(dict.fromkeys(notes))
        rows.append({"method": method, "leave_out": leave_out, **scores._asdict(), "seconds": seconds, "note": note})
    weights: dict[str, float] = {}
    if log_scores:
        stacked = stacking_weights(np.column_stack(list(log_scores.values())))
        weights = dict(zip(log_scores, stacked.tolist(), strict=True))
    loo, doubt = _loo(alone)
    for row in rows:
        row["loo"], row["weight"] = (of.get(row["method"], np.nan) for of in (loo, weights))
        row["note"] = "; ".join(filter(None, (row["note"], doubt if row["method"] in loo else "")))
    return pd.DataFrame(rows)


def _check_choice(leave_out: str, methods: Sequence[str], give_back: int) -> None:
    if leave_out not in LEAVE_OUT:
        raise InputError(f"leave_out must be one of {', '.join(LEAVE_OUT)}; got '{leave_out}'. Choose one.")
    unknown = [name for name in several_names("methods", methods) if name not in METHODS]
    if unknown or not methods:
        came = f"'{unknown[0]}'" if unknown else "none"
        raise InputError(f"methods must be among {', '.join(METHODS)}; got {came}. Choose some.")
    require_count("give_back", give_back, 0)
    if give_back and leave_out != "task":
        raise InputError(f"give_back needs leave_out task; got {give_back}. Leave it at 0.")


def _folds(
    runs: pd.DataFrame, leave_out: str, give_back: int, rng: np.random.Generator
) -> list[Bool[np.ndarray, " run"]]:
    """The runs that each fold holds out."""
    if leave_out == "task":
        tasks = runs["env_id"].unique()
        if len(tasks) < 2:
            raise InputError(f"leaving tasks out needs two or more; got {tasks[0]} alone. Leave out something else.")
        folds = []
        for env_id in tasks:
            held = (runs["env_id"] == env_id).to_numpy(bool, copy=True)
            mine = np.flatnonzero(held)
            if give_back >= len(mine):
                raise InputError(f"give_back must leave runs out; {env_id} has {len(mine)}. Lower it.")
            held[rng.permutation(mine)[:give_back]] = False
            folds.append(held)
        return folds
    if leave_out == "seeds":
        setting = runs.groupby([name for name in run_columns(runs) if name != "seed"])["seed"]
        place, count = setting.rank(method="first", ascending=False), setting.transform("size")
        held = ((place <= np.maximum(count // HELD_SEEDS, 1)) & (count > 1)).to_numpy(bool)
        if not held.any():
            raise InputError("leaving seeds out needs configurations with two or more seeds. Leave out something else.")
        return [held]
    utd = runs.groupby("env_id")["utd"]
    least, most = (runs["utd"] == utd.transform(end) for end in ("min", "max"))
    held = {"utd-max": most, "utd-min": least, "utd-ends": least | most}[leave_out].to_numpy(bool)
    if runs[~held].groupby("env_id").ngroups < utd.ngroups:
        raise InputError(f"{leave_out} would leave no runs of some task; give runs at more UTDs.")
    return [held]


def _posteriors(forecaster: Forecaster) -> tuple[Posterior, ...]:
    if isinstance(forecaster, NoPooling):
        return tuple(forecaster.posteriors.values())
    return (forecaster,) if isinstance(forecaster, Posterior) else ()


def _trouble(forecaster: Forecaster) -> list[str]:
    return [one.status.value for one in _posteriors(forecaster) if not one.status.usable]


def _loo(alone: Mapping[str, pd.DataFrame]) -> tuple[dict[str, float], str]:
    """By method, the mean log score of observations that are left out, and of how many configurations if not of all."""
    if not alone:
        return {}, ""
    every = pd.concat(alone.values())
    keys = ["fold", *setting_columns(every)]
    trusted = (every["pareto_k"] <= RELIABLE).groupby([every[name] for name in keys]).all()
    means = {}
    for method, table in alone.items():
        told = table[
            trusted.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy(bool) & (table["observations"] > 0)
        ]
        weights = told["observations"].to_numpy(float)
        means[method] = float(told["log_score"] @ weights / weights.sum()) if len(told) else np.nan
    if trusted.all():
        return means, ""
    of_all = counted(len(trusted), "configuration")
    return means, f"loo is of {trusted.sum()} of {of_all}; at others Pareto k is above {RELIABLE}"
