"""Checks of the numbers that ``fit`` is given; all raise ``FitError``."""

from __future__ import annotations

import math
import operator
import os
from typing import TypeGuard

import numpy as np

from ..errors import FitError
from ._search import Callback


def count(name: str, value: object, least: int) -> int:
    """Return a whole number that numpy takes as a seed."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # TypeError is what we look for
    except TypeError:
        number = -1
    if isinstance(value, bool) or not least <= number < 2**32:  # numpy's legacy seeds end there
        raise FitError(f"{name} must be an integer from {least} to 2**32 - 1, got {value!r}")
    return number


def at_least(name: str, value: object, least: float) -> float | None:
    """Return a finite number, or None for the default."""
    if value is not None and not (_is_number(value) and least <= value < math.inf):
        raise FitError(f"{name} must be a number >= {least:g}, got {value!r}")
    return None if value is None else float(value)


def positive_s(max_time_s: object) -> float | None:
    """Return a time budget: seconds > 0, or None for none."""
    if max_time_s is not None and not (_is_number(max_time_s) and 0 < max_time_s < math.inf):
        raise FitError(f"max_time_s must be a number of seconds > 0, got {max_time_s!r}")
    return None if max_time_s is None else float(max_time_s)


def callback(function: Callback | None) -> Callback | None:
    """Return a function, or None for none."""
    if function is not None and not callable(function):
        raise FitError(f"callback must be a function, got {function!r}")
    return function


def path(name: str, value: object) -> str | None:
    """Return a path, or None for none."""
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise FitError(f"{name} must be the path of a file, got {value!r}")
    return None if value is None else os.fspath(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
