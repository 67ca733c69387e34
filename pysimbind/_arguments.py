"""Numbers that describe a workload, checked: ``WorkloadError`` names what is wrong."""

from __future__ import annotations

import math
import operator
from typing import Any

from .errors import WorkloadError


def integer(name: str, value: Any, least: int, end: int) -> int:
    """Return an integer from ``least`` to below ``end``; no float is one, and no truth value."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number < end:
        raise WorkloadError(f"{name} must be an integer >= {least} and < {end}, got {value!r}")
    return number


def positive(name: str, value: Any, *, finite: bool = False) -> float:
    """Return a number above 0; infinity too, unless it must be ``finite``."""
    number = _float(value)
    if not number > 0:
        raise WorkloadError(f"{name} must be a number > 0, got {value!r}")
    if finite and math.isinf(number):
        raise WorkloadError(f"{name} must be finite, got {value!r}")
    return number


def non_negative(name: str, value: Any) -> float:
    """Return a finite number from 0 on."""
    number = _float(value)
    if not 0 <= number < math.inf:
        raise WorkloadError(f"{name} must be a finite number >= 0, got {value!r}")
    return number


def _float(value: Any) -> float:
    if isinstance(value, (bool, str)):
        return math.nan
    try:
        return float(value)
    except (TypeError, OverflowError):  # no number; an integer beyond the floats
        return math.nan
