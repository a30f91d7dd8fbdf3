"""What a run costs and how a cost under uncertainty is judged. Costs are in the unit of the prices; lower is better."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bayescale.arguments import number
from bayescale.errors import InputError


@dataclass(frozen=True)
class Prices:
    """The price of one training flop and of one env step, in one unit (flops, dollars, seconds, joules).

    The default counts in flops and lets one env step be worth 4e9 of them, as Rybkin et al. do on Gym.
    """

    flop: float = 1.0
    env_step: float = 4e9

    def __post_init__(self) -> None:
        both = (self.flop, self.env_step)
        if not (all(0 <= number(price) < np.inf for price in both) and sum(both) > 0):
            raise InputError(
                f"prices must be finite numbers >= 0 and not both 0; got flop={self.flop!r}, "
                f"env_step={self.env_step!r}. Correct them."
            )

    def cost(self, flops: Float[np.ndarray, "..."], env_steps: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """F = flop * C + env_step * D."""
        return self.flop * flops + self.env_step * env_steps


@dataclass(frozen=True)
class Risk:
    """How draws of a cost become one number to minimise; low is good, so a tail is the upper tail of cost.

    mean: the expectation.  cvar: the mean of the worst share 1 - level of the draws (conditional value at risk), at
    least the mean.  prob: the least number that a share level of the draws does not exceed (value at risk), so that a
    budget of this size suffices with that probability. The cost is that of the median run; with `one_run`, of one new
    run, whatever its seed.
    """

    kind: str = "mean"
    level: float = 0.0
    one_run: bool = False

    def __call__(self, cost: Float[np.ndarray, "draw *rest"]) -> Float[np.ndarray, "*rest"]:
        """The risk over the draw axis, which comes first."""
        if self.kind == "mean":
            return np.asarray(cost.mean(axis=0))
        if self.kind == "prob":
            return np.asarray(np.quantile(cost, self.level, axis=0, method="inverted_cdf"))
        worst = (1 - self.level) * len(cost)  # draws; the last of them counts in part
        counted = int(np.ceil(worst))  # a cost may be inf, which a weight of 0 would not leave out
        weights = np.clip(worst - np.arange(counted), 0, 1) / worst
        return np.asarray(np.tensordot(weights, -np.sort(-cost, axis=0)[:counted], axes=1))


def parse_risk(text: object) -> Risk:
    """The risk measure that a word names: mean, cvar:LEVEL, prob:LEVEL or run:LEVEL (prob of one run), 0 < LEVEL < 1.

    Raises:
        InputError: anything else.
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
    """Nothing, if these are prices; InputError otherwise."""
    if not isinstance(prices, Prices):
        raise InputError(f"prices must be bayescale.Prices(flop=..., env_step=...); got {prices!r}. Make them so.")
