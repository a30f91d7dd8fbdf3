"""Score every method on held-out runs: leave some runs out, fit the others, predict the runs left out.

All methods see the same runs and are scored alike by `bayescale.validation.scores`. Default thresholds are chosen from
all runs. The methods see nothing else of the held-out runs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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

HELD_SEEDS = 4  # one seed in so many is held out per configuration, and at least one of two


@dataclass(frozen=True)
class Training:
    """The runs that a method may see, and the options of its sampler.

    Attributes:
        curves: learning curves, sorted by run.
        crossings: their crossings, sorted by run, then threshold.
        thresholds: increasing returns.
        return_scale: returns that count as 0 and 1000, by task; None: thresholds are in units of the return.
        options: options of the Bayesian methods' sampler.
    """

    curves: pd.DataFrame
    crossings: pd.DataFrame
    thresholds: Float[np.ndarray, " threshold"]
    return_scale: ReturnScale | None
    options: SamplerOptions

    @property
    def sampling(self) -> dict[str, Any]:
        """Keyword arguments of `bayescale.fit`; a fit that does not converge is scored too, with a note."""
        return asdict(self.options) | {"require_convergence": False}

    @property
    def runs(self) -> pd.DataFrame:
        """One row of the crossings per run."""
        return self.crossings.iloc[:: len(self.thresholds)].reset_index(drop=True)

    def crossings_of(self, chosen: Bool[np.ndarray, " run"]) -> pd.DataFrame:
        """Return the crossings of the chosen runs."""
        return self.crossings[np.repeat(chosen, len(self.thresholds))]

    def without(self, held: Bool[np.ndarray, " run"]) -> "Training":
        """Return the training without the held-out runs."""
        starts = run_starts(self.curves)
        run_of_row = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(self.curves))))
        crossings = self.crossings_of(~held).reset_index(drop=True)
        return replace(self, curves=self.curves[~held[run_of_row]], crossings=crossings)


@dataclass(frozen=True)
class Outcome:
    """The result of one method over all folds.

    Attributes:
        observations: the held-out observations with their scores; empty if the method failed in a fold.
        left_out: leave-one-out tables of the method's posteriors, with the column fold.
        seconds: time of the fits and predictions.
        notes: why the method failed, or which fits did not converge.
    """

    observations: pd.DataFrame
    left_out: pd.DataFrame
    seconds: float
    notes: tuple[str, ...]


@runtime_checkable
class Forecaster(Protocol):
    """The fit of any method, which can predict new runs."""

    def predict(self, configs: pd.DataFrame) -> pd.DataFrame:
        """Return quantiles of run lengths per configuration and threshold, in the columns of `Posterior.predict`."""


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
    """Score methods on runs that their fits have not seen.

    Args:
        curves: a learning-curve table. If it holds several suites or algorithms, each task of each is a task, named as
            in `bayescale.data.tasks`; no method uses which tasks belong to one algorithm.
        leave_out: runs to hold out. utd-max, utd-min, utd-ends: each task's runs at its largest UTD, its smallest, or
            both. task: each task in turn. seeds: the last quarter of the seeds of each configuration with several
            seeds, at least one.
        thresholds: see `time_to_threshold`.
        return_scale: see `time_to_threshold`.
        methods: names among `METHODS`.
        give_back: number of runs of each held-out task to fit nevertheless, drawn at random; only with task.
        reset_period: see `time_to_threshold`; the published pipeline ignores it.
        seed: seed of every random choice.
        chains: number of chains of the Bayesian methods.
        draws: draws of each chain of the Bayesian methods. While the chains have not converged, as many are added, up
            to four times as many.
        warmup: iterations of adaptation of the Bayesian methods.
        report: function that is called with a line of text before each fit.

    Returns:
        One row per method with columns

        - method, leave_out and the held-out scores; see `bayescale.validation.scores.Scores`. They are NaN if the
          method could not be fitted or could not predict the held-out runs.
        - seconds: time of the fits and predictions.
        - note: why a method failed, which fits did not converge, and how many configurations `loo` averages.
        - loo: for Bayesian methods, the mean log score of fitted observations whose configuration is left out; see
          `bayescale.validation.leave_one_out`. Averaged over the configurations whose Pareto k is reliable under every
          method.
        - weight: the Bayesian method's share in the mixture under which the held-out runs are most likely. To score
          the mixture itself, other runs are needed.

    Raises:
        InputError: the split or a method is unknown, or no run is left to fit or to hold out.
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
    options = SamplerOptions(seed=seed, chains=chains, draws=draws, warmup=warmup, most_draws=ROUNDS * draws)
    whole = Training(curves, crossings, np.unique(crossings["threshold"].to_numpy(float)), scale, options)
    folds = _folds(whole.runs, leave_out, give_back, np.random.default_rng(seed))
    outcomes = [(method, _evaluate(method, whole, folds, report)) for method in methods]
    complete = {name: outcome for name, outcome in outcomes if name in BAYESIAN and len(outcome.observations)}
    weights = _weights({name: outcome.observations for name, outcome in complete.items()})
    loo, loo_note = _loo({name: outcome.left_out for name, outcome in complete.items()})
    rows = []
    for method, outcome in outcomes:
        scores = summarise(outcome.observations) if len(outcome.observations) else Scores(0, *[np.nan] * 6)
        row: dict[str, Any] = {"method": method, "leave_out": leave_out, **scores._asdict()}
        row["seconds"] = outcome.seconds
        row["note"] = "; ".join(filter(None, (*outcome.notes, loo_note if method in loo else "")))
        row["loo"], row["weight"] = (values.get(method, np.nan) for values in (loo, weights))
        rows.append(row)
    return pd.DataFrame(rows)


