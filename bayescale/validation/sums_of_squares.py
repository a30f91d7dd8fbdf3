"""Sums of squares of the normal scores of a task's runs, and their ratios; see `bayescale.validation.predictive_checks` for what they say."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import f as ratio_of_squares

from bayescale.data.configurations import SIZED

AXES = SIZED[1:]
DEGREES = (2, 3)  # of the structure that is looked for; the law itself takes care of level and slope
NOTHING = 1e-9  # a sum of squared scores below it is rounding


@dataclass(frozen=True)
class Squares:
    """A sum of squares under each draw, and its degrees of freedom."""

    total: Float[np.ndarray, " draw"]
    freedom: int

    def __add__(self, other: "Squares") -> "Squares":
        return Squares(self.total + other.total, self.freedom + other.freedom)


@dataclass(frozen=True)
class TaskSquares:
    """What the ratios of one task are made of."""

    structure: dict[str, Squares]  # by axis
    left: Squares  # of the m_c, beyond lines and structure
    around: Squares  # of the m_c, beyond lines
    within: Squares  # of seeds around their m_c, over 1 - s
    within_high: Squares  # of them, those at UTDs above the median
    within_low: Squares


def task_squares(
    scores: Float[np.ndarray, "draw run"],
    configs: pd.DataFrame,
    config: Int[np.ndarray, " run"],
    shares: Float[np.ndarray, " draw"],
) -> TaskSquares:
    """The sums of squares of one task.

    Args:
        scores: of its runs, normal with a variance of which `shares` is what the seeds of a configuration share.
        configs: columns utd, batch_size, learning_rate, [model_size].
        config: the row of `configs` of each run.
        shares: as above, by draw; the weights take their mean, which changes little among draws.
    """
    count = np.bincount(config, minlength=len(configs))
    means = np.stack([np.bincount(config, row, len(configs)) for row in scores]) / count
    departures = (scores - means[:, config]) ** 2 / (1 - shares[:, None])
    high = (configs["utd"] > configs["utd"].median()).to_numpy()
    root = np.sqrt(1 / (shares.mean() + (1 - shares.mean()) / count))

    logs = {axis: np.log(configs[axis].to_numpy(float)) for axis in AXES if axis in configs}
    logs = {axis: (x - x.mean()) / x.std() for axis, x in logs.items() if np.ptp(x) > 0}
    lines = _basis(root[:, None] * np.column_stack([np.ones(len(configs)), *logs.values()]), ())
    weighted = root * means
    bends = {
        axis: _basis(root[:, None] * np.column_stack([x**p for p in DEGREES]), (lines,)) for axis, x in logs.items()
    }
    spanned = _basis(np.column_stack([lines, *bends.values()]), ())
    around = Squares((weighted**2).sum(axis=1) - _explained(weighted, lines).total, len(configs) - lines.shape[1])
    left = Squares((weighted**2).sum(axis=1) - _explained(weighted, spanned).total, len(configs) - spanned.shape[1])

    def within(some: Bool[np.ndarray, " config"]) -> Squares:
        return Squares(departures[:, some[config]].sum(axis=1), int((count[some] - 1).sum()))

    return TaskSquares(
        structure={axis: _explained(weighted, bend) for axis, bend in bends.items() if bend.shape[1]},
        left=left,
        around=around,
        within=within(np.ones_like(high)),
        within_high=within(high),
        within_low=within(~high),
    )


def ratio(above: Squares, below: Squares) -> tuple[float, float, float] | None:
    """Mean ratio of mean squares over draws, its median under replication, and its p-value; None if it has no sense.

    Draws under which there is nothing to divide by are left out: they give all runs the same chance, next to none.
    """
    told = below.total > NOTHING
    if above.freedom < 1 or below.freedom < 1 or not told.any():
        return None
    values = above.total[told] / above.freedom / (below.total[told] / below.freedom)
    chance = ratio_of_squares.sf(values, above.freedom, below.freedom).mean()
    return float(values.mean()), float(ratio_of_squares.median(above.freedom, below.freedom)), float(chance)


def _basis(columns: Float[np.ndarray, "row column"], without: tuple[np.ndarray, ...]) -> Float[np.ndarray, "row rank"]:
    """Orthonormal columns that span the given ones, less what other orthonormal ones span of them."""
    rest = columns / np.linalg.norm(columns, axis=0)
    for other in without:
        rest = rest - other @ (other.T @ rest)
    left, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    return left[:, sizes > 1e-6]


def _explained(values: Float[np.ndarray, "draw row"], basis: Float[np.ndarray, "row rank"]) -> Squares:
    return Squares(((values @ basis) ** 2).sum(axis=1), basis.shape[1])
