"""Say what the fitted runs of each task and setting achieved, so that users can judge a prediction by its own data.

A run failed at a return J if its status is `diverged` or `crashed`, or if its status is unknown, it did not reach
J and it ended before a quarter of the task's longest run. A setting failed at J if all of its runs failed. Crashed and
short runs enter the model as right-censored, which says little about J; therefore decisions about J leave these
settings out, see `near_failed_settings`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bayescale.arguments import counted, three_digits
from bayescale.data.configurations import SIZED
from bayescale.data.curves import run_columns
from bayescale.data.observations import observations
from bayescale.data.run_ends import DIVERGED

FAILED = (DIVERGED, "crashed")  # values of `status`, in lower case, that mark a failed run
EARLY = 0.25  # a run ends early if it ends before this share of the task's longest run
ROUNDING = 1e-9  # difference up to which two distances count as equal
# Forecasts of a task rest on these assumptions if no run of it reached a threshold.
ASSUMED = "the prior chance that a task cannot be learnt, and on the other tasks"
LISTED = 3  # settings that a warning lists by name
AXIS_WORDS = {"utd": "UTD", "batch_size": "batch size", "learning_rate": "learning rate", "model_size": "model size"}


class RunCounts(NamedTuple):
    """The number of fitted runs of a task, and of the runs among them that reached a return.

    Attributes:
        runs: fitted runs; 0 for a task without runs.
        reached: runs that reached the return; None if the fit does not say, which happens above the highest threshold
            in fits of crossings without the column `highest_return`.
    """

    runs: int
    reached: int | None

    @property
    def few(self) -> bool:
        """True if fewer than half of the runs are known to have reached the return."""
        return self.reached is not None and 2 * self.reached < self.runs


def runs_of(crossings: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of the crossings.

    Returns:
        The columns that identify a run; `last_env_steps`, the latest env steps at which a crossing was seen or
        censored; `status`, empty where unknown; `highest_return`, where the crossings have it, else the highest
        threshold that the run reached, -inf for none.
    """
    keys = run_columns(crossings)
    reached = ~crossings["censored"].to_numpy(bool)
    highest = crossings["threshold"].where(reached, -np.inf)
    status = crossings["status"].str.strip().str.lower() if "status" in crossings else ""
    table = crossings[keys].assign(
        last_env_steps=np.where(reached, crossings["env_steps_upper"], crossings["env_steps_lower"]),
        highest_return=crossings.get("highest_return", highest),
        status=status,
    )
    return table.groupby(keys, sort=False, dropna=False, as_index=False, observed=True).max()


def run_counts(crossings: pd.DataFrame, env_id: str, thresholds: Iterable[float]) -> list[RunCounts]:
    """Return the number of fitted runs of a task, and of the runs among them that reached each of these returns."""
    own = crossings[crossings["env_id"] == env_id]
    if own.empty:
        return [RunCounts(0, 0) for _ in thresholds]
    highest = runs_of(own)["highest_return"]
    fitted = np.unique(crossings["threshold"])

    def reached(threshold: float) -> int | None:
        """Return the number of runs; one that reached a fitted threshold at or above the return has reached it."""
        if "highest_return" in crossings:
            return int((highest >= threshold).sum())
        at_least = fitted[fitted >= threshold]
        return int((highest >= at_least[0]).sum()) if len(at_least) else None

    return [RunCounts(len(highest), reached(threshold)) for threshold in thresholds]


def highest_returns(crossings: pd.DataFrame, env_ids: pd.Series) -> Float[np.ndarray, " config"]:
    """Return the highest return that any fitted run of each configuration's task reached.

    Args:
        crossings: the fitted crossings.
        env_ids: the task of each configuration. A task without runs gets the highest return of all tasks.

    Returns:
        Returns in the units of the thresholds. In fits of crossings without the column `highest_return`, the highest
        threshold that a run reached; -inf for none.
    """
    runs = runs_of(crossings)
    highest = runs.groupby("env_id")["highest_return"].max()
    return env_ids.map(highest).fillna(runs["highest_return"].max()).to_numpy(float)


