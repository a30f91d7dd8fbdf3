"""Run the whole chain: read curves, find crossings, fit the model, save it, allocate a budget, write a report.

`demo` shows the chain in one function. Only `fit` and `load` name the model; everything else takes it as an argument.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.data.crossings import time_to_threshold, validate_crossings
from bayescale.data.curves import read_curves, write_curves
from bayescale.data.observations import require_reached_in_training
from bayescale.data.tasks import naming_columns, with_task_names
from bayescale.decisions.utility import Prices
from bayescale.errors import InputError
from bayescale.inference.draws import ROUNDS, WARMUP, SamplerOptions
from bayescale.models import PRIORS, JointModel, Prior
from bayescale.models.parameters import with_replacements
from bayescale.posterior.identifiability import what_the_prior_decides, what_the_sweep_tells
from bayescale.posterior.netcdf import table_hash
from bayescale.posterior.outcomes import diverged_counts, failure_warning, nothing_reached, one_evaluation_warning
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.saved_fits import load as load_posterior

SHIPPED_SWEEP = Path(__file__).parent / "shipped" / "pendulum_trade_off.parquet"
DEMO_THRESHOLDS = (-1000.0, -800.0, -600.0, -400.0, -300.0)
DEMO_PRICES = Prices(env_step=1e8)  # flops; a cheap simulator, whose best UTD lies inside the shipped sweep


def fit(
    crossings: pd.DataFrame,
    *,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = WARMUP,
    priors: dict[str, Prior] | None = None,
    require_convergence: bool = True,
    method: str = "hmc",
    most_draws: int | None = None,
    progress: bool | None = None,
    tell: Callable[[str], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Posterior:
    """Fit the joint model to crossings and return its posterior.

    Axes that do not vary in the crossings drop out of the model. Warns, in one line each, of runs that diverged and
    where, of settings whose runs all diverged or ended early below the highest threshold, of tasks on which no run
    reached the lowest threshold, and of curves with one evaluation per run; see `bayescale.posterior.outcomes`.

    Args:
        crossings: the table of `time_to_threshold`. If it holds several suites or algorithms, each combination with a
            task is one task, with a name as in `bayescale.data.tasks`.
        seed: seed of the sampler, >= 0.
        chains: number of chains.
        draws: draws kept per chain, at least 8. While the chains have not converged, the sampler adds as many again, up
            to `most_draws`. If too many draws diverge, it warns and starts again with smaller steps.
        warmup: iterations of adaptation per chain, not kept.
        priors: priors that replace those of the same name in `bayescale.models.PRIORS`.
        require_convergence: raise NotConverged if the draws cannot be trusted.
        method: "hmc"; "fast" for a first look: short chains, then "hmc", with a warning, if these disagree; or "nuts",
            which needs a longer warm-up.
        most_draws: most draws kept per chain; by default four times `draws`, or `draws` without `require_convergence`.
        progress: show progress on standard error; None: if it is a terminal.
        tell: called with three sentences: before the sampling, on what the sweep can tell and on how long the sampling
            will take; after it, on the parts of the law that the prior determines.
        checkpoint: file that keeps what the chains have done if Ctrl-C comes; it is removed when the fit is done.
        resume: go on from the checkpoint; the draws are those of a fit without a break.

    Returns:
        The posterior, with its draws, status and provenance.

    Raises:
        NotConverged: the draws cannot be trusted; the message names the parameters, the likely cause and a remedy. The
            error's `posterior` keeps the draws for a diagnosis.
        InputError: crossings that cannot be used or that hold no observed run length, an unknown method or prior, a
            count that is too low, or a checkpoint that is missing or of another fit.
    """
    options = SamplerOptions(seed=seed, chains=chains, draws=draws, warmup=warmup, method=method, most_draws=most_draws)
    _warn_of_outcomes(crossings)
    return fit_with_options(
        crossings,
        options,
        priors=priors,
        require_convergence=require_convergence,
        progress=progress,
        tell=tell,
        checkpoint=checkpoint,
        resume=resume,
    )


def _warn_of_outcomes(crossings: pd.DataFrame) -> None:
    """Warn about diverged runs, failed settings, tasks that reached nothing, and one evaluation per run."""
    crossings = validate_crossings(crossings)
    require_reached_in_training(crossings)
    crossings = with_task_names(crossings, naming_columns(crossings))
    clauses = nothing_reached(crossings, crossings["env_id"].unique()).values()
    unlearnt = f"{'; '.join(clauses)}: allocate refuses to advise on this." if clauses else None
    for sentence in (
        diverged_counts(crossings),
        failure_warning(crossings),
        unlearnt,
        one_evaluation_warning(crossings),
    ):
        if sentence is not None:
            warnings.warn(sentence, stacklevel=3)


def fit_with_options(
    crossings: pd.DataFrame,
    options: SamplerOptions,
    *,
    priors: dict[str, Prior] | None = None,
    require_convergence: bool = True,
    progress: bool | None = None,
    tell: Callable[[str], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Posterior:
    """Fit the joint model to crossings, as `fit` does, with the sampler's options in one object."""
    from bayescale.inference.checkpoints import Checkpoint  # `load` runs without a sampler
    from bayescale.inference.sampling import sample

    if resume and checkpoint is None:
        raise InputError("resume needs the file to go on from; give checkpoint.")
    crossings = validate_crossings(crossings)
    require_reached_in_training(crossings)
    crossings = with_task_names(crossings, naming_columns(crossings))
    all_priors = with_replacements(priors)
    for name, prior in all_priors.items():
        if prior.family == "fixed" != PRIORS[name].family:
            raise InputError(f"fit samples {name}, so its prior cannot be fixed; give one of a small scale.")
    model = JointModel.for_crossings(crossings, all_priors)
    if require_convergence and options.most_draws is None:
        options = replace(options, most_draws=ROUNDS * options.draws)
    if tell is not None:
        tell(what_the_sweep_tells(crossings))
    kept = None if checkpoint is None else Checkpoint(Path(checkpoint), _identity(model, crossings, options))
    shown = sys.stderr.isatty() if progress is None else progress
    result = sample(model, crossings, options, progress=shown, tell=tell, checkpoint=kept, resume=resume)
    posterior = Posterior.from_draws(model, result, crossings, options.seed)
    if tell is not None:
        tell(what_the_prior_decides(model, posterior.draws))
    return posterior.require_convergence() if require_convergence else posterior


