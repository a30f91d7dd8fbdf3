"""One self-contained page about a posterior: what was fitted, what to run, the pictures, and how far to trust them."""

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
from bayescale.decisions.allocation import Allocation, allocations, at_edge, budget_path
from bayescale.decisions.frontier import critic_parameters, frontier
from bayescale.decisions.utility import Prices, require_prices
from bayescale.errors import InputError, MissingExtra
from bayescale.laws import FLOPS_PER_PARAMETER_AND_SAMPLE
from bayescale.posterior.posterior import Posterior
from bayescale.reporting import plots
from bayescale.reporting.style import plain, scientific, si
from bayescale.validation.calibration import coverage
from bayescale.validation.predictive_checks import OVERALL, posterior_predictive_checks
from bayescale.validation.scores import interval_hits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULES = ("batch_size", "learning_rate")
BEYOND = 2.0  # the pictures go this factor beyond the swept UTD, on both sides
LEVELS_SHOWN = 4  # thresholds in the picture of the frontier and in the table of choices
RANK_BINS = 20
PRIOR_DRIVEN = 0.7  # an exponent that keeps more of its prior sd than this has learned little from the data
FALSE_ALARM = 0.01  # of the table of tasks that do not follow the law
STATISTICS = {
    "utd": "curves over UTD",
    "batch_size": "curves over batch size",
    "learning_rate": "curves over learning rate",
    "model_size": "curves over model size",
    "scatter": "settings scatter more than in other tasks",
    "surface": "settings lie off the law",
    "spread": "seeds spread otherwise at high UTD than at low",
    "censored": "censored otherwise than predicted",
}
EXPONENTS = {
    "log_alpha": "log α: how fast the data needed falls with UTD",
    "batch_size_slope": "how fast the best batch size falls with UTD",
    "learning_rate_slope": "how fast the best learning rate falls with UTD",
}


@dataclass(frozen=True)
class Section:
    """What the page says about one task."""

    env_id: str
    rows: pd.DataFrame  # the task's crossings
    levels: pd.DataFrame  # one row per threshold: J, share of the runs that reached it, share of them in the intervals
    choices: dict[float, Allocation]  # by threshold: some, and the headline
    headline: float  # the threshold of the recommendation and of the pictures
    pictures: dict[str, str]  # addresses of drawings, by what they show