def nothing_reached(crossings: pd.DataFrame, env_ids: Iterable[str]) -> dict[str, str]:
    """Return a clause about each of these tasks of which no fitted run reached the lowest fitted threshold.

    Args:
        crossings: the fitted crossings.
        env_ids: tasks; a task without runs gets no clause.
    """
    lowest, clauses = crossings["threshold"].min(), {}
    for env_id in dict.fromkeys(env_ids):
        own = crossings[crossings["env_id"] == env_id]
        if len(own) and own["censored"].all():
            runs = runs_of(own)
            clause = (
                f"none of {counted(len(runs), 'run')} on {env_id} reached {three_digits(lowest)}, the lowest fitted "
                "threshold"
            )
            if "highest_return" in own:
                clause += f" (the highest return was {three_digits(runs['highest_return'].max())})"
            clauses[str(env_id)] = clause
    return clauses


class SweptSettings(NamedTuple):
    """The swept settings of a task, and which of them failed.

    Attributes:
        settings: one row per setting, sorted.
        diverged: True where every run diverged.
        failed: True where every run failed at the return.
    """

    settings: pd.DataFrame
    diverged: Bool[np.ndarray, " setting"]
    failed: Bool[np.ndarray, "setting threshold"]


def swept_settings_of(
    crossings: pd.DataFrame, env_id: str, thresholds: Float[np.ndarray, " threshold"], *, cut_short: bool = False
) -> SweptSettings:
    """Return the swept settings of a task.

    Args:
        crossings: the fitted crossings.
        env_id: task.
        thresholds: returns. Without the column `highest_return`, each counts as the highest fitted one at most.
        cut_short: True: runs that ended early or crashed were only cut short, so only `diverged` marks a failed run.
    """
    runs = runs_of(crossings[crossings["env_id"] == env_id])
    known_up_to = np.inf if "highest_return" in crossings else crossings["threshold"].max()
    missed = runs["highest_return"].to_numpy(float)[:, None] < np.minimum(thresholds, known_up_to)
    early = (runs["status"] == "") & (runs["last_env_steps"] < EARLY * runs["last_env_steps"].max())
    diverged = runs["status"].isin([DIVERGED] if cut_short else FAILED).to_numpy(bool)
    failed = diverged[:, None] | (missed & early.to_numpy(bool)[:, None] & (not cut_short))
    setting = [runs[name] for name in SIZED if name in runs]
    every_run = pd.DataFrame(np.column_stack([diverged, failed])).groupby(setting).all()
    both = every_run.to_numpy(bool)
    return SweptSettings(every_run.index.to_frame(index=False), both[:, 0], both[:, 1:])


def near_failed_settings(
    crossings: pd.DataFrame,
    settings: pd.DataFrame,
    thresholds: Float[np.ndarray, " threshold"],
    *,
    cut_short: bool = False,
) -> Bool[np.ndarray, "setting threshold"]:
    """Return True for each setting and return where the nearest swept setting of the same task failed.

    The distance is Euclidean in logs, with every axis divided by its swept range. Of equal distances, the failed
    setting counts as nearest. Tasks without runs, or without failed settings, give False.

    Args:
        crossings: the fitted crossings.
        settings: columns env_id and the swept axes.
        thresholds: returns to reach.
        cut_short: see `swept_settings_of`.
    """
    near = np.zeros((len(settings), len(thresholds)), bool)
    for env_id, rows in settings.groupby("env_id").indices.items():
        if not (crossings["env_id"] == env_id).any():
            continue
        swept, _, failed_at = swept_settings_of(crossings, str(env_id), thresholds, cut_short=cut_short)
        if not failed_at.any():
            continue
        axes = [name for name in SIZED[1:] if name in swept and swept[name].nunique() > 1 and name in settings]
        known, asked = (np.log(table[axes].to_numpy(float)) for table in (swept, settings.iloc[rows]))
        distance = (((asked[:, None] - known) / np.ptp(known, axis=0)) ** 2).sum(axis=-1)
        for k in np.flatnonzero(failed_at.any(axis=0)):
            failed = failed_at[:, k]
            others = distance[:, ~failed].min(axis=1, initial=np.inf)
            near[rows, k] = distance[:, failed].min(axis=1) <= others + ROUNDING
    return near


