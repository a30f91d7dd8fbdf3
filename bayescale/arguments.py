"""Check single arguments that users give, and write counts and numbers for sentences."""

import os
from math import inf, nan
from numbers import Integral, Real
from pathlib import Path

from bayescale.errors import InputError

LONGEST_NAME = 255  # bytes in the name of a file, on the usual file systems
SCIENTIFIC_FROM = 1e7  # larger numbers are written with an exponent


def counted(number: int, noun: str) -> str:
    """Return a count with its noun: '1 run', '2,000 runs'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def three_digits(value: float) -> str:
    """Return the value with three significant digits: 0.0123, 12,300, 1.23e+15."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.10g}" if abs(rounded) < SCIENTIFIC_FROM else f"{rounded:g}"


def percent(share: float) -> str:
    """Return a share in whole percent; a share below 1 is at most 99%, so that 100% means certain."""
    return f"{share if share >= 1 else min(share, 0.99):.0%}"


def number(value: object) -> float:
    """Return the value as a float; NaN unless it is a real number, so that '3' becomes NaN."""
    return float(value) if isinstance(value, Real) else nan


def require_count(name: str, value: object, least: int = 1) -> None:
    """Raise InputError unless the value is a whole number >= `least`."""
    if not isinstance(value, Integral):
        raise InputError(f"{name} must be a whole number; got {value!r}. Correct it.")
    if int(value) < least:
        raise InputError(f"{name} must be at least {least}; got {value}. Raise it.")


def require_positive(name: str, value: object) -> None:
    """Raise InputError unless the value is a finite number > 0."""
    if not 0 < number(value) < inf:
        raise InputError(f"{name} must be a finite number > 0; got {value!r}. Correct it.")


def require_share(name: str, value: object) -> None:
    """Raise InputError unless the value is a number in (0, 1)."""
    if not 0 < number(value) < 1:
        raise InputError(f"{name} must lie in (0, 1); got {value!r}. Correct it.")


def require_possible_path(path: str | os.PathLike[str]) -> None:
    """Raise InputError if no file can have this path."""
    text = os.fspath(path)
    if "\0" in text:
        raise InputError(f"the path {text!r} holds a NUL character, which no file name can. Correct it.")
    longest = max((len(os.fsencode(part)) for part in Path(text).parts), default=0)
    if longest > LONGEST_NAME:
        raise InputError(
            f"the path {text[:40]}... holds a name of {longest} bytes; names of files have at most "
            f"{LONGEST_NAME}. Shorten it."
        )
