"""The files between commands: tables of configurations in, posteriors in, tables out."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bayescale.cli.progress import say
from bayescale.data.output_files import written
from bayescale.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.data.tables import Column
    from bayescale.posterior.posterior import Posterior


ROUNDING = 1e-9  # share by which a setting may miss the one that was fitted


def read_candidates(path: Path) -> "pd.DataFrame":
    """The candidate runs of a file, checked, one row each."""
    from bayescale.data.tables import check_columns, read_table
    from bayescale.decisions.next_experiments import CANDIDATE_COLUMNS

    return check_columns(read_table(path, ("env_id",)), CANDIDATE_COLUMNS).reset_index(drop=True)


def read_configs(path: Path, *further: "Column") -> "pd.DataFrame":
    """The configurations of a file, checked, with further columns to check, one row each."""
    from bayescale.data.curves import SETTING_COLUMNS
    from bayescale.data.tables import check_columns, read_table

    return check_columns(read_table(path, ("env_id",)), (*SETTING_COLUMNS, *further)).reset_index(drop=True)


class Design(NamedTuple):
    """Configurations with their seeds, and of a plan the env steps between evaluations and of the longest run."""

    configs: "pd.DataFrame"
    every: int | None
    horizon: int | None


def read_design(path: Path) -> Design:
    """The design in a table of configurations or in a sweep's plan (.toml) of one algorithm and width."""
    from bayescale.data.configurations import CONFIG
    from bayescale.data.tables import check_columns, read_table
    from bayescale.validation.simulate import DESIGN_COLUMNS

    if path.suffix != ".toml":
        return Design(check_columns(read_table(path, ("env_id",)), DESIGN_COLUMNS).reset_index(drop=True), None, None)
    import pandas as pd

    from bayescale.runners import load_plan

    names = list(CONFIG)
    runs = load_plan(path).runs
    if len({(run.algorithm, run.hidden_width) for run in runs}) > 1:
        raise InputError(f"the plan {path} has several algorithms or widths; give a plan of one, or a table.")
    configs = pd.DataFrame([{name: getattr(run, name) for name in names} for run in runs])
    seeds = configs.groupby(names, sort=False).size().rename("seeds").reset_index()
    return Design(seeds, max(run.evaluation_interval for run in runs), max(run.env_steps for run in runs))


def load_posterior(fit: Path, *env_ids: str) -> "Posterior":
    """The posterior, with `note_new_tasks`."""
    import bayescale as bs

    posterior = bs.load(fit)
    note_new_tasks(posterior, env_ids)
    return posterior


def note_new_tasks(posterior: "Posterior", env_ids: Iterable[str]) -> None:
    """A mistyped task would get the answer for a new one, so standard error says so."""
    for env_id in env_ids:
        if env_id not in posterior.tasks:
            say(f"note: no run of {env_id} was fitted; this is the prediction for a new task.")


def note_beyond(posterior: "Posterior", threshold: float) -> None:
    """A return above those fitted is answered by a law that no run has shown, so standard error says so."""
    if posterior.as_fitted(threshold) > posterior.thresholds[-1]:
        say(
            f"note: return {threshold:g} lies above the fitted thresholds, the highest of which is "
            f"{posterior.thresholds[-1]:g}; the law beyond them takes over, and --ceiling helps it."
        )


def note_shared_settings(posterior: "Posterior", configs: "pd.DataFrame") -> None:
    """A fit tells nothing of a setting that a task's runs share; standard error says where others are asked about."""
    from bayescale.data.configurations import SIZED

    shared_axes = [name for name in SIZED[1:] if name in posterior.crossings and name not in posterior.model.varying]
    for axis in (name for name in shared_axes if name in configs):
        asked_of: dict[float, list[str]] = {}
        for env_id, values in configs[axis].groupby(configs["env_id"], sort=False):
            own = posterior.of_task(str(env_id))[axis].unique()
            if len(own) == 1 and (abs(values / own[0] - 1) > ROUNDING).any():
                asked_of.setdefault(float(own[0]), []).append(str(env_id))
        for shared, env_ids in asked_of.items():
            say(
                f"note: all fitted runs for {', '.join(env_ids)} have {axis} {shared:g}; what is said of other values "
                f"is what holds at {shared:g}."
            )


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write the table, whole or not at all, and say so."""
    with written(path) as partial:
        table.to_csv(partial, index=False)
    print(f"wrote {path}")
