"""Compare the lengths of a plan's runs with the times at which they are expected to cross the thresholds.

The expectation comes from a fit if it has runs of the task, otherwise from the priors, which know orders of magnitude.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bayescale.arguments import counted, three_digits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bayescale.posterior.posterior import Posterior
    from bayescale.runners import RunConfig

MOST_CONFIGS = 60  # configurations of a task, evenly spaced over the plan
OUTLOOK_DRAWS = 200
FEWEST_REACHED = 0.5  # share of runs that should cross the highest fitted threshold by their end
FEWEST_BEFORE = 3  # evaluations that should come before the first crossing of the median run


def outlook(runs: "Sequence[RunConfig]", fit: Path | None) -> list[str]:
    """Return, for each task of the runs, when they are expected to cross the thresholds, with doubts and remedies."""
    from bayescale.data.configurations import CONFIG

    by_task: dict[str, list[RunConfig]] = {}
    for run in runs:
        by_task.setdefault(run.env_id, []).append(run)
    posterior = None
    if fit is not None:
        from bayescale.cli.files import load_posterior

        posterior = load_posterior(fit)
    lines: list[str] = []
    for env_id, own in by_task.items():
        import pandas as pd

        distinct = list({tuple(getattr(run, name) for name in CONFIG): run for run in own}.values())
        some = distinct[:: -(-len(distinct) // MOST_CONFIGS)]
        configs = pd.DataFrame(
            [
                {name: getattr(run, name) for name in CONFIG}
                | {"horizon": float(run.env_steps), "every": float(min(run.evaluation_interval, run.env_steps))}
                for run in some
            ]
        )
        if posterior is not None and env_id in posterior.tasks:
            lines += _by_fit(posterior, env_id, configs, str(fit))
        else:
            lines += _by_priors(env_id, configs, fit)
    return lines


def _by_fit(posterior: "Posterior", env_id: str, configs: "pd.DataFrame", fit: str) -> Iterator[str]:
    """Yield what a fit expects of the runs of a task."""
    import numpy as np

    from bayescale.posterior.predictive import run_lengths

    if "model_size" in posterior.model.varying:
        configs = configs.assign(model_size=posterior.model_size(env_id))
    expected = run_lengths(posterior.model, posterior.flat_draws(OUTLOOK_DRAWS), configs)
    horizon, every = (configs[name].to_numpy(float) for name in ("horizon", "every"))
    reached = expected.reached_by(np.log(horizon)[:, None]).mean(axis=(0, 1))
    first = np.exp(np.median(expected.location[:, :, 0], axis=0))
    low, high = float(posterior.thresholds[0]), float(posterior.thresholds[-1])
    yield (
        f"{env_id}, by {fit}: the median run crosses {three_digits(low)} after {_span(first)} env steps, depending on "
        f"its setting; {reached[0]:.0%} of the planned runs cross it by their end, and {reached[-1]:.0%} cross "
        f"{three_digits(high)}."
    )
    if reached[-1] < FEWEST_REACHED:
        yield (
            f"doubt: most runs on {env_id} end before they cross {three_digits(high)}. Raise env_steps, or expect no "
            "advice on that return."
        )
    soon = (first < FEWEST_BEFORE * every).mean()
    if soon > FEWEST_REACHED:
        yield (
            f"doubt: on {env_id}, {soon:.0%} of the settings cross {three_digits(low)} within their first "
            f"{FEWEST_BEFORE} evaluations. Lower evaluation_interval to {three_digits(float(first.min()) / 10)}."
        )


def _by_priors(env_id: str, configs: "pd.DataFrame", fit: Path | None) -> Iterator[str]:
    """Yield what the priors expect of the runs of a task."""
    import bayescale as bs

    expected = bs.prior_predictive(
        configs[["env_id", "utd", "batch_size", "learning_rate"]],
        every=float(configs["every"].min()),
        horizon=float(configs["horizon"].median()),
        draws=OUTLOOK_DRAWS,
    )
    why = "no fit is given (--fit)" if fit is None else f"{fit} has no runs of it"
    yield (
        f"{env_id}, by the priors, as {why}: the lowest threshold is crossed after "
        f"{three_digits(float(expected['q05'].median()))} to {three_digits(float(expected['q95'].median()))} env steps "
        f"(90% interval); {counted(len(configs), 'setting')} considered, {1 - float(expected['later'].mean()):.0%} of "
        "their runs cross it by their end."
    )


def _span(values: "np.ndarray") -> str:
    shown = three_digits(float(values.min())), three_digits(float(values.max()))
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
