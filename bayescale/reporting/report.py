"""Write one HTML page about a posterior: what to run, at prices that its reader sets, and how far to trust it.

The page needs no network and no other file. It holds draws of run lengths at candidate settings (`live`), scripts
that turn them into decisions and charts (the folder `page`), and two plotting libraries with their licences.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.arguments import counted
from bayescale.data.curves import run_columns
from bayescale.data.output_files import written
from bayescale.data.return_scale import ReturnScale, normalised_returns, read_return_scale
from bayescale.data.tables import require_frame
from bayescale.data.tasks import several_names
from bayescale.decisions.allocation import allocations, at_edge
from bayescale.decisions.records import Allocation
from bayescale.decisions.utility import DEFAULT_PRICES, MOST_RUNS, Prices, require_prices
from bayescale.errors import Infeasible, InputError
from bayescale.laws import FLOPS_PER_PARAMETER_AND_SAMPLE
from bayescale.posterior.posterior import Posterior
from bayescale.reporting.live.packed_draws import Arrays
from bayescale.reporting.live.rendering import rendered, require_jinja2
from bayescale.reporting.live.task_data import facts, task_fields
from bayescale.reporting.report_checks import (
    FALSE_ALARM,
    convergence_fields,
    exponents,
    held_out_scores,
    last_env_steps,
    law_checks,
    predictive_check,
)
from bayescale.run_length_distribution import BEND
from bayescale.validation.calibration import coverage
from bayescale.validation.predictive_checks import OVERALL

PRIOR_DRIVEN = 0.7  # posterior sd over prior sd; above it the data say little about an exponent
STATISTICS = {
    "utd": "curves over UTD",
    "batch_size": "curves over batch size",
    "learning_rate": "curves over learning rate",
    "model_size": "curves over model size",
    "scatter": "configurations scatter more than in other tasks",
    "surface": "configurations depart from the law",
    "spread": "seed noise changes with UTD",
    "censored": "share of censored runs differs from the prediction",
}
HEADS = ("UTD", "batch size", "learning rate", "env steps", "flops", "cost", "expected regret (95% quantile)",
         "chance to reach J")  # fmt: skip
SIZE_HEAD = "critic parameters"


@dataclass(frozen=True)
class Section:
    """One task's part of the page.

    Attributes:
        env_id: task.
        rows: the task's crossings, with the columns of `predictive_check`.
        by_threshold: one row per threshold: shares `reached`, `inside50` and `inside90` of its runs.
        headline: the threshold of the recommendation.
        choices: the best setting by threshold.
        refusal: the reason why there are no choices; empty if there are.
    """

    env_id: str
    rows: pd.DataFrame
    by_threshold: pd.DataFrame
    headline: float
    choices: dict[float, Allocation]
    refusal: str


def report(
    posterior: Posterior,
    path: str | Path,
    *,
    curves: pd.DataFrame | None = None,
    prices: Prices = DEFAULT_PRICES,
    env_ids: Sequence[str] | None = None,
    threshold: float | None = None,
    return_scale: ReturnScale | None = None,
    model_size: int | None = None,
    held_out: pd.DataFrame | str | Path | Sequence[pd.DataFrame | str | Path] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Write one HTML page about a posterior and return its path. The file refers to no other file.

    Its reader picks a task, a return or a budget, prices and a risk measure, and the page computes the answer from
    draws that it holds.

    Args:
        posterior: the result of `fit`.
        path: the file to write, in a folder that exists.
        curves: the learning curves that were fitted, to draw them behind the crossings; or None.
        prices: prices of compute and data that the page starts with.
        env_ids: the tasks to report, in this order; None reports all.
        threshold: the fitted threshold that the page starts with; None: of each task the highest that at least half of
            its runs reached.
        return_scale: the scale that the crossings were made with, which gives the curves the units of the thresholds.
        model_size: number of critic parameters, to count flops; None takes it from each task's fitted runs.
        held_out: scores on held-out runs: a result of `compare`, the file of the command `compare`, or several of them.
        tell: called with a line of text before each step that may take seconds.

    Raises:
        InputError: the folder does not exist or cannot be written to, a task or threshold was not fitted, the model
            size is unknown, `curves` holds none of the fitted runs, or `held_out` holds no scores.
        MissingExtra: jinja2 is not installed.
    """
    require_jinja2()
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist. Create it first.")
    tasks = posterior.tasks if env_ids is None else several_names("env_ids", env_ids)
    if not tasks:
        raise InputError(f"env_ids must be among {', '.join(posterior.tasks)}; got none. Choose among them.")
    posterior.require_tasks(tasks)
    start = None if threshold is None else float(posterior.thresholds[posterior.threshold_number(threshold)])
    require_prices(prices)
    scaled = None if curves is None else _fitted_curves(posterior, curves, return_scale)
    scores = held_out_scores(held_out)
    tell = tell or (lambda _: None)
    tell("checking the fit against its own runs")
    checked = predictive_check(posterior)

    def section(number: int, env_id: str) -> Section:
        tell(f"choosing settings: {env_id} ({number} of {counted(len(tasks), 'task')})")
        return _section(posterior, env_id, checked, prices, model_size, start)

    sections = [section(number, env_id) for number, env_id in enumerate(tasks, 1)]
    exact = coverage(posterior, crossings=posterior.crossings, rng=np.random.default_rng(0), levels=(0.5, 0.9))
    diagnostics, priors = posterior.diagnostics(), json.loads(posterior.provenance["priors"])
    sized = "model_size" in posterior.model.varying
    arrays = Arrays()

    def live(env_id: str, choices: Iterable[Allocation]) -> dict[str, Any]:
        tell(f"packing draws for the page: {env_id}")
        return task_fields(
            posterior,
            env_id,
            arrays,
            choices=choices,
            prices=prices,
            curves=scaled,
            model_size=model_size,
            share=1 / len(tasks),
        )

    data = {
        "sized": sized,
        "heads": [*HEADS[:3], *([SIZE_HEAD] if sized else []), *HEADS[3:]],
        "bend": BEND,
        "most_runs": MOST_RUNS,
        "flops_per_sample": FLOPS_PER_PARAMETER_AND_SAMPLE,
        "tasks": [
            {"name": each.env_id, "refusal": each.refusal, "facts": facts(each.rows)}
            | (
                {"thresholds": []}
                if each.refusal
                else {"headline": each.headline} | live(each.env_id, each.choices.values())
            )
            for each in sections
        ],
        "held_out": scores.to_dict("records"),
        **convergence_fields(posterior, diagnostics),
    }
    page = rendered(
        data,
        arrays,
        sections=sections,
        edges=lambda choice: at_edge(posterior, choice),
        prices=prices,
        start=start,
        thresholds=list(posterior.thresholds),
        crossings=posterior.crossings,
        run_count=len(posterior.crossings.groupby(run_columns(posterior.crossings), dropna=False)),
        longest=last_env_steps(posterior.crossings),
        flops_per_parameter=FLOPS_PER_PARAMETER_AND_SAMPLE,
        prior_driven=PRIOR_DRIVEN,
        provenance={name: value for name, value in posterior.provenance.items() if name != "priors"},
        converged=posterior.status.usable,
        status=posterior.status.value,
        diagnostics=diagnostics,
        worst=diagnostics.sort_values("r_hat", ascending=False).head(8),
        exponents=exponents(posterior.draws, priors),
        priors=priors,
        sized=sized,
        over_utd="utd" in posterior.model.varying,
        inside=checked[["inside50", "inside90"]].mean(),
        exact=exact["coverage"],
        checks=law_checks(posterior, tasks),
        statistics=STATISTICS,
        overall=OVERALL,
        false_alarm=FALSE_ALARM,
        held_out=scores,
    )
    with written(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _section(
    posterior: Posterior,
    env_id: str,
    checked: pd.DataFrame,
    prices: Prices,
    model_size: int | None,
    threshold: float | None,
) -> Section:
    """Return one task's choices at the prices of the report, and how its runs agree with the fit."""
    rows = checked[checked["env_id"] == env_id]
    by_threshold = rows.groupby("threshold")[["reached", "inside50", "inside90"]].mean()
    often = by_threshold.index[by_threshold["reached"] >= 0.5]
    headline = threshold if threshold is not None else float(often.max() if len(often) else by_threshold.index[0])
    thresholds = [float(threshold) for threshold in by_threshold.index]
    try:
        choices = allocations(posterior, env_id=env_id, thresholds=thresholds, prices=prices, model_size=model_size)
    except Infeasible as refusal:
        return Section(env_id, rows, by_threshold, headline, {}, str(refusal))
    return Section(env_id, rows, by_threshold, headline, choices, "")


def _fitted_curves(posterior: Posterior, curves: pd.DataFrame, return_scale: ReturnScale | None) -> pd.DataFrame:
    """Return the learning curves in the units of the thresholds."""
    runs = run_columns(posterior.crossings)
    named = posterior.named(require_frame("curves", curves))
    if not set(runs) <= set(named) or not len(named.merge(posterior.crossings[runs].drop_duplicates())):
        raise InputError("curves hold no run of the fit; give the learning curves that it was made from, or none.")
    scale = read_return_scale(return_scale)
    if scale is None:
        return named
    known = curves[curves["env_id"].isin(list(scale))]
    return posterior.named(known.assign(episode_return=normalised_returns(known, scale)))
