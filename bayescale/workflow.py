"""The whole chain, readable top to bottom: curves, crossings, posterior, frontier, allocation, report."""

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.data.crossings import time_to_threshold, validate_crossings
from bayescale.data.curves import read_curves
from bayescale.data.observations import require_reached_in_training
from bayescale.data.tasks import naming_columns, with_task_names
from bayescale.decisions.allocation import allocate
from bayescale.errors import InputError
from bayescale.inference.sampling import ROUNDS, WARMUP, sample
from bayescale.models import PRIORS, JointModel, Prior
from bayescale.models.parameters import with_replacements
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.posterior import load as load_posterior
from bayescale.reporting.report import report


def fit(
    crossings: pd.DataFrame,
    seed: int = 0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = WARMUP,
    priors: dict[str, Prior] | None = None,
    require_convergence: bool = True,
    method: str = "nuts",
    most_draws: int | None = None,
) -> Posterior:
    """The posterior of the joint model given crossings; axes that do not vary drop out.

    Args:
        crossings: as `time_to_threshold` makes it. Of several suites or algorithms, each task of each is one task,
            named as in `bayescale.data.tasks`.
        seed: of the sampler.
        chains: NUTS chains.
        draws: kept per chain; as many more, again and again, while the chains have not converged, and from the start
            in shorter steps, with a warning, if too many diverge.
        warmup: adaptation iterations per chain.
        priors: replacements by name for `bayescale.models.PRIORS`.
        require_convergence: raise where the draws cannot be trusted.
        method: "nuts", or "fast" for a first look: short chains, and if they disagree a warning, then "nuts".
        most_draws: with which a chain ends in any case; by default four times `draws`, or `draws` where convergence is
            not required.

    Raises:
        NotConverged: the draws cannot be trusted; names the parameters.
        InputError: crossings that cannot be used or in which nothing was observed, an unknown method or prior.
    """
    crossings = validate_crossings(crossings)
    require_reached_in_training(crossings)
    crossings = with_task_names(crossings, naming_columns(crossings))
    chosen = with_replacements(priors)
    for name, prior in chosen.items():
        if prior.family == "fixed" != PRIORS[name].family:
            raise InputError(f"fit samples {name}, so that its prior cannot be fixed; give one of a small scale.")
    model = JointModel.for_crossings(crossings, chosen)
    if most_draws is None and require_convergence:
        most_draws = ROUNDS * draws
    result = sample(model, crossings, seed, chains, draws, warmup, sys.stderr.isatty(), method, most_draws)
    posterior = Posterior.from_draws(model, result, crossings, seed)
    return posterior.require_convergence() if require_convergence else posterior


def load(path: str | os.PathLike[str]) -> Posterior:
    """The posterior in a file that `Posterior.save` wrote.

    Raises:
        InputError: no such file, or not a posterior.
    """
    return load_posterior(path, {JointModel.name: _joint_model})


def demo(out: Path, curves: Path | None = None) -> str:
    """The whole chain on the Pendulum sweep that ships with the source; the words that end it.

    Args:
        out: folder for demo.nc and report.html, made if missing.
        curves: another learning-curve table.
    """
    shipped = Path(__file__).resolve().parent.parent / "case_studies" / "data" / "sac_pendulum.parquet"
    source = curves or shipped
    if not source.is_file():
        raise InputError(f"{source} is missing; run the demo from a checkout of the source, with `make demo`.")
    out.mkdir(parents=True, exist_ok=True)
    table = read_curves(source)
    posterior = fit(time_to_threshold(table))
    posterior.save(out / "demo.nc")
    page = report(posterior, out / "report.html", table)
    env_id, threshold = posterior.tasks[0], float(posterior.thresholds[-1])
    choice = allocate(posterior, env_id, threshold=threshold)
    return (
        f"{env_id}, average return {threshold:g}: run UTD {choice.utd:.2g}, batch size {choice.batch_size}, learning "
        f"rate {choice.learning_rate:.2g}; the median run needs {choice.env_steps['q50']:,.0f} env steps "
        f"(90% credible interval {choice.env_steps['q05']:,.0f} to {choice.env_steps['q95']:,.0f}).\n"
        f"Open {page}"
    )


def _joint_model(stored: dict[str, Any]) -> JointModel:
    return JointModel(
        env_ids=tuple(stored["env_ids"]),
        thresholds=tuple(stored["thresholds"]),
        varying=tuple(stored["varying"]),
        references=tuple(map(tuple, stored["references"])),
        swept=tuple(tuple((low, high) for low, high in by_task) for by_task in stored["swept"]),
        priors={name: Prior(**prior) for name, prior in stored["priors"].items()},
    )
