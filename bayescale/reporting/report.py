"""Write one HTML page about a posterior: what was fitted, what to run, the plots, and how far to trust them."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from bayescale.arguments import counted
from bayescale.data.configurations import setting_columns
from bayescale.data.curves import run_columns
from bayescale.data.output_files import written
from bayescale.data.return_scale import ReturnScale, normalised_returns, read_return_scale
from bayescale.data.tables import require_frame
from bayescale.data.tasks import several_names
from bayescale.decisions.allocation import allocations, at_edge
from bayescale.decisions.budget_path import budget_path
from bayescale.decisions.frontier import critic_parameters, frontier
from bayescale.decisions.records import Allocation
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, require_prices
from bayescale.errors import Infeasible, InputError, MissingExtra
from bayescale.laws import FLOPS_PER_PARAMETER_AND_SAMPLE
from bayescale.posterior.posterior import Posterior
from bayescale.reporting import diagnostic_plots, plots
from bayescale.reporting.style import percent, plain, scientific, steps
from bayescale.validation.calibration import coverage
from bayescale.validation.predictive_checks import OVERALL, posterior_predictive_checks
from bayescale.validation.scores import interval_hits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULES = ("batch_size", "learning_rate")
BEYOND = 2.0  # factor by which the plots go beyond the swept UTDs, on both sides
THRESHOLDS_SHOWN = 4  # number of thresholds in the frontier plot and in the table of choices
RANK_BINS = 20  # bins of a rank plot
PRIOR_DRIVEN = 0.7  # posterior sd over prior sd; above it the data say little about an exponent
FALSE_ALARM = 0.01  # probability that any task is flagged although all follow the law
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
EXPONENTS = {
    "log_sharpness": "log p: how sharply the data needed levels off with UTD",
    "batch_utd_exponent": "how fast the best batch size falls with UTD",
    "rate_utd_exponent": "how fast the best learning rate falls with UTD",
}


@dataclass(frozen=True)
class Section:
    """One task's part of the page."""

    env_id: str
    rows: pd.DataFrame  # the task's crossings
    by_threshold: pd.DataFrame  # one row per threshold: shares `reached`, `inside50` and `inside90` of its runs
    choices: dict[float, Allocation]  # the best configuration by threshold, for some thresholds and the headline
    refusal: str  # the reason why there are no choices; empty if there are
    headline: float  # the threshold of the recommendation and of the plots
    pictures: dict[str, str]  # data addresses of the plots, by kind