def report(
    posterior: Posterior,
    path: str | Path,
    curves: pd.DataFrame | None = None,
    prices: Prices = DEFAULT_PRICES,
    env_ids: Sequence[str] | None = None,
    return_scale: ReturnScale | None = None,
    model_size: int | None = None,
) -> Path:
    """The path of the page, one HTML file without references to others, complete or not there.

    Args:
        posterior: what `fit` returns.
        path: the file to write, in a folder that exists.
        curves: the learning curves, drawn behind the crossings, or None.
        prices: of compute and data, for the recommendation.
        env_ids: the tasks to report, in this order; None: all of the posterior.
        return_scale: what the crossings were made with, so that the curves get the units of the thresholds.
        model_size: critic parameters, to count flops with; None: those of each task's fitted runs.

    Raises:
        InputError: no such folder, a task that was not fitted, no model size, curves of other runs, or a file that
            cannot be written.
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
    unknown = [env_id for env_id in tasks if env_id not in posterior.tasks]
    if unknown or not tasks:
        raise InputError(
            f"env_ids must be among {', '.join(posterior.tasks)}; got {unknown or tasks}. Choose of these."
        )
    require_prices(prices)
    scaled = None if curves is None else _fitted_curves(posterior, curves, return_scale)
    checked = _predictive_check(posterior)
    diagnostics, priors = posterior.diagnostics(), json.loads(posterior.provenance["priors"])
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(number=plain, rate=scientific, steps=_steps, percent=_percent, counted=counted)
    template = files("bayescale.reporting").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        sections=[_section(posterior, env_id, scaled, prices, model_size, checked) for env_id in tasks],
        edges=lambda choice: at_edge(posterior, choice),
        steps=_steps,
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
        exponents=_exponents(diagnostics, priors),
        priors=priors,
        sized="model_size" in posterior.model.varying,
        over_utd="utd" in posterior.model.varying,
        inside=checked[["inside50", "inside90"]].mean(),
        exact=coverage(posterior, crossings=posterior.crossings, rng=np.random.default_rng(0), levels=(0.5, 0.9))[
            "coverage"
        ],
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
    levels = rows.groupby("threshold")[["reached", "inside50", "inside90"]].mean()
    thresholds = [float(threshold) for threshold in levels.index]
    often = levels.index[levels["reached"] >= 0.5]
    headline = float(often.max()) if len(often) else thresholds[0]
    utd = _utd_grid(rows["utd"])
    shown = sorted({thresholds[i] for i in np.linspace(0, len(thresholds) - 1, LEVELS_SHOWN).round().astype(int)})
    table = frontier(posterior, env_id, headline, utd, model_size).table()
    rows = rows.assign(near_optimum=_near_optimum(rows, table))
    drawn = rows
    if "model_size" in posterior.model.varying:  # the pictures are of one size
        distance = abs(np.log(rows["model_size"] / critic_parameters(posterior, env_id, model_size)))
        drawn = rows[distance == distance.min()]
    pictures = {"learning_curves": _svg(plots.plot_learning_curves(drawn[drawn["near_optimum"]], env_id, curves))}
    if "utd" in posterior.model.varying:  # a fit of one UTD tells nothing of others
        fronts = [frontier(posterior, env_id, threshold, utd, model_size) for threshold in shown]
        path = budget_path(posterior, env_id, prices, model_size).table()
        pictures |= {
            "data": _svg(plots.plot_data(table, drawn, headline)),
            **{name: _svg(plots.plot_rule(table, name, drawn)) for name in RULES if drawn[name].nunique() > 1},
            "frontier": _svg(plots.plot_frontier(fronts)),
            "budget_path": _svg(plots.plot_budget_path(path, drawn)),
        }
    choices = allocations(posterior, env_id, sorted({*shown, headline}), prices, model_size)
    return Section(env_id, rows, levels, choices, headline, pictures)


def _utd_grid(swept: pd.Series) -> Float[np.ndarray, " utd"]:
    """Quarter octaves over the swept range and a bit beyond, and the swept values themselves."""
    low, high = np.ceil(4 * np.log2(swept.min() / BEYOND)), np.floor(4 * np.log2(swept.max() * BEYOND))
    return np.unique(np.concatenate([2.0 ** (np.arange(low, high + 1) / 4), swept.unique()]))


def _near_optimum(rows: pd.DataFrame, table: pd.DataFrame) -> Bool[np.ndarray, " row"]:
    """Whether a run has the swept setting that is nearest, in logs, to B*, eta* at its UTD."""
    distance = np.zeros(len(rows))
    for name in RULES:
        best = np.interp(np.log(rows["utd"]), np.log(table["utd"]), np.log(table[f"{name}_q50"]))
        distance += (np.log(rows[name].to_numpy(float)) - best) ** 2
    return np.isclose(distance, pd.Series(distance, rows.index).groupby(rows["utd"]).transform("min"))


def _predictive_check(posterior: Posterior) -> pd.DataFrame:
    """The crossings, and whether each agrees with the central 50% and 90% of its own prediction (`inside50`, ...)."""
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
    """The posterior predictive checks of these tasks, made among all, and of all together."""
    checks = posterior_predictive_checks(posterior, rng=np.random.default_rng(0), false_alarm=FALSE_ALARM)
    return checks[checks["env_id"].isin([*tasks, OVERALL])]


def _last_env_steps(crossings: pd.DataFrame) -> pd.Series:
    """By task, the last env step that the crossings tell of."""
    last = crossings["env_steps_upper"].where(~crossings["censored"], crossings["env_steps_lower"])
    return last.groupby(crossings["env_id"]).max()


def _exponents(diagnostics: pd.DataFrame, priors: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """By exponent: its posterior mean and sd, its prior sd, and the share of the prior's width that is left."""
    rows = diagnostics.loc[[name for name in EXPONENTS if name in diagnostics.index], ["mean", "sd"]]
    prior = pd.Series({name: priors[name]["scale"] for name in rows.index}, dtype=float)
    return rows.assign(meaning=rows.index.map(EXPONENTS), prior_sd=prior, left=rows["sd"] / prior)


def _diagnostic_pictures(posterior: Posterior, diagnostics: pd.DataFrame) -> dict[str, str]:
    """Convergence of all parameters, then rank plots of those with the largest R-hat and the fewest draws."""
    fewest = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1).idxmin()
    max_r_hat, per_chain = posterior.status.limits
    min_ess = per_chain * len(next(iter(posterior.draws.values())))
    worst = dict.fromkeys((str(diagnostics["r_hat"].idxmax()), str(fewest)))
    ranks = {name: _svg(plots.plot_chain_ranks(_rank_counts(posterior, name), name)) for name in worst}
    convergence = plots.plot_diagnostics(diagnostics, min_ess=min_ess, max_r_hat=max_r_hat)
    return {"convergence": _svg(convergence), **ranks}


def _rank_counts(posterior: Posterior, name: str) -> Int[np.ndarray, "chain bin"]:
    """How many draws of each chain fall into each twentieth of the ranks over all chains."""
    site, _, index = name.removesuffix("]").partition("[")
    position = tuple(int(i) for i in index.split(",")) if index else ()
    draws = posterior.to_arviz()["posterior"][site].to_numpy()[(..., *position)]
    ranks = rankdata(draws).reshape(draws.shape) - 0.5
    return np.stack([np.histogram(chain, RANK_BINS, (0, draws.size))[0] for chain in ranks])


def _fitted_curves(posterior: Posterior, curves: pd.DataFrame, return_scale: ReturnScale | None) -> pd.DataFrame:
    """The learning curves in the units of the thresholds."""
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
    """The figure as a data address: as an image, identifiers inside one drawing cannot meet those of another."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "bayescale"}):  # equal numbers give equal files
        cast(Figure, ax.figure).savefig(drawn, format="svg", dpi=200, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode("ascii")


def _steps(value: float) -> str:
    return si(value) if np.isfinite(value) else "never"


def _percent(share: float) -> str:
    if 0 < share < 0.0005 or 0.9995 <= share < 1:
        return "<0.1%" if share < 0.5 else ">99.9%"
    return f"{100 * share:.1f}%" if 0 < min(share, 1 - share) < 0.01 else f"{100 * share:.0f}%"
