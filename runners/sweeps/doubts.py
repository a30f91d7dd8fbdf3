"""Find what a plan cannot answer, from the plan alone, before a sweep starts."""

from collections.abc import Iterator, Sequence

from bayescale.runners.config import RunConfig
from bayescale.runners.sweeps.plan import Plan

FEWEST_EVALUATIONS = 10  # evaluations of a run after its warm-up
WANTED_EVALUATIONS = 20
MOST_WARMUP = 0.5  # share of a run
AXES = {"utd": "UTD", "learning_rate": "learning rate", "batch_size": "batch size"}
UNTOLD = {
    "utd": "how env steps fall with UTD, so no UTD can be recommended",
    "learning_rate": "the optimal learning rate",
    "batch_size": "the optimal batch size",
}
THREE_VALUES = {"utd": "utd = [0.5, 1, 2]", "learning_rate": "three values", "batch_size": "three values"}


def doubts(plan: Plan) -> tuple[str, ...]:
    """Return a sentence, with its remedy, for each question that the plan cannot answer; nothing is run."""
    by_task: dict[tuple[str, str, str], list[RunConfig]] = {}
    for run in plan.runs:
        by_task.setdefault((run.suite, run.env_id, run.algorithm), []).append(run)
    sentences = dict.fromkeys(sentence for runs in by_task.values() for sentence in _doubts(runs))
    return tuple(sentences)


def _doubts(runs: Sequence[RunConfig]) -> Iterator[str]:
    """Yield the doubts about the runs of one task."""
    for axis, words in AXES.items():
        values = {getattr(run, axis) for run in runs}
        if len(values) == 1:
            yield (
                f"every run has {words} {next(iter(values)):g}: the sweep cannot tell {UNTOLD[axis]}. Give "
                f"{THREE_VALUES[axis]}, or accept that."
            )
    seeds = {run.seed for run in runs}
    if len(seeds) == 1:
        yield (
            "every setting has one seed: the sweep cannot tell seed noise from the effect of a setting. Give two or "
            "more, as in seed = [0, 1, 2]."
        )
    lengths = {(run.utd, run.env_steps): run for run in runs}
    for (utd, env_steps), run in sorted(lengths.items(), key=lambda item: item[0]):
        learning = env_steps - run.warmup_steps
        if run.warmup_steps > MOST_WARMUP * env_steps:
            yield (
                f"runs at UTD {utd:g} spend {run.warmup_steps / env_steps:.0%} of their {env_steps:,} env steps in "
                f"warm-up, where nothing is learned. Raise env_steps or lower warmup_steps ({run.warmup_steps:,})."
            )
        if learning < FEWEST_EVALUATIONS * run.evaluation_interval:
            yield (
                f"runs at UTD {utd:g} have {learning // run.evaluation_interval} evaluations after their warm-up: "
                "crossings would be known only to the nearest "
                f"{run.evaluation_interval:,} env steps. Lower evaluation_interval to "
                f"{max(learning // WANTED_EVALUATIONS, 1):,}."
            )
    small = next((run for run in runs if run.buffer_size < run.warmup_steps), None)
    if small is not None:
        yield (
            f"buffer_size {small.buffer_size:,} is smaller than warmup_steps {small.warmup_steps:,}, so part of the "
            "warm-up is lost. Raise buffer_size."
        )
    if all(run.evaluation_episodes == 1 for run in runs):
        yield "evaluations have one episode, so their returns are noisy. Raise evaluation_episodes to 5 or more."