def report(
    posterior: Posterior,
    path: str | Path,
    *,
    curves: pd.DataFrame | None = None,
    prices: Prices = DEFAULT_PRICES,
    env_ids: Sequence[str] | None = None,
    return_scale: ReturnScale | None = None,
    model_size: int | None = None,
) -> Path:
    """Write one HTML page about a posterior and return its path. The file refers to no other file.

    Args:
        posterior: the result of `fit`.
        path: the file to write, in a folder that exists.
        curves: the learning curves that were fitted, to draw them behind the crossings; or None.
        prices: prices of compute and data, for the recommendation.
        env_ids: the tasks to report, in this order; None reports all.
        return_scale: the scale that the crossings were made with, which gives the curves the units of the thresholds.
        model_size: number of critic parameters, to count flops; None takes it from each task's fitted runs.

    Raises:
        InputError: the folder does not exist or cannot be written to, a task was not fitted, the model size is
            unknown, or `curves` holds none of the fitted runs.
        MissingExtra: matplotlib or jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtra("jinja2", "report") from error
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist. Create it first.")
    tasks = posterior.tasks if env_ids is None else several_names("env_ids", env_ids)
    if not tasks:
        raise InputError(f"env_ids must be among {', '.join(posterior.tasks)}; got none. Choose among them.")
    posterior.require_tasks(tasks)
    require_prices(prices)
    scaled = None if curves is None else _fitted_curves(posterior, curves, return_scale)
    checked = _predictive_check(posterior)
    exact = coverage(posterior, crossings=posterior.crossings, rng=np.random.default_rng(0), levels=(0.5, 0.9))
    diagnostics, priors = posterior.diagnostics(), json.loads(posterior.provenance["priors"])
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(number=plain, rate=scientific, steps=steps, percent=percent, counted=counted)
    template = files("bayescale.reporting").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        sections=[_section(posterior, env_id, scaled, prices, model_size, checked) for env_id in tasks],
        edges=lambda choice: at_edge(posterior, choice),
        steps=steps,
        rate=scientific,
        prices=prices,
        thresholds=list(posterior.thresholds),
        crossings=posterior.crossings,
        run_count=len(posterior.crossings.groupby(run_columns(posterior.crossings))),
        longest=_last_env_steps(posterior.crossings),
        flops_per_parameter=FLOPS_PER_PARAMETER_AND_SAMPLE,
        prior_driven=PRIOR_DRIVEN,
        beyond=BEYOND,
        provenance={name: value for name, value in posterior.provenance.items() if name != "priors"},
        converged=posterior.status.usable,
        status=posterior.status.value,
        diagnostics=diagnostics,
        worst=diagnostics.sort_values("r_hat", ascending=False).head(8),
        diagnostic_pictures=_diagnostic_pictures(posterior, diagnostics),
        exponents=_exponents(posterior.draws, priors),
        priors=priors,
        sized="model_size" in posterior.model.varying,
        over_utd="utd" in posterior.model.varying,
        inside=checked[["inside50", "inside90"]].mean(),
        exact=exact["coverage"],
        checks=_law_checks(posterior, tasks),
        statistics=STATISTICS,
        overall=OVERALL,
        false_alarm=FALSE_ALARM,
    )
    with written(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _section(
    posterior: Posterior,
    env_id: str,
    curves: pd.DataFrame | None,
    prices: Prices,
    model_size: int | None,
    checked: pd.DataFrame,
) -> Section:
    rows = checked[checked["env_id"] == env_id]
    by_threshold = rows.groupby("threshold")[["reached", "inside50", "inside90"]].mean()
    thresholds = [float(threshold) for threshold in by_threshold.index]
    often = by_threshold.index[by_threshold["reached"] >= 0.5]
    headline = float(often.max()) if len(often) else thresholds[0]
    utd = _utd_grid(rows["utd"])
    shown = sorted({thresholds[i] for i in np.linspace(0, len(thresholds) - 1, THRESHOLDS_SHOWN).round().astype(int)})
    table = frontier(posterior, env_id=env_id, threshold=headline, utd=utd, model_size=model_size).table()
    rows = rows.assign(near_optimum=_near_optimum(rows, table))
    drawn = rows
    if "model_size" in posterior.model.varying:  # the plots show one model size
        distance = abs(np.log(rows["model_size"] / critic_parameters(posterior, env_id, model_size)))
        drawn = rows[distance == distance.min()]
    pictures = {
        "learning_curves": _svg(plots.plot_learning_curves(drawn[drawn["near_optimum"]], env_id, curves=curves))
    }
    if "utd" in posterior.model.varying:  # one UTD says nothing about others
        fronts = [
            frontier(posterior, env_id=env_id, threshold=threshold, utd=utd, model_size=model_size)
            for threshold in shown
        ]
        pictures |= {
            "data": _svg(plots.plot_data(table, drawn, headline)),
            **{name: _svg(plots.plot_rule(table, name, drawn)) for name in RULES if drawn[name].nunique() > 1},
            "frontier": _svg(plots.plot_frontier(fronts)),
        }
    options: dict[str, Any] = {"env_id": env_id, "prices": prices, "model_size": model_size}
    try:
        choices = allocations(posterior, thresholds=sorted({*shown, headline}), **options)
    except Infeasible as refusal:
        return Section(env_id, rows, by_threshold, {}, str(refusal), headline, pictures)
    if "utd" in posterior.model.varying:
        path = budget_path(posterior, **options).table()
        pictures["budget_path"] = _svg(plots.plot_budget_path(path, drawn))
    return Section(env_id, rows, by_threshold, choices, "", headline, pictures)


def _utd_grid(swept: pd.Series) -> Float[np.ndarray, " utd"]:
    """Return the UTDs of the plots: quarter octaves over the swept range and a bit beyond, and the swept UTDs."""
    low, high = np.ceil(4 * np.log2(swept.min() / BEYOND)), np.floor(4 * np.log2(swept.max() * BEYOND))
    return np.unique(np.concatenate([2.0 ** (np.arange(low, high + 1) / 4), swept.unique()]))


def _near_optimum(rows: pd.DataFrame, table: pd.DataFrame) -> Bool[np.ndarray, " row"]:
    """Mark the runs whose batch size and learning rate are, of the swept ones, nearest to B*, eta* in logs."""
    distance = np.zeros(len(rows))
    for name in RULES:
        best = np.interp(np.log(rows["utd"]), np.log(table["utd"]), np.log(table[f"{name}_q50"]))
        distance += (np.log(rows[name].to_numpy(float)) - best) ** 2
    return np.isclose(distance, pd.Series(distance, rows.index).groupby(rows["utd"]).transform("min"))


def _predictive_check(posterior: Posterior) -> pd.DataFrame:
    """Return the crossings with `inside50` and `inside90`: True if its own central interval holds the crossing."""
    crossings = posterior.crossings
    keys = setting_columns(crossings)
    predicted = posterior.predict(crossings[keys].drop_duplicates().reset_index(drop=True))
    both = crossings.merge(predicted[[*keys, "threshold", "q05", "q25", "q75", "q95"]], on=[*keys, "threshold"])
    return both.assign(
        reached=~both["censored"],
        inside50=interval_hits(both, low=both["q25"], high=both["q75"]),
        inside90=interval_hits(both, low=both["q05"], high=both["q95"]),
    )


def _law_checks(posterior: Posterior, tasks: Sequence[str]) -> pd.DataFrame:
    """Return the posterior predictive checks of these tasks and of all tasks together."""
    checks = posterior_predictive_checks(posterior, rng=np.random.default_rng(0), false_alarm=FALSE_ALARM)
    return checks[checks["env_id"].isin([*tasks, OVERALL])]


def _last_env_steps(crossings: pd.DataFrame) -> pd.Series:
    """Return, by task, the latest env step at which a crossing was observed or censored."""
    last = crossings["env_steps_upper"].where(~crossings["censored"], crossings["env_steps_lower"])
    return last.groupby(crossings["env_id"]).max()


def _exponents(draws: dict[str, np.ndarray], priors: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a table of the population's exponents midway between the thresholds; `left` is posterior sd over prior sd.

    The population's exponents are linear in the threshold, and the last row of the task axis is the population.
    """
    rows = []
    for name in (name for name in EXPONENTS if name in draws):
        population = draws[name] if draws[name].ndim == 3 else draws[name][:, :, -1]  # chain, draw, threshold
        midway = (population[..., 0] + population[..., -1]) / 2
        rows.append((name, EXPONENTS[name], midway.mean(), midway.std(ddof=1), priors[name]["scale"]))
    table = pd.DataFrame(rows, columns=["name", "meaning", "mean", "sd", "prior_sd"]).set_index("name")
    return table.assign(left=table["sd"] / table["prior_sd"])


