"""The records that decisions return: the chosen setting with its costs, and the basis of a decision."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from bayescale.arguments import counted, percent, three_digits
from bayescale.decisions.utility import Prices
from bayescale.posterior.posterior import Posterior
from bayescale.summaries import Summarised, Summary, with_interval

QUANTILE_LEVELS = {"q05": 0.05, "q50": 0.50, "q95": 0.95}


@dataclass(frozen=True)
class Basis:
    """The prices, the risk measure, the quantile levels and the fit that a decision rests on.

    Attributes:
        prices: of a training flop and of an env step.
        risk_measure: name of the risk measure, see `bayescale.decisions.utility`.
        quantile_levels: the level of each quantile by its name.
        fit: the fit's data hash, seed, sampling method and package versions.
    """

    prices: Prices
    risk_measure: str
    quantile_levels: dict[str, float]
    fit: dict[str, str]


def basis_of(posterior: Posterior, prices: Prices, risk_measure: str) -> Basis:
    """Return the basis of a decision from this posterior."""
    fit = {name: value for name, value in posterior.provenance.items() if name != "priors"}
    return Basis(prices, risk_measure, dict(QUANTILE_LEVELS), fit)


@dataclass(frozen=True, repr=False)
class Allocation(Summarised):
    """The chosen setting, what it costs and how likely one run succeeds.

    The dicts hold the mean and the quantiles q05, q50 and q95 over draws. Env steps and costs are inf under a draw
    in which no run reaches the threshold, which can happen above the fitted thresholds; JSON has null for inf.

    Attributes:
        env_id: task.
        threshold: the return to reach.
        utd, batch_size, learning_rate, model_size: the chosen setting.
        feasible: True if the risk is finite and within the budget, where one was given.
        risk: the number that the choice minimises, one for all draws, in the unit of the prices; inf if no budget
            suffices.
        p_success: probability that one new run reaches the threshold, within the budget where one was given.
        env_steps: of the median run.
        flops: training flops of the median run.
        budget: expected cost in the unit of the prices: the cost of the median run over the probability that a run
            reaches the threshold, so that failed runs and their repetition count.
        regret: cost of this setting over the least cost of all settings under the same draw, minus 1; >= 0. Its mean is
            a mean of ratios.
        runs: fitted runs of the task; 0 for a task without runs.
        runs_reached: runs among them that reached the threshold, to judge `p_success` by; None if the fit does not say,
            which happens above the highest fitted threshold for crossings without the column `highest_return`.
        extrapolation: on which axes and how far the choice lies outside the task's fitted data; empty inside.
        left_out: the swept settings that failed at the threshold, in words: candidates nearest to them were left out.
        basis: the prices, the risk measure, the quantile levels and the fit that the choice rests on.
    """

    env_id: str
    threshold: float
    utd: float
    batch_size: int
    learning_rate: float
    model_size: int
    feasible: bool
    risk: float
    p_success: float
    env_steps: dict[str, float]
    flops: dict[str, float]
    budget: dict[str, float]
    regret: dict[str, float]
    runs: int
    runs_reached: int | None
    extrapolation: str
    left_out: tuple[str, ...]
    basis: Basis

    @property
    def setting(self) -> str:
        """The chosen UTD, batch size and learning rate in words."""
        sizes = f"UTD {three_digits(self.utd)}, batch size {self.batch_size:,}"
        return f"{sizes}, learning rate {three_digits(self.learning_rate)}"

    def summary(self) -> Summary:
        """Return what was chosen, what it needs, how sure that is, and what to do next."""
        prices, regret = self.basis.prices, self.regret
        paid = f"{prices.flop:g} per flop and {prices.env_step:g} per env step"
        seen = "an unknown number" if self.runs_reached is None else f"{self.runs_reached:,}"
        seen = f"{seen} of {counted(self.runs, 'fitted run')} of the task reached the return"
        notes = {"outside": self.extrapolation} if self.extrapolation else {}
        if self.left_out:
            notes["left out"] = f"candidates nearest to {counted(len(self.left_out), 'failed setting')}"
        title = f"Allocation for {self.env_id} at return {three_digits(self.threshold)}"
        return Summary(
            title if self.feasible else f"{title}: NOT FEASIBLE within the budget",
            {
                "run": f"{self.setting}, {self.model_size:,} critic parameters",
                "data": f"{with_interval(self.env_steps, 'env steps')} of the median run",
                "compute": with_interval(self.flops, "flops"),
                "cost": f"{with_interval(self.budget, 'units')} at {paid}",
                "how sure": f"one run succeeds with probability {percent(self.p_success)}; {seen}",
                "regret": f"{regret['mean']:.1%} over the best setting under the same draw; q95 {regret['q95']:.1%}",
                **notes,
                "next": "choice.to_json(); bs.next_experiments(...) names runs that would make it surer",
            },
        )

    def to_json(self) -> str:
        """Return the allocation as a JSON object, with null for inf."""

        def finite(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: finite(part) for name, part in value.items()}
            return None if value == np.inf else value

        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False)


def quantile_over_draws(values: Float[np.ndarray, "draw *rest"], level: float) -> Float[np.ndarray, "*rest"]:
    """Return a quantile over draws; if any value is inf, take the nearest draw instead of interpolating."""
    return np.asarray(np.quantile(values, level, axis=0, method="linear" if np.isfinite(values).all() else "nearest"))


def mean_and_quantiles(values: Float[np.ndarray, " draw"]) -> dict[str, float]:
    """Return the mean and the quantiles at `QUANTILE_LEVELS` over draws."""
    quantiles = {name: float(quantile_over_draws(values, level)) for name, level in QUANTILE_LEVELS.items()}
    return {"mean": float(values.mean()), **quantiles}