def _evaluate(
    method: str, whole: Training, folds: Sequence[Bool[np.ndarray, " run"]], report: Callable[[str], None] | None
) -> Outcome:
    """Fit a method to the training runs of each fold and score it on the fold's held-out runs."""
    scored: list[pd.DataFrame] = []
    left_out: list[pd.DataFrame] = []
    seconds, notes = 0.0, list[str]()
    for number, held in enumerate(folds, start=1):
        if report is not None:
            counts = f"{counted((~held).sum(), 'run')} fitted, {held.sum():,} held out"
            report(f"{method}, fold {number} of {len(folds)}: {counts}")
        training, unseen = whole.without(held), whole.crossings_of(held)
        began = time.perf_counter()
        try:
            forecaster = METHODS[method](training)
            configs = unseen[setting_columns(unseen)].drop_duplicates()
            new = isinstance(forecaster, Posterior) and not configs["env_id"].isin(forecaster.tasks).all()
            predicted = forecaster.predict(configs, **({"new_task": True} if new else {}))
            scored.append(score_each(predicted, crossings=unseen, fitted=training.crossings))
        except BayeScaleError as error:
            return Outcome(pd.DataFrame(), pd.DataFrame(), seconds, tuple(dict.fromkeys([*notes, str(error)])))
        seconds += time.perf_counter() - began
        for posterior in _posteriors(forecaster):
            if not posterior.status.usable:
                notes.append(posterior.status.value)
            left_out.append(leave_one_out(posterior).assign(fold=number))
    tables = pd.concat(left_out) if left_out else pd.DataFrame()
    return Outcome(pd.concat(scored), tables, seconds, tuple(dict.fromkeys(notes)))


def _check_choice(leave_out: str, methods: Sequence[str], give_back: int) -> None:
    """Raise InputError unless the split and the methods are known and fit together."""
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
    """Return the runs that each fold holds out."""
    if leave_out == "task":
        tasks = runs["env_id"].unique()
        if len(tasks) < 2:
            raise InputError(f"leaving tasks out needs two or more; got {tasks[0]} alone. Leave out something else.")
        folds = []
        for env_id in tasks:
            held = (runs["env_id"] == env_id).to_numpy(bool, copy=True)
            of_task = np.flatnonzero(held)
            if give_back >= len(of_task):
                raise InputError(
                    f"give_back must be less than the runs of {env_id}, {len(of_task)}; got {give_back}. Lower it."
                )
            held[rng.permutation(of_task)[:give_back]] = False
            folds.append(held)
        return folds
    if leave_out == "seeds":
        seeds = runs.groupby([name for name in run_columns(runs) if name != "seed"])["seed"]
        rank, count = seeds.rank(method="first", ascending=False), seeds.transform("size")
        held = ((rank <= np.maximum(count // HELD_SEEDS, 1)) & (count > 1)).to_numpy(bool)
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
    """Return the posteriors of a Bayesian method's fit; none for other methods."""
    if isinstance(forecaster, NoPooling):
        return tuple(forecaster.posteriors.values())
    return (forecaster,) if isinstance(forecaster, Posterior) else ()


def _weights(observations: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Return the stacking weight of each method from its scored observations."""
    if not observations:
        return {}
    log_scores = np.column_stack([table["log_score"].to_numpy() for table in observations.values()])
    return dict(zip(observations, stacking_weights(log_scores).tolist(), strict=True))


def _loo(left_out: Mapping[str, pd.DataFrame]) -> tuple[dict[str, float], str]:
    """Return each method's mean leave-one-out log score, and a note.

    Averaged over the configurations whose Pareto k is reliable under every method; else the note says how many remain.
    """
    if not left_out:
        return {}, ""
    every = pd.concat(left_out.values())
    keys = ["fold", *setting_columns(every)]
    reliable = (every["pareto_k"] <= RELIABLE).groupby([every[name] for name in keys]).all()
    means = {}
    for method, table in left_out.items():
        rows = reliable.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy(bool) & (table["observations"] > 0)
        count = table["observations"][rows].to_numpy(float)
        means[method] = float(table["log_score"][rows] @ count / count.sum()) if rows.any() else np.nan
    if reliable.all():
        return means, ""
    total = counted(len(reliable), "configuration")
    return means, f"loo averages {reliable.sum()} of {total}; at the others Pareto k is above {RELIABLE}"
