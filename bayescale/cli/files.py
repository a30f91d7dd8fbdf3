"""Read the tables and posteriors that commands take, print notes about them, and write tables."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from bayescale.cli.terminal import say
from bayescale.data.output_files import written
from bayescale.errors import InputError, NotConverged

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.data.tables import Column
    from bayescale.posterior.posterior import Posterior

ROUNDING = 1e-9  # relative difference up to which two values of a hyperparameter count as equal


def read_curve_files(
    curves: list[str], *, resumed: str | None, missing_end: str | None, ignore: list[str] | None
) -> "pd.DataFrame":
    """Return the learning curves in these files and globs, with the user's answers to what they leave open."""
    import bayescale as bs

    return bs.read_curves(
        *curves,
        resumed=cast(Literal["keep-last"] | None, resumed),
        missing_end=cast(Literal["ended", "diverged"] | None, missing_end),
        ignore=ignore or (),
    )


def read_candidates(path: Path) -> "pd.DataFrame":
    """Return the candidate runs in a file, checked, one row each."""
    from bayescale.data.tables import check_columns
    from bayescale.data.tables.files import read_table
    from bayescale.decisions.experiments.next_experiments import CANDIDATE_COLUMNS

    return check_columns(read_table(path, CANDIDATE_COLUMNS), CANDIDATE_COLUMNS).reset_index(drop=True)


def read_configs(path: Path, *further: "Column") -> "pd.DataFrame":
    """Return the configurations in a file, one row each, after a check of their columns and of the `further` ones."""
    from bayescale.data.curves import SETTING_COLUMNS
    from bayescale.data.tables import check_columns
    from bayescale.data.tables.files import read_table

    columns = (*SETTING_COLUMNS, *further)
    return check_columns(read_table(path, columns), columns).reset_index(drop=True)


def read_design(path: Path) -> "pd.DataFrame":
    """Read a design from a table of configurations or from a sweep plan (.toml) of one algorithm and one width.

    Returns:
        One row per configuration. A plan gives the columns seeds (number of runs), every (env steps between
        evaluations) and horizon (env steps of a run).
    """
    from bayescale.data.configurations import CONFIG
    from bayescale.data.tables import check_columns
    from bayescale.data.tables.files import read_table
    from bayescale.validation.design_check import PLAN_COLUMNS

    if path.suffix != ".toml":
        return check_columns(read_table(path, PLAN_COLUMNS), PLAN_COLUMNS).reset_index(drop=True)
    import pandas as pd

    from bayescale.runners import load_plan

    names = list(CONFIG)
    runs = load_plan(path).runs
    if len({(run.algorithm, run.hidden_width) for run in runs}) > 1:
        raise InputError(
            f"the plan {path} has several algorithms or widths; give a plan of one, or a table of configurations."
        )
    configs = pd.DataFrame([{name: getattr(run, name) for name in names} for run in runs])
    configs = configs.assign(
        every=[run.evaluation_interval for run in runs], horizon=[run.env_steps for run in runs], seeds=1
    )
    return configs.groupby(names, sort=False, as_index=False).agg({"seeds": "sum", "every": "max", "horizon": "max"})


def load_posterior(fit: Path, *env_ids: str, new_task: bool = False) -> "Posterior":
    """Load a posterior to predict or decide from.

    Raises:
        NotConverged: the draws are kept for a diagnosis alone.
        InputError: a task has no runs in the fit, and `new_task` does not allow it.
    """
    import bayescale as bs

    posterior = bs.load(fit)
    if not posterior.status.usable:
        raise NotConverged(
            f"{fit} holds draws that have {posterior.status.value.partition(';')[0]}: they serve a diagnosis "
            "(bayescale report), not a prediction or a decision. Fit again as `fit` advised."
        )
    check_tasks(posterior, env_ids, new_task=new_task)
    return posterior


def check_tasks(posterior: "Posterior", env_ids: Iterable[str], *, new_task: bool = False) -> None:
    """Raise InputError for a task without fitted runs; with `new_task`, note it on standard error instead."""
    env_ids = list(env_ids)
    posterior.require_tasks(env_ids, new_task=new_task)
    for env_id in env_ids:
        if env_id not in posterior.tasks:
            say(f"note: no run of {env_id} was fitted; this is the prediction for a new task.")


def note_beyond(posterior: "Posterior", threshold: float) -> None:
    """Note on standard error that a return above the fitted thresholds is extrapolated."""
    if posterior.as_fitted(threshold) > posterior.thresholds[-1]:
        say(
            f"note: return {threshold:g} lies above the fitted thresholds, the highest of which is "
            f"{posterior.thresholds[-1]:g}; the answer extrapolates. If the best possible return is known, give it as "
            "--ceiling."
        )


def note_shared_settings(posterior: "Posterior", configs: "pd.DataFrame") -> None:
    """Note values of a hyperparameter that the task's runs never varied: the fit has learned nothing about them."""
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
                f"note: all fitted runs for {', '.join(env_ids)} have {axis} {shared:g}; answers for other values "
                f"repeat the answer at {shared:g}."
            )


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write the whole table or nothing, and print the path."""
    with written(path) as partial:
        table.to_csv(partial, index=False)
    print(f"wrote {path}")
