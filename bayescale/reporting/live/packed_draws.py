"""Pack draws of smooth quantities into few numbers, so that a page can carry them.

Draws of a quantity at many settings are a matrix, draws by columns. Because the quantity is smooth in the settings, a
few components describe the matrix: the truncated singular value decomposition

    values[draw, column] = mean[column] + sum_j scores[draw, j] * components[j, column]

The mean is kept in single precision: its error would be a column's alone, and would decide between settings of nearly
equal cost. Components are kept as whole multiples of one step, scores as whole multiples of another. `unpack` is the
inverse that the page applies too, so both work with the same numbers.
"""

import base64
import gzip
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

SHARE_OF_STEP = 0.05  # the step of components, as a share of the tolerance; rounding errors add up
COLUMNS_TRIED = 500  # columns that show how many components a matrix needs at least
WHOLE = 32_000  # largest whole number of a score, which is kept in 16 bits
TYPES = ("int8", "int16", "int32")
LEVEL = 6  # compression level; 9 takes five times as long and saves 0.6%
ALIGNMENT = 8  # bytes; typed arrays of a browser start at a multiple of their item size


class Packed(NamedTuple):
    """A packed matrix of draws; see the head of the module.

    Attributes:
        mean: in the unit of the values.
        components: in units of `step`.
        scores: in units of `score_step`.
        step: unit of the components.
        score_step: unit of the scores.
        largest_error: largest absolute difference between `unpack` and the packed values.
    """

    mean: Float[np.ndarray, " column"]
    components: Int[np.ndarray, "component column"]
    scores: Int[np.ndarray, "draw component"]
    step: float
    score_step: float
    largest_error: float


def pack(values: Float[np.ndarray, "draw column"], *, tolerance: float, most: int) -> Packed:
    """Pack a matrix of draws into the fewest components that keep the tolerance.

    Args:
        values: finite numbers.
        tolerance: largest absolute error that is aimed at; > 0.
        most: at most this many components are kept, and `Packed.largest_error` may then exceed the tolerance.
    """
    mean = values.mean(axis=0)
    apart = values - mean
    variances, directions = np.linalg.eigh(apart @ apart.T)  # far faster than a decomposition of the wide matrix
    scores = directions[:, ::-1] * np.sqrt(
        len(values)
    )  # their standard deviation is 1, the largest variance comes first
    components = scores[:, :most].T @ apart / len(values)
    step = SHARE_OF_STEP * tolerance

    def kept(count: int, columns: slice) -> Packed:
        packed = _rounded(mean[columns], components[:count, columns], scores[:, :count], step)
        return packed._replace(largest_error=float(abs(unpack(packed) - values[:, columns]).max()))

    def fewest(columns: slice, at_least: int) -> int:
        """Return the least count that keeps the tolerance at these columns; `largest` if none below does.

        The error falls as components are added. Counts are tried in steps that double, then the last step is halved.
        """
        low, high, ahead = at_least - 1, at_least, 1
        while high < largest and kept(high, columns).largest_error > tolerance:
            low, high, ahead = high, min(high + ahead, largest), 2 * ahead
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if kept(middle, columns).largest_error <= tolerance else (middle, high)
        return high

    largest = min(most, len(values), int((variances > 0).sum()))
    some = slice(None, None, max(1, values.shape[1] // COLUMNS_TRIED))
    at_least = fewest(some, 0)  # a few columns give a lower bound at little cost
    return kept(fewest(slice(None), at_least), slice(None))


def unpack(packed: Packed) -> Float[np.ndarray, "draw column"]:
    """Return the matrix of draws that `pack` approximates."""
    components = packed.components * packed.step
    return np.asarray(packed.mean + (packed.scores * packed.score_step) @ components)


def _rounded(
    mean: Float[np.ndarray, " column"],
    components: Float[np.ndarray, "component column"],
    scores: Float[np.ndarray, "draw component"],
    step: float,
) -> Packed:
    """Return the mean in single precision and the other parts as whole numbers."""
    score_step = float(abs(scores).max(initial=1.0)) / WHOLE
    return Packed(
        mean=mean.astype(np.float32),
        components=np.rint(components / step).astype(np.int32),
        scores=np.rint(scores / score_step).astype(np.int32),
        step=step,
        score_step=score_step,
        largest_error=np.nan,
    )


class Arrays:
    """Arrays of numbers on their way into a page, all in one compressed text."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, values: Num[np.ndarray, "..."]) -> dict[str, Any]:
        """Add an array and return where a reader finds it.

        Returns:
            `at`, the offset in bytes; `length`, the number of items; `type`, float32 or the smallest type of `TYPES`
            that holds the whole numbers.
        """
        flat = np.ravel(values)
        if flat.dtype.kind == "f":
            kind = "float32"
        else:
            largest = int(abs(flat).max(initial=0))
            kind = next(name for name in TYPES if largest <= np.iinfo(name).max)
        self._bytes.extend(b"\0" * (-len(self._bytes) % ALIGNMENT))
        place = {"at": len(self._bytes), "length": flat.size, "type": kind}
        self._bytes.extend(flat.astype(np.dtype(kind).newbyteorder("<")).tobytes())
        return place

    def add_packed(self, packed: Packed) -> dict[str, Any]:
        """Add a packed matrix; its components follow each other, and so do the scores of a component."""
        parts = {"mean": packed.mean, "components": packed.components, "scores": packed.scores.T}
        places = {name: self.add(part) for name, part in parts.items()}
        return places | {"step": packed.step, "score_step": packed.score_step}

    def text(self) -> str:
        """Return all arrays, compressed by gzip and written in base64."""
        return base64.b64encode(gzip.compress(bytes(self._bytes), LEVEL, mtime=0)).decode("ascii")
