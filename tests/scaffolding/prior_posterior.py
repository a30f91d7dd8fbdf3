"""A posterior that needs no sampling: a small sweep, and draws from the prior of its model."""

import jax
import numpy as np
import pandas as pd

from bayescale.float64 import float64
from bayescale.inference.convergence import Status, diagnose
from bayescale.inference.model import prior_draws
from bayescale.inference.sampling import Draws
from bayescale.models import JointModel
from bayescale.posterior.posterior import Posterior

TASKS = ("<b>x", "Hopper & co")
THRESHOLDS = (321.0, 654.0)


def sweep():
    """Return crossings of two runs at each of 2 x 2 x 2 settings per task; runs at UTD 1 miss the upper threshold."""
    rows = [
        (env_id, utd, batch_size, learning_rate, seed, threshold, *time)
        for env_id in TASKS
        for utd in (1.0, 4.0)
        for batch_size in (128, 256)
        for learning_rate in (1e-4, 3e-4)
        for seed in (0, 1)
        for threshold, time in zip(
            THRESHOLDS, [(4e4, 5e4, False), (9e5, np.inf, True) if utd == 1 else (8e4, 9e4, False)], strict=True
        )
    ]
    names = ["env_id", "utd", "batch_size", "learning_rate", "seed", "threshold"]
    frame = pd.DataFrame(rows, columns=[*names, "env_steps_lower", "env_steps_upper", "censored"])
    return frame.assign(algorithm="SAC", model_size=150_000)


def prior_posterior(crossings=None, status=Status.CONVERGED):
    """Return two chains of forty draws from the prior of the model for `crossings`, by default for `sweep()`."""
    crossings = sweep() if crossings is None else crossings
    model = JointModel.for_crossings(crossings)
    with float64():
        prior = prior_draws(model, jax.random.PRNGKey(3), 80)
    draws = {name: values.reshape(2, 40, *values.shape[1:]) for name, values in prior.items()}
    return Posterior.from_draws(model, Draws(draws, {}, diagnose(draws), status), crossings, seed=7)
