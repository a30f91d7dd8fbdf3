"""Put the evaluations of each run in the order of their env steps, and refuse steps that came twice or start over.

A training writes its evaluations with increasing env steps, so in the order of the file the rows of a run form one
increasing stretch. Other orders have three causes, which call for different remedies:

- The rows were sorted otherwise or shuffled: they are sorted by env steps.
- The run was killed and resumed from a checkpoint, and some steps came twice.
- Two trainings were written under one name, and the steps start over.

Steps start over where a stretch goes back to an earlier step although the training before it had gone on: at least two
earlier evaluations lie strictly between its first and its last step. Rows tell this only if their order is that of a
log. A run counts as logged if its stretches have at least three evaluations on average and its returns do not
increase or decrease all along (a table sorted by return). The table counts as logged if at least half of its runs of
six evaluations or more do. A shuffled run of ten evaluations counts as logged with a chance of about 1%, two of them
with a chance of 0.01%; in a shuffled table of several runs, the chance that half of them do is negligible.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from bayescale.arguments import counted
from bayescale.errors import InputError

RESUMED = ("keep-last",)
MEAN_STRETCH = 3  # evaluations of a stretch, on average, from which a run counts as logged
JUDGED = 6  # evaluations of a run from which its order says something about the table
OVERLAP = 2  # earlier evaluations within a later stretch from which the steps start over


@dataclass(frozen=True)
class Order:
    """Rows of a table whose env steps are repeated or start over.

    Attributes:
        repeated: pairs of positions of rows with the same run and env steps.
        starts_over: pairs of positions, a row and the later row at which the steps of its run start over.
        kept: True for rows that count if a run was resumed and its later rows replace earlier ones.
    """

    repeated: Int[np.ndarray, "pair two"]
    starts_over: Int[np.ndarray, "start two"]
    kept: Bool[np.ndarray, " row"]


def run_numbers(settings: pd.DataFrame) -> Int[np.ndarray, " row"]:
    """Return the number of each row's run, from 0, in the order of the settings.

    Args:
        settings: the columns that identify a run, without missing values.
    """
    number, combinations = np.zeros(len(settings), np.int64), 1
    for name in settings:
        codes, values = pd.factorize(settings[name], sort=True)
        if combinations * len(values) > np.iinfo(np.int64).max:
            number = pd.factorize(number, sort=True)[0]
            combinations = int(number.max()) + 1
        number, combinations = number * len(values) + codes, combinations * len(values)
    return np.asarray(pd.factorize(number, sort=True)[0])


def first_rows(run: Int[np.ndarray, " row"]) -> Int[np.ndarray, " stretch"]:
    """Return the position of the first row of each stretch of rows of one run; the table has rows."""
    return np.append(0, np.flatnonzero(run[1:] != run[:-1]) + 1)


def first_rows_of_whole_runs(
    run: Int[np.ndarray, " row"], env_steps: Int[np.ndarray, " row"]
) -> Int[np.ndarray, " run"] | None:
    """Return the first row of each run; None unless the rows of each run lie together, with increasing env steps.

    Args:
        run: number of each row's run; all numbers from 0 on occur.
        env_steps: env steps of each row.
    """
    if not len(run) or not ((run[1:] != run[:-1]) | (env_steps[1:] > env_steps[:-1])).all():
        return None
    starts = first_rows(run)
    return starts if len(starts) == run.max() + 1 else None


def sorted_by_run(run: Int[np.ndarray, " row"], starts: Int[np.ndarray, " run"]) -> Int[np.ndarray, " row"]:
    """Return the rows sorted by run, where the rows of each run lie together from one of `starts` on."""
    lengths = np.diff(np.append(starts, len(run)))
    order = np.argsort(run[starts])
    rows = np.repeat(starts[order] - np.append(0, np.cumsum(lengths[order])[:-1]), lengths[order])
    rows += np.arange(len(run))
    return rows


def order_of_runs(
    run: Int[np.ndarray, " row"],
    env_steps: Int[np.ndarray, " row"],
    returns: Float[np.ndarray, " row"],
    *,
    logged: bool,
) -> Order:
    """Find repeated env steps and steps that start over, from the order of the rows.

    Args:
        run: number of each row's run.
        env_steps: env steps of each row.
        returns: return of each row; rows without a return (NaN) are no evaluations and are kept.
        logged: look for steps that start over; False if the order of the rows says nothing.
    """
    none = np.empty((0, 2), np.int64)
    kept = np.ones(len(run), bool)
    position = np.flatnonzero(~np.isnan(returns))
    position = position[np.argsort(run[position], kind="stable")]
    new_run = np.diff(run[position], prepend=-1) != 0
    new_stretch = new_run | (np.diff(env_steps[position], prepend=-1) <= 0)
    if (new_run == new_stretch).all():
        return Order(none, none, kept)
    starts = np.flatnonzero(new_run)
    sizes = np.diff(np.append(starts, len(position)))
    stretches = np.add.reduceat(new_stretch, starts, dtype=np.int64)
    run_logged = (MEAN_STRETCH * stretches <= sizes) & logged
    for i in np.flatnonzero(run_logged & (stretches > 1)):
        run_logged[i] = not _monotone(returns[position[starts[i] : starts[i] + sizes[i]]])
    judged = sizes >= JUDGED
    if 2 * run_logged[judged].sum() < judged.sum():
        run_logged[:] = False
    repeated, starts_over = [none], [none]
    for i in np.flatnonzero(stretches > 1):
        rows = position[starts[i] : starts[i] + sizes[i]]
        steps = env_steps[rows]
        cuts = np.flatnonzero(np.diff(steps) <= 0) + 1
        over = [cut for cut in cuts if _overlaps(steps, int(cut), cuts)] if run_logged[i] else []
        by_steps = np.argsort(steps, kind="stable")
        same = np.flatnonzero(np.diff(steps[by_steps]) == 0)
        repeated.append(rows[np.stack([by_steps[same], by_steps[same + 1]], axis=1)])
        starts_over.append(np.array([(rows[cut - 1], rows[cut]) for cut in over], np.int64).reshape(-1, 2))
        if over:
            later = np.minimum.accumulate(steps[::-1])[::-1]
            kept[rows[:-1]] = steps[:-1] < later[1:]
        else:
            kept[rows[by_steps[same]]] = False
    return Order(np.concatenate(repeated), np.concatenate(starts_over), kept)


def require_one_training(
    order: Order, place: Callable[[int], str], differing: Callable[[Int[np.ndarray, "pair two"]], str]
) -> None:
    """Raise InputError if a run has repeated env steps or steps that start over.

    Args:
        order: what `order_of_runs` found.
        place: function that names the file and the line of a row.
        differing: function that returns the remedy if further columns differ between the rows of each pair, or "".
    """
    pairs = order.repeated if len(order.repeated) else order.starts_over
    if not len(pairs):
        return
    remedy = differing(pairs) or (
        "If the run was resumed, keep its later rows with resumed='keep-last' (--resumed keep-last). If these are two "
        "trainings, give each a seed."
    )
    if len(order.repeated):
        came = "; ".join(f"{place(one)} and {place(two)}" for one, two in pairs[:3])
        raise InputError(
            f"one evaluation of one run came twice: {came} ({len(pairs)} in all). Remove one of each if a table was "
            f"read twice. {remedy}"
        )
    one, two = pairs[0]
    raise InputError(
        f"the steps of one run start over at {place(two)}, after {place(one)} ({counted(len(pairs), 'place')} in all). "
        f"{remedy} If the rows are out of order, sort them by env_steps."
    )


def _monotone(returns: Float[np.ndarray, " evaluation"]) -> bool:
    """Return True if the returns never fall or never rise, as in a table sorted by return."""
    change = np.diff(returns)
    return bool((change >= 0).all() or (change <= 0).all())


def _overlaps(steps: Int[np.ndarray, " evaluation"], cut: int, cuts: Int[np.ndarray, " cut"]) -> bool:
    """Return True if the stretch that begins at `cut` repeats a part of the training before it."""
    end = next((other for other in cuts if other > cut), len(steps))
    return int(((steps[:cut] > steps[cut]) & (steps[:cut] < steps[end - 1])).sum()) >= OVERLAP
