"""Make learning curves of a few evaluations, and hypothesis strategies for random ones."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

RUN: dict[str, Any] = {
    "algorithm": "SAC",
    "env_id": "A",
    "utd": 1.0,
    "batch_size": 256,
    "learning_rate": 3e-4,
    "seed": 0,
}


def run(returns, env_steps=None, **settings) -> pd.DataFrame:
    """Return the learning curve of one run, evaluated every 10 env steps unless `env_steps` says otherwise."""
    steps = np.arange(1, len(returns) + 1) * 10 if env_steps is None else env_steps
    return pd.DataFrame({"env_steps": steps, "episode_return": np.asarray(returns, float)}).assign(
        **{**RUN, **settings}
    )


def intervals(crossings):
    """Return (env_steps_lower, env_steps_upper) of each crossing."""
    return list(zip(crossings["env_steps_lower"], crossings["env_steps_upper"], strict=True))


WHOLE_RETURNS = st.integers(-50, 50)


@st.composite
def curves_of_runs(draw, values=WHOLE_RETURNS):
    """Draw runs of different lengths at irregular steps, in any row order; whole returns make sums exact."""
    runs = []
    for seed in range(draw(st.integers(1, 4))):
        returns = draw(st.lists(values, min_size=1, max_size=12))
        gaps = draw(st.lists(st.integers(1, 1000), min_size=len(returns), max_size=len(returns)))
        runs.append(run(returns, np.cumsum(gaps), seed=seed, env_id=draw(st.sampled_from("AB"))))
    curves = pd.concat(runs, ignore_index=True)
    return curves.iloc[draw(st.permutations(range(len(curves))))]


threshold_lists = st.lists(st.integers(-60, 60), min_size=1, max_size=5, unique=True).map(sorted)
