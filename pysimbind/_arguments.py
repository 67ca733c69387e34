"""Checks of the numbers that describe a workload. A ``WorkloadError`` names the wrong number."""

from __future__ import annotations

import math
import operator
from typing import Any

from .errors import WorkloadError


def integer(name: str, value: Any, least: int, end: int) -> int:
    """Return an integer, ``least`` <= value < ``end``. Floats and bools are refused."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number < end:
        raise WorkloadError(f"{name} must be an integer >= {least} and < {end}, got {value!r}")
    return number


def positive(name: str, value: Any, *, finite: bool = False) -> float:
    """Return a number > 0. Infinity is allowed unless ``finite`` is true."""
    number = _float(value)
    if not number > 0:
        raise WorkloadError(f"{name} must be a number > 0, got {value!r}")
    if finite and math.isinf(number):
        raise WorkloadError(f"{name} must be finite, got {value!r}")
    return number


def non_negative(name: str, value: Any) -> float:
    """Return a finite number >= 0."""
    number = _float(value)
    if not 0 <= number < math.inf:
        raise WorkloadError(f"{name} must be a finite number >= 0, got {value!r}")
    return number


def _float(value: Any) -> float:
    if isinstance(value, (bool, str)):
        return math.nan
    try:
        return float(value)
    except (TypeError, OverflowError):  # not a number, or an integer too large for a float
        return math.nan
