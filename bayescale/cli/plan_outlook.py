"""Say what a plan's runs can show, and when a fit expects them to cross its thresholds.

The plan alone tells how many values each axis has, and between which env steps a crossing is seen. Crossing times need
a fit of the same task, or of similar tasks, whose population a new task is sampled from. The priors are not asked:
their interval spans several orders of magnitude.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bayescale.arguments import counted, three_digits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bayescale.posterior.posterior import Posterior
    from bayescale.run_length_distribution import RunLengthDistribution
    from bayescale.runners import RunConfig

MOST_CONFIGS = 60  # configurations of a task, evenly spaced over the plan
OUTLOOK_DRAWS = 200
FEWEST_REACHED = 0.5  # share of runs that should cross the highest fitted threshold by their end
FEWEST_BEFORE = 3  # evaluations that should come before the first crossing of the median run
FOR_AN_OPTIMUM = 3  # values of an axis that show where the best one lies
WIDEST = 100.0  # upper end over lower end of a 90% interval of env steps; a wider one says nothing of a new task
TAILS = (0.05, 0.95)  # quantile levels of a 90% interval
AXES = {"utd": "UTD", "batch_size": "batch size", "learning_rate": "learning rate"}
NO_FORECAST = (
    "The plan alone cannot say when runs will cross a threshold. A fit of runs on the same task or on similar tasks "
    "can: add --fit FIT.nc."
)


def outlook(runs: "Sequence[RunConfig]", fit: Path | None) -> list[str]:
    """Return, for each task of the runs, what they can show and when they are expected to cross the thresholds.

    Args:
        runs: the runs of a plan.
        fit: file of a posterior; None: nothing is said about crossing times.
    """
    by_task: dict[str, list[RunConfig]] = {}
    for run in runs:
        by_task.setdefault(run.env_id, []).append(run)
    lines = [_by_plan(env_id, own) for env_id, own in by_task.items()]
    if fit is None:
        return [*lines, NO_FORECAST]
    from bayescale.cli.files import load_posterior

    posterior = load_posterior(fit)
    for env_id, own in by_task.items():
        by = _by_fit if env_id in posterior.tasks else _by_similar_tasks
        lines += by(posterior, env_id, _settings(posterior, env_id, own), str(fit))
    return lines


def _by_plan(env_id: str, runs: "Sequence[RunConfig]") -> str:
    """Return what the runs of a task can show, whatever the task is."""
    counts = {words: len({getattr(run, axis) for run in runs}) for axis, words in AXES.items()}
    grid = [
        f"{count} {words}{'' if count == 1 else 's'}"
        for words, count in (counts | {"seed": len({run.seed for run in runs})}).items()
    ]
    enough = [words for words, count in counts.items() if count >= FOR_AN_OPTIMUM]
    two = [words for words, count in counts.items() if count == FOR_AN_OPTIMUM - 1]
    can = f"The sweep can show the best {_listed(enough)}. " if enough else ""
    cannot = f"Two values of {_listed(two)} show which is better; a third would show the best. " if two else ""
    every, last = ({getattr(run, name) for run in runs} for name in ("evaluation_interval", "env_steps"))
    times = _span({run.env_steps // run.evaluation_interval for run in runs})
    return (
        f"{env_id}: {counted(len(runs), 'run')} with {_listed(grid)}. {can}{cannot}Each run is evaluated {times} "
        f"times, every {_span(every)} env steps until {_span(last)}; a crossing is known up to this interval."
    )


def _settings(posterior: "Posterior", env_id: str, runs: "Sequence[RunConfig]") -> "pd.DataFrame":
    """Return at most `MOST_CONFIGS` settings of a task, with the run length and the evaluation interval of each."""
    import pandas as pd

    from bayescale.data.configurations import CONFIG

    distinct = list({tuple(getattr(run, name) for name in CONFIG): run for run in runs}.values())
    settings = pd.DataFrame(
        [
            {name: getattr(run, name) for name in CONFIG}
            | {"horizon": float(run.env_steps), "every": float(min(run.evaluation_interval, run.env_steps))}
            for run in distinct[:: -(-len(distinct) // MOST_CONFIGS)]
        ]
    )
    if "model_size" in posterior.model.varying:
        return settings.assign(model_size=posterior.model_size(env_id))
    return settings


def _expected(posterior: "Posterior", settings: "pd.DataFrame") -> "RunLengthDistribution":
    """Return run lengths by draw, setting and fitted threshold; an unknown task is sampled from the population."""
    from bayescale.posterior.predictive import run_lengths

    return run_lengths(posterior.model, posterior.flat_draws(OUTLOOK_DRAWS, settings["env_id"]), settings)


def _by_fit(posterior: "Posterior", env_id: str, settings: "pd.DataFrame", fit: str) -> Iterator[str]:
    """Yield what a fit with runs of the task expects of the planned runs."""
    import numpy as np

    expected = _expected(posterior, settings)
    horizon, every = (settings[name].to_numpy(float) for name in ("horizon", "every"))
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


def _by_similar_tasks(posterior: "Posterior", env_id: str, settings: "pd.DataFrame", fit: str) -> Iterator[str]:
    """Yield what a fit without runs of the task expects of it, if its tasks foretell a new one."""
    import numpy as np

    tasks, expected = counted(len(posterior.tasks), "task"), _expected(posterior, settings)
    low, high = np.exp(np.quantile(expected.location[:, :, 0], TAILS))
    if high > WIDEST * low:
        yield (
            f"{env_id}: {fit} has no runs of this task, and its {tasks} cannot foretell when runs on a new task cross "
            "a threshold. Train a few runs first and fit them too."
        )
        return
    never = 1 - float(expected.p_reach[:, :, 0].mean())
    yield (
        f"{env_id}: {fit} has no runs of this task. If it is like the fit's {tasks}, on the same scale of returns, the "
        f"median run crosses {three_digits(float(posterior.thresholds[0]))} after {_span([low, high])} env steps (90% "
        f"interval), and {never:.0%} of the runs never do."
    )


def _listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _span(values: "Iterable[float] | np.ndarray") -> str:
    """Return the lowest and the highest value; one value where both look alike."""
    shown = three_digits(float(min(values))), three_digits(float(max(values)))
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