def _identity(model: JointModel, crossings: pd.DataFrame, options: SamplerOptions) -> dict[str, str]:
    """Return what a checkpoint is of: a fit with the same texts has the same draws on the same machine."""
    return {
        "curves, thresholds or return scale": table_hash(crossings),
        "model or priors": json.dumps(model.fields(), sort_keys=True),
        "sampler options": json.dumps(asdict(options), sort_keys=True),
        "versions of packages": json.dumps({name: version(name) for name in ("bayescale", "jax", "numpyro", "numpy")}),
    }


def load(path: str | os.PathLike[str]) -> Posterior:
    """Read a posterior that `Posterior.save` wrote.

    Raises:
        InputError: the file does not exist, is damaged, is in another format or holds no posterior of this package.
    """
    return load_posterior(path, {JointModel.name: _joint_model})


def demo(out: Path) -> str:
    """Run the whole chain on the Pendulum sweep that ships with the package, and return the recommendation in words.

    Args:
        out: folder for curves.parquet, demo.nc and report.html, made if missing.

    Raises:
        InputError: the table is missing.
    """
    from bayescale.decisions.allocation import allocate  # `load` runs without decisions and without a report
    from bayescale.reporting.report import report

    if not SHIPPED_SWEEP.is_file():
        raise InputError(f"{SHIPPED_SWEEP} is missing; install bayescale again.")
    out.mkdir(parents=True, exist_ok=True)

    table = read_curves(SHIPPED_SWEEP)
    write_curves(table, out / "curves.parquet")
    crossings = time_to_threshold(table, thresholds=DEMO_THRESHOLDS)
    posterior = fit(crossings)
    posterior.save(out / "demo.nc")
    env_id, threshold = posterior.tasks[0], float(posterior.thresholds[-1])
    choice = allocate(posterior, env_id=env_id, threshold=threshold, prices=DEMO_PRICES)
    page = report(posterior, out / "report.html", curves=table, prices=DEMO_PRICES)

    return (
        f"{env_id}, return {threshold:g}, with an env step that costs as much as {DEMO_PRICES.env_step:g} flops: run "
        f"UTD {choice.utd:.2g}, batch size {choice.batch_size}, learning rate {choice.learning_rate:.2g}; the median "
        f"run needs {choice.env_steps['q50']:,.0f} env steps (90% credible interval {choice.env_steps['q05']:,.0f} to "
        f"{choice.env_steps['q95']:,.0f}).\n"
        f"Open {page}"
    )


def _joint_model(stored: dict[str, Any]) -> JointModel:
    """Return the joint model from the fields that a file holds."""
    return JointModel(
        env_ids=tuple(stored["env_ids"]),
        thresholds=tuple(stored["thresholds"]),
        varying=tuple(stored["varying"]),
        references=tuple(map(tuple, stored["references"])),
        swept=tuple(tuple((low, high) for low, high in by_task) for by_task in stored["swept"]),
        priors={name: Prior(**prior) for name, prior in stored["priors"].items()},
    )