def _diagnostic_pictures(posterior: Posterior, diagnostics: pd.DataFrame) -> dict[str, str]:
    """Return a plot of all parameters, and rank plots of the largest R-hat and the smallest effective sample size."""
    fewest = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1).idxmin()
    max_r_hat, per_chain = posterior.status.limits
    min_ess = per_chain * len(next(iter(posterior.draws.values())))
    worst = dict.fromkeys((str(diagnostics["r_hat"].idxmax()), str(fewest)))
    ranks = {name: _svg(diagnostic_plots.plot_chain_ranks(_rank_counts(posterior, name), name)) for name in worst}
    convergence = diagnostic_plots.plot_diagnostics(diagnostics, min_ess=min_ess, max_r_hat=max_r_hat)
    return {"convergence": _svg(convergence), **ranks}


def _rank_counts(posterior: Posterior, name: str) -> Int[np.ndarray, "chain bin"]:
    """Count how many draws of each chain fall into each twentieth of the ranks over all chains."""
    site, _, index = name.removesuffix("]").partition("[")
    position = tuple(int(i) for i in index.split(",")) if index else ()
    draws = posterior.to_arviz()["posterior"][site].to_numpy()[(..., *position)]
    ranks = rankdata(draws).reshape(draws.shape) - 0.5
    return np.stack([np.histogram(chain, RANK_BINS, (0, draws.size))[0] for chain in ranks])


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


def _svg(ax: "Axes") -> str:
    """Return the figure as a data address. Inside an image, identifiers of two drawings cannot clash."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "bayescale"}):  # equal numbers give equal files
        cast(Figure, ax.figure).savefig(drawn, format="svg", dpi=200, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode("ascii")
