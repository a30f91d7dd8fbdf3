"""Recognise how a CSV file is written: its encoding, the separator of its fields and the sign of its decimals.

Spreadsheets write semicolons and decimal commas in many languages, tabs on request, and UTF-16 with a byte-order mark.
What could be read in two ways is refused: a header that two separators split, or 1,000, which is one or a thousand.
"""

import csv
import io
import re
import warnings
from collections.abc import Collection
from itertools import islice

import pandas as pd

from bayescale.errors import InputError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
LOOKED_AT = 20  # lines whose fields are counted
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte-order marks
UTF_32 = b"\xff\xfe\0\0"  # a byte-order mark that begins as one of UTF-16 does
NUMBER = re.compile(r"\s*[+-]?\d*,?\d+(?:[eE][+-]?\d+)?\s*")  # a number that may have a decimal comma
GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*")  # commas between thousands, or one decimal comma
REMEDY = "Write it with commas between fields, and numbers with points and without thousands separators."


def encoding_of(head: bytes) -> str:
    """Return the encoding of a file that begins with these bytes: UTF-16 if they say so, otherwise UTF-8."""
    return "utf-16" if head.startswith(UTF_16) and not head.startswith(UTF_32) else "utf-8-sig"


def separator_of(source: str, text: str, known: Collection[str]) -> str:
    """Return the separator of the fields.

    It is the separator under which the header has the most known names. If several have as many, it is the one that
    splits the lines below the header into as many fields as the header.

    Args:
        source: name of the file in messages.
        text: beginning of the file.
        known: names that columns may have, in small letters.

    Raises:
        InputError: two separators fit.
    """
    splits = {separator: _fields(text, separator) for separator in SEPARATORS}
    splits = {separator: rows for separator, rows in splits.items() if rows and len(rows[0]) > 1}
    if len(splits) < 2:
        return next(iter(splits), ",")
    names = {s: sum(name.strip().lower() in known for name in rows[0]) for s, rows in splits.items()}
    best = [separator for separator in splits if names[separator] == max(names.values())]
    if len(best) > 1:
        best = [s for s in best if all(len(row) in (0, len(splits[s][0])) for row in splits[s])] or [","]
    if len(best) > 1:
        both = " or ".join(SEPARATORS[separator] for separator in best)
        raise InputError(f"the fields of {source} may be separated by {both}. {REMEDY}")
    return best[0]


def decimal_of(source: str, numbers: pd.DataFrame, others: pd.DataFrame) -> str:
    """Return the sign of the decimals, "." or ",".

    Args:
        source: name of the file in messages.
        numbers: columns that hold numbers, read with decimal points; columns with decimal commas are still text.
        others: further columns, which are looked at if the former hold whole numbers alone.

    Raises:
        InputError: all numbers with a comma may have decimals or thousands.
    """
    commas = _with_comma(numbers)
    if not commas:
        if any(bool((numbers[name].dropna() % 1 != 0).any()) for name in numbers if numbers[name].dtype.kind == "f"):
            return "."
        commas = _with_comma(others)
    if commas and all(GROUPED.fullmatch(cell) for cell in commas):
        raise InputError(f"{source} holds {commas[0]}, whose comma may stand before decimals or thousands. {REMEDY}")
    return "," if commas else "."


def require_no_points(source: str, numbers: pd.DataFrame) -> None:
    """Raise InputError if numbers that were read with decimal commas hold points, as 1.000 for a thousand does."""
    texts = [numbers[name].dropna().astype(str) for name in numbers if numbers[name].dtype.kind not in "biuf"]
    points = [cell for cells in texts for cell in cells[cells.str.contains(".", regex=False)][:1]]
    if points:
        raise InputError(f"{source} has decimal commas, and holds {points[0]} with a point. {REMEDY}")


def _with_comma(values: pd.DataFrame) -> list[str]:
    """Return the cells with a comma of columns whose cells are all numbers, with or without decimal commas."""
    texts = [values[name].dropna().unique() for name in values if values[name].dtype.kind not in "biuf"]
    numbers = [cells for cells in texts if all(NUMBER.fullmatch(str(cell)) for cell in cells)]
    return [str(cell) for cells in numbers for cell in cells if "," in str(cell)]


def warn_of_layout(source: str, separator: str, decimal: str) -> None:
    """Warn that a file was read with other separators than commas or with decimal commas."""
    said = [] if separator == "," else [f"{SEPARATORS[separator]} between its fields"]
    said += ["decimal commas"] if decimal == "," else []
    if said:
        warnings.warn(f"{source} was read with {' and '.join(said)}.", stacklevel=2)


def _fields(text: str, separator: str) -> list[list[str]]:
    """Return the fields of the first lines, none where the quotes do not match."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        return list(islice(reader, LOOKED_AT))
    except csv.Error:
        return []
