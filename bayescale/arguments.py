"""Numbers that users give, each checked by itself, and counts in words."""

from math import inf, nan
from numbers import Integral, Real

from bayescale.errors import InputError


def counted(number: int, noun: str) -> str:
    """'1 run', '2,000 runs'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: object) -> float:
    """The number; NaN for what is none, such as a number in quotes."""
    return float(value) if isinstance(value, Real) else nan


def require_count(name: str, value: object, least: int = 1) -> None:
    """Nothing, if the value is a whole number and at least `least`; InputError otherwise."""
    if not isinstance(value, Integral):
        raise InputError(f"{name} must be a whole number; got {value!r}. Correct it.")
    if int(value) < least:
        raise InputError(f"{name} must be at least {least}; got {value}. Raise it.")


def require_positive(name: str, value: object) -> None:
    """Nothing, if the value is a number, finite and > 0; InputError otherwise."""
    if not 0 < number(value) < inf:
        raise InputError(f"{name} must be a finite number > 0; got {value!r}. Correct it.")


def require_share(name: str, value: object) -> None:
    """Nothing, if the value is a number in (0, 1); InputError otherwise."""
    if not 0 < number(value) < 1:
        raise InputError(f"{name} must lie in (0, 1); got {value!r}. Correct it.")
