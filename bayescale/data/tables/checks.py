"""Check a table column by column; one sentence says what is wrong with it.

Names lose the blanks around them. Numbers keep every digit: whole numbers beyond 2^53 never pass through a float, and
float32 settings are read as the decimals that they print as.
"""

import warnings
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num

from bayescale.data.tables.columns import Column, Table, columns_from_index, require_columns, require_frame
from bayescale.data.tables.stretches import stretch_lengths, stretch_starts
from bayescale.errors import InputError

EXACT_BELOW = 2.0**53  # a float holds every whole number below this
LONGEST_VALUE = 60  # letters of a wrong value that an error message shows


def check_columns(table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the frame with `columns` first, as str, int64 or float64, then its further columns unchanged.

    The index is kept, but for named levels, which become columns. Blanks around names are removed, with a warning.

    Raises:
        InputError: a column breaks its rules. The message is about the first such column and names the source, the
            column, the rows and the remedy.
    """
    frame = columns_from_index(require_frame(table.source, table.frame))
    table = Table(frame, table.source, table.place)
    if frame.columns.nlevels > 1:
        raise InputError(f"{table.source} has column names of several levels. Give each column one name.")
    if frame.columns.has_duplicates:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"{table.source} has the column '{repeated}' twice. Keep one of them.")
    require_columns(table.source, [str(name) for name in frame.columns], columns)
    if frame.empty:
        raise InputError(f"{table.source} has no rows. Write it again or leave it out.")
    present = [column for column in columns if column.name in frame.columns]
    checked = {column.name: _checked(table, column) for column in present}
    return frame.assign(**checked)[list(checked) + [name for name in frame.columns if name not in checked]]


def _checked(table: Table, column: Column) -> pd.Series:
    """Return the checked column; only the first rows of its stretches of equal values are looked at, where it pays."""
    values = table.frame[column.name]
    starts = stretch_starts(values)
    if starts is None:
        return _checked_rows(table, column)
    few = Table(table.frame[[column.name]].iloc[starts], table.source, table.place)
    try:
        checked = _checked_rows(few, column)
    except InputError:
        return _checked_rows(table, column)  # the message names every row
    if checked.dtype == values.dtype and checked.equals(few.frame[column.name]):
        return values
    lengths = stretch_lengths(starts, len(values))
    return pd.Series(checked.array.take(np.repeat(np.arange(len(starts)), lengths)), values.index)


def _checked_rows(table: Table, column: Column) -> pd.Series:
    values = table.frame[column.name]
    if isinstance(values.dtype, pd.SparseDtype):
        values = pd.Series(np.asarray(values.array), values.index)
    if column.kind == "text":
        return _text(table, column, values)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object if values.isna().any() else values.cat.categories.dtype)
    return _numbers(table, column, values)


def _refuse(table: Table, column: Column, bad: Bool[np.ndarray, " row"], rule: str, remedy: str | None = None) -> None:
    if bad.any():
        shown = dict.fromkeys(str(value) if str(value).strip() else repr(value) for value in _first(table, column, bad))
        came = ", ".join(text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..." for text in shown)
        raise InputError(
            f"{table.source}: {column.name} must be {rule}; got {came} {table.where(bad)}. {remedy or column.remedy}"
        )


def _first(table: Table, column: Column, bad: Bool[np.ndarray, " row"]) -> list[object]:
    return list(table.frame[column.name][bad][:3])


def _text(table: Table, column: Column, values: pd.Series) -> pd.Series:
    _refuse(table, column, values.isna().to_numpy(bool), "filled in")
    categories = isinstance(values.dtype, pd.CategoricalDtype)
    if not categories and not isinstance(values.dtype, pd.StringDtype):
        values = values.astype(object)
        _refuse_other_than_text(table, column, *pd.factorize(values.map(type).to_numpy(object)))
    codes, names = pd.factorize(values)
    names = names.astype(object)
    if categories:
        _refuse_other_than_text(table, column, codes, names.map(type).to_numpy(object))
    bare = names.map(str.strip)
    changed = np.asarray(bare != names)
    _refuse(table, column, np.asarray(bare == "")[codes], "filled in")
    if changed.any():
        warnings.warn(
            f"{table.source}: blanks around names in {column.name} were removed, as in {names[changed][0]!r}.",
            stacklevel=2,
        )
    if isinstance(values.dtype, pd.StringDtype) and not changed.any():
        return values.astype(str)
    return pd.Series(pd.Series(bare, dtype=object).astype(str).array.take(codes), values.index)


def _refuse_other_than_text(table: Table, column: Column, codes: Int[np.ndarray, " row"], types: np.ndarray) -> None:
    """Raise InputError unless each type is that of text; `codes` holds the position of each row's type."""
    encoded = np.array([issubclass(kind, bytes) for kind in types], bool)[codes]
    _refuse(table, column, encoded, "text", "Decode these bytes, as in frame[column].str.decode('utf-8').")
    other = np.array([not issubclass(kind, str) for kind in types], bool)[codes]
    _refuse(table, column, other, "text", "Convert it with astype(str).")


def _numbers(table: Table, column: Column, values: pd.Series) -> pd.Series:
    plain = isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf"
    if values.dtype.kind in "iuf":
        exact = plain or (values.dtype.kind in "iu" and not values.isna().any())
        array = values.to_numpy() if exact else values.to_numpy(np.float64, na_value=np.nan)
        array = shortest_decimals(values) if column.identifies and is_narrow(values) else array
    else:
        array = _parsed(table, column, values)
    if array.dtype.kind == "f":
        if not column.may_be_missing:
            _refuse(table, column, np.isnan(array), "filled in")
        if not column.may_be_infinite:
            _refuse(table, column, np.isinf(array), "finite")
    array = (
        _whole(table, column, values, np.asarray(array))
        if column.kind == "integer"
        else array.astype(np.float64, copy=False)
    )
    remedy = f"{column.meaning} {column.remedy}".strip()
    if column.above is not None:
        _refuse(table, column, array <= column.above, f"> {column.above:g}", remedy)
    if column.at_least is not None:
        _refuse(table, column, array < column.at_least, f">= {column.at_least:g}", remedy)
    return values if plain and np.may_share_memory(array, values.to_numpy()) else pd.Series(array, values.index)


def _whole(table: Table, column: Column, values: pd.Series, array: Num[np.ndarray, " row"]) -> Num[np.ndarray, " row"]:
    """Return whole numbers as int64; `array` holds the values as int64, uint64 or float64."""
    rule = "a whole number of 64 bits"
    if array.dtype.kind == "u":
        _refuse(table, column, array > np.iinfo(np.int64).max, rule)
    if array.dtype.kind != "f":
        return array.astype(np.int64, copy=False)
    large = np.abs(array) >= EXACT_BELOW
    _refuse(table, column, (array != np.rint(array)) | (np.abs(array) >= 2.0**63), rule)
    if not large.any():
        return array.astype(np.int64)
    _refuse(
        table,
        column,
        large & values.map(lambda value: isinstance(value, float | np.floating)).to_numpy(bool),
        "a whole number below 2^53 where it is stored as a float",
        "Floats lose digits there. Store the column as whole numbers.",
    )
    digits = [Decimal(str(value)) for value in values[large]]
    odd = large.copy()
    odd[large] = [value != value.to_integral_value() or abs(value) >= 2**63 for value in digits]
    _refuse(table, column, odd, rule)
    whole = np.where(large, 0.0, array).astype(np.int64)
    whole[large] = [int(value) for value in digits]
    return whole


def _parsed(table: Table, column: Column, values: pd.Series) -> Num[np.ndarray, " row"]:
    """Return float64 from objects, and from text if the table comes from a CSV file, where all values are text."""
    from_text = table.place == "line"
    objects = values.astype(object)

    def parsed(value: Any) -> float:
        if isinstance(value, np.floating) and column.identifies and value.itemsize < 8:
            return float(str(value))
        if isinstance(value, str) and from_text and "_" not in value:
            return float(Decimal(value.strip()))
        if isinstance(value, bool | np.bool_ | str) or not isinstance(value, Real | Decimal):
            raise ValueError
        return float(value)

    missing = objects.isna().to_numpy(bool)
    array = np.full(len(objects), np.nan)
    wrong = np.zeros(len(objects), bool)
    for position, value in enumerate(objects):
        if not missing[position]:
            try:
                array[position] = parsed(value)
                wrong[position] = np.isnan(array[position])
            except (ValueError, OverflowError, InvalidOperation):
                wrong[position] = True
    _refuse(table, column, wrong, "a number", None if from_text else "Convert the column with pandas.to_numeric.")
    return array


def is_narrow(values: pd.Series) -> bool:
    """Return True for a column of float32 or float16 numbers, in NumPy, nullable or Arrow types."""
    return values.dtype.kind == "f" and _item_size(values) < 8


def _item_size(values: pd.Series) -> int:
    """Return the bytes of one number in a column of NumPy, nullable or Arrow numbers."""
    dtype: Any = values.dtype
    return int(np.dtype(getattr(dtype, "numpy_dtype", dtype)).itemsize)


def shortest_decimals(values: pd.Series) -> Float[np.ndarray, " row"]:
    """Return float32 and float16 numbers as their shortest decimals: 1e-4 in float32 is 9.9999997e-05 in float64."""
    array = values.to_numpy(np.float64, na_value=np.nan)
    kind = np.float32 if _item_size(values) == 4 else np.float16
    unique, inverse = np.unique(array.astype(kind), return_inverse=True)
    return np.array([float(str(value)) for value in unique])[inverse]
