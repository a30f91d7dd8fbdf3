"""Split the variation of one task's runs into sums of squares whose ratios follow F distributions.

`bayescale.validation.predictive_checks` describes what the ratios say. Symbols, for a configuration c with n_c runs:

    z_r   normal score of run r, averaged over thresholds
    s     share of the variance that the runs of a configuration have in common (the configuration effect)
    m_c   mean of z_r over the runs of configuration c
    w_c   = 1 / (s + (1 - s) / n_c), the weight of m_c
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import fdtrc, fdtri

from bayescale.data.configurations import SIZED

AXES = SIZED[1:]
POWERS = (2, 3)  # powers of the log settings that count as structure; the law itself fits constants and slopes
ROUNDING = 1e-9  # sums of squared scores below this are rounding errors


@dataclass(frozen=True)
class Squares:
    """A sum of squares under each draw.

    Attributes:
        total: the sum of squares.
        freedom: its degrees of freedom.
    """

    total: Float[np.ndarray, " draw"]
    freedom: int

    def __add__(self, other: "Squares") -> "Squares":
        return Squares(self.total + other.total, self.freedom + other.freedom)


@dataclass(frozen=True)
class TaskSquares:
    """Sums of squares of one task.

    Attributes:
        structure: by axis, the part of the weighted m_c that squares and cubes of the log setting explain.
        unstructured: the part that neither straight lines nor structure explain.
        around_lines: the part that straight lines in the log settings do not explain.
        within: departures of runs from their m_c, divided by 1 - s.
        within_high_utd: the part of `within` at UTDs above the median.
        within_low_utd: the part of `within` at UTDs up to the median.
    """

    structure: dict[str, Squares]
    unstructured: Squares
    around_lines: Squares
    within: Squares
    within_high_utd: Squares
    within_low_utd: Squares


def task_squares(
    scores: Float[np.ndarray, "draw run"],
    configs: pd.DataFrame,
    config: Int[np.ndarray, " run"],
    shares: Float[np.ndarray, " draw"],
) -> TaskSquares:
    """Return the sums of squares of one task.

    Args:
        scores: z_r of the task's runs under each draw.
        configs: columns utd, batch_size, learning_rate, [model_size].
        config: row of `configs` that each run belongs to.
        shares: s under each draw. The weights use the mean of s over draws, which varies little.
    """
    count = np.bincount(config, minlength=len(configs))
    means = np.stack([np.bincount(config, row, len(configs)) for row in scores]) / count
    departures = (scores - means[:, config]) ** 2 / (1 - shares[:, None])
    high_utd = (configs["utd"] > configs["utd"].median()).to_numpy()
    root_weight = np.sqrt(1 / (shares.mean() + (1 - shares.mean()) / count))

    logs = {axis: np.log(configs[axis].to_numpy(float)) for axis in AXES if axis in configs}
    logs = {axis: (x - x.mean()) / x.std() for axis, x in logs.items() if np.ptp(x) > 0}
    lines = _basis(root_weight[:, None] * np.column_stack([np.ones(len(configs)), *logs.values()]), ())
    weighted = root_weight * means
    powers = {
        axis: _basis(root_weight[:, None] * np.column_stack([x**p for p in POWERS]), (lines,))
        for axis, x in logs.items()
    }
    lines_and_powers = _basis(np.column_stack([lines, *powers.values()]), ())

    def unexplained(basis: Float[np.ndarray, "config rank"]) -> Squares:
        return Squares((weighted**2).sum(axis=1) - _explained(weighted, basis).total, len(configs) - basis.shape[1])

    def within(some: Bool[np.ndarray, " config"]) -> Squares:
        return Squares(departures[:, some[config]].sum(axis=1), int((count[some] - 1).sum()))

    return TaskSquares(
        structure={axis: _explained(weighted, basis) for axis, basis in powers.items() if basis.shape[1]},
        unstructured=unexplained(lines_and_powers),
        around_lines=unexplained(lines),
        within=within(np.ones_like(high_utd)),
        within_high_utd=within(high_utd),
        within_low_utd=within(~high_utd),
    )


def ratio(above: Squares, below: Squares) -> tuple[float, float, float] | None:
    """Return the ratio of mean squares over draws, its median under replication and its posterior predictive p-value.

    Draws whose denominator is zero are left out: they give every run the same probability, close to 0. Return None if
    no draw remains or either sum has no degrees of freedom.

    Args:
        above: the numerator.
        below: the denominator.
    """
    usable = below.total > ROUNDING
    if above.freedom < 1 or below.freedom < 1 or not usable.any():
        return None
    values = above.total[usable] / above.freedom / (below.total[usable] / below.freedom)
    # The tail and the median of the F distribution; scipy.stats has them too and takes half a second to import.
    p_value, median = fdtrc(above.freedom, below.freedom, values).mean(), fdtri(above.freedom, below.freedom, 0.5)
    return float(values.mean()), float(median), float(p_value)


def _basis(columns: Float[np.ndarray, "row column"], without: tuple[np.ndarray, ...]) -> Float[np.ndarray, "row rank"]:
    """Return an orthonormal basis of what `columns` span beyond the orthonormal bases in `without`.

    scipy.linalg.orth would keep rounding errors where the bases in `without` span all of the columns: its tolerance is
    relative to the largest singular value.
    """
    rest = columns / np.linalg.norm(columns, axis=0)
    for other in without:
        rest = rest - other @ (other.T @ rest)
    left, singular_values, _ = np.linalg.svd(rest, full_matrices=False)
    return left[:, singular_values > 1e-6]


def _explained(values: Float[np.ndarray, "draw row"], basis: Float[np.ndarray, "row rank"]) -> Squares:
    """Return the part of the squares of `values` that an orthonormal basis explains."""
    return Squares(((values @ basis) ** 2).sum(axis=1), basis.shape[1])