def failed_settings(
    crossings: pd.DataFrame, env_id: str, thresholds: Float[np.ndarray, " threshold"], *, cut_short: bool = False
) -> list[tuple[str, ...]]:
    """Return for each return the swept settings of a task that failed, in words; none for a task without runs."""
    if not (crossings["env_id"] == env_id).any():
        return [() for _ in thresholds]
    settings, _, failed = swept_settings_of(crossings, env_id, thresholds, cut_short=cut_short)
    return [tuple(setting_text(setting) for _, setting in settings[column].iterrows()) for column in failed.T]


def setting_text(setting: pd.Series) -> str:
    """Return a setting in words: UTD 4, batch size 128, learning rate 0.0003."""
    return ", ".join(f"{words} {three_digits(setting[name])}" for name, words in AXIS_WORDS.items() if name in setting)


def listed(settings: Sequence[str]) -> str:
    """Return the first settings and the number of the others."""
    more = f"; and {len(settings) - LISTED} more" if len(settings) > LISTED else ""
    return "; ".join(settings[:LISTED]) + more


def diverged_counts(crossings: pd.DataFrame) -> str | None:
    """Return a sentence with the number of runs that diverged below the highest threshold, and where; None for none.

    Settings are named by the axes that vary, those with the largest share of such runs first.
    """
    runs = crossings.assign(lost=observations(crossings).failed).groupby(run_columns(crossings), dropna=False)
    lost = runs["lost"].any().reset_index()
    if not lost["lost"].any():
        return None
    axes = [name for name in SIZED if name in lost and lost[name].nunique() > 1]
    where = ""
    if axes:
        counts = lost.groupby(axes)["lost"].agg(["sum", "size"]).query("sum > 0")
        counts = counts.assign(share=counts["sum"] / counts["size"]).sort_values(
            "share", ascending=False, kind="stable"
        )
        each = []
        for _, row in counts.reset_index().iterrows():
            name = ", ".join(filter(None, (row["env_id"] if "env_id" in axes else "", setting_text(row[axes]))))
            each.append(f"{name}: {int(row['sum'])} of {int(row['size'])}")
        where = f": {listed(each)}"
    return f"{lost['lost'].sum()} of {counted(len(lost), 'run')} diverged{where}."


def failure_warning(crossings: pd.DataFrame) -> str | None:
    """Return a sentence about the settings that failed at the highest threshold, with the remedy; None if none did."""
    highest = float(crossings["threshold"].max())
    swept = [swept_settings_of(crossings, str(env_id), np.array([highest])) for env_id in crossings["env_id"].unique()]
    failed = pd.concat([one.settings.assign(diverged=one.diverged)[one.failed[:, 0]] for one in swept])
    if failed.empty:
        return None
    several = crossings["env_id"].nunique() > 1
    names = [f"{s['env_id']} at {setting_text(s)}" if several else setting_text(s) for _, s in failed.iterrows()]
    ways, remedy = [], ""
    if failed["diverged"].any():
        ways.append("diverged or crashed")
    if not failed["diverged"].all():
        ways.append(f"ended before a quarter of the longest run and below {three_digits(highest)}")
        remedy = (
            " Were these runs cut short, or did they diverge? Say so in a column `status` (diverged, stopped early), or"
            " give allocate --cut-short (cut_short=True) if they were only cut short."
        )
    decisions = "Decisions" if failed["diverged"].all() else "Decisions about returns that no run there reached"
    return (
        f"all runs {' or '.join(ways)} at {counted(len(failed), 'setting')}: {listed(names)}. {decisions} leave these "
        f"settings out.{remedy}"
    )


def one_evaluation_warning(crossings: pd.DataFrame) -> str | None:
    """Return a sentence if every run shows one evaluation, so that no crossing lies between two; None otherwise."""
    seen = crossings["env_steps_upper"].where(~crossings["censored"], crossings["env_steps_lower"])
    between = ~crossings["censored"] & (crossings["env_steps_lower"] > 0)
    times = seen.where(seen > 0).groupby([crossings[name] for name in run_columns(crossings)], dropna=False)
    if between.any() or (times.nunique() > 1).any():
        return None
    return (
        "the curves show one evaluation a run, which tells whether a run reached a return by then and not when, so "
        "run lengths rest on the priors. Give the whole learning curves (in Weights & Biases, each run's history "
        "instead of the table of runs)."
    )
