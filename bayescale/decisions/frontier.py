"""Compute the data-compute frontier: env steps and flops over UTD.

At each UTD the frontier shows one setting, by default the setting of least risk among those that `allocate` may choose:

    D_J(sigma) = env steps of the median run at this setting;   C_J(sigma) = 10 N B sigma D_J(sigma)

So the cheapest row is the allocation. With `settings="law"`, each draw has its own best batch size and learning rate
B*(sigma), eta*(sigma), as Rybkin et al. (ICML 2025) draw the frontier, here with posterior draws in place of point
estimates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num

from bayescale.arguments import percent, three_digits
from bayescale.decisions.candidates import (
    Within,
    critic_parameters,
    flops_per_step,
    model_size_column,
    ranges,
    require_candidates,
    utd_grid,
)
from bayescale.decisions.cheapest_settings import Question, coarse_choices, refined
from bayescale.decisions.law_optima import optima
from bayescale.decisions.records import quantile_over_draws
from bayescale.decisions.utility import DEFAULT_PRICES, Prices, expected_cost, parse_risk, require_prices
from bayescale.errors import InputError
from bayescale.laws import flops
from bayescale.posterior.ceilings import Ceiling
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.swept_ranges import above_thresholds, joined, outside_sweep
from bayescale.summaries import Summarised, Summary, with_interval

REGION_POINTS = 73  # points of the outline of a credible region


@dataclass(frozen=True, repr=False)
class Frontier(Summarised):
    """Draws of the median run's data and compute over UTD, for one task and threshold.

    Attributes:
        env_id: task.
        threshold: the return J.
        utd: sigma, gradient updates per env step.
        env_steps: D_J, of the median run; inf where it never reaches the threshold.
        flops: C_J, training flops of the median run.
        batch_size, learning_rate: of the setting at each UTD: of least risk, the same for all draws; or by the law B*
            and eta*, which need the fewest env steps under each draw.
        p_reach: probability that a new run there reaches the threshold.
        extrapolated: True where the setting lies outside the task's fitted range or the threshold above the fitted
            ones.
        model_size: N, critic parameters, at each UTD.
        risk: the risk of the cost at each UTD, in the unit of the prices; see `bayescale.decisions.utility`.
        prices: of a training flop and of an env step.
        risk_measure: name of the risk measure.
        settings: cheapest or law.
        failed: True where every candidate lies nearest to a swept setting that failed; its env steps are inf.
        extrapolation: on which axes and how far each setting lies outside; empty inside.
    """

    env_id: str
    threshold: float
    utd: Float[np.ndarray, " utd"]
    env_steps: Float[np.ndarray, "draw utd"]
    flops: Float[np.ndarray, "draw utd"]
    batch_size: Float[np.ndarray, "draw utd"]
    learning_rate: Float[np.ndarray, "draw utd"]
    p_reach: Float[np.ndarray, " utd"]
    extrapolated: Bool[np.ndarray, " utd"]
    model_size: Int[np.ndarray, " utd"]
    risk: Float[np.ndarray, " utd"]
    prices: Prices
    risk_measure: str
    settings: str
    failed: Bool[np.ndarray, " utd"]
    extrapolation: tuple[str, ...]

    def summary(self) -> Summary:
        """Return what the frontier is, its ends and middle, how far it is extrapolated, and what to do with it."""
        table = self.table()
        shown = table.iloc[sorted({0, len(table) // 2, len(table) - 1})]
        said = {
            f"UTD {three_digits(row['utd'])}": "; ".join(
                with_interval({q: row[f"{name}_{q}"] for q in ("q05", "q50", "q95")}, unit)
                for name, unit in (("env_steps", "env steps"), ("flops", "flops"))
            )
            for _, row in shown.iterrows()
        }
        least, most = (percent(chance) for chance in (table["p_reach"].min(), table["p_reach"].max()))
        outside = f"{int(table['extrapolated'].sum()):,} of {len(table):,} UTDs lie outside the fitted data"
        return Summary(
            f"Frontier of {self.env_id} at return {three_digits(self.threshold)}: data and compute by UTD",
            {
                **said,
                "chance": f"{least} to {most} of runs reach the return",
                "how sure": outside,
                "next": "front.table(); bs.plots.frontier(front); bs.allocate(posterior, ...) chooses one setting",
            },
        )

    def table(self) -> pd.DataFrame:
        """Return one row per UTD: the setting, 5%, 50% and 95% quantiles over draws, the risk, and how sure they are.

        `excess` is the risk over the least risk of the UTDs that are not extrapolated, minus 1.
        """
        table = pd.DataFrame({"utd": self.utd})
        for name in ("batch_size", "learning_rate", "env_steps", "flops"):
            for level in (5, 50, 95):
                table[f"{name}_q{level:02d}"] = quantile_over_draws(getattr(self, name), level / 100)
        inside = np.where(self.extrapolated & ~self.extrapolated.all(), np.inf, self.risk)
        return table.assign(
            model_size=self.model_size,
            risk=self.risk,
            excess=self.risk / inside.min() - 1 if np.isfinite(inside.min()) else np.nan,
            p_reach=self.p_reach,
            failed=self.failed,
            extrapolated=self.extrapolated,
            extrapolation=list(self.extrapolation),
        )

    def credible_regions(self, level: float = 0.9) -> Float[np.ndarray, "utd point 2"]:
        """Return the outline of the joint credible region of env steps and flops at each UTD: an ellipse in logs.

        The ellipse has the mean and the covariance of the draws in logs, and holds the share `level` of them. Draws
        that never reach the threshold are left out.
        """
        angle = np.linspace(0.0, 2 * np.pi, REGION_POINTS)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        outlines = np.full((len(self.utd), REGION_POINTS, 2), np.nan)
        for i in range(len(self.utd)):
            both = np.stack([self.env_steps[:, i], self.flops[:, i]])
            logs = np.log(both[:, np.isfinite(both).all(axis=0)])
            if logs.shape[1] < 3:
                continue
            centre, (sizes, axes) = logs.mean(axis=1, keepdims=True), np.linalg.eigh(np.cov(logs))
            lengths = np.sqrt(np.maximum(sizes, 0.0))[:, None]
            scores = np.divide(axes.T @ (logs - centre), lengths, out=np.zeros_like(logs), where=lengths > 1e-9)
            radius = np.sqrt(np.quantile((scores**2).sum(axis=0), level))
            outlines[i] = np.exp(centre + radius * axes @ (lengths * circle)).T
        return outlines


def frontier(
    posterior: Posterior,
    *,
    env_id: str,
    threshold: float,
    utd: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
    prices: Prices = DEFAULT_PRICES,
    risk: str = "mean",
    settings: str = "cheapest",
    within: Within | None = None,
    model_size: int | None = None,
    ceiling: Ceiling | None = None,
    new_task: bool = False,
    cut_short: bool = False,
) -> Frontier:
    """Return the data-compute frontier of a task at a threshold.

    Args:
        posterior: a fit.
        env_id: task.
        threshold: the return, at least the lowest of `posterior.thresholds`. Between fitted thresholds, the parameters
            of run lengths are linear in the return. Above the highest, runs follow the law of
            `bayescale.posterior.extrapolation`.
        utd: UTDs to evaluate, > 0; default: those that `allocate` chooses among, and quarter octaves down to half the
            lowest and up to twice the highest.
        prices: of a training flop and of an env step.
        risk: the risk measure, as for `allocate`.
        settings: cheapest: at each UTD the batch size, learning rate and model size of least risk within their ranges.
            law: each draw's own B* and eta*, wherever they lie, at one model size.
        within: lowest and highest value by axis, in place of the swept range: {"batch_size": (64, 4096)}. A setting
            beyond the sweep is marked as extrapolated.
        model_size: critic parameters; default: that of the task's fitted runs; where it varies, the cheapest one, or by
            the law the middle one.
        ceiling: the highest return that a task allows, in units of the thresholds; see `bayescale.posterior.ceilings`.
        new_task: True allows a task without runs; its frontier is that of a task sampled from the population of tasks.
        cut_short: True: runs that ended early below the return were only cut short, so their settings count too.

    Raises:
        InputError: the threshold lies below the fitted ones, or above fewer than three; a ceiling, a range, the prices
            or the risk are unusable; the task has no fitted runs and `new_task` is False; a UTD is not a positive
            number; the model size is neither given nor in the data.
        Infeasible: all swept settings failed at the return.
    """
    if settings not in ("cheapest", "law"):
        raise InputError(f"settings must be cheapest or law; got {settings!r}. Choose one of them.")
    require_prices(prices)
    measure = parse_risk(risk)
    posterior.require_tasks([env_id], new_task=new_task)
    posterior.warn_of_nothing_reached([env_id])
    wanted = posterior.as_fitted(threshold)
    limits = ranges(posterior, env_id, within=within, model_size=model_size)
    given = utd_grid(posterior, env_id, *limits["utd"]) if utd is None else np.ravel(utd)
    grid = np.asarray(pd.to_numeric(given, errors="coerce"), float)
    if not (len(grid) and (np.isfinite(grid) & (grid > 0)).all()):
        raise InputError("utd must be one or more numbers, finite and > 0; correct the grid.")
    if settings == "law":
        size = critic_parameters(posterior, env_id, model_size)
        optimum = optima(posterior, env_id, grid, size, wanted, ceiling)
        batch, rate, steps, p_reach = (part[:, :, 0] for part in optimum)
        step_flops = np.asarray(flops(size, batch, grid, 1.0))
        cost = expected_cost(steps, step_cost=prices.cost(step_flops, np.ones_like(batch)), p_reach=p_reach)
        risks, failed = measure(cost), np.zeros(len(grid), bool)
        points = pd.DataFrame({"env_id": env_id, "utd": grid, **model_size_column(posterior, size)})
        sizes = np.full(len(grid), size)
    else:
        question = Question(
            posterior=posterior,
            env_id=env_id,
            wanted=wanted,
            prices=prices,
            measure=measure,
            ranges=limits,
            ceiling=ceiling,
            cut_short=cut_short,
        )
        choices = refined(question, coarse_choices(question, grid))
        require_candidates(env_id, wanted, ~choices.failed)
        points, failed, p_reach = choices.settings, choices.failed, choices.run_lengths.p_reach
        steps = np.where(failed, np.inf, choices.env_steps)
        batch, rate = (
            np.broadcast_to(points[name].to_numpy(float), steps.shape) for name in ("batch_size", "learning_rate")
        )
        step_flops, risks, sizes = flops_per_step(points), choices.risk, points["model_size"].to_numpy()
    above = above_thresholds(posterior.thresholds, wanted)
    outside = tuple(joined(text, above) for text in outside_sweep(posterior.crossings, points))
    return Frontier(
        env_id=env_id,
        threshold=wanted,
        utd=grid,
        env_steps=steps,
        flops=step_flops * steps,
        batch_size=batch,
        learning_rate=rate,
        p_reach=p_reach.mean(axis=0),
        extrapolated=np.array([text != "" for text in outside]),
        model_size=sizes,
        risk=risks,
        prices=prices,
        risk_measure=risk,
        settings=settings,
        failed=failed,
        extrapolation=outside,
    )
