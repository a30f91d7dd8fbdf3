"""The cost of a run, and the risk measures that turn draws of a cost into one number. Lower is better for both."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bayescale.arguments import number
from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The price of one training flop and of one env step, both in one unit: flops, dollars, seconds or joules.

    Attributes:
        flop: price of one training flop, >= 0. The default 1 counts costs in flops.
        env_step: price of one env step, >= 0. Default: `default_prices.ENV_STEP_PRICE`.
    """

    flop: float = 1.0
    env_step: float = ENV_STEP_PRICE

    def __post_init__(self) -> None:
        both = (self.flop, self.env_step)
        if not (all(0 <= number(price) < np.inf for price in both) and sum(both) > 0):
            raise InputError(
                f"prices must be finite numbers >= 0 and not both 0; got flop={self.flop!r}, "
                f"env_step={self.env_step!r}. Correct them."
            )

    def cost(self, flops: Float[np.ndarray, "..."], env_steps: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Return the cost F = flop * flops + env_step * env_steps, in the unit of the prices."""
        return self.flop * flops + self.env_step * env_steps


DEFAULT_PRICES = Prices()
MOST_RUNS = 1000  # runs paid for at most, more than any user repeats; a smaller bound would flatter settings that fail


def expected_cost(
    env_steps: Float[np.ndarray, "..."], *, step_cost: Float[np.ndarray, "..."], p_reach: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Return the expected cost until a run has reached the threshold, failed runs and their repetition included.

        step_cost * env_steps * (1 - (1 - p_reach)^MOST_RUNS) / p_reach

    A run that never reaches the threshold is stopped after the env steps of the median run and replaced by a new run,
    up to `MOST_RUNS` runs. Nearly 1 / p_reach runs are paid for on average. The bound keeps the mean over draws finite:
    draws from a wide posterior hold some chances that are nearly 0.

    Args:
        env_steps: of the median run, D.
        step_cost: cost of one env step with its gradient updates, in the unit of the prices.
        p_reach: probability that a run reaches the threshold. 0 makes the cost infinite.
    """
    reached = p_reach > 0
    chance = np.where(reached, p_reach, 1.0)
    with np.errstate(divide="ignore"):  # A chance of 1 gives exp(-inf) = 0.
        runs = -np.expm1(MOST_RUNS * np.log1p(-chance)) / chance
    return np.where(reached, step_cost * env_steps * runs, np.inf)


@dataclass(frozen=True)
class Risk:
    """A risk measure: a function of the draws of a cost whose value a choice minimises.

    A low cost is good, so the risk measures read the upper tail of the cost. With n draws of the cost:

        mean   the mean over all draws
        cvar   the mean over the (1 - level) n most expensive draws (conditional value at risk); at least the mean
        prob   the smallest cost that a share `level` of the draws does not exceed (value at risk): a budget of this
               size suffices with probability `level`

    Attributes:
        kind: mean, cvar or prob.
        level: probability in (0, 1); unused by mean.
        one_run: False: the cost is `expected_cost`, an expectation over seeds, so its draws differ by parameter
            uncertainty alone. True: the cost is the cost of one new run, so its seed noise counts too, and the cost of
            a failed run is infinite.
    """

    kind: str = "mean"
    level: float = 0.0
    one_run: bool = False

    def __call__(self, cost: Float[np.ndarray, "draw *rest"]) -> Float[np.ndarray, "*rest"]:
        """Return the risk over the draw axis, which comes first."""
        if self.kind == "mean":
            return np.asarray(cost.mean(axis=0))
        if self.kind == "prob":
            return np.asarray(np.quantile(cost, self.level, axis=0, method="inverted_cdf"))
        tail_size = (1 - self.level) * len(cost)  # number of draws in the tail, not whole
        counted = int(np.ceil(tail_size))  # only these draws enter the sum: 0 times an infinite cost would give NaN
        weights = np.clip(tail_size - np.arange(counted), 0, 1) / tail_size
        return np.asarray(np.tensordot(weights, -np.sort(-cost, axis=0)[:counted], axes=1))


def parse_risk(text: object) -> Risk:
    """Return the risk measure that `text` names.

    Args:
        text: mean, cvar:LEVEL, prob:LEVEL or run:LEVEL with 0 < LEVEL < 1. run:LEVEL is prob:LEVEL of the cost of one
            new run.

    Raises:
        InputError: `text` names no risk measure.
    """
    kind, _, level = str(text).partition(":")
    if text == "mean":
        return Risk()
    try:
        share = float(level)
    except ValueError:
        share = np.nan
    if kind in ("cvar", "prob", "run") and 0 < share < 1:
        return Risk("prob", share, one_run=True) if kind == "run" else Risk(kind, share)
    raise InputError(
        f"risk must be mean, cvar:LEVEL, prob:LEVEL or run:LEVEL with 0 < LEVEL < 1; got {text!r}. Try cvar:0.9."
    )


def require_prices(prices: object) -> None:
    """Raise InputError unless `prices` is a `Prices`."""
    if not isinstance(prices, Prices):
        raise InputError(f"prices must be bayescale.Prices(flop=..., env_step=...); got {prices!r}. Make them so.")
