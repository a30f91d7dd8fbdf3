"""The options of a sampler, and its draws with the verdict on them.

The module imports no sampler, because reading a saved fit needs none.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from bayescale.arguments import require_count
from bayescale.errors import InputError
from bayescale.inference.convergence import LEAST_DRAWS, Status

WARMUP = 200  # iterations; enough for HMC to learn the scales
ROUNDS = 4  # most rounds of `draws` each; fits with one task of four runs beside full ones needed one to three
METHODS = ("hmc", "fast", "nuts")


@dataclass(frozen=True)
class SamplerOptions:
    """Options of one fit's sampler.

    Attributes:
        seed: seed of all random numbers, >= 0; equal seeds give equal draws on one machine.
        chains: number of chains, which run side by side.
        draws: draws kept per chain and round, at least 8.
        warmup: iterations of adaptation per chain, not kept.
        method: "hmc"; "fast": short chains of 250 to 750 draws, then "hmc", with a warning, if these disagree; or
            "nuts", which needs a longer warm-up.
        most_draws: most draws kept per chain. Each further round adds `draws` to those before, until the chains
            converge. If too many draws diverge, the sampler warns and starts again with smaller steps. None: one round,
            whatever its outcome.
    """

    seed: int = 0
    chains: int = 4
    draws: int = 1000
    warmup: int = WARMUP
    method: str = "hmc"
    most_draws: int | None = None

    def check(self) -> None:
        """Raise InputError if the method is unknown or a count is too low."""
        if self.method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}; got '{self.method}'. Correct it.")
        require_count("chains", self.chains, 1)
        require_count("draws", self.draws, LEAST_DRAWS)
        if self.most_draws is not None:
            require_count("most_draws", self.most_draws, self.draws)
        require_count("warmup", self.warmup, 1)
        require_count("seed", self.seed, 0)

    @property
    def rounds(self) -> int:
        """Most rounds of draws."""
        return 1 if self.most_draws is None else self.most_draws // self.draws

    @property
    def may_start_again(self) -> bool:
        """True if the sampler may start again with smaller steps."""
        return self.most_draws is not None and self.most_draws > self.draws


@dataclass(frozen=True)
class Draws:
    """Draws from a posterior and the verdict on them.

    Attributes:
        parameters: draws of every parameter by name.
        statistics: sampler statistics by name, by chain and draw; see `bayescale.inference.chains.STATISTICS`.
        diagnostics: R-hat and effective sample size of every scalar parameter; see `diagnose`.
        status: the verdict on convergence.
        method: the method that gave the draws, "hmc", "fast" or "nuts".
    """

    parameters: dict[str, Float[np.ndarray, "chain draw ..."]]
    statistics: dict[str, np.ndarray]
    diagnostics: pd.DataFrame
    status: Status
    method: str = "hmc"
