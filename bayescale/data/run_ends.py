"""Read how runs ended from their status and their returns, and leave out rows without an evaluation.

- An infinite return is divergence. The run keeps its evaluations before it.
- A missing return before a finite one is no evaluation: the row is left out.
- A run that ends in missing returns has ended or has diverged; its status or the caller says which. Where most
  evaluations of a run lie between rows without a return, as in a tracker's history, a last gap that is no longer than
  the longest gap between evaluations needs no answer.

The status of a run is that of its row of most env steps. A run that diverged has the status "diverged" in all its rows.
A run that diverged before its first finite return keeps one row, its first, with the lowest return of its task, so that
the failure is not lost.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from bayescale.arguments import counted
from bayescale.data.run_order import first_rows
from bayescale.data.tables.columns import Table
from bayescale.errors import InputError

STATUSES = ("finished", "stopped early", "diverged", "crashed", "running")
DIVERGED = "diverged"
MISSING_ENDS = ("ended", "diverged")


class Ends(NamedTuple):
    """Rows of a sorted table that count, and the runs that diverged.

    Attributes:
        kept: True for rows with an evaluation.
        diverged: True for each run that diverged.
        rescued: position of the first row of each run that diverged before its first finite return.
    """

    kept: Bool[np.ndarray, " row"]
    diverged: Bool[np.ndarray, " run"]
    rescued: Int[np.ndarray, " rescued"]


def with_checked_status(table: Table) -> Table:
    """Return the table with its status in small letters and without blanks; a table without a status is unchanged.

    Raises:
        InputError: a status is unknown. A missing one is valid.
    """
    if "status" not in table.frame:
        return table
    status = table.frame["status"].astype(object)
    bare = status.map(lambda value: value.strip().lower() if isinstance(value, str) else value)
    missing = status.isna() | bare.map(lambda value: isinstance(value, str) and not value)
    known = bare.map(lambda value: isinstance(value, str) and value in STATUSES)
    bad = ~(known | missing).to_numpy(bool)
    if bad.any():
        came = ", ".join(dict.fromkeys(str(value)[:60] for value in status[bad][:3]))
        raise InputError(
            f"{table.source}: status must be {', '.join(STATUSES[:-1])} or {STATUSES[-1]}; got {came} "
            f"{table.where(bad)}. Rename these, or leave the column out with ignore=('status',) (--ignore status)."
        )
    if bare.equals(status) and (known | status.isna()).all():
        return table
    return Table(table.frame.assign(status=bare.where(~missing).infer_objects()), table.source, table.place)


def with_ends(
    curves: pd.DataFrame, *, run: Int[np.ndarray, " row"], missing_end: str | None, place: Callable[[int], str]
) -> pd.DataFrame:
    """Return the evaluations of a sorted table, and the status of each run.

    Args:
        curves: a table sorted by run, then env steps, whose returns may be missing or infinite.
        run: number of each row's run, from 0, increasing.
        missing_end: how runs ended that end in missing returns and have no status: "ended", "diverged", or None if it
            is not known.
        place: function that names the file and the line of a row.

    Raises:
        InputError: runs end in missing returns and `missing_end` is None, or no return is finite.
    """
    returns = curves["episode_return"].to_numpy(float)
    finite = np.isfinite(returns)
    starts = first_rows(run)
    status = None
    if "status" in curves:
        status = curves["status"].to_numpy(object)[np.append(starts[1:], len(run)) - 1]
    if not finite.all():
        if not finite.any():
            raise InputError(
                f"no episode_return is finite, from {place(0)} on. Give the returns of evaluations, or leave it out."
            )
        ends = _ends(returns, starts, status, missing_end, place)
        _warn(returns, run, ends)
        status = np.full(len(starts), None, object) if status is None and ends.diverged.any() else status
        if status is not None:
            status = np.where(ends.diverged, DIVERGED, status)
        if len(ends.rescued):
            curves = _with_lowest_returns(curves, finite, ends.rescued)
        curves, run = curves[ends.kept], run[ends.kept]
    if status is None:
        return curves
    of_rows = pd.Series(status[run], curves.index, dtype=object)
    if "status" in curves and of_rows.equals(curves["status"].astype(object)):
        return curves
    return curves.assign(status=of_rows.infer_objects())


def _ends(
    returns: Float[np.ndarray, " row"],
    starts: Int[np.ndarray, " run"],
    status: np.ndarray | None,
    missing_end: str | None,
    place: Callable[[int], str],
) -> Ends:
    """Return the rows of a sorted table that count, and the runs that diverged."""
    ends = np.append(starts[1:], len(returns))
    kept = np.isfinite(returns)
    diverged = np.zeros(len(starts), bool)
    rescued: list[int] = []
    asked: list[int] = []
    for i in np.unique(np.searchsorted(starts, np.flatnonzero(~kept), side="right") - 1):
        own = returns[starts[i] : ends[i]]
        infinite = np.flatnonzero(np.isinf(own))
        if infinite.size:
            diverged[i] = True
            kept[starts[i] + infinite[0] : ends[i]] = False
        elif np.isnan(own[-1]) and not _between_evaluations(own):
            known = None if status is None or pd.isna(status[i]) else status[i]
            diverged[i] = known == DIVERGED or (known is None and missing_end == DIVERGED)
            if known is None and missing_end is None:
                values = np.flatnonzero(~np.isnan(own))
                asked.append(starts[i] + (values[-1] + 1 if values.size else 0))
        if diverged[i] and not kept[starts[i] : ends[i]].any():
            rescued.append(starts[i])
    if asked:
        raise InputError(
            f"episode_return is missing from {place(asked[0])} to the end of the run "
            f"({counted(len(asked), 'run')} in all). If these runs had ended there, read them with "
            "missing_end='ended' (--missing-end ended); if they had diverged, with missing_end='diverged' "
            "(--missing-end diverged)."
        )
    kept[rescued] = True
    return Ends(kept, diverged, np.array(rescued, np.int64))


def _between_evaluations(own: Float[np.ndarray, " row"]) -> bool:
    """Return True if a run's last missing returns lie between two evaluations, the later of which was not yet due.

    At least three evaluations must be there, most of them with missing returns before them.
    """
    evaluations = np.flatnonzero(~np.isnan(own))
    gaps = np.diff(evaluations) - 1
    if len(gaps) < 2 or 2 * (gaps > 0).sum() < len(gaps):
        return False
    return bool(len(own) - 1 - evaluations[-1] <= gaps.max())


def _with_lowest_returns(
    curves: pd.DataFrame, finite: Bool[np.ndarray, " row"], rescued: Int[np.ndarray, " rescued"]
) -> pd.DataFrame:
    """Return the table with the lowest finite return of its task in each of the rescued rows."""
    task = [name for name in ("suite", "algorithm", "env_id") if name in curves]
    returns = curves["episode_return"].where(finite)
    lowest = returns.groupby([curves[name] for name in task]).transform("min").fillna(returns.min())
    returns.iloc[rescued] = lowest.iloc[rescued]
    return curves.assign(episode_return=returns)


def _warn(returns: Float[np.ndarray, " row"], run: Int[np.ndarray, " row"], ends: Ends) -> None:
    """Say in one line which rows and runs are left out, and which runs diverged."""
    missing = int(np.isnan(returns).sum())
    said = []
    if missing:
        said.append(f"{counted(missing, 'row')} without an episode_return {'is' if missing == 1 else 'are'} left out")
    if ends.diverged.any():
        said.append(f"{counted(int(ends.diverged.sum()), 'run')} diverged, and rows from there on are left out")
    if len(ends.rescued):
        said.append(
            f"{len(ends.rescued)} of these diverged before the first return, and count as one evaluation at the "
            "lowest return of the task"
        )
    gone = int(run[-1]) + 1 - len(np.unique(run[ends.kept]))
    if gone:
        said.append(f"{counted(gone, 'run')} without any evaluation {'is' if gone == 1 else 'are'} left out")
    warnings.warn("; ".join(said) + ".", stacklevel=2)
